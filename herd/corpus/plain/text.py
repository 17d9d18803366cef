"""UTF-8 text and small tools every kernel uses; texts are bytes, places in them bytes too."""

from __future__ import annotations

import re
from collections.abc import Iterator

REPLACEMENT = 0xFFFD
_CONTINUATION = bytes(range(0x80, 0xC0))
# A line ends where Python's str.splitlines ends it.
_LINE_END = re.compile(rb"\r\n|[\n\r\v\f\x1c-\x1e]|\xc2\x85|\xe2\x80[\xa8\xa9]")


def rune_at(text: bytes, at: int) -> tuple[int, int]:
    """A code point and how many bytes it takes; malformed bytes count as U+FFFD, one byte each."""
    first = text[at]
    if first < 0x80:
        return first, 1
    width = 2 if 0xC2 <= first < 0xE0 else 3 if 0xE0 <= first < 0xF0 else 4 if 0xF0 <= first < 0xF5 else 1
    if width > 1:
        try:
            return ord(text[at : at + width].decode()), width
        except (UnicodeDecodeError, TypeError):
            pass
    return REPLACEMENT, 1


def last_rune(text: bytes) -> tuple[int, int]:
    """The rune that the last bytes make, looked for in four of them."""
    at = len(text) - 1
    while at > 0 and len(text) - at < 4 and text[at] & 0xC0 == 0x80:
        at -= 1
    return rune_at(text, at)


def runes(text: bytes) -> Iterator[tuple[int, int, int]]:
    """(where it begins, code point, bytes) of every rune."""
    at = 0
    while at < len(text):
        code, width = rune_at(text, at)
        yield at, code, width
        at += width


def put_rune(code: int) -> bytes:
    """The bytes of a code point."""
    return chr(code).encode("utf-8", "surrogatepass")


def utf8_prefix(text: bytes) -> int:
    """The first byte that is not UTF-8, or the length of the text."""
    try:
        text.decode()
    except UnicodeDecodeError as fault:
        return fault.start
    return len(text)


def is_alnum(byte: int) -> bool:
    return 48 <= byte <= 57 or 65 <= byte <= 90 or 97 <= byte <= 122


def is_alpha(byte: int) -> bool:
    return 65 <= byte <= 90 or 97 <= byte <= 122


def is_digit(byte: int) -> bool:
    return 48 <= byte <= 57


def is_space(byte: int) -> bool:
    return byte == 32 or 9 <= byte <= 13


def count_characters(text: bytes) -> int:
    """Bytes that begin a character."""
    return len(text.translate(None, _CONTINUATION))


def split_lines(text: bytes) -> Iterator[bytes]:
    """Every line, without its end."""
    at = 0
    for end in _LINE_END.finditer(text):
        yield text[at : end.start()]
        at = end.end()
    if at < len(text):
        yield text[at:]
