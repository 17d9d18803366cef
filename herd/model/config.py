"""`config.json` of Hugging Face's Llama, to a shape and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from herd.core.errors import ArtifactError
from herd.core.layout import CONFIG_FILES
from herd.core.manifests import check_files
from herd.model.sizes import RopeScaling, Shape

CONFIG = "config.json"


def read_config(folder: Path) -> dict[str, Any]:
    """The configuration in `folder`. Raises ArtifactError when there is none, it is damaged, or not JSON."""
    file = folder / CONFIG
    check_files(folder, *CONFIG_FILES)
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtifactError(f"{folder} holds no {CONFIG}; name the folder of a model") from None
    except ValueError as fault:
        raise ArtifactError(f"{file} is not JSON ({fault}); fetch or make the model again") from None


def shape_in(folder: Path) -> Shape:
    """The shape of the model in `folder`."""
    return shape_of(read_config(folder), folder)


def shape_of(config: dict[str, Any], folder: Path) -> Shape:
    """The shape that a Hugging Face Llama configuration describes.

    Raises ArtifactError for what Llama 3 has no place for: another model, biases, another activation or head width.
    """
    if config.get("model_type") != "llama":
        raise ArtifactError(f"{folder} holds a {config.get('model_type')!r} model; herd reads model_type 'llama'")
    _check_kind(config, folder)
    rope = config.get("rope_parameters") or {}
    scaling = config.get("rope_scaling") or (rope if rope.get("rope_type", "default") != "default" else None)
    try:
        return Shape(
            vocabulary=config["vocab_size"],
            width=config["hidden_size"],
            layers=config["num_hidden_layers"],
            heads=config["num_attention_heads"],
            kv_heads=config.get("num_key_value_heads", config["num_attention_heads"]),
            hidden=config["intermediate_size"],
            context=config["max_position_embeddings"],
            rope_theta=float(rope.get("rope_theta") or config.get("rope_theta") or 10_000.0),
            rope_scaling=_scaling(scaling, folder),
            norm_eps=config.get("rms_norm_eps", 1e-6),
            tied_output=bool(config.get("tie_word_embeddings", False)),
        )
    except KeyError as fault:
        raise ArtifactError(f"{folder / CONFIG} has no {fault}; fetch or make the model again") from None


def _check_kind(config: dict[str, Any], folder: Path) -> None:
    for name, wanted in (("attention_bias", False), ("mlp_bias", False), ("hidden_act", "silu")):
        if config.get(name, wanted) != wanted:
            raise ArtifactError(f"{folder}: {name} is {config[name]!r}; Llama 3 has {wanted!r}, and herd only that")
    width, heads = config.get("hidden_size", 0), config.get("num_attention_heads", 1)
    if config.get("head_dim") not in (None, width // heads):
        raise ArtifactError(
            f"{folder}: head_dim {config['head_dim']} is not hidden_size / heads = {width // heads}, "
            "and herd reads only that"
        )


def _scaling(row: dict[str, Any] | None, folder: Path) -> RopeScaling | None:
    if row is None:
        return None
    kind = row.get("rope_type", row.get("type"))
    if kind != "llama3":
        raise ArtifactError(f"{folder}: rope scaling {kind!r} is not Llama 3's; herd reads 'llama3'")
    return RopeScaling(
        factor=float(row["factor"]),
        low_frequency=float(row["low_freq_factor"]),
        high_frequency=float(row["high_freq_factor"]),
        original_context=row["original_max_position_embeddings"],
    )


def config_of(shape: Shape, *, reward: bool, dtype: str) -> dict[str, Any]:
    """The configuration that transformers, vLLM and llama.cpp's converter read."""
    config: dict[str, Any] = {
        "architectures": ["LlamaForSequenceClassification" if reward else "LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.width,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_width,
        "intermediate_size": shape.hidden,
        "max_position_embeddings": shape.context,
        "rope_theta": shape.rope_theta,
        "rms_norm_eps": shape.norm_eps,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": shape.tied_output,
        "torch_dtype": dtype,
    }
    if reward:
        config["num_labels"] = 1
    if shape.rope_scaling is not None:
        config["rope_scaling"] = {
            "rope_type": "llama3",
            "factor": shape.rope_scaling.factor,
            "low_freq_factor": shape.rope_scaling.low_frequency,
            "high_freq_factor": shape.rope_scaling.high_frequency,
            "original_max_position_embeddings": shape.rope_scaling.original_context,
        }
    return config
