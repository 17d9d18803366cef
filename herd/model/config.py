"""`config.json` of Hugging Face's Llama, to a shape and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from herd.core.errors import ArtifactError, SettingsError
from herd.core.layout import CONFIG_FILES
from herd.core.manifests import check_files
from herd.model.adapters import SCORE, is_adapter, read_adapters
from herd.model.sizes import RopeScaling, Shape

CONFIG = "config.json"
REWARD = "LlamaForSequenceClassification"


def read_config(folder: Path) -> dict[str, Any]:
    """The configuration in `folder`. Raises ArtifactError when there is none, it is damaged, or not JSON."""
    file = folder / CONFIG
    check_files(folder, *CONFIG_FILES)
    if is_adapter(folder) and not file.exists():  # as peft writes them
        adapters = read_adapters(folder)
        return read_config(adapters.base) | ({"architectures": [REWARD]} if SCORE in adapters.names() else {})
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

    Raises ArtifactError, which names the field, for what Llama 3 has no place for (another model, biases, another
    activation, a window, another scaling of positions, ...) and for numbers that are none.
    """
    where = folder / CONFIG
    if not isinstance(config, dict):
        raise ArtifactError(f"{where} holds no configuration; fetch or make the model again")
    if config.get("model_type") != "llama":
        raise ArtifactError(f"{folder} holds a {config.get('model_type')!r} model; herd reads model_type 'llama'")
    rope = config.get("rope_parameters") or {}
    if not isinstance(rope, dict):
        raise ArtifactError(f"{where}: rope_parameters is {rope!r}; it should be a table of names and numbers")
    scaling = config.get("rope_scaling") or (rope if rope.get("rope_type", "default") != "default" else None)
    try:
        _check_kind(config | {"partial_rotary_factor": rope.get("partial_rotary_factor")}, where)
        _check_kind(config, where)
        return Shape(
            vocabulary=config["vocab_size"],
            width=config["hidden_size"],
            layers=config["num_hidden_layers"],
            heads=config["num_attention_heads"],
            kv_heads=_said(config, "num_key_value_heads", config["num_attention_heads"]),
            hidden=config["intermediate_size"],
            context=config["max_position_embeddings"],
            rope_theta=_theta(rope, config),
            rope_scaling=_scaling(scaling, where),
            norm_eps=_said(config, "rms_norm_eps", 1e-6),
            tied_output=bool(config.get("tie_word_embeddings", False)),
        )
    except KeyError as fault:
        raise ArtifactError(f"{where} has no {fault}; fetch or make the model again") from None
    except SettingsError as fault:
        raise ArtifactError(f"{where}: {fault}") from None
    except (TypeError, ValueError, OverflowError) as fault:
        raise ArtifactError(f"{where} has a number that is none ({fault}); fetch or make the model again") from None


def _theta(rope: dict[str, Any], config: dict[str, Any]) -> float:
    return float(_said(rope, "rope_theta", _said(config, "rope_theta", 10_000.0)))


def _said(config: dict[str, Any], name: str, otherwise: Any) -> Any:
    """What transformers takes: absent and null are the same."""
    value = config.get(name)
    return otherwise if value is None else value


# Fields that change what a model computes -> the values with which they change nothing. Source: the configurations of
# transformers' models; a field that is absent or null changes nothing either.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "attention_bias": (False,),
    "qkv_bias": (False,),
    "bias": (False,),
    "use_bias": (False,),
    "mlp_bias": (False,),
    "hidden_act": ("silu", "swish"),
    "hidden_activation": ("silu", "swish"),
    "norm_type": ("rms_norm", "rmsnorm"),
    "layer_norm_type": ("rms_norm", "rmsnorm"),
    "partial_rotary_factor": (1.0,),
    "rotary_pct": (1.0,),
    "no_rope_layers": ([],),
    "no_rope_layer_interval": (0,),
    "rope_interleaved": (False,),
    "attention_chunk_size": (),
    "use_qk_norm": (False,),
    "qk_norm": (False,),
    "qk_layernorm": (False,),
    "clip_qkv": (),
    "attn_logit_softcapping": (0.0,),
    "final_logit_softcapping": (0.0,),
    "query_pre_attn_scalar": (),
    "attention_multiplier": (),
    "logit_scale": (1.0,),
    "logits_scaling": (1.0,),
    "embedding_multiplier": (1.0,),
    "scale_emb": (1.0,),
    "scale_depth": (),
    "residual_multiplier": (1.0,),
    "residual_scale": (1.0,),
    "mup_width_multiplier": (1.0,),
    "parallel_residual": (False,),
    "use_parallel_residual": (False,),
    "num_experts": (0, 1),
    "num_local_experts": (0, 1),
    "cross_attention_layers": ([],),
    "is_causal": (True,),
    "alibi": (False,),
    "attention_sinks": (False,),
    "quantization_config": (),
}


def _check_kind(config: dict[str, Any], where: Path) -> None:
    for name, neutral in _NEUTRAL.items():
        value = config.get(name)
        if value is not None and value not in neutral:
            llamas = f"Llama 3 has {neutral[0]!r}" if neutral else "Llama 3 has no such thing"
            raise ArtifactError(f"{where}: {name} is {value!r}; {llamas}, and herd reads only that")
    width, heads = config["hidden_size"], config["num_attention_heads"]
    if heads and config.get("head_dim") not in (None, width // heads):  # no heads: the shape is refused
        raise ArtifactError(
            f"{where}: head_dim {config['head_dim']} is not hidden_size / num_attention_heads = {width // heads}, "
            "and herd reads only that"
        )
    window = config.get("sliding_window") if config.get("use_sliding_window", True) else None
    if window is not None and not window >= config["max_position_embeddings"]:
        raise ArtifactError(f"{where}: sliding_window is {window!r}; Llama 3 attends to all before, and herd only so")
    other = [one for one in config.get("layer_types") or () if one != "full_attention"]
    if other:
        raise ArtifactError(f"{where}: layer_types has {other[0]!r}; Llama 3 has 'full_attention', and herd only that")


def _scaling(row: dict[str, Any] | None, where: Path) -> RopeScaling | None:
    if row is None:
        return None
    kind = row.get("rope_type", row.get("type")) if isinstance(row, dict) else row
    if kind == "default":
        return None
    if kind != "llama3" or not isinstance(row, dict):
        raise ArtifactError(f"{where}: rope_scaling is of type {kind!r}; herd reads 'llama3', and no other scaling")
    return RopeScaling(
        factor=float(row["factor"]),
        low_frequency=float(row["low_freq_factor"]),
        high_frequency=float(row["high_freq_factor"]),
        original_context=row["original_max_position_embeddings"],
    )


def config_of(shape: Shape, *, reward: bool, dtype: str) -> dict[str, Any]:
    """The configuration that transformers, vLLM and llama.cpp's converter read."""
    config: dict[str, Any] = {
        "architectures": [REWARD if reward else "LlamaForCausalLM"],
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
