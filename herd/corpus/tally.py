"""What was dropped on the way, and why: counted where it happens, added up where it is reported."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as arrow

MAX_EXAMPLES, EXAMPLE_CHARACTERS = 3, 300  # of each step


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
            step_examples = self.examples.setdefault(step, [])
            if len(step_examples) < MAX_EXAMPLES:
                text = rejects.column("text")[row].as_py()[:EXAMPLE_CHARACTERS]
                step_examples.append({"id": rejects.column("id")[row].as_py(), "reason": reason, "text": text})

    def add_drops(self, tally: Tally) -> None:
        """What another one dropped is counted here too."""
        self.dropped.update(tally.dropped)
        for step, step_examples in tally.examples.items():
            own_examples = self.examples.setdefault(step, [])
            own_examples += step_examples[: MAX_EXAMPLES - len(own_examples)]
