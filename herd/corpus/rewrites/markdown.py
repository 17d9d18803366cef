"""Texts written in Markdown."""

from __future__ import annotations

from herd.corpus.extract import strip_markers
from herd.corpus.kernels import PackedTexts
from herd.corpus.rewrites import RewriteResult, rewrites


@rewrites.add
def strip_markdown(texts: PackedTexts) -> RewriteResult:
    """Takes Markdown's markers out of documents that were written in it. Source: Llama 3, 3.1.1."""
    import pyarrow as arrow

    plain = [strip_markers(text) for text in texts.heads(1 << 62)]
    return RewriteResult(arrow.array(plain, arrow.large_string()))
