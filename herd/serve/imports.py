"""Bringing in models of other programs: read in their own format, checked, and written in Hugging Face's."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from herd.core.artifacts import atomic_folder, write_checksums
from herd.core.errors import ArtifactError, SettingsError
from herd.model import gguf, meta, reference, weights
from herd.model.adapters import is_adapter, read_adapters
from herd.model.config import CONFIG_JSON
from herd.model.sizes import Shape
from herd.model.stored import StoredModel
from herd.model.transformer import stream_logits
from herd.tokens.gguf import from_gguf
from herd.tokens.jinja import with_chat_template
from herd.tokens.tiktoken import load_tiktoken
from herd.tokens.tokenizer import TextTokenizer
from herd.train.checkpoint import ABOUT, kind_of, write_tokenizer_files

# The engine in fp32 against formulas in float64, as a share of the largest logit.
TOLERANCE = 1e-3
_CHECKED_TEXT = "The cat sat on the mat. 12 + 34 = 46, and def f(x): return x * 2"
_MAX_CHECKED_TOKENS = 32


@dataclass(frozen=True)
class ImportResult:
    """What was brought in. difference: of logits, between what was written and formulas on what was read."""

    shape: Shape
    tokens_checked: int
    difference: float


def import_model(
    source: Path,
    folder: Path,
    *,
    chat_template: str = "",
    report: Callable[[int, int], None] = lambda done, total: None,
) -> ImportResult:
    """Writes the model in `source` (a GGUF file, Meta's folder, or Hugging Face's) as a new `folder`.

    The logits of the copy are compared with those that formulas in float64 give on the original; a copy that
    disagrees is not kept. chat_template: for a model that brings none, or another one; a packaged name or a Jinja
    file. Such a model has yet to be taught it, and counts as one that does not chat. report: called
    with how many weights are written, of how many. Raises SettingsError when `folder` exists and ArtifactError for what
    cannot be read.
    """
    if folder.exists():
        raise SettingsError(f"{folder} exists; name a folder that does not")
    stored, tokenizer = open_any(source)
    kind = kind_of(source) if (source / ABOUT).exists() else "chat" if tokenizer.template else "base"
    if chat_template:
        tokenizer, kind = with_chat_template(tokenizer, chat_template), "base"
    shape = stored.shape
    if tokenizer.vocab_size > shape.vocab_size:
        raise ArtifactError(
            f"{source}: the tokenizer has {tokenizer.vocab_size:,} tokens and the model {shape.vocab_size:,} rows; "
            "they belong to different models"
        )
    with atomic_folder(folder) as out:
        table = weights.hugging_face_names(shape, reward=False)
        read = _told(stored.tensors(), shape.num_params, report)
        weights.write_tensors(out, ((table[name], value.to(stored.dtype)) for name, value in read))
        weights.write_config(
            out,
            shape,
            bos_token_id=tokenizer.named_bos_id,
            eos_token_ids=sorted(tokenizer.stop_token_ids),
            pad_token_id=tokenizer.pad_id,
            dtype=stored.dtype,
        )
        write_tokenizer_files(out, tokenizer, context=shape.max_seq_len, kind=kind)
        tokens = [*tokenizer.opening, *tokenizer.encode(_CHECKED_TEXT)][: min(_MAX_CHECKED_TOKENS, shape.max_seq_len)]
        difference = logit_difference(stored, weights.open_folder(out), tokens)
        if not math.isfinite(difference):
            raise ArtifactError(
                f"{source}: its logits are not finite, or all are zero, so it can say nothing; take another checkpoint"
            )
        if difference > TOLERANCE:
            raise ArtifactError(
                f"{source}: logits of the copy are {difference:.1e} off those of the original (at most {TOLERANCE} "
                "is let pass); the copy was not kept"
            )
        write_checksums(out)
    return ImportResult(shape, len(tokens), difference)


def _told(
    tensors: Iterable[tuple[str, Tensor]], total: int, report: Callable[[int, int], None]
) -> Iterator[tuple[str, Tensor]]:
    """The tensors, one after another, and how many weights those before are."""
    done = 0
    for name, value in tensors:
        report(done, total)
        yield name, value
        done += value.numel()


def logit_difference(original: StoredModel, copy: StoredModel, tokens: list[int]) -> float:
    """The largest difference of logits between the engine on `copy` and formulas on `original`, as a share of the
    largest logit."""
    with np.errstate(all="ignore"):  # what is not finite is seen in the result
        expected = reference.logits(original, tokens)
    with torch.inference_mode():
        logits = stream_logits(copy.shape, copy.read, torch.tensor([tokens]))[0].double().numpy()
    with np.errstate(all="ignore"):
        return float(np.abs(logits - expected).max() / np.abs(expected).max())


def open_any(source: Path) -> tuple[StoredModel, TextTokenizer]:
    """Weights and tokenizer in whatever format `source` has. Raises ArtifactError when it is none that herd reads."""
    if source.is_file() and source.suffix == ".gguf":
        stored, fields = gguf.open_gguf_with_fields(source)
        return stored, from_gguf(fields, str(source))
    if (source / meta.PARAMS_FILE).exists():
        stored = meta.open_meta_folder(source)
        return stored, load_tiktoken(source / "tokenizer.model")
    if is_adapter(source):
        # As one model; peft leaves the tokenizer with the model it stands beside, unless who trained it added one.
        text = source if (source / "tokenizer.json").exists() else read_adapters(source).base
        return weights.open_folder(source), TextTokenizer.load(text)
    if (source / CONFIG_JSON).exists():
        return weights.open_folder(source), TextTokenizer.load(source)
    inside = sorted(source.glob("*.gguf")) if source.is_dir() else []
    if len(inside) == 1:
        return open_any(inside[0])
    hint = "there is no such file or folder" if not source.exists() else "it is none of these"
    raise ArtifactError(
        f"{source} is no model: {hint}; herd reads a .gguf file, Meta's folder (params.json, consolidated.*.pth, "
        "tokenizer.model), Hugging Face's (config.json, *.safetensors, tokenizer.json) and peft's adapters"
    )
