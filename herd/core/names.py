"""Names of files made from text that others wrote, and of sources made from their files."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

# What is safe on every file system, those that know no capitals among them.
_SAFE = re.compile(r"[a-z0-9_][a-z0-9_.-]*")
_OTHER = re.compile(r"[^a-z0-9_-]+")
_MOST = 64  # a name leaves room for endings; file systems end at 255 bytes


def file_name(text: str) -> str:
    """`text` as the name of one file, and no path; different texts have different names.

    Small letters, digits, `_`, `-` and `.` stay what they are. Any other text gets a readable part and, after a `~`
    that no plain name holds, 128 bits of its hash.
    """
    if _SAFE.fullmatch(text) and len(text) <= _MOST:
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    readable = _OTHER.sub("-", text[:_MOST].lower()).strip("-")[:24]
    return f"{readable}~{digest}"


def source_name(place: str) -> str:
    """What a folder, file, pattern or address is called, as a source is: `books/` and `books.txt.gz` are `books`."""
    parts = [part for part in place.rstrip("/").split("/") if part and not set(part) & set("*?[")]
    last = parts[-1] if parts else ""
    if last in ("", ".", "..") and "://" not in place:
        last = Path(place).resolve().name
    is_folder = "://" not in place and Path(place).is_dir()
    stem = last if is_folder else last.lstrip(".").partition(".")[0]
    return re.sub(r"[^a-z0-9_-]+", "-", stem.lower()).strip("-") or "text"
