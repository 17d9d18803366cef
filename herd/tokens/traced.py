"""Text that knows where each of its characters comes from, through everything a template does with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, SupportsIndex

# The origin of a character is itself a character, so that a text and its origins are cut and joined alike. Its lowest
# bits: whether the text was made of its source in a way that is not followed, and whether the template marks it as
# what the assistant generates. The rest: 0 for the template's own words, otherwise 1 + the number of a source.
_BITS = 2
UNSURE, GENERATED = 1, 2
MIXED = (0x110000 >> _BITS) - 2  # the number of what comes from several sources


def code(source: int) -> str:
    """The origin of text from a source. Sources are numbered from 0."""
    return chr(source + 1 << _BITS)


def source_of(origin: str) -> int | None:
    """The number of the source; None for the template's own words."""
    number = ord(origin) >> _BITS
    return number - 1 if number else None


def is_unsure(origin: str) -> bool:
    return bool(ord(origin) & UNSURE)


def is_generated(origin: str) -> bool:
    return bool(ord(origin) & GENERATED)


class Traced(str):
    """A text and the origin of every character. Methods that cut, join or change single characters keep both in step;
    what others make of it is given an origin by `blanket`."""

    _origins: str

    def __new__(cls, text: str, origins: str) -> Traced:
        assert len(text) == len(origins)
        made = super().__new__(cls, text)
        made._origins = origins
        return made

    def __str__(self) -> str:
        return self

    def __getitem__(self, place: SupportsIndex | slice) -> Traced:
        return Traced(str.__getitem__(self, place), self._origins[place])

    def __iter__(self) -> Iterator[str]:
        return (Traced(letter, origin) for letter, origin in zip(str.__iter__(self), self._origins, strict=True))

    def __add__(self, other: str) -> Traced:
        return Traced(str.__add__(self, other), self._origins + origins_of(other))

    def __radd__(self, other: str) -> Traced:
        return Traced(str.__add__(other, self), origins_of(other) + self._origins)

    def __mul__(self, times: SupportsIndex) -> Traced:
        return Traced(str.__mul__(self, times), self._origins * times)

    def __rmul__(self, times: SupportsIndex) -> Traced:
        return self * times

    def _part(self, start: int, part: str) -> Traced:
        return self[start : start + len(part)]

    def strip(self, chars: str | None = None, /) -> Traced:
        return self.lstrip(chars).rstrip(chars)

    def lstrip(self, chars: str | None = None, /) -> Traced:
        return self[len(self) - len(str.lstrip(self, chars)) :]

    def rstrip(self, chars: str | None = None, /) -> Traced:
        return self[: len(str.rstrip(self, chars))]

    def removeprefix(self, prefix: str, /) -> Traced:
        return self[len(self) - len(str.removeprefix(self, prefix)) :]

    def removesuffix(self, suffix: str, /) -> Traced:
        return self[: len(str.removesuffix(self, suffix))]

    def _parts(self, parts: Iterable[str], gap: str | None) -> list[str]:
        """Parts in their order, between which `gap` stands or, where it is None, blanks do."""
        found, at = [], 0
        for part in parts:
            start = str.find(self, part, at) if gap is None else at
            found.append(self._part(start, part))
            at = start + len(part) + len(gap or "")
        return found

    def split(self, sep: str | None = None, maxsplit: SupportsIndex = -1) -> list[str]:
        return self._parts(str.split(self, sep, maxsplit), sep)

    def rsplit(self, sep: str | None = None, maxsplit: SupportsIndex = -1) -> list[str]:
        return self._parts(str.rsplit(self, sep, maxsplit), sep)

    def splitlines(self, keepends: bool = False) -> list[str]:
        whole = self._parts(str.splitlines(self, True), "")
        return whole if keepends else [line[: len(str.splitlines(line)[0])] for line in whole]

    def partition(self, sep: str, /) -> tuple[str, str, str]:
        before, found, after = self._parts(str.partition(self, sep), "")
        return before, found, after

    def rpartition(self, sep: str, /) -> tuple[str, str, str]:
        before, found, after = self._parts(str.rpartition(self, sep), "")
        return before, found, after

    def replace(self, old: str, new: str, count: SupportsIndex = -1, /) -> str:
        if not old:  # `new` goes between all letters
            return blanket(str.replace(self, old, new, count), (self, new))
        return joined(self.split(old, count), new)

    def join(self, parts: Iterable[str], /) -> str:
        return joined(parts, self)

    def _letters(self, changed: str) -> str:
        """The same letters in another case; some become two."""
        return Traced(changed, self._origins) if len(changed) == len(self) else blanket(changed, (self,))

    def upper(self) -> str:
        return self._letters(str.upper(self))

    def lower(self) -> str:
        return self._letters(str.lower(self))

    def capitalize(self) -> str:
        return self._letters(str.capitalize(self))

    def title(self) -> str:
        return self._letters(str.title(self))


def origins_of(text: str) -> str:
    return text._origins if isinstance(text, Traced) else "\0" * len(text)


def joined(parts: Iterable[str], between: str = "") -> str:
    """The parts as one text, traced where one of them is."""
    texts = list(parts)
    whole = str.join(str(between), texts)
    if not any(isinstance(text, Traced) for text in (*texts, between)):
        return whole
    return Traced(whole, origins_of(between).join(map(origins_of, texts)))


def sources_in(value: Any) -> set[int]:
    """The numbers of all sources that a value holds text of, however deep."""
    found: set[int] = set()
    waiting, seen = [value], set()
    while waiting:
        one = waiting.pop()
        if isinstance(one, Traced):
            found.update(number for number in map(source_of, set(one._origins)) if number is not None)
        elif isinstance(one, (list, tuple, set, frozenset, Mapping)) and id(one) not in seen:
            seen.add(id(one))
            waiting.extend((*one.keys(), *one.values()) if isinstance(one, Mapping) else one)
    return found


def blanket(text: str, inputs: Any) -> str:
    """A text made of `inputs` in a way that is not followed: every character may come from them."""
    sources = sources_in(inputs)
    if not sources or not text:
        return text
    number = sources.pop() if len(sources) == 1 else MIXED
    return Traced(text, chr(ord(code(number)) | UNSURE) * len(text))


def generated(text: str) -> Traced:
    """The same text as one that the assistant generates."""
    return Traced(text, "".join(chr(ord(origin) | GENERATED) for origin in origins_of(text)))


def trace(value: Any, source: int) -> Any:
    """The same value, as JSON has it, with every text in it from `source`."""
    if isinstance(value, str):
        return Traced(value, code(source) * len(value))
    if isinstance(value, Mapping):
        return {trace(key, source): trace(item, source) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [trace(item, source) for item in value]
    return value
