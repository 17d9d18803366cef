"""What was dropped on the way, and why: counted where it happens, added up where it is told."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as arrow

EXAMPLES, EXAMPLE_CHARACTERS = 3, 300  # of each step


@dataclass
class Tally:
    """dropped: documents by step. examples: by step, a few of what it dropped: id, reason, beginning of the text."""

    dropped: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[dict[str, str]]] = field(default_factory=dict)

    def drop(self, rejects: arrow.RecordBatch) -> None:
        """Counts a batch of rejects: columns id, text, step, reason."""
        steps, reasons = rejects.column("step").to_pylist(), rejects.column("reason").to_pylist()
        self.dropped.update(steps)
        for row, (step, reason) in enumerate(zip(steps, reasons, strict=True)):
            shown = self.examples.setdefault(step, [])
            if len(shown) < EXAMPLES:
                text = rejects.column("text")[row].as_py()[:EXAMPLE_CHARACTERS]
                shown.append({"id": rejects.column("id")[row].as_py(), "reason": reason, "text": text})

    def add_drops(self, other: Tally) -> None:
        """What another one dropped is counted here too."""
        self.dropped.update(other.dropped)
        for step, shown in other.examples.items():
            mine = self.examples.setdefault(step, [])
            mine += shown[: EXAMPLES - len(mine)]
