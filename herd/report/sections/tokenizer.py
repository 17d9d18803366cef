"""How well the tokenizer compresses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from herd.core.artifacts import Artifact
from herd.report.sections import Section, fill_template, results_of, sections
from herd.tokens.results import TokenizerResult


@sections.add(TokenizerResult, order=20)
def tokenizer_section(artifacts: Sequence[Artifact]) -> Section | None:
    """Characters per token of the first tokenizer, by source and language."""
    rates = results_of(artifacts, TokenizerResult)[0].compression
    best = max((lengths.characters_per_token for lengths in rates.values()), default=1.0)
    rows = [
        {
            "group": group,
            "characters": f"{lengths.characters:,}",
            "tokens": f"{lengths.tokens:,}",
            "rate": f"{lengths.characters_per_token:.2f}",
            "width": round(80 * lengths.characters_per_token / best, 1),
        }
        for group, lengths in rates.items()
    ]
    html = fill_template(Path(__file__).with_suffix(".html"), compression=rows)
    return Section("tokenizer", "Tokenizer", html) if rows else None
