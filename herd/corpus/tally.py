"""What was dropped on the way, and why: counted where it happens, added up where it is reported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as arrow

_MAX_SOURCES = 1_000  # of whose losses is kept count: a column of a table may name a source a row
MAX_EXAMPLES, EXAMPLE_CHARACTERS = 3, 300  # of each step


@dataclass
class Tally:
    """dropped: documents by step. examples: by step, a few of what it dropped: id, reason, beginning of the text. lost:
    the same documents by source and step, of the first so many sources. first_lost: of each of these sources one
    document's id and reason. unread: rows of tables by what is wrong with them; first_unread: one of each kind."""

    dropped: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    lost: dict[str, dict[str, int]] = field(default_factory=dict, kw_only=True)
    first_lost: dict[str, list[str]] = field(default_factory=dict, kw_only=True)
    unread: Counter[str] = field(default_factory=Counter, kw_only=True)
    first_unread: dict[str, str] = field(default_factory=dict, kw_only=True)

    def drop(self, rejects: arrow.RecordBatch) -> None:
        """Counts a batch of rejects: columns id, source, text, step, reason."""
        steps, reasons = rejects.column("step").to_pylist(), rejects.column("reason").to_pylist()
        self.dropped.update(steps)
        for row, (step, reason) in enumerate(zip(steps, reasons, strict=True)):
            step_examples = self.examples.setdefault(step, [])
            if len(step_examples) < MAX_EXAMPLES:
                text = rejects.column("text")[row].as_py()[:EXAMPLE_CHARACTERS]
                step_examples.append({"id": rejects.column("id")[row].as_py(), "reason": reason, "text": text})
            if step == "read" and (kind := _row_fault(reason)):
                self.unread[kind] += 1
                self.first_unread.setdefault(kind, rejects.column("id")[row].as_py())
        sources = rejects.column("source").to_pylist()
        for (source, step), count in Counter(zip(sources, steps, strict=True)).items():
            if source not in self.lost:
                row = sources.index(source)
                self._lose(source, {}, [rejects.column("id")[row].as_py(), reasons[row]])
            self._lose(source, {step: count})

    def _lose(self, source: str, steps: Mapping[str, int], first: list[str] | None = None) -> None:
        if source in self.lost or len(self.lost) < _MAX_SOURCES:
            own = self.lost.setdefault(source, {})
            for step, count in steps.items():
                own[step] = own.get(step, 0) + count
            if first is not None:
                self.first_lost.setdefault(source, first)

    def add_drops(self, tally: Tally) -> None:
        """What another one dropped is counted here too."""
        self.dropped.update(tally.dropped)
        for step, step_examples in tally.examples.items():
            own_examples = self.examples.setdefault(step, [])
            own_examples += step_examples[: MAX_EXAMPLES - len(own_examples)]
        for source, steps in tally.lost.items():
            self._lose(source, steps, tally.first_lost.get(source))
        self.unread.update(tally.unread)
        self.first_unread = tally.first_unread | self.first_unread


def _row_fault(reason: str) -> str:
    """The kind of fault of a row of a table; empty for any other."""
    if reason.startswith("not JSON"):
        return "not JSON"
    return "not a JSON object" if reason == "not a JSON object" else ""
