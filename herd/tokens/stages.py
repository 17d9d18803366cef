"""From documents to a tokenizer and to packed token ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from herd.core.artifacts import Checkpoint, Corpus, Tokenizer, Tokens
from herd.core.errors import DataError, SettingsError
from herd.core.settings import InputFile, PositiveInt, Share, input_path
from herd.core.stage import Work, stage
from herd.core.storage import DocumentPart, document_parts
from herd.tokens import bpe
from herd.tokens.extend import extend_counted
from herd.tokens.packing import LONG_TOKENS, document_batches, pack_documents
from herd.tokens.results import Compression, PackingResult, SplitSize, TokenizerResult, WordsLearnt
from herd.tokens.shards import write_index
from herd.tokens.tiktoken import from_ranks, read_ranks
from herd.tokens.tokenizer import TextTokenizer
from herd.tokens.words import WordCounts, count_corpus_words

_MAX_WORDS = 2_000_000


@stage(paper="3.2", version=1)
def train_tokenizer(
    work: Work,
    corpus: Corpus,
    *,
    vocab_size: PositiveInt,
    digits_together: bool = True,
    max_words: PositiveInt = _MAX_WORDS,
) -> Tokenizer:
    """A byte-level tokenizer of `vocab_size` base tokens, followed by Llama 3's 256 control tokens.

    max_words: the most frequent ones, which it is learnt from; what bounds the memory.
    """
    if vocab_size < 256:
        raise DataError(f"vocab_size {vocab_size} is less than the 256 bytes every text needs; try 512")
    parts = document_parts(corpus.path)
    counted = _count(work, parts, digits_together=digits_together, max_words=max_words)
    return _finished(work, bpe.train_bpe_from_counts(counted.words, vocab_size=vocab_size), parts, counted)


@stage(paper="3.2", version=1)
def extend_tokenizer(
    work: Work, corpus: Corpus, *, base: InputFile, extra: PositiveInt, max_words: PositiveInt = _MAX_WORDS
) -> Tokenizer:
    """The pairs of a tiktoken file, then `extra` more learnt from the corpus, then Llama 3's control tokens.

    max_words: as in `train_tokenizer`.
    """
    parts = document_parts(corpus.path)
    ranks = read_ranks(input_path(base))
    counted = _count(work, parts, digits_together=True, max_words=max_words)
    tokenizer = extend_counted(ranks, counted.words, extra=extra)
    before = work.scratch / "base"
    before.mkdir(exist_ok=True)
    from_ranks(ranks).save(before, max_seq_len=0)
    return _finished(work, tokenizer, parts, counted, _compression(work, parts, before))


def _count(work: Work, parts: Sequence[DocumentPart], *, digits_together: bool, max_words: int) -> WordCounts:
    return count_corpus_words(
        parts,
        work.executor,
        work.scratch / "words",
        digits_together=digits_together,
        max_words=max_words,
        progress=work.progress,
    )


def _finished(
    work: Work,
    tokenizer: TextTokenizer,
    parts: Sequence[DocumentPart],
    counted: WordCounts,
    compression_before: Mapping[str, Compression] | None = None,
) -> Tokenizer:
    tokenizer.save(work.out, max_seq_len=0)
    compression = _compression(work, parts, work.out)
    words = WordsLearnt(counted.distinct, len(counted.words), counted.share)
    work.record(TokenizerResult(tokenizer.vocab_size, words, compression, compression_before or {}))
    characters = sum(lengths.characters for lengths in compression.values())
    mean = characters / sum(lengths.tokens for lengths in compression.values())
    work.headline = f"{tokenizer.vocab_size:,} tokens, {mean:.2f} characters per token"
    return Tokenizer(work.out)


@dataclass(frozen=True)
class _CompressionJob:
    """A part of a corpus, and the tokenizer that it is measured with."""

    part: DocumentPart
    tokenizer: Path


def _compression(work: Work, parts: Sequence[DocumentPart], tokenizer: Path) -> dict[str, Compression]:
    """Characters and tokens by language and by source."""
    counts: dict[str, Counter[str]] = {}
    jobs = [_CompressionJob(part, tokenizer) for part in parts]
    for completed, lengths_by_group in enumerate(work.executor.map(_lengths, jobs), 1):
        work.progress(completed, len(jobs), "parts measured")
        for group, lengths in lengths_by_group.items():
            counts.setdefault(group, Counter()).update(lengths)
    return {
        group: Compression(lengths["characters"], lengths["tokens"], lengths["characters"] / max(1, lengths["tokens"]))
        for group, lengths in sorted(counts.items())
    }


def _lengths(job: _CompressionJob) -> dict[str, Mapping[str, int]]:
    text = TextTokenizer.load(job.tokenizer)
    counts: dict[str, Counter[str]] = {}
    for batch in document_batches(job.part.read()):
        for document, ids in zip(batch, text.encode_batch([member.text for member in batch]), strict=True):
            for group in (f"source {document.source}", f"language {document.language or 'unknown'}"):
                lengths = counts.setdefault(group, Counter())
                lengths["characters"] += len(document.text)
                lengths["tokens"] += len(ids)
    return dict(counts)


@stage(paper="3.2", version=4)
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

    Whole documents are held out, chosen by their text. Of a source of which none is chosen, long ones give their ends;
    where there are no long ones either, a warning and `not_held_out` of the result name the source.
    tokenizer: or a model, which packs with its own. bos_token, eos_token: put before and after a document, "" for none;
    absent, as the model has it: before a text what its tokenizer puts there, nothing for many, and after it what ends a
    document, which is not always the `eos_token` of a model that chats.
    """
    text = TextTokenizer.load(tokenizer.path)
    opening, ending = around_document(text, bos_token, eos_token)
    packed = pack_documents(
        document_parts(corpus.path),
        tokenizer.path,
        work.out,
        around=(opening, ending),
        held_out_share=held_out_share,
        place=work.executor,
        scratch=work.scratch / "parts",
        progress=work.progress,
    )
    if not packed.index:
        raise DataError(f"{corpus.path}: the corpus is empty; look at its rejects with `herd show`")
    write_index(work.out, text.vocab_size, text.pad_id, packed.index, tokenizer=text.fingerprint)
    result = PackingResult(
        sources={source: _split_sizes(splits) for source, splits in packed.index.items()},
        around_document=(text.show(opening), text.show(ending)),
        control_tokens=len(text.control_tokens),
        held_out_by_parts=tuple(packed.split),
        not_held_out=tuple(packed.not_held_out),
    )
    work.record(result)
    if result.not_held_out:
        everything = len(result.not_held_out) == len(result.sources)
        work.warn(_not_held_out(result.not_held_out, everything=everything))
    work.headline = f"{result.tokens:,} tokens from {len(result.sources)} sources"
    return Tokens(work.out)


# A model that chats often names what ends a turn as its `eos_token`, and has what ends a document still. Source: the
# tokenizers of SmolLM2, Qwen 2.5 and OLMo 2; of Llama 3 and SmolLM3; of Llama 2 and Mistral.
DOCUMENT_ENDS = ("<|endoftext|>", "<|end_of_text|>", "</s>")


def around_document(text: TextTokenizer, bos_token: str | None, eos_token: str | None) -> tuple[list[int], list[int]]:
    """Ids put before and after a document for pre-training, one or none each; as `pack` says.

    Raises SettingsError for a token that is none of the vocabulary's control tokens.
    """
    for name, token in (("bos_token", bos_token), ("eos_token", eos_token)):
        if token and token not in text.control_tokens:
            available = ", ".join(text.control_tokens[-8:])
            raise SettingsError(f"{name} {token!r} is no control token of this tokenizer; it has {available}")
    begin = text.opening if bos_token is None else [text.control(bos_token)] if bos_token else []
    if eos_token is None:
        named = [token for token in DOCUMENT_ENDS if token in text.control_tokens]
        eos_token = text.special_tokens.eos if text.special_tokens.eos in named or not named else named[0]
    return begin, [text.control(eos_token)] if eos_token else []


def _split_sizes(splits: Mapping[str, Mapping[str, int]]) -> dict[str, SplitSize]:
    return {split: SplitSize(**size) for split, size in splits.items()}


def _not_held_out(sources: Sequence[str], *, everything: bool) -> str:
    """The warning about sources of which nothing is held out. everything: whether there are no others."""
    listed = ", ".join(sources[:5]) + (f" and {len(sources) - 5} more" if len(sources) > 5 else "")
    return (
        f"nothing is held out of {listed}, so no loss is measured there: no document was chosen by its text, and "
        f"none has {LONG_TOKENS:,} tokens, of which a part would be; raise held_out_share or add documents"
        + ("; there is no other text, so models trained on it have no held-out loss at all" if everything else "")
    )
