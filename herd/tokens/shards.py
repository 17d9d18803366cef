"""Token ids on disk: per source and split one flat file of ids and the place where each document ends."""

from __future__ import annotations

import glob
import json
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from herd.core.errors import ArtifactError, DataError
from herd.core.manifests import check_files
from herd.core.names import file_name
from herd.tokens.tokenizer import TextTokenizer

SHARD_INDEX_FILE = "shards.json"
SPLITS = ("train", "heldout")
_BUFFER_BYTES = 1 << 15  # of a shard, between two openings of its file
_MANY_SOURCES = 64  # a memory map keeps its file open, and a process may have a thousand open


@dataclass(frozen=True)
class TokenShard:
    """The documents of one source and split. ids: all of them in a row, memory-mapped. ends: where each
    document ends in `ids`. text_bytes: length of the text they came from, for losses per byte."""

    ids: NDArray[np.integer]
    ends: NDArray[np.int64]
    text_bytes: int

    def __len__(self) -> int:
        return len(self.ends)

    def document(self, number: int) -> NDArray[np.integer]:
        start = self.ends[number - 1] if number else 0
        return self.ids[start : self.ends[number]]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of every document."""
        return np.diff(self.ends, prepend=0)

    def lengths_of(self, numbers: NDArray[np.integer]) -> NDArray[np.int64]:
        """Tokens of some documents."""
        return self.ends[numbers] - np.where(numbers > 0, self.ends[numbers - 1], 0)


def _files(folder: Path, name: str) -> tuple[Path, Path]:
    """Where ids and ends of the shard called `SOURCE.SPLIT` lie; a source is what a row says, so never a path."""
    safe = file_name(name)
    return folder / f"{safe}.bin", folder / f"{safe}.ends.npy"


class ShardWriter:
    """Collects documents in the order they came. name: `SOURCE.SPLIT`.

    Its file is open only while it is written to, so that there may be as many sources as there are.
    """

    def __init__(self, folder: Path, name: str, dtype: np.dtype) -> None:
        self._path, self._ends_path = _files(folder, name)
        self._path.write_bytes(b"")
        self._buffer = bytearray()
        self._dtype = dtype
        self._ends = array("q")  # eight bytes a document
        self.tokens = self.text_bytes = 0

    def add(self, ids: Sequence[int] | NDArray[np.integer], text_bytes: int) -> None:
        self._buffer += np.asarray(ids, self._dtype).tobytes()
        if len(self._buffer) >= _BUFFER_BYTES:
            self._flush()
        self.tokens += len(ids)
        self.text_bytes += text_bytes
        self._ends.append(self.tokens)

    def close(self) -> dict[str, int]:
        """The index entry of this shard."""
        self._flush()
        np.save(self._ends_path, np.asarray(self._ends, np.int64))
        return {"tokens": self.tokens, "documents": len(self._ends), "text_bytes": self.text_bytes}

    def _flush(self) -> None:
        with self._path.open("ab") as file:
            file.write(self._buffer)
        self._buffer.clear()


class TokenShards:
    """The shards of a Tokens artifact. Raises ArtifactError when they disagree with their index."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        check_files(folder, SHARD_INDEX_FILE)
        self.index = json.loads((folder / SHARD_INDEX_FILE).read_text(encoding="utf-8"))
        self.dtype = np.dtype(self.index["dtype"])

    @property
    def sources(self) -> list[str]:
        return sorted(self.index["sources"])

    @property
    def vocab_size(self) -> int:
        return self.index["vocab_size"]

    @property
    def pad_id(self) -> int:
        """The id that fills rows."""
        return self.index["pad_id"]

    def check_packed_for(self, text: TextTokenizer, rows: int) -> None:
        """Raises DataError when the ids are not those of the model's own tokenizer `text`, or too high for the `rows`
        of its embedding."""
        packed = self.index.get("tokenizer")
        if (packed and packed != text.fingerprint) or self.vocab_size > rows:
            raise DataError(
                f"{self.folder} was packed with a tokenizer of {self.vocab_size:,} tokens that is not the model's own; "
                "pack the corpus with the model: `pack(corpus, model)`"
            )

    def read(self, source: str, split: str = "train") -> TokenShard:
        entry = self.index["sources"][source][split]
        file, ends_file = _files(self.folder, f"{source}.{split}")
        check_files(self.folder, glob.escape(file.name), glob.escape(ends_file.name))
        ends = np.load(ends_file)
        if file.stat().st_size != entry["tokens"] * self.dtype.itemsize or len(ends) != entry["documents"]:
            raise ArtifactError(f"{file} disagrees with {SHARD_INDEX_FILE}; delete {self.folder} and pack again")
        # Of documents that go back or beyond the last id no training would ever come to an end.
        if (ends[-1] if len(ends) else 0) != entry["tokens"] or (np.diff(ends, prepend=0) < 0).any():
            raise ArtifactError(
                f"{ends_file}: the ends of documents do not rise to the {entry['tokens']:,} ids there are; delete "
                f"{self.folder} and pack again"
            )
        ids = self._mapped(file) if entry["tokens"] else np.empty(0, self.dtype)
        return TokenShard(ids, ends, entry["text_bytes"])

    def _mapped(self, file: Path) -> NDArray[np.integer]:
        if len(self.index["sources"]) <= _MANY_SOURCES:
            return np.memmap(file, self.dtype, mode="r")
        import pyarrow as arrow

        # Arrow's buffer keeps the memory mapped when the file is closed.
        with arrow.memory_map(str(file), "r") as mapped:
            return np.frombuffer(mapped.read_buffer(), self.dtype)


def write_index(
    folder: Path, vocab_size: int, pad_id: int, sources: dict[str, dict[str, dict[str, int]]], *, tokenizer: str = ""
) -> None:
    """tokenizer: the fingerprint of what the ids were made with; empty where that is not known."""
    index = {"vocab_size": vocab_size, "pad_id": pad_id, "dtype": id_dtype(vocab_size).name, "sources": sources}
    index["tokenizer"] = tokenizer
    text = json.dumps(index, indent=1)
    (folder / SHARD_INDEX_FILE).write_text(text, encoding="utf-8")


def id_dtype(vocab_size: int) -> np.dtype:
    """The smallest type that holds every id."""
    return np.dtype(np.uint16 if vocab_size <= 2**16 else np.uint32)
