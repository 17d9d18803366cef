"""Every weight that a back-end is handed is one it reads: another is named, never left out in silence."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from torch import Tensor, nn

from herd.core.errors import ArtifactError
from herd.model.architecture import missing_features

# What foreign tensors are for, by what stands in their names; the first that fits is reported.
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


def describe_tensor(name: str) -> str:
    """What a tensor that a model does not have is for, as far as its name says."""
    return next(
        (description for pattern, description in _FEATURES if re.search(pattern, name)), "a tensor of another kind"
    )


def check_tensor_names(where: str, present: Collection[str], expected: Collection[str]) -> None:
    """Raises ArtifactError, which names the tensor, when a file lacks one that is read or holds one that is not."""
    missing, extra = sorted(set(expected) - set(present)), sorted(set(present) - set(expected))
    if extra:
        raise ArtifactError(
            f"{where} has {extra[0]} ({describe_tensor(extra[0])}), which the model it describes has no place for; "
            "herd would leave it out: bring a model of a kind that herd reads"
        )
    if missing:
        raise ArtifactError(f"{where} lacks {missing[0]}; it is not the model it describes, or not all of it")


def check_layers(where: str, n_layers: int, names: Iterable[str], pattern: str) -> None:
    """Raises ArtifactError when a file holds another number of layers than its configuration says: asked before
    anything is made as often as there are layers. pattern: finds a layer's number in a tensor's name."""
    compiled = re.compile(pattern)
    layers = {match[1] for name in names if (match := compiled.match(name))}
    if len(layers) != n_layers:
        raise ArtifactError(
            f"{where}: the configuration says {n_layers:,} layers and the weights have {len(layers):,}; the two belong "
            "to different models"
        )


def unread_weights(module: nn.Module, weights: Iterable[Tensor]) -> list[str]:
    """Names of the weights in `module` that are not among those that are read."""
    weight_ids = {id(weight) for weight in weights}
    return [name for name, weight in module.state_dict(keep_vars=True).items() if id(weight) not in weight_ids]


def check_weights_read(back_end: str, module: nn.Module, weights: Iterable[Tensor]) -> None:
    """Raises ArtifactError, which names the weight, when `module` has one that is not read."""
    unread = unread_weights(module, weights)
    if unread:
        raise ArtifactError(
            f"{unread[0]} is {describe_tensor(unread[0])}, which {back_end} does not read; bring a model without it, "
            "or take a back-end that reads it"
        )


def check_features(back_end: str, supported: Collection[str], required: Collection[str]) -> None:
    """Raises ArtifactError, which names them, when a model has features that a back-end does not compute."""
    missing = missing_features(supported, required)
    if missing:
        raise ArtifactError(f"the model has {missing}, which {back_end} does not compute; take one that does")
