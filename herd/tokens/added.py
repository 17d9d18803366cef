"""Added tokens: which of them steer, and texts in which only those that a template wrote are tokens."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

from tokenizers import AddedToken
from tokenizers import Tokenizer as Backend

# Letters of a private area, one of which stands around the number of a control token.
_SIGNS = range(0x10F000, 0x10FFFE)
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")


class TextEncoding(NamedTuple):
    """Ids of a text, from which of its characters to which each goes, and whether it is a control token."""

    ids: list[int]
    offsets: list[tuple[int, int]]
    control_mask: list[bool]


def is_control(token: AddedToken) -> bool:
    """Whether an added token steers: all do, whatever their flag says, but blanks and plain words that a vocabulary
    grew by, and the bytes that other letters are spelled by."""
    if token.special or _BYTE.fullmatch(token.content):
        return not _BYTE.fullmatch(token.content)
    return not all(unicodedata.category(letter)[0] in "LMNZ" or letter.isspace() for letter in token.content)


class ControlTokenReader:
    """A vocabulary in two more readings: as its own program reads it, with every added token, and with other names of
    its control tokens, by which it writes them where a text that spells them out stays text."""

    def __init__(self, backend: Backend, controls: Sequence[str]) -> None:
        self._tokenizer_json: dict[str, Any] = json.loads(backend.to_str())
        # Spans leave blanks out where this stands, and it adds nothing here.
        self._tokenizer_json["post_processor"] = None
        self._controls = tuple(controls)
        self._find = re.compile("|".join(map(re.escape, sorted(controls, key=len, reverse=True))) or r"(?!)")

    @cached_property
    def _full_backend(self) -> Backend:
        return Backend.from_str(json.dumps(self._tokenizer_json))

    @cached_property
    def _control_ids(self) -> dict[str, int]:
        return {token: id_ for token in self._controls if (id_ := self._full_backend.token_to_id(token)) is not None}

    @cached_property
    def _control_id_set(self) -> frozenset[int]:
        return frozenset(self._control_ids.values())

    def read(self, text: str) -> TextEncoding:
        """The text as the vocabulary's own program reads it, control tokens and all."""
        return self._encoding(self._full_backend.encode(text, add_special_tokens=False), text, None)

    def encode(self, text: str) -> list[int]:
        """Ids of a text that holds no control token, whatever it spells out."""
        return self._renamed(_sign(text)).encode(text, add_special_tokens=False).ids

    def find_controls(self, text: str) -> list[tuple[int, int]]:
        """Where control tokens are spelled out, from left to right, the longest first."""
        return [match.span() for match in self._find.finditer(text)]

    def write(self, text: str, places: Sequence[tuple[int, int]]) -> TextEncoding:
        """The text with the control tokens that are spelled out at `places`, and none elsewhere."""
        sign, pieces, positions, at = _sign(text), [], [], 0
        for start, end in places:
            pieces += [text[at:start], f"{sign}{self._controls.index(text[start:end])}{sign}"]
            positions += [*range(at, start), *[start] * (len(pieces[-1]) - 1), end - 1]
            at = end
        pieces.append(text[at:])
        positions += [*range(at, len(text)), len(text)]
        return self._encoding(self._renamed(sign).encode("".join(pieces), add_special_tokens=False), text, positions)

    @cached_property
    def _unknown(self) -> int | None:
        """What stands for letters that the vocabulary has not, and is no control token there."""
        unknown = self._tokenizer_json["model"].get("unk_token")
        return (
            self._control_ids.get(unknown) if isinstance(unknown, str) else self._tokenizer_json["model"].get("unk_id")
        )

    def _encoding(self, encoding: Any, text: str, positions: list[int] | None) -> TextEncoding:
        offsets = encoding.offsets
        if positions is not None:
            offsets = [
                (positions[start], positions[end - 1] + 1 if end > start else positions[start])
                for start, end in offsets
            ]
        control_mask = [number in self._control_id_set for number in encoding.ids]
        for place, number in enumerate(encoding.ids):
            if number == self._unknown:
                control_mask[place] = self._control_ids.get(text[slice(*offsets[place])].strip()) == number
        return TextEncoding(encoding.ids, offsets, control_mask)

    @lru_cache(maxsize=2)  # noqa: B019 - as long-lived as the vocabulary
    def _renamed(self, sign: str) -> Backend:
        """The vocabulary with `sign`, a number and `sign` as the name of every control token."""
        name = {token: f"{sign}{number}{sign}" for number, token in enumerate(self._controls)}
        tokenizer_json = json.loads(json.dumps(self._tokenizer_json))
        for added in tokenizer_json["added_tokens"]:
            added["content"] = name.get(added["content"], added["content"])
        vocab = tokenizer_json["model"].get("vocab")
        if isinstance(vocab, dict):
            tokenizer_json["model"]["vocab"] = {name.get(piece, piece): number for piece, number in vocab.items()}
        elif isinstance(vocab, list):
            tokenizer_json["model"]["vocab"] = [[name.get(piece, piece), score] for piece, score in vocab]
        if (unknown := tokenizer_json["model"].get("unk_token")) in name:
            tokenizer_json["model"]["unk_token"] = name[unknown]
        return Backend.from_str(json.dumps(tokenizer_json))


def _sign(text: str) -> str:
    """A letter that the text does not hold."""
    return next(sign for number in _SIGNS if (sign := chr(number)) not in text)
