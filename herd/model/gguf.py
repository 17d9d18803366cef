"""GGUF, the file of llama.cpp: weights, shape and tokenizer in one."""

from __future__ import annotations

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
from herd.model.rope import frequencies
from herd.model.sizes import RopeScaling, Shape
from herd.model.stored import Stored, to_pairs, weight_shapes

# Ours -> GGUF's, inside a block.
_BLOCK = {
    "attention_norm": "attn_norm",
    "attention.query": "attn_q",
    "attention.key": "attn_k",
    "attention.value": "attn_v",
    "attention.output": "attn_output",
    "feed_forward_norm": "ffn_norm",
    "feed_forward.gate": "ffn_gate",
    "feed_forward.up": "ffn_up",
    "feed_forward.down": "ffn_down",
}
_ORIGINAL = "llama.rope.scaling.original_context_length"
_FACTORS = "rope_freqs.weight"  # what llama.cpp divides every pair's speed by
FORMS = ("f32", "f16", "bf16", "q8_0")


def names(layers: int) -> dict[str, str]:
    """Our name of every weight -> GGUF's."""
    table = {"embedding": "token_embd", "norm": "output_norm", "output": "output"}
    for layer in range(layers):
        table |= {f"blocks.{layer}.{ours}": f"blk.{layer}.{theirs}" for ours, theirs in _BLOCK.items()}
    return {f"{ours}.weight": f"{theirs}.weight" for ours, theirs in table.items()}


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
    """The model in a GGUF file; quantised weights come out as fp32. Raises ArtifactError when it is not Llama's."""
    gguf = _library()
    reader = _open(file)
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    shape = _shape({name: field.contents() for name, field in reader.fields.items()}, tensors, file)
    check_layers(str(file), shape.layers, tensors, r"blk\.(\d+)\.")
    table = names(shape.layers)
    tied = {table["output.weight"]} if shape.tied_output else set()
    check_held(str(file), set(tensors) - {_FACTORS}, set(table.values()) - tied)

    def raw(name: str) -> Tensor:
        tensor = tensors[table[name]]
        kind = tensor.tensor_type
        if kind == gguf.GGMLQuantizationType.BF16:
            return torch.from_numpy(tensor.data.copy()).view(torch.bfloat16)
        if kind in (gguf.GGMLQuantizationType.F32, gguf.GGMLQuantizationType.F16):
            return torch.from_numpy(tensor.data.copy())
        return torch.from_numpy(gguf.quants.dequantize(tensor.data, kind))

    return Stored(str(file), shape, raw, pairs=True, dtype=raw("blocks.0.attention.query.weight").dtype)


def _shape(fields: Mapping[str, Any], tensors: dict[str, Any], file: Path) -> Shape:
    def value(name: str, otherwise: Any = None) -> Any:
        found = fields.get(name, otherwise)
        if found is None:
            raise ArtifactError(f"{file} does not say {name}; convert the model again")
        return found

    kind = value("general.architecture")
    if kind != "llama":
        raise ArtifactError(f"{file} holds a {kind!r} model; herd reads 'llama'")
    if "token_embd.weight" not in tensors:
        raise ArtifactError(f"{file} lacks token_embd.weight; it is not a Llama 3 model, or not all of it")
    heads, theta = value("llama.attention.head_count"), value("llama.rope.freq_base", 10_000.0)
    try:
        shape = Shape(
            vocabulary=int(tensors["token_embd.weight"].shape[1]),
            width=value("llama.embedding_length"),
            layers=value("llama.block_count"),
            heads=heads,
            kv_heads=value("llama.attention.head_count_kv", heads),
            hidden=value("llama.feed_forward_length"),
            context=value("llama.context_length"),
            rope_theta=theta,
            norm_eps=_short(value("llama.attention.layer_norm_rms_epsilon")),
            tied_output="output.weight" not in tensors,
        )
        _check_fields(fields, shape, file)
        return replace(shape, rope_scaling=_scaling(tensors, shape, value(_ORIGINAL, 8192), file))
    except SettingsError as fault:
        raise ArtifactError(f"{file}: {fault}") from None


# Fields of the architecture that are read.
_READ = {
    "context_length", "embedding_length", "block_count", "feed_forward_length", "attention.head_count",
    "attention.head_count_kv", "attention.layer_norm_rms_epsilon", "rope.freq_base",
    "rope.scaling.original_context_length", "vocab_size",
}  # fmt: skip


def _check_fields(fields: Mapping[str, Any], shape: Shape, file: Path) -> None:
    """Raises ArtifactError, which names the key, for what would change the function of the model and is not read: any
    key of the architecture that is not known to leave it as it is.

    Source: llama.cpp, `llama-model.cpp`, for what each key does; GGUF's specification for their names.
    """
    unscaled = fields.get("llama.rope.scaling.type") == "none"  # whatever the factor says
    neutral: dict[str, Callable[[Any], bool]] = {
        "attention.key_length": lambda value: value == shape.head_width,
        "attention.value_length": lambda value: value == shape.head_width,
        "attention.sliding_window": lambda value: value == 0 or value >= shape.context,
        "attention.scale": lambda value: abs(value - shape.head_width**-0.5) < 1e-6,
        "attention.causal": lambda value: value is True,
        "rope.dimension_count": lambda value: value == shape.head_width,
        "rope.scaling.type": lambda value: value == "none" or (value == "linear" and _plain(fields)),
        "rope.scaling.factor": lambda value: unscaled or value in (0, 1),
        "rope.scale_linear": lambda value: unscaled or value in (0, 1),
        "rope.scaling.attn_factor": lambda value: value == 1,
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
        name = key.removeprefix("llama.")
        if name == key or name in _READ or (name in neutral and neutral[name](value)):
            continue
        raise ArtifactError(f"{file}: {key} is {value!r}, which herd does not compute; it reads plain Llama 3 only")
    if fields.get("general.type", "model") != "model":
        raise ArtifactError(f"{file}: general.type is {fields['general.type']!r}; herd reads 'model'")
    if fields.get("split.count", 1) > 1:
        raise ArtifactError(f"{file}: split.count is {fields['split.count']}; merge the parts with llama-gguf-split")


def _plain(fields: Mapping[str, Any]) -> bool:
    """Whether linear scaling is by a factor of one."""
    factors = (fields.get(f"llama.rope.{name}", 1) for name in ("scaling.factor", "scale_linear"))
    return all(one in (0, 1) for one in factors)


def _short(value: float) -> float:
    """The shortest decimal that is the same fp32 number: 1e-05, not 9.999999747378752e-06."""
    return float(str(np.float32(value)))


def _scaling(tensors: dict[str, Any], shape: Shape, original: int, file: Path) -> RopeScaling | None:
    """The scaling that gives the factors in the file; llama.cpp keeps those, not what they were computed of."""
    if _FACTORS not in tensors:
        return None
    factors = torch.from_numpy(np.array(tensors[_FACTORS].data, dtype=np.float32))
    if factors.shape == (shape.head_width // 2,) and factors.isfinite().all():
        tried = RopeScaling(factor=round(float(factors.max()), 3), original_context=original)
        if torch.allclose(_factors(shape.head_width, shape.rope_theta, tried), factors, rtol=1e-4):
            return tried
    raise ArtifactError(f"{file}: {_FACTORS} are not those of Llama 3.1's scaling; herd reads only that one")


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
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_name(name)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.hidden)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_rope_dimension_count(shape.head_width)
    writer.add_rope_freq_base(shape.rope_theta)
    writer.add_layer_norm_rms_eps(shape.norm_eps)
    if shape.rope_scaling is not None:
        writer.add_rope_scaling_orig_ctx_len(shape.rope_scaling.original_context)
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


def _tensors(model: Stored) -> Iterator[tuple[str, np.ndarray]]:
    shape, table = model.shape, names(model.shape.layers)
    if shape.rope_scaling is not None:
        yield _FACTORS, _factors(shape.head_width, shape.rope_theta, shape.rope_scaling).numpy()
    for name in weight_shapes(shape):
        value = model.read(name).float()
        if name.endswith(("attention.query.weight", "attention.key.weight")):
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
