"""What rules removed and kept, with the place marked that made them do so: rows for a page to browse."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from herd.core.artifacts import Corpus
from herd.core.manifests import check_files
from herd.core.storage import document_from_row
from herd.corpus.results import CorpusSize, CurationResult

SHOWN_CHARACTERS = 1_500
Spans = list[tuple[int, int]]


def samples(corpus: Corpus, *, each: int = 25) -> list[dict[str, Any]]:
    """Groups of documents, kept ones first, then those each step dropped: name, count, and up to `each` of them
    as id, url, reason and pieces of text, each piece marked or not."""
    stays = _rows(corpus.path, "documents", {"": each}).get("", [])
    groups = [_group("kept", corpus.result(CorpusSize).documents, stays, each)]
    dropped = {count.step: count.dropped for count in corpus.result(CurationResult).funnel if count.dropped}
    found = _rows(corpus.path, "rejects", dict.fromkeys(dropped, each))
    return groups + [_group(step, count, found.get(step, []), each) for step, count in dropped.items()]


def _rows(folder: Path, name: str, wanted: dict[str, int]) -> dict[str, list[dict[str, Any]]]:
    """The first rows of each step, as many as wanted; reading ends when there are enough."""
    import pyarrow.parquet as parquet

    found: dict[str, list[dict[str, Any]]] = {step: [] for step in wanted}
    for file in sorted((folder / name).glob("*.parquet")):
        check_files(folder, f"{name}/{file.name}")
        for batch in parquet.ParquetFile(file).iter_batches(2048):
            rows = batch.drop_columns(["stats"]).to_pylist() if "stats" in batch.schema.names else batch.to_pylist()
            for row in rows:
                held = found.get(row.get("step", ""))
                if held is not None and len(held) < wanted[row.get("step", "")]:
                    held.append(row)
            if all(len(found[step]) >= count for step, count in wanted.items()):
                return found
    return found


def _group(step: str, count: int, rows: list[dict[str, Any]], each: int) -> dict[str, Any]:
    shown = []
    for row in rows[:each]:
        document = document_from_row({**row, "language": row.get("language") or ""})
        shown.append(
            {
                "id": document.id,
                "url": document.url,
                "reason": row.get("reason", ""),
                "pieces": list(pieces(document.text, offending(step, document.text))),
            }
        )
    return {"step": step, "count": count, "shown": shown}


def pieces(text: str, spans: Spans) -> Iterator[dict[str, Any]]:
    """The text around its first marked place, cut into pieces that are marked or not."""
    first = spans[0][0] if spans else 0
    start = max(0, first - SHOWN_CHARACTERS // 3) if first > SHOWN_CHARACTERS // 2 else 0
    end = min(len(text), start + SHOWN_CHARACTERS)
    at = start
    if start:
        yield {"text": "… ", "marked": False}
    for begin, stop in spans:
        begin, stop = max(begin, at), min(stop, end)
        if begin >= stop:
            continue
        if begin > at:
            yield {"text": text[at:begin], "marked": False}
        yield {"text": text[begin:stop], "marked": True}
        at = stop
    yield {"text": text[at:end] + (" …" if end < len(text) else ""), "marked": False}


def offending(step: str, text: str) -> Spans:
    """Where in a text a rule's reason stands, in order; nothing for rules about the whole, such as its length."""
    mark = _MARKS.get(step)
    return sorted(mark(text)) if mark else []


def _matches(pattern: str) -> Callable[[str], Spans]:
    compiled = re.compile(pattern, re.MULTILINE | re.IGNORECASE)
    return lambda text: [found.span() for found in compiled.finditer(text)]


def _repeats(pattern: str) -> Callable[[str], Spans]:
    compiled = re.compile(pattern, re.MULTILINE)

    def mark(text: str) -> Spans:
        seen: set[str] = set()
        spans = []
        for found in compiled.finditer(text):
            if found[0].strip() in seen:
                spans.append(found.span())
            seen.add(found[0].strip())
        return spans

    return mark


def _runs(length: int, *, most_frequent: bool) -> Callable[[str], Spans]:
    """Runs of words that stand more than once; only the most frequent one where that is the rule."""

    def mark(text: str) -> Spans:
        words = [found.span() for found in re.finditer(r"\S+", text)]
        keys = [text[a:b] for a, b in words]
        runs = [tuple(keys[k : k + length]) for k in range(len(keys) - length + 1)]
        counts = Counter(runs)
        wanted = {run for run, _ in counts.most_common(1)} if most_frequent else {r for r, n in counts.items() if n > 1}
        spans: Spans = []
        for k, run in enumerate(runs):
            if run in wanted and (not spans or words[k][0] >= spans[-1][1]):
                spans.append((words[k][0], words[k + length - 1][1]))
        return spans

    return mark


_MARKS: dict[str, Callable[[str], Spans]] = {
    "repeated_lines": _repeats(r"^.*\S.*$"),
    "repeated_characters": _repeats(r"^.*\S.*$"),
    "repeated_paragraphs": _repeats(r"(?s)\S.*?(?=\n\n|\Z)"),
    "top_runs": _runs(2, most_frequent=True),
    "repeated_runs": _runs(5, most_frequent=False),
    "symbols": _matches(r"#|\.\.\.|…"),
    "bullets": _matches(r"^\s*[•-].*$"),
    "ellipses": _matches(r"(\.\.\.|…)\s*$"),
    "few_alphabetic_words": lambda text: [
        found.span() for found in re.finditer(r"\S+", text) if not any(letter.isalpha() for letter in found[0])
    ],
    "lorem_ipsum": _matches("lorem ipsum"),
    "curly_braces": _matches(r"\{"),
    "short_lines": _matches(r"^[^\n]{1,30}$"),
    "ended_lines": _matches(r"[^.?!\s]$"),
    "newlines": _matches(r"\n"),
    "shouting": lambda text: [found.span() for found in re.finditer(r"\b[A-Z]{2,}\b", text)],
}
