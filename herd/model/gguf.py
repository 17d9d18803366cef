"""GGUF, the file of llama.cpp: weights, shape and tokenizer in one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from herd.core.errors import ArtifactError, SettingsError
from herd.core.extras import import_extra
from herd.model.accounting import check_held, check_layers
from herd.model.architecture import Architecture, RopeScaling, lacking
from herd.model.families import BY_GGUF, FAMILIES, GGUF_NOPE_EVERY, Family, every, fixed
from herd.model.names import LAYER_PATTERNS, names, weight_shapes
from herd.model.rope import frequencies
from herd.model.sizes import Shape
from herd.model.stored import Stored, is_turned, to_pairs

_ORIGINAL = "rope.scaling.original_context_length"
_FREQS = "rope_freqs.weight"  # what llama.cpp divides every pair's speed by
_LONG, _SHORT = "rope_factors_long.weight", "rope_factors_short.weight"
FORMS = ("f32", "f16", "bf16", "q8_0")


def _library() -> Any:
    return import_extra("gguf", "gguf", "a GGUF file")


def fields_of(file: Path) -> dict[str, Any]:
    """Everything a GGUF file says about itself, by key."""
    reader = _open(file)
    return {name: field.contents() for name, field in reader.fields.items()}


def _open(file: Path) -> Any:
    gguf = _library()
    try:
        return gguf.GGUFReader(file)
    except (ValueError, OSError, IndexError) as fault:
        raise ArtifactError(f"{file} is no whole GGUF file ({fault}); fetch it again") from None


def open_file(file: Path) -> Stored:
    """The model in a GGUF file; quantised weights come out as fp32. Raises ArtifactError when it is of no family that
    herd reads."""
    gguf = _library()
    reader = _open(file)
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    about = _About({name: field.contents() for name, field in reader.fields.items()}, tensors, file)
    shape = about.shape()
    check_layers(str(file), shape.layers, tensors, LAYER_PATTERNS["gguf"])
    table = names(shape, "gguf")
    factors = {None: set(), "llama3": {_FREQS}, "longrope": {_LONG, _SHORT}}
    kind = shape.rope_scaling.rope_type if shape.rope_scaling else None
    check_held(str(file), set(tensors) - factors.get(kind, set()), set(table.values()))

    def raw(name: str) -> Tensor:
        tensor = tensors[table[name]]
        kind = tensor.tensor_type
        if kind == gguf.GGMLQuantizationType.BF16:
            return torch.from_numpy(tensor.data.copy()).view(torch.bfloat16)
        if kind in (gguf.GGMLQuantizationType.F32, gguf.GGMLQuantizationType.F16):
            return torch.from_numpy(tensor.data.copy())
        return torch.from_numpy(gguf.quants.dequantize(tensor.data, kind))

    pairs = about.family.gguf_pairs
    return Stored(str(file), shape, raw, pairs=pairs, dtype=raw("blocks.0.attention.query.weight").dtype)


class _About:
    """What a file's fields and tensors' names say about the model. Raises ArtifactError for a family that herd does not
    read."""

    def __init__(self, fields: Mapping[str, Any], tensors: dict[str, Any], file: Path) -> None:
        self.fields, self.tensors, self.file = fields, tensors, file
        kind = self._value("general.architecture")
        if kind not in BY_GGUF:
            known = ", ".join(repr(name) for name in BY_GGUF)
            raise ArtifactError(f"{file} holds a {kind!r} model; herd reads {known}")
        self.kind, self.family = kind, BY_GGUF[kind]

    def _value(self, name: str, otherwise: Any = None) -> Any:
        found = self.fields.get(name, otherwise)
        if found is None:
            raise ArtifactError(f"{self.file} does not say {name}; convert the model again")
        return found

    def own(self, name: str, otherwise: Any = None) -> Any:
        """A field of the architecture."""
        return self._value(f"{self.kind}.{name}", otherwise)

    def shape(self) -> Shape:
        tensors, file = self.tensors, self.file
        if "token_embd.weight" not in tensors:
            raise ArtifactError(f"{file} lacks token_embd.weight; it is not a {self.kind} model, or not all of it")
        heads, width = self.own("attention.head_count"), self.own("embedding_length")
        context = self.own("context_length")
        head = self.fields.get(f"{self.kind}.attention.key_length")
        try:
            shape = Shape(
                vocabulary=int(tensors["token_embd.weight"].shape[1]),
                width=width,
                layers=self.own("block_count"),
                heads=heads,
                kv_heads=self.own("attention.head_count_kv", heads),
                hidden=self.own("feed_forward_length"),
                context=context,
                rope_theta=self.own("rope.freq_base", 10_000.0),
                norm_eps=_short(self.own("attention.layer_norm_rms_epsilon")),
                tied_output="output.weight" not in tensors,
                architecture=self._architecture(None if head is None or head * heads == width else head),
            )
            _check_fields(self.fields, shape, self.kind, file)
            scaling = self._scaling(shape)
            return shape if scaling is None else replace(shape, rope_scaling=scaling, context=scaling.reads(context))
        except SettingsError as fault:
            raise ArtifactError(f"{file}: {fault}") from None

    def _architecture(self, head: int | None) -> Architecture:
        """What the family has, and of biases those whose tensors are there."""
        biases = {"qkv_bias": "attn_q", "output_bias": "attn_output", "ffn_bias": "ffn_down"}
        there = {bias for bias, name in biases.items() if f"blk.0.{name}.bias" in self.tensors}
        own: dict[str, Any] = {name: True for name in there if name in self.family.gguf_may}
        still = every(GGUF_NOPE_EVERY, self._layers_there()) if "nope" in self.family.gguf_may else ()
        return Architecture(head_width=head, nope_layers=still, **(fixed(self.family) | own))

    def _layers_there(self) -> int:
        """As many as the tensors are of: a field may say any number."""
        return len({found[1] for name in self.tensors if (found := re.match(LAYER_PATTERNS["gguf"], name))})

    def _scaling(self, shape: Shape) -> RopeScaling | None:
        """llama.cpp keeps what a scaling comes to, not always what it was computed of."""
        original = int(self.own(_ORIGINAL, 0))
        kind = self.fields.get(f"{self.kind}.rope.scaling.type", _UNSAID)
        factor = float(self.own("rope.scaling.factor", 1.0))
        if _FREQS in self.tensors:
            return self._llama3(shape, original or 8192)
        if kind == "linear" and factor not in (0, 1):
            return RopeScaling(rope_type="linear", factor=_short(factor), original_context=shape.context)
        if kind == "yarn":
            own = {name: float(self.own(f"rope.scaling.yarn_{name}", 0.0)) for name in ("beta_fast", "beta_slow")}
            betas: dict[str, Any] = {name: value for name, value in own.items() if value}
            original = original or shape.context
            return self._sized(RopeScaling(rope_type="yarn", factor=_short(factor), original_context=original, **betas))
        if kind == "longrope":
            lists: dict[str, Any] = {name: self._factors_in(tensor, shape) for name, tensor in _LONGROPE.items()}
            original = original or shape.context
            return self._sized(
                RopeScaling(rope_type="longrope", factor=shape.context / original, original_context=original, **lists)
            )
        return None

    def _sized(self, scaling: RopeScaling) -> RopeScaling:
        """With the file's own factor of cosines and sines, where it is not the usual one."""
        size = float(self.own("rope.scaling.attn_factor", 0.0))
        if scaling.rope_type == "yarn":  # llama.cpp multiplies it by the usual one
            size *= scaling.magnitude
        if not size or abs(size / scaling.magnitude - 1) < 1e-6:
            return scaling
        return replace(scaling, attention_factor=_short(size))

    def _factors_in(self, name: str, shape: Shape) -> tuple[float, ...]:
        if name not in self.tensors:
            raise ArtifactError(f"{self.file} lacks {name}, which longrope needs; convert the model again")
        return tuple(map(_short, np.array(self.tensors[name].data, dtype=np.float32).ravel().tolist()))

    def _llama3(self, shape: Shape, original: int) -> RopeScaling:
        """The scaling that gives the factors in the file."""
        factors = torch.from_numpy(np.array(self.tensors[_FREQS].data, dtype=np.float32))
        if factors.shape == (shape.head_width // 2,) and factors.isfinite().all():
            tried = RopeScaling(factor=round(float(factors.max()), 3), original_context=original)
            if torch.allclose(_factors(shape.head_width, shape.rope_theta, tried), factors, rtol=1e-4):
                return tried
        raise ArtifactError(f"{self.file}: {_FREQS} are not those of Llama 3.1's scaling; herd reads only that one")


# Ours -> the tensor that holds them.
_LONGROPE = {"short_factors": _SHORT, "long_factors": _LONG}
# Fields of the architecture that are read.
_READ = {
    "context_length", "embedding_length", "block_count", "feed_forward_length", "attention.head_count",
    "attention.head_count_kv", "attention.layer_norm_rms_epsilon", "rope.freq_base", _ORIGINAL, "vocab_size",
    "attention.key_length",
}  # fmt: skip
_UNSAID = "linear"  # the type where a file says none
# Those that are read of a scaling of that type.
_READ_OF_SCALING = {
    "linear": {"factor"},
    "yarn": {"factor", "attn_factor", "yarn_beta_fast", "yarn_beta_slow"},
    "longrope": {"factor", "attn_factor"},
}


def _check_fields(fields: Mapping[str, Any], shape: Shape, kind: str, file: Path) -> None:
    """Raises ArtifactError, which names the key, for what would change the function of the model and is not read: any
    key of the architecture that is not known to leave it as it is.

    Source: llama.cpp, `llama-model.cpp`, for what each key does; GGUF's specification for their names.
    """
    scaled = fields.get(f"{kind}.rope.scaling.type", _UNSAID)
    unscaled = scaled == "none"  # whatever the factor says
    read = _READ | {f"rope.scaling.{name}" for name in _READ_OF_SCALING.get(scaled, ())}
    neutral: dict[str, Callable[[Any], bool]] = {
        "attention.value_length": lambda value: value == shape.head_width,
        "attention.sliding_window": lambda value: value == 0 or value >= shape.context,
        "attention.scale": lambda value: abs(value - shape.head_width**-0.5) < 1e-6,
        "attention.causal": lambda value: value is True,
        "rope.dimension_count": lambda value: value == shape.head_width,
        "rope.scaling.type": lambda value: value in ("none", *_READ_OF_SCALING),
        "rope.scaling.factor": lambda value: unscaled or value in (0, 1),
        "rope.scale_linear": lambda value: unscaled or value in (0, 1),
        "rope.scaling.attn_factor": lambda value: value == 1,
        "rope.scaling.yarn_log_multiplier": lambda value: value == 0,
        "rope.scaling.yarn_ext_factor": lambda value: value in (-1, 1),
        "rope.scaling.yarn_attn_factor": lambda value: value == 1,
        "rope.scaling.finetuned": lambda value: True,
        "logit_scale": lambda value: value in (0, 1),
        "residual_scale": lambda value: value in (0, 1),
        "embedding_scale": lambda value: value in (0, 1),
        "attention.max_alibi_bias": lambda value: value == 0,
        "attention.clamp_kqv": lambda value: value == 0,
        "use_parallel_residual": lambda value: value is False,
        "expert_count": lambda value: value == 0,
        "expert_used_count": lambda value: value == 0,
        "tensor_data_layout": lambda value: value == "Meta AI original pth",
    }
    for key, value in fields.items():
        name = key.removeprefix(f"{kind}.")
        if name == key or name in read or (name in neutral and neutral[name](value)):
            continue
        raise ArtifactError(f"{file}: {key} is {value!r}, which herd does not compute; convert the model without it")
    if fields.get("general.type", "model") != "model":
        raise ArtifactError(f"{file}: general.type is {fields['general.type']!r}; herd reads 'model'")
    if fields.get("split.count", 1) > 1:
        raise ArtifactError(f"{file}: split.count is {fields['split.count']}; merge the parts with llama-gguf-split")


def _short(value: float) -> float:
    """The shortest decimal that is the same fp32 number: 1e-05, not 9.999999747378752e-06."""
    return float(str(np.float32(value)))


def _factors(head_width: int, theta: float, scaling: RopeScaling) -> Tensor:
    return frequencies(head_width, theta) / frequencies(head_width, theta, scaling)


# ---- out ----


def write(file: Path, model: Stored, *, form: str, name: str, fields: dict[str, Any]) -> None:
    """Writes `model` for llama.cpp and what builds on it.

    form: of the matrices, one of FORMS; norms stay fp32. fields: of the tokenizer, by GGUF's keys.
    """
    if form not in FORMS:
        raise SettingsError(f"{form!r} is no form of weights; choose one of {', '.join(FORMS)}")
    gguf = _library()
    shape = model.shape
    family = _family(shape)
    writer = gguf.GGUFWriter(file, family.gguf)
    writer.add_name(name)
    positions = shape.context if shape.rope_scaling is None else shape.rope_scaling.positions(shape.context)
    writer.add_context_length(positions)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.hidden)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    if shape.architecture.head_width is not None:
        writer.add_key_length(shape.head_width)
        writer.add_value_length(shape.head_width)
    writer.add_rope_dimension_count(shape.head_width)
    writer.add_rope_freq_base(shape.rope_theta)
    writer.add_layer_norm_rms_eps(shape.norm_eps)
    if shape.rope_scaling is not None:
        _add_scaling(gguf, writer, shape.rope_scaling)
    writer.add_vocab_size(shape.vocabulary)
    writer.add_file_type(getattr(gguf.LlamaFileType, {"f32": "ALL_F32"}.get(form, f"MOSTLY_{form.upper()}")))
    for key, value in fields.items():
        _add_field(writer, key, value)
    for theirs, value in _tensors(model):
        kind = "F32" if value.ndim == 1 else form.upper()
        _add_tensor(gguf, writer, theirs, value, getattr(gguf.GGMLQuantizationType, kind))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _family(shape: Shape) -> Family:
    """The family whose code in llama.cpp computes this shape. Raises SettingsError, which names the features, where
    none does."""
    able = [family for family in FAMILIES if family.has(shape)]
    for family in able:
        always = family.gguf_may & family.always
        still = every(GGUF_NOPE_EVERY, shape.layers) if "nope" in family.gguf_may else ()
        if always <= shape.features <= family.gguf_may and shape.architecture.nope_layers == still:
            return family
    lacks = min(
        (lacking(family.gguf_may, shape.features) for family in able), key=len, default=lacking((), shape.features)
    )
    what = lacks or "layers without positions other than every fourth"
    raise SettingsError(f"llama.cpp has no architecture that computes {what}; export a Hugging Face folder")


def _add_scaling(gguf: Any, writer: Any, scaling: RopeScaling) -> None:
    """Fields of a scaling; llama3's, and the factors of longrope, are tensors."""
    if scaling.rope_type != "linear":
        writer.add_rope_scaling_orig_ctx_len(scaling.original_context)
    if scaling.rope_type == "llama3":
        return
    writer.add_rope_scaling_type(gguf.RopeScalingType(scaling.rope_type))
    if scaling.rope_type == "longrope":
        writer.add_rope_scaling_attn_factors(scaling.magnitude)
        return
    writer.add_rope_scaling_factor(scaling.factor)
    if scaling.rope_type == "yarn":
        if not scaling.truncate:
            raise SettingsError("llama.cpp's yarn has truncate, and this one has not; export a Hugging Face folder")
        if scaling.attention_factor is not None:  # llama.cpp multiplies it by the usual one
            usual = replace(scaling, attention_factor=None).magnitude
            writer.add_rope_scaling_attn_factors(scaling.attention_factor / usual)
        writer.add_rope_scaling_yarn_beta_fast(scaling.beta_fast)
        writer.add_rope_scaling_yarn_beta_slow(scaling.beta_slow)


def _tensors(model: Stored) -> Iterator[tuple[str, np.ndarray]]:
    shape, table, pairs = model.shape, names(model.shape, "gguf"), _family(model.shape).gguf_pairs
    scaling = shape.rope_scaling
    if scaling is not None and scaling.rope_type == "llama3":
        yield _FREQS, _factors(shape.head_width, shape.rope_theta, scaling).numpy()
    elif scaling is not None and scaling.rope_type == "longrope":
        for ours, theirs in _LONGROPE.items():
            yield theirs, np.array(getattr(scaling, ours), dtype=np.float32)
    for name in weight_shapes(shape):
        value = model.read(name).float()
        if pairs and is_turned(name):
            value = to_pairs(value, shape.head_width)
        yield table[name], value.contiguous().numpy()


def _add_tensor(gguf: Any, writer: Any, name: str, value: np.ndarray, kind: Any) -> None:
    # llama.cpp packs 32 numbers of a row together; a row that they do not fill stays as it is.
    if kind == gguf.GGMLQuantizationType.Q8_0 and value.shape[-1] % 32:
        kind = gguf.GGMLQuantizationType.F16
    if kind == gguf.GGMLQuantizationType.F32:
        writer.add_tensor(name, value)
    elif kind == gguf.GGMLQuantizationType.F16:
        writer.add_tensor(name, value.astype(np.float16))
    else:
        writer.add_tensor(name, gguf.quants.quantize(value, kind), raw_dtype=kind)


def _add_field(writer: Any, key: str, value: Any) -> None:
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    else:
        writer.add_array(key, value)
