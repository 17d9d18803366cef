"""Models on disk in the Hugging Face layout: `config.json` and `model.safetensors`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from herd.core.errors import ArtifactError
from herd.model.heads import RewardModel
from herd.model.sizes import RopeScaling, Shape
from herd.model.transformer import Transformer

CONFIG, WEIGHTS = "config.json", "model.safetensors"

# Ours -> Hugging Face's, inside a block.
_BLOCK = {
    "attention_norm": "input_layernorm",
    "attention.query": "self_attn.q_proj",
    "attention.key": "self_attn.k_proj",
    "attention.value": "self_attn.v_proj",
    "attention.output": "self_attn.o_proj",
    "feed_forward_norm": "post_attention_layernorm",
    "feed_forward.gate": "mlp.gate_proj",
    "feed_forward.up": "mlp.up_proj",
    "feed_forward.down": "mlp.down_proj",
}


def names(layers: int, *, reward: bool) -> dict[str, str]:
    """Our name of every weight -> Hugging Face's."""
    trunk = "trunk." if reward else ""
    table = {f"{trunk}embedding": "model.embed_tokens", f"{trunk}norm": "model.norm"}
    table |= {"score": "score"} if reward else {"output": "lm_head"}
    for layer in range(layers):
        table |= {f"{trunk}blocks.{layer}.{ours}": f"model.layers.{layer}.{theirs}" for ours, theirs in _BLOCK.items()}
    return {f"{ours}.weight": f"{theirs}.weight" for ours, theirs in table.items()}


def save_model(folder: Path, model: Transformer | RewardModel, *, begin: int, stops: list[int], pad: int) -> None:
    """Writes the model into `folder`; begin, stops and pad are token ids that other programs want to know."""
    reward = isinstance(model, RewardModel)
    table = names(model.shape.layers, reward=reward)
    save_file(
        {table[name]: value.contiguous() for name, value in model.state_dict().items()},
        folder / WEIGHTS,
        metadata={"format": "pt"},
    )
    config = _config(model.shape, reward=reward) | {"bos_token_id": begin, "eos_token_id": stops, "pad_token_id": pad}
    (folder / CONFIG).write_text(json.dumps(config, indent=2), encoding="utf-8")
    generation = {"bos_token_id": begin, "eos_token_id": stops, "pad_token_id": pad, "do_sample": False}
    (folder / "generation_config.json").write_text(json.dumps(generation, indent=2), encoding="utf-8")


def load_model(folder: Path) -> Transformer | RewardModel:
    """The model in `folder`, in fp32.

    Raises ArtifactError when a file is missing, damaged or of another shape than the configuration says.
    """
    config = read_config(folder)
    shape = shape_of(config, folder)
    reward = config.get("architectures") == ["LlamaForSequenceClassification"]
    stored = _read_weights(folder)
    if config.get("tie_word_embeddings") and "lm_head.weight" not in stored and not reward:
        stored["lm_head.weight"] = stored["model.embed_tokens.weight"]
    table = names(shape.layers, reward=reward)
    _check_names(stored, set(table.values()), folder)
    model = RewardModel(shape) if reward else Transformer(shape)
    for name, weight in model.state_dict().items():
        theirs = stored[table[name]]
        if theirs.shape != weight.shape:
            raise ArtifactError(
                f"{folder / WEIGHTS}: {table[name]} is {list(theirs.shape)}, {CONFIG} asks for {list(weight.shape)}; "
                "the two files belong to different models"
            )
        weight.copy_(theirs)
    return model


def load_transformer(folder: Path) -> Transformer:
    """Like `load_model`, for one that writes text. Raises ArtifactError for a reward model."""
    model = load_model(folder)
    if not isinstance(model, Transformer):
        raise ArtifactError(f"{folder} holds a reward model, which gives scores; name a model that writes text")
    return model


def read_config(folder: Path) -> dict[str, Any]:
    file = folder / CONFIG
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtifactError(f"{folder} holds no {CONFIG}; name the folder of a model") from None
    except ValueError as fault:
        raise ArtifactError(f"{file} is not JSON ({fault}); fetch or make the model again") from None


def shape_of(config: dict[str, Any], folder: Path) -> Shape:
    """The shape that a Hugging Face Llama configuration describes."""
    if config.get("model_type") != "llama":
        raise ArtifactError(f"{folder} holds a {config.get('model_type')!r} model; herd reads model_type 'llama'")
    rope = config.get("rope_parameters") or {}
    scaling = config.get("rope_scaling") or (rope if rope.get("rope_type", "default") != "default" else None)
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


def _config(shape: Shape, *, reward: bool) -> dict[str, Any]:
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
        "tie_word_embeddings": False,
        "torch_dtype": "float32",
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


def _read_weights(folder: Path) -> dict[str, Tensor]:
    index = folder / f"{WEIGHTS}.index.json"
    files = [folder / WEIGHTS]
    if index.exists():
        files = [folder / name for name in sorted(set(json.loads(index.read_text())["weight_map"].values()))]
    stored: dict[str, Tensor] = {}
    for file in files:
        try:
            stored |= load_file(file)
        except (SafetensorError, OSError) as fault:
            raise ArtifactError(f"{file} cannot be read ({fault}); fetch or make the model again") from None
    return {name: value.to(torch.float32) for name, value in stored.items()}


def _check_names(stored: dict[str, Tensor], wanted: set[str], folder: Path) -> None:
    missing, extra = sorted(wanted - set(stored)), sorted(set(stored) - wanted)
    if missing or extra:
        what = f"lacks {missing[0]}" if missing else f"has {extra[0]}, which Llama 3 has no place for"
        raise ArtifactError(f"{folder}: {what}; it is not a Llama 3 model, or not all of it")
