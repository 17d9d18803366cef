"""What rules removed and kept, with the place marked that made them do so: rows for a page to browse."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from herd.core.artifacts import Corpus
from herd.core.manifests import check_files
from herd.core.storage import document_from_row
from herd.corpus.results import CorpusSize, CurationResult

MAX_SAMPLE_CHARACTERS = 1_500
Spans = list[tuple[int, int]]


def sample_documents(corpus: Corpus, *, limit: int = 25) -> list[dict[str, Any]]:
    """Groups of documents, kept ones first, then those each step dropped: name, count, and up to `limit` of them
    as id, url, reason and pieces of text, each piece marked or not."""
    stays = _rows(corpus.path, "documents", {"": limit}).get("", [])
    groups = [_group("kept", corpus.result(CorpusSize).documents, stays, limit)]
    dropped = {count.step: count.dropped for count in corpus.result(CurationResult).funnel if count.dropped}
    rows_by_step = _rows(corpus.path, "rejects", dict.fromkeys(dropped, limit))
    return groups + [_group(step, count, rows_by_step.get(step, []), limit) for step, count in dropped.items()]


def _rows(folder: Path, name: str, limits: dict[str, int]) -> dict[str, list[dict[str, Any]]]:
    """The first rows of each step, as many as wanted; reading ends when there are enough."""
    import pyarrow.parquet as parquet

    rows_by_step: dict[str, list[dict[str, Any]]] = {step: [] for step in limits}
    for file in sorted((folder / name).glob("*.parquet")):
        check_files(folder, f"{name}/{file.name}")
        for batch in parquet.ParquetFile(file).iter_batches(2048):
            rows = batch.drop_columns(["stats"]).to_pylist() if "stats" in batch.schema.names else batch.to_pylist()
            for row in rows:
                step_rows = rows_by_step.get(row.get("step", ""))
                if step_rows is not None and len(step_rows) < limits[row.get("step", "")]:
                    step_rows.append(row)
            if all(len(rows_by_step[step]) >= count for step, count in limits.items()):
                return rows_by_step
    return rows_by_step


def _group(step: str, count: int, rows: list[dict[str, Any]], limit: int) -> dict[str, Any]:
    entries = []
    for row in rows[:limit]:
        document = document_from_row({**row, "language": row.get("language") or ""})
        entries.append(
            {
                "id": document.id,
                "url": unquote(document.url),  # to be read, and not followed
                "reason": row.get("reason", ""),
                "pieces": list(marked_pieces(document.text, marked_spans(step, document.text))),
            }
        )
    return {"step": step, "count": count, "shown": entries}


def marked_pieces(text: str, spans: Spans) -> Iterator[dict[str, Any]]:
    """The text around its first marked place, cut into pieces that are marked or not."""
    first = spans[0][0] if spans else 0
    start = max(0, first - MAX_SAMPLE_CHARACTERS // 3) if first > MAX_SAMPLE_CHARACTERS // 2 else 0
    end = min(len(text), start + MAX_SAMPLE_CHARACTERS)
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


def marked_spans(step: str, text: str) -> Spans:
    """Where in a text a rule's reason stands, in order; nothing for rules about the whole, such as its length."""
    mark = _MARKS.get(step)
    return sorted(mark(text)) if mark else []


def _matches(pattern: str) -> Callable[[str], Spans]:
    compiled = re.compile(pattern, re.MULTILINE | re.IGNORECASE)
    return lambda text: [match.span() for match in compiled.finditer(text)]


def _repeats(pattern: str) -> Callable[[str], Spans]:
    compiled = re.compile(pattern, re.MULTILINE)

    def mark(text: str) -> Spans:
        seen_lines: set[str] = set()
        spans = []
        for match in compiled.finditer(text):
            if match[0].strip() in seen_lines:
                spans.append(match.span())
            seen_lines.add(match[0].strip())
        return spans

    return mark


def _ngrams(length: int, *, most_frequent: bool) -> Callable[[str], Spans]:
    """N-grams that stand more than once; only the most frequent one where that is the rule."""

    def mark(text: str) -> Spans:
        words = [match.span() for match in re.finditer(r"\S+", text)]
        keys = [text[a:b] for a, b in words]
        ngrams = [tuple(keys[k : k + length]) for k in range(len(keys) - length + 1)]
        counts = Counter(ngrams)
        marked = (
            {ngram for ngram, _ in counts.most_common(1)} if most_frequent else {r for r, n in counts.items() if n > 1}
        )
        spans: Spans = []
        for k, ngram in enumerate(ngrams):
            if ngram in marked and (not spans or words[k][0] >= spans[-1][1]):
                spans.append((words[k][0], words[k + length - 1][1]))
        return spans

    return mark


_MARKS: dict[str, Callable[[str], Spans]] = {
    "repeated_lines": _repeats(r"^.*\S.*$"),
    "repeated_line_characters": _repeats(r"^.*\S.*$"),
    "repeated_paragraphs": _repeats(r"(?s)\S.*?(?=\n\n|\Z)"),
    "top_ngrams": _ngrams(2, most_frequent=True),
    "repeated_ngrams": _ngrams(5, most_frequent=False),
    "symbols": _matches(r"#|\.\.\.|…"),
    "bullets": _matches(r"^\s*[•-].*$"),
    "ellipses": _matches(r"(\.\.\.|…)\s*$"),
    "few_alphabetic_words": lambda text: [
        match.span() for match in re.finditer(r"\S+", text) if not any(map(str.isalpha, match[0]))
    ],
    "lorem_ipsum": _matches("lorem ipsum"),
    "curly_braces": _matches(r"\{"),
    "short_lines": _matches(r"^[^\n]{1,30}$"),
    "punctuated_lines": _matches(r"[^.?!\s]$"),
    "newlines": _matches(r"\n"),
    "uppercase_words": lambda text: [match.span() for match in re.finditer(r"\b[A-Z]{2,}\b", text)],
}
