"""The rows of the acceptance table and the parts that each consists of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml


@dataclass(frozen=True)
class AcceptanceRow:
    """One system and its bar.

    section: of the Llama 3 report, or `notes` for a question beyond it. parts: what has to hold, by name.
    """

    row: int
    system: str
    section: str
    parts: dict[str, str]

    @property
    def criterion(self) -> str:
        return "; ".join(self.parts.values())


def table() -> list[AcceptanceRow]:
    """All rows in their order."""
    text = Path(__file__).with_name("table.yaml").read_text(encoding="utf-8")
    return [AcceptanceRow(**{**entry, "section": str(entry["section"])}) for entry in yaml.safe_load(text)]
