"""From documents to a tokenizer and to packed token ids."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from herd.core.artifacts import Corpus, Tokenizer, Tokens
from herd.core.errors import DataError
from herd.core.records import Document
from herd.core.settings import InputFile, Positive, Share, input_path
from herd.core.stage import Work, stage
from herd.core.storage import read_documents
from herd.tokens import bpe
from herd.tokens.extend import extend
from herd.tokens.foreign import from_ranks, read_ranks
from herd.tokens.shards import SPLITS, ShardWriter, id_type, write_index
from herd.tokens.tokenizer import CONTROL_TOKENS, TextTokenizer

_BATCH = 512  # documents the tokenizer is given at once


@stage(paper="3.2", version=1)
def train_tokenizer(work: Work, corpus: Corpus, *, pairs: Positive, digits_together: bool = True) -> Tokenizer:
    """A byte-level tokenizer of `pairs` base tokens, followed by Llama 3's 256 control tokens."""
    if pairs < 256:
        raise DataError(f"pairs {pairs} is less than the 256 bytes every text needs; try 512")
    documents = list(read_documents(corpus.path))
    tokenizer = bpe.learn((document.text for document in documents), pairs=pairs, digits_together=digits_together)
    return _finished(work, tokenizer, documents)


@stage(paper="3.2", version=1)
def extend_tokenizer(work: Work, corpus: Corpus, *, base: InputFile, extra: Positive) -> Tokenizer:
    """The pairs of a tiktoken file, then `extra` more learnt from the corpus, then Llama 3's control tokens."""
    documents = list(read_documents(corpus.path))
    ranks = read_ranks(input_path(base))
    tokenizer = extend(ranks, (document.text for document in documents), extra=extra)
    before = _compression(documents, from_ranks(ranks))
    work.figure("compression_before", before)
    return _finished(work, tokenizer, documents)


def _finished(work: Work, tokenizer: TextTokenizer, documents: list[Document]) -> Tokenizer:
    tokenizer.save(work.out, context=0)
    figures = _compression(documents, tokenizer)
    work.figure("compression", figures)
    work.figure("vocabulary", tokenizer.size)
    mean = sum(rates["characters"] for rates in figures.values()) / sum(r["tokens"] for r in figures.values())
    work.figure("headline", f"{tokenizer.size:,} tokens, {mean:.2f} characters per token")
    return Tokenizer(work.out)


def _compression(documents: list[Document], tokenizer: TextTokenizer) -> dict[str, dict[str, float]]:
    """Characters and tokens by language and by source, on documents."""
    counts: dict[str, dict[str, float]] = {}
    for batch in _batches(documents):
        for document, ids in zip(batch, tokenizer.encode_all([d.text for d in batch]), strict=True):
            for group in (f"source {document.source}", f"language {document.language or 'unknown'}"):
                entry = counts.setdefault(group, {"characters": 0, "tokens": 0})
                entry["characters"] += len(document.text)
                entry["tokens"] += len(ids)
    return {
        group: {**entry, "characters_per_token": entry["characters"] / max(1, entry["tokens"])}
        for group, entry in sorted(counts.items())
    }


@stage(paper="3.2", version=2)
def pack(work: Work, corpus: Corpus, tokenizer: Tokenizer, *, held_out_share: Share = 0.02) -> Tokens:
    """The documents as token ids, begun and ended by control tokens, a share of each source held out."""
    text = TextTokenizer.load(tokenizer.path)
    total = corpus.figures["documents"]
    writers: dict[str, dict[str, ShardWriter]] = {}
    documents = work.track(read_documents(corpus.path), total, "documents")
    for batch in _batches(documents):
        for document, ids in zip(batch, text.encode_all([d.text for d in batch]), strict=True):
            if document.source not in writers:
                writers[document.source] = _writers(work, document.source, text.size)
            split = "heldout" if _is_held_out(document, held_out_share) else "train"
            whole = [text.begin, *ids, text.end]
            writers[document.source][split].add(whole, len(document.text.encode()))
    if not writers:
        raise DataError(f"{corpus.path}: the corpus is empty; look at its rejects with `herd show`")
    index = {source: {split: w.close() for split, w in of.items()} for source, of in sorted(writers.items())}
    write_index(work.out, text.size, text.pad, index)
    _figures(work, index)
    return Tokens(work.out)


def _writers(work: Work, source: str, vocabulary: int) -> dict[str, ShardWriter]:
    return {split: ShardWriter(work.out, f"{source}.{split}", id_type(vocabulary)) for split in SPLITS}


def _is_held_out(document: Document, share: float) -> bool:
    """Decided by the text, so that equal texts can never lie on both sides."""
    digest = hashlib.sha256(document.text.encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


def _figures(work: Work, index: dict[str, dict[str, dict[str, int]]]) -> None:
    work.figure("sources", index)
    work.figure("control_tokens", len(CONTROL_TOKENS))
    tokens = sum(entry["tokens"] for of in index.values() for entry in of.values())
    work.figure("headline", f"{tokens:,} tokens from {len(index)} sources")


def _batches(documents: Iterator[Document] | list[Document]) -> Iterator[list[Document]]:
    batch: list[Document] = []
    for document in documents:
        batch.append(document)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
