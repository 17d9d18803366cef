"""Tokenizers of other programs: OpenAI's and Meta's ranked pairs, and the vocabulary inside a GGUF file."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers
from tokenizers import Tokenizer as Backend

from herd.core.errors import ArtifactError
from herd.tokens.bpe import finish
from herd.tokens.tokenizer import LLAMA3, PATTERN, Controls, TextTokenizer

# How the texts of GGUF's `tokenizer.ggml.pre` are cut; None is GPT-2's own way.
_SPLITS: dict[str, str | None] = {
    "llama-bpe": PATTERN,
    "llama3": PATTERN,
    "gpt-2": None,
    "default": None,
    "smollm": None,
}
_CONTROL, _USER_DEFINED = 3, 4  # of `tokenizer.ggml.token_type`


def read_ranks(file: Path) -> list[bytes]:
    """The pairs of a tiktoken file (`tokenizer.model` of Llama 3, `cl100k_base.tiktoken`), by rank.

    Raises ArtifactError when a line is no pair or a rank is missing.
    """
    ranks: dict[int, bytes] = {}
    number = 0
    try:
        for line in file.read_bytes().splitlines():
            number += 1
            if line.strip():
                text, rank = line.split()
                ranks[int(rank)] = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise ArtifactError(
            f"{file}, line {number}: not a pair in base 64 and its rank; fetch the file again"
        ) from None
    except OSError as fault:
        raise ArtifactError(f"{file} cannot be read ({fault.strerror}); name a tiktoken file") from None
    if sorted(ranks) != list(range(len(ranks))) or not ranks:
        raise ArtifactError(f"{file}: ranks do not run from 0 to {len(ranks) - 1}; fetch the file again")
    return [ranks[rank] for rank in range(len(ranks))]


def from_ranks(ranks: Sequence[bytes]) -> TextTokenizer:
    """Llama 3's tokenizer over these pairs: its splitting of text, its 256 control tokens after the last pair."""
    vocabulary = {to_letters(pair): rank for rank, pair in enumerate(ranks)}
    backend = Backend(models.BPE(vocabulary, merges_of(ranks), ignore_merges=True))
    return finish(backend)


def load_tiktoken(file: Path) -> TextTokenizer:
    """The tokenizer in `file`, with Llama 3's control tokens."""
    return from_ranks(read_ranks(file))


def merges_of(ranks: Sequence[bytes]) -> list[tuple[str, str]]:
    """Which two earlier pairs each pair is made of.

    tiktoken keeps no merges: a pair is merged from what its bytes come to when only lower ranks may merge.
    """
    number = {pair: rank for rank, pair in enumerate(ranks)}
    merges = []
    for rank, pair in enumerate(ranks):
        if len(pair) > 1:
            parts = _parts(pair, number, rank)
            if len(parts) == 2:
                merges.append((to_letters(parts[0]), to_letters(parts[1])))
    return merges


def _parts(word: bytes, number: Mapping[bytes, int], below: int) -> list[bytes]:
    parts = [word[i : i + 1] for i in range(len(word))]
    while len(parts) > 1:
        found = [(number.get(parts[i] + parts[i + 1], below), i) for i in range(len(parts) - 1)]
        rank, at = min(found)
        if rank >= below:
            break
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts


def _letters() -> dict[int, str]:
    """A printable letter for every byte. Source: Radford et al. 2019, released code; used by every byte-level BPE."""
    shown = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    table = {byte: chr(byte) for byte in shown}
    rest = [byte for byte in range(256) if byte not in table]
    return table | {byte: chr(256 + place) for place, byte in enumerate(rest)}


_LETTERS = _letters()
_BYTES = {letter: byte for byte, letter in _LETTERS.items()}


def to_letters(pair: bytes) -> str:
    return "".join(_LETTERS[byte] for byte in pair)


def to_bytes(letters: str) -> bytes:
    return bytes(_BYTES[letter] for letter in letters)


# ---- GGUF ----


def from_gguf(fields: Mapping[str, Any], where: str) -> TextTokenizer:
    """The tokenizer that a GGUF file's fields describe. Raises ArtifactError when it is no byte-level BPE."""
    kind, split = fields.get("tokenizer.ggml.model"), fields.get("tokenizer.ggml.pre", "default")
    if kind != "gpt2" or split not in _SPLITS:
        raise ArtifactError(
            f"{where} has a tokenizer {kind!r} that splits text as {split!r}; herd reads 'gpt2' with "
            f"{', '.join(_SPLITS)}"
        )
    tokens = list(fields["tokenizer.ggml.tokens"])
    kinds = list(fields.get("tokenizer.ggml.token_type", [1] * len(tokens)))
    merges = [tuple(merge.split(" ", 1)) for merge in fields["tokenizer.ggml.merges"]]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    backend = Backend(models.BPE(vocabulary, merges, ignore_merges=split in ("llama-bpe", "llama3")))  # type: ignore[arg-type]
    backend.pre_tokenizer = _splitting(split)
    backend.decoder = decoders.ByteLevel()
    special = [token for token, kind in zip(tokens, kinds, strict=True) if kind in (_CONTROL, _USER_DEFINED)]
    backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])

    def named(name: str) -> str | None:
        number = fields.get(f"tokenizer.ggml.{name}_token_id")
        return None if number is None else tokens[int(number)]

    end = named("eos")
    if end is None:
        raise ArtifactError(f"{where} does not say which token ends a text; convert the model again")
    turn = named("eot") or end
    begin = named("bos") if fields.get("tokenizer.ggml.add_bos_token", True) else None
    template = fields.get("tokenizer.chat_template")
    if "<|start_header_id|>" in vocabulary:
        return TextTokenizer(backend, LLAMA3, template)
    stops = tuple(dict.fromkeys((end, turn)))
    return TextTokenizer(backend, Controls(begin, end, turn, stops, named("padding") or end), template)


def _splitting(split: str) -> Any:
    pattern = _SPLITS[split]
    if pattern is not None:
        to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), to_bytes])
    own = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    if split == "smollm":
        return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), own])
    return own


def to_gguf(tokenizer: TextTokenizer, rows: int) -> dict[str, Any]:
    """The fields that tell llama.cpp about a tokenizer; `rows` of the embedding, unused ones named so."""
    made = tokenizer.backend_json
    tokens = [f"[PAD{number}]" for number in range(rows)]
    kinds = [5] * rows  # unused
    for token, number in made["model"]["vocab"].items():
        tokens[number], kinds[number] = token, 1
    for added in made["added_tokens"]:
        tokens[added["id"]], kinds[added["id"]] = added["content"], _CONTROL
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in made["model"]["merges"]]
    fields: dict[str, Any] = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": _split_of(made),
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.merges": merges,
        "tokenizer.ggml.eos_token_id": tokenizer.end,
        "tokenizer.ggml.eot_token_id": tokenizer.end_of_turn,
        "tokenizer.ggml.padding_token_id": tokenizer.pad,
        "tokenizer.ggml.add_bos_token": bool(tokenizer.opening),
    }
    if tokenizer.opening:
        fields["tokenizer.ggml.bos_token_id"] = tokenizer.begin
    if tokenizer.template:
        fields["tokenizer.chat_template"] = tokenizer.template
    return fields


def _split_of(made: Mapping[str, Any]) -> str:
    text = str(made["pre_tokenizer"])
    if "Split" in text:
        return "llama-bpe"
    return "smollm" if "Digits" in text else "gpt-2"
