"""The door by which text leaves for people: terminals, pipes and logs.

What others wrote (rows, pages, models' answers, metadata) must not steer a terminal, and must come out where the locale
has no letters for it. `safe_output` puts this in front of standard output and error for all that is printed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from collections.abc import Iterator
from typing import Any, TextIO, cast

# Control characters of ASCII and of Latin-1 but for tab and line end; 0x9b alone opens a sequence on some terminals.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
# What JSON may hold as it is, and a terminal or UTF-8 may not.
_NOT_IN_A_LINE = re.compile("[\x7f-\x9f\ud800-\udfff]")


def visible(text: str) -> str:
    r"""`text` with control characters as escapes such as \x1b; line ends and tabs stay."""
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


def count_of(number: int, noun: str, plural: str = "") -> str:
    """How many there are of what `noun` names, such as `1 step` and `2,000 steps`. plural: where it is not `noun` and
    an s."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def json_line(row: Any, stream: TextIO | None = None) -> str:
    r"""`row` as one line of JSON that any stream takes: letters as they are where `stream` (standard output) writes
    UTF-8, else as \uXXXX; control characters and lone surrogates always so."""
    encoding = getattr(sys.stdout if stream is None else stream, "encoding", None) or "utf-8"
    is_utf8 = encoding.lower().replace("_", "-") in ("utf-8", "utf8", "utf-8-sig")
    text = json.dumps(row, ensure_ascii=not is_utf8)
    return _NOT_IN_A_LINE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


class SafeStream:
    """A stream before which text is made safe. raw: lets control characters by, for text whose own parts were made
    `visible` before colours were put round them."""

    def __init__(self, stream: TextIO, *, raw: bool = False) -> None:
        self.stream, self._raw = stream, raw

    def write(self, text: str) -> int:
        safe = text if self._raw else visible(text)
        encoding = getattr(self.stream, "encoding", None)
        if encoding:
            try:
                safe.encode(encoding)
            except UnicodeEncodeError:
                safe = safe.encode(encoding, "backslashreplace").decode(encoding)
        self.stream.write(safe)
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def colour_stream(stream: TextIO) -> TextIO:
    """`stream` for text with our own colours in it, whose other parts are `visible` already."""
    behind = stream.stream if isinstance(stream, SafeStream) else stream
    return cast(TextIO, SafeStream(behind, raw=True))


@contextlib.contextmanager
def safe_output() -> Iterator[None]:
    """Standard output and error are doors until the block ends."""
    _open_closed()
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (
        cast(TextIO, original if isinstance(original, SafeStream) else SafeStream(original)) for original in before
    )
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        for stream in before:
            _settle(stream)


def _settle(stream: TextIO) -> None:
    """Writes what is still unwritten; where that is impossible (the reader has gone, the disk is full) it is dropped,
    so that it does not fail again when Python ends."""
    try:
        stream.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)
            stream.flush()


def read_utf8(stream: TextIO) -> None:
    """From now on `stream` gives UTF-8, with a mark for what is none, whatever the locale is."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(encoding="utf-8", errors="replace")


def _open_closed() -> None:
    """Streams that the caller closed lead nowhere; else the next file opened would take their place."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        with contextlib.suppress(OSError):
            try:
                os.fstat(number)
            except OSError:
                opened = os.open(os.devnull, os.O_RDWR)
                if opened != number:
                    os.dup2(opened, number)
                    os.close(opened)
                os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if number == 0 else "w", encoding="utf-8"))  # noqa: SIM115
