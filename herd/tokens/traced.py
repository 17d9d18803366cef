"""Text that knows where each of its characters comes from, through everything a template does with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, SupportsIndex

# The origin of a character is itself a character, so that a text and its origins are cut and joined alike. Its lowest
# bits: whether the text was made of its source in a way that is not followed, and whether the template marks it as
# what the assistant generates. The rest: 0 for the template's own words, otherwise 1 + the number of a source.
_BITS = 2
UNSURE_BIT, GENERATED_BIT = 1, 2
MIXED_SOURCE = (0x110000 >> _BITS) - 2  # the number of what comes from several sources


def origin_of_source(source: int) -> str:
    """The origin of text from a source. Sources are numbered from 0."""
    return chr(source + 1 << _BITS)


def source_of(origin: str) -> int | None:
    """The number of the source; None for the template's own words."""
    number = ord(origin) >> _BITS
    return number - 1 if number else None


def is_unsure(origin: str) -> bool:
    return bool(ord(origin) & UNSURE_BIT)


def is_generated(origin: str) -> bool:
    return bool(ord(origin) & GENERATED_BIT)


class TracedText(str):
    """A text and the origin of every character. Methods that cut, join or change single characters keep both in step;
    what others make of it is given an origin by `trace_coarsely`."""

    _origins: str

    def __new__(cls, text: str, origins: str) -> TracedText:
        assert len(text) == len(origins)
        traced = super().__new__(cls, text)
        traced._origins = origins
        return traced

    def __str__(self) -> str:
        return self

    def __getitem__(self, place: SupportsIndex | slice) -> TracedText:
        return TracedText(str.__getitem__(self, place), self._origins[place])

    def __iter__(self) -> Iterator[str]:
        return (TracedText(letter, origin) for letter, origin in zip(str.__iter__(self), self._origins, strict=True))

    def __add__(self, suffix: str) -> TracedText:
        return TracedText(str.__add__(self, suffix), self._origins + origins_of(suffix))

    def __radd__(self, prefix: str) -> TracedText:
        return TracedText(str.__add__(prefix, self), origins_of(prefix) + self._origins)

    def __mul__(self, times: SupportsIndex) -> TracedText:
        return TracedText(str.__mul__(self, times), self._origins * times)

    def __rmul__(self, times: SupportsIndex) -> TracedText:
        return self * times

    def _part(self, start: int, part: str) -> TracedText:
        return self[start : start + len(part)]

    def strip(self, chars: str | None = None, /) -> TracedText:
        return self.lstrip(chars).rstrip(chars)

    def lstrip(self, chars: str | None = None, /) -> TracedText:
        return self[len(self) - len(str.lstrip(self, chars)) :]

    def rstrip(self, chars: str | None = None, /) -> TracedText:
        return self[: len(str.rstrip(self, chars))]

    def removeprefix(self, prefix: str, /) -> TracedText:
        return self[len(self) - len(str.removeprefix(self, prefix)) :]

    def removesuffix(self, suffix: str, /) -> TracedText:
        return self[: len(str.removesuffix(self, suffix))]

    def _parts(self, parts: Iterable[str], gap: str | None) -> list[str]:
        """Parts in their order, between which `gap` stands or, where it is None, blanks do."""
        traced_parts, at = [], 0
        for part in parts:
            start = str.find(self, part, at) if gap is None else at
            traced_parts.append(self._part(start, part))
            at = start + len(part) + len(gap or "")
        return traced_parts

    def split(self, sep: str | None = None, maxsplit: SupportsIndex = -1) -> list[str]:
        return self._parts(str.split(self, sep, maxsplit), sep)

    def rsplit(self, sep: str | None = None, maxsplit: SupportsIndex = -1) -> list[str]:
        return self._parts(str.rsplit(self, sep, maxsplit), sep)

    def splitlines(self, keepends: bool = False) -> list[str]:
        lines = self._parts(str.splitlines(self, True), "")
        return lines if keepends else [line[: len(str.splitlines(line)[0])] for line in lines]

    def partition(self, sep: str, /) -> tuple[str, str, str]:
        before, separator, after = self._parts(str.partition(self, sep), "")
        return before, separator, after

    def rpartition(self, sep: str, /) -> tuple[str, str, str]:
        before, separator, after = self._parts(str.rpartition(self, sep), "")
        return before, separator, after

    def replace(self, old: str, new: str, count: SupportsIndex = -1, /) -> str:
        if not old:  # `new` goes between all letters
            return trace_coarsely(str.replace(self, old, new, count), (self, new))
        return join_traced(self.split(old, count), new)

    def join(self, parts: Iterable[str], /) -> str:
        return join_traced(parts, self)

    def _letters(self, changed: str) -> str:
        """The same letters in another case; some become two."""
        return TracedText(changed, self._origins) if len(changed) == len(self) else trace_coarsely(changed, (self,))

    def upper(self) -> str:
        return self._letters(str.upper(self))

    def lower(self) -> str:
        return self._letters(str.lower(self))

    def capitalize(self) -> str:
        return self._letters(str.capitalize(self))

    def title(self) -> str:
        return self._letters(str.title(self))


def origins_of(text: str) -> str:
    return text._origins if isinstance(text, TracedText) else "\0" * len(text)


def join_traced(parts: Iterable[str], between: str = "") -> str:
    """The parts as one text, traced where one of them is."""
    texts = list(parts)
    joined_text = str.join(str(between), texts)
    if not any(isinstance(text, TracedText) for text in (*texts, between)):
        return joined_text
    return TracedText(joined_text, origins_of(between).join(map(origins_of, texts)))


def sources_in(value: Any) -> set[int]:
    """The numbers of all sources that a value holds text of, however deep."""
    sources: set[int] = set()
    pending, visited = [value], set()
    while pending:
        node = pending.pop()
        if isinstance(node, TracedText):
            sources.update(number for number in map(source_of, set(node._origins)) if number is not None)
        elif isinstance(node, (list, tuple, set, frozenset, Mapping)) and id(node) not in visited:
            visited.add(id(node))
            pending.extend((*node.keys(), *node.values()) if isinstance(node, Mapping) else node)
    return sources


def trace_coarsely(text: str, inputs: Any) -> str:
    """A text made of `inputs` in a way that is not followed: every character may come from them."""
    sources = sources_in(inputs)
    if not sources or not text:
        return text
    number = sources.pop() if len(sources) == 1 else MIXED_SOURCE
    return TracedText(text, chr(ord(origin_of_source(number)) | UNSURE_BIT) * len(text))


def mark_generated(text: str) -> TracedText:
    """The same text as one that the assistant generates."""
    return TracedText(text, "".join(chr(ord(origin) | GENERATED_BIT) for origin in origins_of(text)))


def trace(value: Any, source: int) -> Any:
    """The same value, as JSON has it, with every text in it from `source`."""
    if isinstance(value, str):
        return TracedText(value, origin_of_source(source) * len(value))
    if isinstance(value, Mapping):
        return {trace(key, source): trace(element, source) for key, element in value.items()}
    if isinstance(value, (list, tuple)):
        return [trace(element, source) for element in value]
    return value
