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
from herd.core.extras import ExtraPackage, import_extra
from herd.model.accounting import check_layers, check_tensor_names
from herd.model.architecture import Architecture, RopeScaling, missing_features
from herd.model.families import FAMILIES, FAMILY_BY_GGUF, GGUF_NOPE_EVERY, Family, fixed_fields, layers_at_interval
from herd.model.rope import rope_frequencies
from herd.model.sizes import Shape
from herd.model.stored import StoredModel, is_rotated, to_pairs
from herd.model.weight_names import LAYER_PATTERNS, weight_names, weight_shapes

_ORIGINAL = "rope.scaling.original_context_length"
_FREQS = "rope_freqs.weight"  # what llama.cpp divides every pair's speed by
_LONG, _SHORT = "rope_factors_long.weight", "rope_factors_short.weight"
GGUF_WEIGHT_FORMATS = ("f32", "f16", "bf16", "q8_0")


def _library() -> Any:
    return import_extra(ExtraPackage("gguf", "gguf", "a GGUF file"))


def read_fields(file: Path) -> dict[str, Any]:
    """Everything a GGUF file says about itself, by key."""
    reader = _open(file)
    return {name: field.contents() for name, field in reader.fields.items()}


def _open(file: Path) -> Any:
    gguf = _library()
    try:
        return gguf.GGUFReader(file)
    except (ValueError, OSError, IndexError) as fault:
        raise ArtifactError(f"{file} is no whole GGUF file ({fault}); fetch it again") from None


def open_gguf(file: Path) -> StoredModel:
    """The model in a GGUF file; quantised weights come out as fp32. Raises ArtifactError when it is of no family that
    herd reads."""
    return open_gguf_with_fields(file)[0]


def open_gguf_with_fields(file: Path) -> tuple[StoredModel, dict[str, Any]]:
    """What `open_gguf` and `read_fields` give, from a file read once: a vocabulary in it takes seconds."""
    gguf = _library()
    reader = _open(file)
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    fields = {name: field.contents() for name, field in reader.fields.items()}
    model_fields = _ModelFields(fields, tensors, file)
    shape = model_fields.shape()
    check_layers(str(file), shape.n_layers, tensors, LAYER_PATTERNS["gguf"])
    table = weight_names(shape, "gguf")
    factors = {None: set(), "llama3": {_FREQS}, "longrope": {_LONG, _SHORT}}
    kind = shape.rope_scaling.rope_type if shape.rope_scaling else None
    check_tensor_names(str(file), set(tensors) - factors.get(kind, set()), set(table.values()))

    def raw(name: str) -> Tensor:
        tensor = tensors[table[name]]
        kind = tensor.tensor_type
        if kind == gguf.GGMLQuantizationType.BF16:
            return torch.from_numpy(tensor.data.copy()).view(torch.bfloat16)
        if kind in (gguf.GGMLQuantizationType.F32, gguf.GGMLQuantizationType.F16):
            return torch.from_numpy(tensor.data.copy())
        return torch.from_numpy(gguf.quants.dequantize(tensor.data, kind))

    rope_interleaved = model_fields.family.gguf_rope_interleaved
    dtype = raw("blocks.0.attention.query.weight").dtype
    return StoredModel(str(file), shape, raw, rope_interleaved=rope_interleaved, dtype=dtype), fields


class _ModelFields:
    """What a file's fields and tensors' names say about the model. Raises ArtifactError for a family that herd does not
    read."""

    def __init__(self, fields: Mapping[str, Any], tensors: dict[str, Any], file: Path) -> None:
        self.fields, self.tensors, self.file = fields, tensors, file
        kind = self._field("general.architecture")
        if kind not in FAMILY_BY_GGUF:
            supported = ", ".join(repr(name) for name in FAMILY_BY_GGUF)
            raise ArtifactError(f"{file} holds a {kind!r} model; herd reads {supported}")
        self.kind, self.family = kind, FAMILY_BY_GGUF[kind]

    def _field(self, name: str, default: Any = None) -> Any:
        value = self.fields.get(name, default)
        if value is None:
            raise ArtifactError(f"{self.file} does not say {name}; convert the model again")
        return value

    def architecture_field(self, name: str, default: Any = None) -> Any:
        """A field of the architecture."""
        return self._field(f"{self.kind}.{name}", default)

    def shape(self) -> Shape:
        tensors, file = self.tensors, self.file
        if "token_embd.weight" not in tensors:
            raise ArtifactError(f"{file} lacks token_embd.weight; it is not a {self.kind} model, or not all of it")
        heads, width = self.architecture_field("attention.head_count"), self.architecture_field("embedding_length")
        context = self.architecture_field("context_length")
        head = self.fields.get(f"{self.kind}.attention.key_length")
        try:
            shape = Shape(
                vocab_size=int(tensors["token_embd.weight"].shape[1]),
                dim=width,
                n_layers=self.architecture_field("block_count"),
                n_heads=heads,
                n_kv_heads=self.architecture_field("attention.head_count_kv", heads),
                ffn_dim=self.architecture_field("feed_forward_length"),
                max_seq_len=context,
                rope_theta=self.architecture_field("rope.freq_base", 10_000.0),
                norm_eps=_short(self.architecture_field("attention.layer_norm_rms_epsilon")),
                tied_output="output.weight" not in tensors,
                architecture=self._architecture(None if head is None or head * heads == width else head),
            )
            _check_fields(self.fields, shape, self.kind, file)
            scaling = self._scaling(shape)
            return (
                shape
                if scaling is None
                else replace(shape, rope_scaling=scaling, max_seq_len=scaling.to_max_seq_len(context))
            )
        except SettingsError as fault:
            raise ArtifactError(f"{file}: {fault}") from None

    def _architecture(self, head: int | None) -> Architecture:
        """What the family has, and of biases those whose tensors are there."""
        biases = {"qkv_bias": "attn_q", "output_bias": "attn_output", "ffn_bias": "ffn_down"}
        present = {bias for bias, name in biases.items() if f"blk.0.{name}.bias" in self.tensors}
        flags: dict[str, Any] = {name: True for name in present if name in self.family.gguf_features}
        nope_layers = (
            layers_at_interval(GGUF_NOPE_EVERY, self._count_layers()) if "nope" in self.family.gguf_features else ()
        )
        return Architecture(head_dim=head, nope_layers=nope_layers, **(fixed_fields(self.family) | flags))

    def _count_layers(self) -> int:
        """As many as the tensors are of: a field may say any number."""
        return len({match[1] for name in self.tensors if (match := re.match(LAYER_PATTERNS["gguf"], name))})

    def _scaling(self, shape: Shape) -> RopeScaling | None:
        """llama.cpp keeps what a scaling comes to, not always what it was computed of."""
        original = int(self.architecture_field(_ORIGINAL, 0))
        kind = self.fields.get(f"{self.kind}.rope.scaling.type", _DEFAULT_SCALING)
        factor = float(self.architecture_field("rope.scaling.factor", 1.0))
        if _FREQS in self.tensors:
            return self._llama3(shape, original or 8192)
        if kind == "linear" and factor not in (0, 1):
            return RopeScaling(
                rope_type="linear", factor=_short(factor), original_max_position_embeddings=shape.max_seq_len
            )
        if kind == "yarn":
            values = {
                name: float(self.architecture_field(f"rope.scaling.yarn_{name}", 0.0))
                for name in ("beta_fast", "beta_slow")
            }
            betas: dict[str, Any] = {name: value for name, value in values.items() if value}
            original = original or shape.max_seq_len
            return self._sized(
                RopeScaling(rope_type="yarn", factor=_short(factor), original_max_position_embeddings=original, **betas)
            )
        if kind == "longrope":
            lists: dict[str, Any] = {name: self._factors_in(tensor, shape) for name, tensor in _LONGROPE.items()}
            original = original or shape.max_seq_len
            return self._sized(
                RopeScaling(
                    rope_type="longrope",
                    factor=shape.max_seq_len / original,
                    original_max_position_embeddings=original,
                    **lists,
                )
            )
        return None

    def _sized(self, scaling: RopeScaling) -> RopeScaling:
        """With the file's own factor of cosines and sines, where it is not the usual one."""
        size = float(self.architecture_field("rope.scaling.attn_factor", 0.0))
        if scaling.rope_type == "yarn":  # llama.cpp multiplies it by the usual one
            size *= scaling.attention_scaling
        if not size or abs(size / scaling.attention_scaling - 1) < 1e-6:
            return scaling
        return replace(scaling, attention_factor=_short(size))

    def _factors_in(self, name: str, shape: Shape) -> tuple[float, ...]:
        if name not in self.tensors:
            raise ArtifactError(f"{self.file} lacks {name}, which longrope needs; convert the model again")
        return tuple(map(_short, np.array(self.tensors[name].data, dtype=np.float32).ravel().tolist()))

    def _llama3(self, shape: Shape, original: int) -> RopeScaling:
        """The scaling that gives the factors in the file."""
        factors = torch.from_numpy(np.array(self.tensors[_FREQS].data, dtype=np.float32))
        if factors.shape == (shape.head_dim // 2,) and factors.isfinite().all():
            scaling = RopeScaling(factor=round(float(factors.max()), 3), original_max_position_embeddings=original)
            if torch.allclose(_factors(shape.head_dim, shape.rope_theta, scaling), factors, rtol=1e-4):
                return scaling
        raise ArtifactError(f"{self.file}: {_FREQS} are not those of Llama 3.1's scaling; herd reads only that one")


# Ours -> the tensor that holds them.
_LONGROPE = {"short_factor": _SHORT, "long_factor": _LONG}
# Fields of the architecture that are read.
_READ = {
    "context_length", "embedding_length", "block_count", "feed_forward_length", "attention.head_count",
    "attention.head_count_kv", "attention.layer_norm_rms_epsilon", "rope.freq_base", _ORIGINAL, "vocab_size",
    "attention.key_length",
}  # fmt: skip
_DEFAULT_SCALING = "linear"  # the type where a file says none
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
    scaled = fields.get(f"{kind}.rope.scaling.type", _DEFAULT_SCALING)
    unscaled = scaled == "none"  # whatever the factor says
    read = _READ | {f"rope.scaling.{name}" for name in _READ_OF_SCALING.get(scaled, ())}
    neutral: dict[str, Callable[[Any], bool]] = {
        "attention.value_length": lambda value: value == shape.head_dim,
        "attention.sliding_window": lambda value: value == 0 or value >= shape.max_seq_len,
        "attention.scale": lambda value: abs(value - shape.head_dim**-0.5) < 1e-6,
        "attention.causal": lambda value: value is True,
        "rope.dimension_count": lambda value: value == shape.head_dim,
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


def _factors(head_dim: int, theta: float, scaling: RopeScaling) -> Tensor:
    return rope_frequencies(head_dim, theta) / rope_frequencies(head_dim, theta, scaling)


# ---- out ----


def write_gguf(file: Path, model: StoredModel, *, weight_format: str, name: str, fields: dict[str, Any]) -> None:
    """Writes `model` for llama.cpp and what builds on it.

    weight_format: of the matrices, one of GGUF_WEIGHT_FORMATS; norms stay fp32. fields: of the tokenizer, by GGUF's
    keys.
    """
    if weight_format not in GGUF_WEIGHT_FORMATS:
        raise SettingsError(f"{weight_format!r} is no form of weights; choose one of {', '.join(GGUF_WEIGHT_FORMATS)}")
    gguf = _library()
    shape = model.shape
    family = _family(shape)
    writer = gguf.GGUFWriter(file, family.gguf)
    writer.add_name(name)
    positions = (
        shape.max_seq_len
        if shape.rope_scaling is None
        else shape.rope_scaling.to_max_position_embeddings(shape.max_seq_len)
    )
    writer.add_context_length(positions)
    writer.add_embedding_length(shape.dim)
    writer.add_block_count(shape.n_layers)
    writer.add_feed_forward_length(shape.ffn_dim)
    writer.add_head_count(shape.n_heads)
    writer.add_head_count_kv(shape.n_kv_heads)
    if shape.architecture.head_dim is not None:
        writer.add_key_length(shape.head_dim)
        writer.add_value_length(shape.head_dim)
    writer.add_rope_dimension_count(shape.head_dim)
    writer.add_rope_freq_base(shape.rope_theta)
    writer.add_layer_norm_rms_eps(shape.norm_eps)
    if shape.rope_scaling is not None:
        _add_scaling(gguf, writer, shape.rope_scaling)
    writer.add_vocab_size(shape.vocab_size)
    writer.add_file_type(
        getattr(gguf.LlamaFileType, {"f32": "ALL_F32"}.get(weight_format, f"MOSTLY_{weight_format.upper()}"))
    )
    for key, value in fields.items():
        _add_field(writer, key, value)
    for theirs, value in _tensors(model):
        kind = "F32" if value.ndim == 1 else weight_format.upper()
        _add_tensor(gguf, writer, theirs, value, getattr(gguf.GGMLQuantizationType, kind))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _family(shape: Shape) -> Family:
    """The family whose code in llama.cpp computes this shape. Raises SettingsError, which names the features, where
    none does."""
    candidates = [family for family in FAMILIES if family.supports(shape)]
    for family in candidates:
        required = family.gguf_features & family.required_features
        nope_layers = layers_at_interval(GGUF_NOPE_EVERY, shape.n_layers) if "nope" in family.gguf_features else ()
        if required <= shape.features <= family.gguf_features and shape.architecture.nope_layers == nope_layers:
            return family
    missing = min(
        (missing_features(family.gguf_features, shape.features) for family in candidates),
        key=len,
        default=missing_features((), shape.features),
    )
    reason = missing or "layers without positions other than every fourth"
    raise SettingsError(f"llama.cpp has no architecture that computes {reason}; export a Hugging Face folder")


def _add_scaling(gguf: Any, writer: Any, scaling: RopeScaling) -> None:
    """Fields of a scaling; llama3's, and the factors of longrope, are tensors."""
    if scaling.rope_type != "linear":
        writer.add_rope_scaling_orig_ctx_len(scaling.original_max_position_embeddings)
    if scaling.rope_type == "llama3":
        return
    writer.add_rope_scaling_type(gguf.RopeScalingType(scaling.rope_type))
    if scaling.rope_type == "longrope":
        writer.add_rope_scaling_attn_factors(scaling.attention_scaling)
        return
    writer.add_rope_scaling_factor(scaling.factor)
    if scaling.rope_type == "yarn":
        if not scaling.truncate:
            raise SettingsError("llama.cpp's yarn has truncate, and this one has not; export a Hugging Face folder")
        if scaling.attention_factor is not None:  # llama.cpp multiplies it by the usual one
            usual = replace(scaling, attention_factor=None).attention_scaling
            writer.add_rope_scaling_attn_factors(scaling.attention_factor / usual)
        writer.add_rope_scaling_yarn_beta_fast(scaling.beta_fast)
        writer.add_rope_scaling_yarn_beta_slow(scaling.beta_slow)


def _tensors(model: StoredModel) -> Iterator[tuple[str, np.ndarray]]:
    shape, table, rope_interleaved = (
        model.shape,
        weight_names(model.shape, "gguf"),
        _family(model.shape).gguf_rope_interleaved,
    )
    scaling = shape.rope_scaling
    if scaling is not None and scaling.rope_type == "llama3":
        yield _FREQS, _factors(shape.head_dim, shape.rope_theta, scaling).numpy()
    elif scaling is not None and scaling.rope_type == "longrope":
        for ours, theirs in _LONGROPE.items():
            yield theirs, np.array(getattr(scaling, ours), dtype=np.float32)
    for name in weight_shapes(shape):
        value = model.read(name).float()
        if rope_interleaved and is_rotated(name):
            value = to_pairs(value, shape.head_dim)
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
