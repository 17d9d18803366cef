"""Texts written in Markdown."""

from __future__ import annotations

from herd.corpus.extract import without_markers
from herd.corpus.kernels import Packed
from herd.corpus.rewrites import Rewritten, rewrites


@rewrites.add
def strip_markdown(texts: Packed) -> Rewritten:
    """Takes Markdown's markers out of documents that were written in it. Source: Llama 3, 3.1.1."""
    import pyarrow as arrow

    plain = [without_markers(text) for text in texts.heads(1 << 62)]
    return Rewritten(arrow.array(plain, arrow.large_string()))
