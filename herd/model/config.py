"""`config.json` of Hugging Face's models, to a shape and back."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from herd.core.errors import ArtifactError, SettingsError
from herd.core.manifests import check_files
from herd.core.model_files import CONFIG_FILES
from herd.model.adapters import SCORE_WEIGHT, is_adapter, read_adapters
from herd.model.architecture import ROPE_FIELDS, RopeScaling, missing_features
from herd.model.families import (
    FAMILIES,
    FAMILY_BY_MODEL_TYPE,
    FEATURE_FIELDS,
    Family,
    architecture_from_config,
    config_fields,
)
from herd.model.sizes import Shape

CONFIG_JSON = "config.json"
REWARD_ARCHITECTURE = "LlamaForSequenceClassification"


def read_config(folder: Path) -> dict[str, Any]:
    """The configuration in `folder`. Raises ArtifactError when there is none, it is damaged, or not JSON."""
    file = folder / CONFIG_JSON
    check_files(folder, *CONFIG_FILES)
    if is_adapter(folder) and not file.exists():  # as peft writes them
        adapters = read_adapters(folder)
        return read_config(adapters.base) | (
            {"architectures": [REWARD_ARCHITECTURE]} if SCORE_WEIGHT in adapters.names() else {}
        )
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtifactError(f"{folder} holds no {CONFIG_JSON}; name the folder of a model") from None
    except ValueError as fault:
        raise ArtifactError(f"{file} is not JSON ({fault}); fetch or make the model again") from None


def read_shape(folder: Path) -> Shape:
    """The shape of the model in `folder`."""
    return shape_from_config(read_config(folder), folder)


def shape_from_config(config: dict[str, Any], folder: Path) -> Shape:
    """The shape that a Hugging Face configuration describes.

    Raises ArtifactError, which names the field, for what herd does not compute (another kind of model, another
    activation, a scale of logits, ...) and for numbers that are none.
    """
    where = folder / CONFIG_JSON
    if not isinstance(config, dict):
        raise ArtifactError(f"{where} holds no configuration; fetch or make the model again")
    family = FAMILY_BY_MODEL_TYPE.get(str(config.get("model_type")))
    if family is None:
        supported = ", ".join(repr(name) for name in FAMILY_BY_MODEL_TYPE)
        raise ArtifactError(f"{folder} holds a {config.get('model_type')!r} model; herd reads model_type {supported}")
    rope = config.get("rope_parameters") or {}
    if not isinstance(rope, dict):
        raise ArtifactError(f"{where}: rope_parameters is {rope!r}; it should be a table of names and numbers")
    scaling = config.get("rope_scaling") or (rope if rope.get("rope_type", "default") != "default" else None)
    try:
        _check_kind(family, config | {"partial_rotary_factor": rope.get("partial_rotary_factor")}, where)
        _check_kind(family, config, where)
        positions = config["max_position_embeddings"]
        rope_scaling = _scaling(scaling, config, where)
        return Shape(
            vocab_size=config["vocab_size"],
            dim=config["hidden_size"],
            n_layers=config["num_hidden_layers"],
            n_heads=config["num_attention_heads"],
            n_kv_heads=_value_or(config, "num_key_value_heads", config["num_attention_heads"]),
            ffn_dim=config["intermediate_size"],
            max_seq_len=positions if rope_scaling is None else rope_scaling.to_max_seq_len(positions),
            rope_theta=float(_value_or(rope, "rope_theta", family.get(config, "rope_theta", 10_000.0))),
            rope_scaling=rope_scaling,
            norm_eps=family.get(config, "rms_norm_eps", 1e-6),
            tied_output=bool(family.get(config, "tie_word_embeddings", False)),
            architecture=architecture_from_config(family, config),
        )
    except KeyError as fault:
        raise ArtifactError(f"{where} has no {fault}; fetch or make the model again") from None
    except SettingsError as fault:
        raise ArtifactError(f"{where}: {fault}") from None
    except (TypeError, ValueError, OverflowError, LookupError) as fault:
        raise ArtifactError(f"{where} has a number that is none ({fault}); fetch or make the model again") from None


def _value_or(config: dict[str, Any], name: str, default: Any) -> Any:
    """What transformers takes: absent and null are the same."""
    value = config.get(name)
    return default if value is None else value


# Fields that change what a model computes -> the values with which they change nothing, for families that have no
# feature that they turn on. Source: the configurations of transformers' models; a field that is absent or null changes
# nothing either.
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


def _check_kind(family: Family, config: dict[str, Any], where: Path) -> None:
    owned = {name for name, feature in FEATURE_FIELDS.items() if feature in family.optional_features}
    for name, neutral in _NEUTRAL.items():
        value = config.get(name)
        if name not in owned and value is not None and value not in neutral:
            plain = f"herd computes {neutral[0]!r} only" if neutral else "herd computes no such thing"
            raise ArtifactError(f"{where}: {name} is {value!r}; of a {family.model_type} model {plain}")
    kinds = {"full_attention"} | ({"sliding_attention"} if "layer_types" in owned else set())
    unsupported = [kind for kind in config.get("layer_types") or () if kind not in kinds]
    if unsupported:
        raise ArtifactError(
            f"{where}: layer_types has {unsupported[0]!r}, which herd does not compute; it computes {kinds}"
        )
    window = config.get("sliding_window") if config.get("use_sliding_window", True) else None
    if "sliding_window" not in owned and window is not None and not window >= config["max_position_embeddings"]:
        raise ArtifactError(
            f"{where}: sliding_window is {window!r}, which a {family.model_type} model has no place for; leave it out"
        )


# Ours -> transformers', of what RopeScaling has beside type and factor.
_HF_ROPE_FIELDS = {
    "low_freq_factor": "low_freq_factor",
    "high_freq_factor": "high_freq_factor",
    "beta_fast": "beta_fast",
    "beta_slow": "beta_slow",
    "truncate": "truncate",
    "attention_factor": "attention_factor",
    "short_factor": "short_factor",
    "long_factor": "long_factor",
}


def _scaling(row: dict[str, Any] | None, config: dict[str, Any], where: Path) -> RopeScaling | None:
    if row is None:
        return None
    kind = row.get("rope_type", row.get("type")) if isinstance(row, dict) else row
    if kind == "default":
        return None
    if kind not in ROPE_FIELDS or not isinstance(row, dict):
        raise ArtifactError(f"{where}: rope_scaling is of type {kind!r}; herd computes {', '.join(ROPE_FIELDS)}")
    kwargs = {ours: row[theirs] for ours, theirs in _HF_ROPE_FIELDS.items() if row.get(theirs) is not None}
    kwargs = {ours: value for ours, value in kwargs.items() if ours in ROPE_FIELDS[kind]}
    kwargs |= {ours: float(value) for ours, value in kwargs.items() if isinstance(value, int) and ours != "truncate"}
    kwargs |= {ours: tuple(map(float, value)) for ours, value in kwargs.items() if isinstance(value, list)}
    positions = config["max_position_embeddings"]
    original = positions if kind in ("linear", "dynamic") else _original(row, config)
    factor: Any = row.get("factor")
    if factor is None and kind in ("yarn", "longrope"):
        factor = positions / original
    if factor is None:
        raise SettingsError(f"{kind} scaling of positions has no factor; mend rope_scaling")
    scales: list[Any] = [row.get(name) for name in ("mscale", "mscale_all_dim")]
    if kind == "yarn" and all(scales) and "attention_factor" not in kwargs:
        first, second = (1.0 if factor <= 1 else 0.1 * scale * math.log(factor) + 1.0 for scale in scales)
        kwargs["attention_factor"] = first / second
    return RopeScaling(rope_type=kind, factor=float(factor), original_max_position_embeddings=original, **kwargs)


def _original(row: dict[str, Any], config: dict[str, Any]) -> int:
    """What a model was first trained on: some say so beside the scaling. Source: transformers,
    `standardize_rope_params`."""
    name = "original_max_position_embeddings"
    return _value_or(config, name, _value_or(row, name, config["max_position_embeddings"]))


def config_from_shape(shape: Shape, *, reward: bool, dtype: str) -> dict[str, Any]:
    """The configuration that transformers, vLLM and llama.cpp's converter read: of the first family that computes this
    shape. Raises SettingsError where none does."""
    for family in FAMILIES:
        if family.supports(shape):
            config = _config(family, shape, reward=reward, dtype=dtype)
            if shape_from_config(config, Path()) == shape:  # some features go only together in a family
                return config
    raise SettingsError(
        f"no model_type of transformers computes {missing_features((), shape.features)} together; herd writes "
        f"{', '.join(FAMILY_BY_MODEL_TYPE)}"
    )


def _config(family: Family, shape: Shape, *, reward: bool, dtype: str) -> dict[str, Any]:
    scaling = shape.rope_scaling
    config: dict[str, Any] = {
        "architectures": [f"{family.class_prefix}For{'SequenceClassification' if reward else 'CausalLM'}"],
        "model_type": family.model_type,
        "vocab_size": shape.vocab_size,
        "hidden_size": shape.dim,
        "num_hidden_layers": shape.n_layers,
        "num_attention_heads": shape.n_heads,
        "num_key_value_heads": shape.n_kv_heads,
        "intermediate_size": shape.ffn_dim,
        "max_position_embeddings": shape.max_seq_len
        if scaling is None
        else scaling.to_max_position_embeddings(shape.max_seq_len),
        "rope_theta": shape.rope_theta,
        "rms_norm_eps": shape.norm_eps,
        "hidden_act": "silu",
        "tie_word_embeddings": shape.tied_output,
        "torch_dtype": dtype,
    } | config_fields(family, shape)
    if reward:
        config["num_labels"] = 1
    if scaling is not None:
        config["rope_scaling"] = {"rope_type": scaling.rope_type, "factor": scaling.factor} | {
            theirs: list(value) if isinstance(value, tuple) else value
            for ours, theirs in _HF_ROPE_FIELDS.items()
            if ours in ROPE_FIELDS[scaling.rope_type] and (value := getattr(scaling, ours)) is not None
        }
        if scaling.rope_type in ("yarn", "llama3", "longrope"):
            config["rope_scaling"]["original_max_position_embeddings"] = scaling.original_max_position_embeddings
    return config
