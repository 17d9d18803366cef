"""A fingerprint of the code that a stage runs: its own file and all modules of herd that it imports."""

from __future__ import annotations

import ast
import functools
import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from herd.core.cache import entry_cache

_ROOT = Path(__file__).parents[1]
_CACHE_NAME = "code"
_MAX_ENTRIES = 5_000  # entries of the book, the newest ones


def fingerprint(module: str, file: Path, plugins: Iterable[str] = ()) -> str:
    """12 digits that change when code does in `file` or in what it imports of herd, directly or by way of others, and
    not when a comment or docstring does.

    Where a registry of plug-ins is imported, all its plug-ins count. module: the name of what is in `file`. plugins:
    modules of herd that count too, though nothing imports them. Read from sources, so nothing is imported; what a text
    came to is kept, by its hash, for the next process.
    """
    cache = _SummaryCache()
    summaries = {module: cache.look_up(file)}
    summaries |= {name: cache.look_up(source) for name in plugins if (source := _file_of(name)) is not None}
    todo = list(summaries)
    while todo:
        for name in _imported_names(todo.pop(), summaries):
            if name not in summaries and (source := _file_of(name)) is not None:
                summaries[name] = cache.look_up(source)
                todo.append(name)
    cache.save()
    text = json.dumps(sorted((name if name != module else "", digest) for name, (digest, _) in summaries.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


SourceSummary = tuple[str, tuple[str, ...]]  # what a file's code comes to, and the names it imports
_SUMMARIES: dict[str, SourceSummary] = {}  # in this process


def _imported_names(name: str, summaries: dict[str, SourceSummary]) -> Iterator[str]:
    for imported_name in summaries[name][1]:
        yield imported_name
        # A name from herd.a is a module of that room or something its __init__ holds, which runs in any case.
        parts = imported_name.split(".")
        yield from (".".join(parts[:end]) for end in range(2, len(parts)))


@functools.cache
def _file_of(name: str) -> Path | None:
    """The file of a module of herd; None for other names, such as a function's."""
    first, *parts = name.split(".")
    if first != "herd" or not parts:
        return None
    path = _ROOT.joinpath(*parts)
    return next((file for file in (path / "__init__.py", path.with_suffix(".py")) if file.is_file()), None)


class _SummaryCache:
    """What texts came to, by their hash: parsing all of herd takes a second or two, and reading it nothing."""

    def __init__(self) -> None:
        self._entries = entry_cache(_CACHE_NAME, _MAX_ENTRIES)

    def look_up(self, file: Path) -> SourceSummary:
        content = file.read_bytes()
        native_sources = _natives(file, content)
        name = hashlib.sha256(b"\0".join((str(_package(file)).encode(), content, *native_sources))).hexdigest()[:32]
        kept = self._entries.get(name)
        if name not in _SUMMARIES:
            _SUMMARIES[name] = _read_summary(kept) or _summarize(file, content, native_sources)
        if kept is None:  # this process may know it from another place for the book
            self._entries.put(name, _SUMMARIES[name])
        return _SUMMARIES[name]

    def save(self) -> None:
        self._entries.save()


def _read_summary(kept: Any) -> SourceSummary | None:
    """None for what is no summary."""
    try:
        digest, imports = kept
        return str(digest), tuple(map(str, imports))
    except (TypeError, ValueError):
        return None


def _package(file: Path) -> str:
    """By whose files a registry's imports are decided: the names of the plug-ins beside an __init__."""
    return ",".join(sorted(path.stem for path in file.parent.glob("*.py"))) if file.name == "__init__.py" else ""


def _natives(file: Path, content: bytes) -> list[bytes]:
    """The C++ beside a file that loads it."""
    folder = file.parent / "native"
    if b"native" not in content or not file.is_relative_to(_ROOT) or not folder.is_dir():
        return []
    return [source.read_bytes() for source in sorted(folder.iterdir()) if source.suffix in (".cpp", ".hpp", ".inc")]


def _summarize(file: Path, content: bytes, native_sources: list[bytes]) -> SourceSummary:
    tree = ast.parse(content)
    imports = set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            imports |= {f"{node.module}.{alias.name}" for alias in node.names}
    if file.name == "__init__.py" and file.is_relative_to(_ROOT) and b"Registry(" in content:
        room = ".".join(("herd", *file.parent.relative_to(_ROOT).parts))
        imports |= {f"{room}.{path.stem}" for path in file.parent.glob("*.py") if path.name != file.name}
    digest = hashlib.sha256(ast.dump(_without_docstrings(tree)).encode())
    for source in native_sources:
        digest.update(source)
    ours = sorted(name for name in imports if name.startswith("herd."))
    return digest.hexdigest()[:32], tuple(ours)


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:]
    return tree
