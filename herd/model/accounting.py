"""Every weight that a back-end is handed is one it reads: another is named, never left out in silence."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from torch import Tensor, nn

from herd.core.errors import ArtifactError
from herd.model.architecture import lacking

# What foreign tensors are for, by what stands in their names; the first that fits is told.
_FEATURES = (
    (r"\.bias$|^bias$", "a bias"),
    (r"inv_freq|rope_freqs|rope_factors|rope\.freqs", "a table of rotary speeds"),
    (r"q_norm|k_norm", "a norm of queries and keys"),
    (r"post_attention_norm|post_ffw_norm|post_norm|pre_feedforward", "a norm after a layer's output"),
    (r"exps|experts|gate_inp|router|block_sparse", "a mixture of experts"),
    (r"sinks", "attention sinks"),
    (r"lora", "an adapter beside a matrix"),
    (r"position|wpe", "learnt positions"),
    (r"(weight_scale|scale_inv|qweight|qzeros|absmax|\.SCB|quant)", "quantised weights"),
    (r"scale", "a scale of its own"),
    (r"vision|image|mm_proj|cross_attn", "the reading of images"),
)


def feature(name: str) -> str:
    """What a tensor that a model does not have is for, as far as its name tells."""
    return next((what for pattern, what in _FEATURES if re.search(pattern, name)), "a tensor of another kind")


def check_held(where: str, held: Collection[str], wanted: Collection[str]) -> None:
    """Raises ArtifactError, which names the tensor, when a file lacks one that is read or holds one that is not."""
    missing, extra = sorted(set(wanted) - set(held)), sorted(set(held) - set(wanted))
    if extra:
        raise ArtifactError(
            f"{where} has {extra[0]} ({feature(extra[0])}), which the model it describes has no place for; herd would "
            "leave it out: bring a model of a kind that herd reads"
        )
    if missing:
        raise ArtifactError(f"{where} lacks {missing[0]}; it is not the model it describes, or not all of it")


def check_layers(where: str, said: int, held: Iterable[str], pattern: str) -> None:
    """Raises ArtifactError when a file holds another number of layers than its configuration says: asked before
    anything is made as often as there are layers. pattern: finds a layer's number in a tensor's name."""
    find = re.compile(pattern)
    there = {found[1] for name in held if (found := find.match(name))}
    if len(there) != said:
        raise ArtifactError(
            f"{where}: the configuration says {said:,} layers and the weights have {len(there):,}; the two belong to "
            "different models"
        )


def unread(module: nn.Module, read: Iterable[Tensor]) -> list[str]:
    """Names of the weights in `module` that are not among those that are read."""
    known = {id(weight) for weight in read}
    return [name for name, weight in module.state_dict(keep_vars=True).items() if id(weight) not in known]


def check_read(back_end: str, module: nn.Module, read: Iterable[Tensor]) -> None:
    """Raises ArtifactError, which names the weight, when `module` has one that is not read."""
    left = unread(module, read)
    if left:
        raise ArtifactError(
            f"{left[0]} is {feature(left[0])}, which {back_end} does not read; bring a model without it, or take a "
            "back-end that reads it"
        )


def check_features(back_end: str, has: Collection[str], wanted: Collection[str]) -> None:
    """Raises ArtifactError, which names them, when a model has features that a back-end does not compute."""
    lacks = lacking(has, wanted)
    if lacks:
        raise ArtifactError(f"the model has {lacks}, which {back_end} does not compute; take one that does")
