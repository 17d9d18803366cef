"""Tokenizers of other programs: OpenAI's and Meta's ranked pairs."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from pathlib import Path

from tokenizers import Tokenizer as Backend
from tokenizers import models

from herd.core.errors import ArtifactError
from herd.tokens.bpe import llama3_tokenizer
from herd.tokens.tokenizer import TextTokenizer


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
    return llama3_tokenizer(backend)


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
        candidates = [(number.get(parts[i] + parts[i + 1], below), i) for i in range(len(parts) - 1)]
        rank, at = min(candidates)
        if rank >= below:
            break
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts


def _letters() -> dict[int, str]:
    """A printable letter for every byte. Source: Radford et al. 2019, released code; used by every byte-level BPE."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    table = {byte: chr(byte) for byte in printable}
    unprintable = [byte for byte in range(256) if byte not in table]
    return table | {byte: chr(256 + place) for place, byte in enumerate(unprintable)}


_LETTERS = _letters()
_BYTES = {letter: byte for byte, letter in _LETTERS.items()}


def to_letters(pair: bytes) -> str:
    return "".join(_LETTERS[byte] for byte in pair)


def to_bytes(letters: str) -> bytes:
    return bytes(_BYTES[letter] for letter in letters)
