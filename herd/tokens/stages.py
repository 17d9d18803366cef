"""From documents to a tokenizer and to packed token ids."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from herd.core.artifacts import Checkpoint, Corpus, Tokenizer, Tokens
from herd.core.errors import DataError, SettingsError
from herd.core.records import Document
from herd.core.settings import InputFile, Positive, Share, input_path
from herd.core.stage import Work, stage
from herd.core.storage import read_documents
from herd.tokens import bpe
from herd.tokens.extend import extend
from herd.tokens.foreign import from_ranks, read_ranks
from herd.tokens.shards import SPLITS, ShardWriter, id_type, write_index
from herd.tokens.tokenizer import TextTokenizer

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


@stage(paper="3.2", version=3)
def pack(
    work: Work,
    corpus: Corpus,
    tokenizer: Tokenizer | Checkpoint,
    *,
    held_out_share: Share = 0.02,
    bos_token: str | None = None,
    eos_token: str | None = None,
) -> Tokens:
    """The documents as token ids, begun and ended by control tokens, a share of each source held out.

    tokenizer: or a model, which packs with its own. bos_token, eos_token: put before and after a document, "" for none;
    absent, as the model has it: before a text what its tokenizer puts there, nothing for many, and after it what ends a
    document, which is not always the `eos_token` of a model that chats.
    """
    text = TextTokenizer.load(tokenizer.path)
    opening, ending = around_document(text, bos_token, eos_token)
    total = corpus.figures["documents"]
    writers: dict[str, dict[str, ShardWriter]] = {}
    documents = work.track(read_documents(corpus.path), total, "documents")
    for batch in _batches(documents):
        for document, ids in zip(batch, text.encode_all([d.text for d in batch]), strict=True):
            if document.source not in writers:
                writers[document.source] = _writers(work, document.source, text.size)
            split = "heldout" if _is_held_out(document, held_out_share) else "train"
            whole = [*opening, *ids, *ending]
            writers[document.source][split].add(whole, len(document.text.encode()))
    if not writers:
        raise DataError(f"{corpus.path}: the corpus is empty; look at its rejects with `herd show`")
    index = {source: {split: w.close() for split, w in of.items()} for source, of in sorted(writers.items())}
    write_index(work.out, text.size, text.pad, index, tokenizer=text.fingerprint)
    work.figure("around_document", [text.show(ids) for ids in (opening, ending)])
    _figures(work, index, len(text.control_tokens))
    return Tokens(work.out)


# A model that chats often names what ends a turn as its `eos_token`, and has what ends a document still. Source: the
# tokenizers of SmolLM2, Qwen 2.5 and OLMo 2; of Llama 3 and SmolLM3; of Llama 2 and Mistral.
_DOCUMENT_ENDS = ("<|endoftext|>", "<|end_of_text|>", "</s>")


def around_document(text: TextTokenizer, bos_token: str | None, eos_token: str | None) -> tuple[list[int], list[int]]:
    """Ids put before and after a document for pre-training, one or none each; as `pack` says.

    Raises SettingsError for a token that is none of the vocabulary's control tokens.
    """
    for name, token in (("bos_token", bos_token), ("eos_token", eos_token)):
        if token and token not in text.control_tokens:
            known = ", ".join(text.control_tokens[-8:])
            raise SettingsError(f"{name} {token!r} is no control token of this tokenizer; it has {known}")
    begin = text.opening if bos_token is None else [text.control(bos_token)] if bos_token else []
    if eos_token is None:
        named = [token for token in _DOCUMENT_ENDS if token in text.control_tokens]
        eos_token = text.controls.end if text.controls.end in named or not named else named[0]
    return begin, [text.control(eos_token)] if eos_token else []


def _writers(work: Work, source: str, vocabulary: int) -> dict[str, ShardWriter]:
    return {split: ShardWriter(work.out, f"{source}.{split}", id_type(vocabulary)) for split in SPLITS}


def _is_held_out(document: Document, share: float) -> bool:
    """Decided by the text, so that equal texts can never lie on both sides."""
    digest = hashlib.sha256(document.text.encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


def _figures(work: Work, index: dict[str, dict[str, dict[str, int]]], control_tokens: int) -> None:
    work.figure("sources", index)
    work.figure("control_tokens", control_tokens)
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
