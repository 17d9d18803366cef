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


class Read(NamedTuple):
    """Ids of a text, from which of its characters to which each goes, and whether it is a control token."""

    ids: list[int]
    spans: list[tuple[int, int]]
    controls: list[bool]


def is_control(token: AddedToken) -> bool:
    """Whether an added token steers: all do, whatever their flag says, but blanks and plain words that a vocabulary
    grew by, and the bytes that other letters are spelled by."""
    if token.special or _BYTE.fullmatch(token.content):
        return not _BYTE.fullmatch(token.content)
    return not all(unicodedata.category(letter)[0] in "LMNZ" or letter.isspace() for letter in token.content)


class Marked:
    """A vocabulary in two more readings: as its own program reads it, with every added token, and with other names of
    its control tokens, by which it writes them where a text that spells them out stays text."""

    def __init__(self, backend: Backend, controls: Sequence[str]) -> None:
        self._made: dict[str, Any] = json.loads(backend.to_str())
        # Spans leave blanks out where this stands, and it adds nothing here.
        self._made["post_processor"] = None
        self._controls = tuple(controls)
        self._find = re.compile("|".join(map(re.escape, sorted(controls, key=len, reverse=True))) or r"(?!)")

    @cached_property
    def _theirs(self) -> Backend:
        return Backend.from_str(json.dumps(self._made))

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {token: number for token in self._controls if (number := self._theirs.token_to_id(token)) is not None}

    @cached_property
    def _ids(self) -> frozenset[int]:
        return frozenset(self._numbers.values())

    def read(self, text: str) -> Read:
        """The text as the vocabulary's own program reads it, control tokens and all."""
        return self._told(self._theirs.encode(text, add_special_tokens=False), text, None)

    def encode(self, text: str) -> list[int]:
        """Ids of a text that holds no control token, whatever it spells out."""
        return self._renamed(_sign(text)).encode(text, add_special_tokens=False).ids

    def spelled(self, text: str) -> list[tuple[int, int]]:
        """Where control tokens are spelled out, from left to right, the longest first."""
        return [found.span() for found in self._find.finditer(text)]

    def write(self, text: str, places: Sequence[tuple[int, int]]) -> Read:
        """The text with the control tokens that are spelled out at `places`, and none elsewhere."""
        sign, written, where, at = _sign(text), [], [], 0
        for start, end in places:
            written += [text[at:start], f"{sign}{self._controls.index(text[start:end])}{sign}"]
            where += [*range(at, start), *[start] * (len(written[-1]) - 1), end - 1]
            at = end
        written.append(text[at:])
        where += [*range(at, len(text)), len(text)]
        return self._told(self._renamed(sign).encode("".join(written), add_special_tokens=False), text, where)

    @cached_property
    def _unknown(self) -> int | None:
        """What stands for letters that the vocabulary has not, and is no control token there."""
        unknown = self._made["model"].get("unk_token")
        return self._numbers.get(unknown) if isinstance(unknown, str) else self._made["model"].get("unk_id")

    def _told(self, found: Any, text: str, where: list[int] | None) -> Read:
        spans = found.offsets
        if where is not None:
            spans = [(where[start], where[end - 1] + 1 if end > start else where[start]) for start, end in spans]
        controls = [number in self._ids for number in found.ids]
        for place, number in enumerate(found.ids):
            if number == self._unknown:
                controls[place] = self._numbers.get(text[slice(*spans[place])].strip()) == number
        return Read(found.ids, spans, controls)

    @lru_cache(maxsize=2)  # noqa: B019 - as long-lived as the vocabulary
    def _renamed(self, sign: str) -> Backend:
        """The vocabulary with `sign`, a number and `sign` as the name of every control token."""
        name = {token: f"{sign}{number}{sign}" for number, token in enumerate(self._controls)}
        made = json.loads(json.dumps(self._made))
        for added in made["added_tokens"]:
            added["content"] = name.get(added["content"], added["content"])
        pieces = made["model"].get("vocab")
        if isinstance(pieces, dict):
            made["model"]["vocab"] = {name.get(piece, piece): number for piece, number in pieces.items()}
        elif isinstance(pieces, list):
            made["model"]["vocab"] = [[name.get(piece, piece), score] for piece, score in pieces]
        if (unknown := made["model"].get("unk_token")) in name:
            made["model"]["unk_token"] = name[unknown]
        return Backend.from_str(json.dumps(made))


def _sign(text: str) -> str:
    """A letter that the text does not hold."""
    return next(sign for number in _SIGNS if (sign := chr(number)) not in text)
