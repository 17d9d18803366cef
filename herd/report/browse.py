"""A page to look through what curation kept and what each step removed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def render_browser(groups: Sequence[Mapping[str, Any]], title: str) -> str:
    """One self-contained HTML page. groups: as `herd.corpus.samples.sample_documents` gives them."""
    from jinja2 import Environment, StrictUndefined, select_autoescape

    template = Path(__file__).with_name("browse.html").read_text(encoding="utf-8")
    rules = Environment(autoescape=select_autoescape(default=True), undefined=StrictUndefined)
    count = sum(group["count"] for group in groups if group["step"] == "kept")
    total = sum(group["count"] for group in groups)
    words = (
        f"{count:,} of {total:,} documents were kept. Below stand some of these, then some of those each step removed, "
        "in the order of the steps. What made a rule remove a document is marked where it is a place in the text."
    )
    return rules.from_string(template).render(groups=groups, title=title, words=words)
