"""Documents as token ids, part by part: workers encode, and what they wrote is put together in the corpus's order."""

from __future__ import annotations

import hashlib
import math
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from herd.core.executor import Executor
from herd.core.records import Document
from herd.core.storage import DocumentPart
from herd.tokens.shards import SPLITS, ShardWriter, id_dtype
from herd.tokens.tokenizer import TextTokenizer

LONG_TOKENS = 4096  # of a document that may be held out in part
_BATCH_DOCUMENTS, _BATCH_CHARACTERS = 512, 2_000_000  # that the tokenizer is given at once

Progress = Callable[[float, float, str], None]
ShardIndex = dict[str, dict[str, dict[str, int]]]  # per source and split: tokens, documents, text_bytes

# A document of a part. source: its place among the part's sources. held_out: chosen by its text.
_ROW = np.dtype([("source", np.int32), ("tokens", np.int64), ("text_bytes", np.int64), ("held_out", np.bool_)])


@dataclass
class PackingResult:
    """What was written. split: sources of which no document was chosen, whose long ones gave their ends. not_held_out:
    those of which nothing is held out."""

    index: ShardIndex
    split: list[str] = field(default_factory=list)
    not_held_out: list[str] = field(default_factory=list)


def pack_documents(
    parts: Sequence[DocumentPart],
    tokenizer: Path,
    out: Path,
    *,
    around: tuple[Sequence[int], Sequence[int]],
    held_out_share: float,
    place: Executor,
    scratch: Path,
    progress: Progress = lambda done, total, words: None,
) -> PackingResult:
    """Every document with the ids that stand `around` it, in `out`, in the order of `parts`; some are held out.

    Of a source of which no whole document is chosen, each of at least `LONG_TOKENS` tokens gives its end, a share of
    its own tokens. The result follows from the parts' texts, the tokenizer and the share alone. scratch: a folder for
    what workers write, emptied before and after.
    """
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    before, after = map(tuple, around)
    jobs = [
        _Job(part, tokenizer, before, after, scratch / f"{number:06}", held_out_share)
        for number, part in enumerate(parts)
    ]
    encoded: list[_EncodedPart] = []
    for completed, encoded_part in enumerate(place.map(_encode, jobs), 1):
        encoded.append(encoded_part)
        progress(completed, len(jobs), "parts of the corpus")
    packed = _join(encoded, TextTokenizer.load(tokenizer), out, held_out_share)
    shutil.rmtree(scratch)
    return packed


# ---- a part, in a worker ----


@dataclass(frozen=True)
class _Job:
    """A part to encode. before, after: ids put around each document. out: of the files, without their endings."""

    part: DocumentPart
    tokenizer: Path
    before: tuple[int, ...]
    after: tuple[int, ...]
    out: Path
    held_out_share: float


@dataclass(frozen=True)
class _EncodedPart:
    """A part as ids. files: `.bin` of all ids in a row and `.npy` of rows about documents. sources: of the part, in the
    order they came. chosen: those of which documents are held out."""

    files: Path
    sources: tuple[str, ...]
    chosen: frozenset[str]

    def read(self) -> NDArray[np.void]:
        return np.load(self.files.with_suffix(".npy"))


def _encode(job: _Job) -> _EncodedPart:
    text = TextTokenizer.load(job.tokenizer)
    dtype = id_dtype(text.vocab_size)
    numbers: dict[str, int] = {}
    rows: list[tuple[int, int, int, bool]] = []
    with job.out.with_suffix(".bin").open("wb") as out:
        for batch in document_batches(job.part.read()):
            for document, ids in zip(batch, text.encode_batch([member.text for member in batch]), strict=True):
                token_ids = np.array([*job.before, *ids, *job.after], dtype)
                out.write(token_ids.tobytes())
                data = document.text.encode()
                source = numbers.setdefault(document.source, len(numbers))
                rows.append((source, len(token_ids), len(data), is_heldout_text(data, job.held_out_share)))
    table = np.array(rows, _ROW)
    np.save(job.out.with_suffix(".npy"), table)
    sources = tuple(numbers)
    chosen = frozenset(sources[number] for number in np.unique(table["source"][table["held_out"]]).tolist())
    return _EncodedPart(job.out, sources, chosen)


def is_heldout_text(text: bytes, share: float) -> bool:
    """Decided by the text, so that equal texts can never lie on both sides."""
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") < share * 2**64


def document_batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    """The documents in lists that are small enough to encode at once."""
    batch: list[Document] = []
    characters = 0
    for document in documents:
        batch.append(document)
        characters += len(document.text)
        if len(batch) == _BATCH_DOCUMENTS or characters > _BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


# ---- all parts together ----


def _join(parts: Sequence[_EncodedPart], text: TextTokenizer, out: Path, held_out_share: float) -> PackingResult:
    """All parts as shards of each source, and what each encoded part took on the disk is given back."""
    dtype = id_dtype(text.vocab_size)
    chosen = set[str]().union(*(part.chosen for part in parts))
    writers: dict[str, dict[str, ShardWriter]] = {}
    for part in parts:
        for source in part.sources:
            if source not in writers:
                writers[source] = {split: ShardWriter(out, f"{source}.{split}", dtype) for split in SPLITS}
        table = part.read()
        file = part.files.with_suffix(".bin")
        ids = np.memmap(file, dtype, mode="r") if len(table) else np.empty(0, dtype)
        start = 0
        for number, tokens, text_bytes, held_out in table.tolist():
            source = part.sources[number]
            document = ids[start : start + tokens]
            start += tokens
            train, heldout = (writers[source][split] for split in SPLITS)
            if held_out_share and source not in chosen and tokens >= LONG_TOKENS:
                _add_divided(document, text_bytes, text, train, heldout, held_out_share)
            else:
                (heldout if held_out else train).add(document, text_bytes)
        del ids
        file.unlink()
    index: dict[str, dict[str, dict[str, int]]] = {}
    for source, source_writers in sorted(writers.items()):
        index[source] = {split: writer.close() for split, writer in source_writers.items()}
    empty = [source for source, splits in index.items() if held_out_share and not splits["heldout"]["documents"]]
    split = [source for source in index if held_out_share and source not in chosen and source not in empty]
    return PackingResult(index, split, empty)


def _add_divided(
    document: NDArray[np.integer],
    text_bytes: int,
    text: TextTokenizer,
    train: ShardWriter,
    heldout: ShardWriter,
    share: float,
) -> None:
    """The end of a document held out, what stands before it not."""
    end = document[-max(2, math.ceil(share * len(document))) :]
    end_bytes = min(text_bytes, len(text.decode(end.tolist()).encode()))
    train.add(document[: len(document) - len(end)], text_bytes - end_bytes)
    heldout.add(end, end_bytes)
