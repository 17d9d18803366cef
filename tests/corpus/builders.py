"""Documents as the steps over all of them see them, without a run around."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as arrow

from herd.core.executor import Executor
from herd.core.records import Document
from herd.corpus.dedup import dedups
from herd.corpus.shards import BatchWriter, DocumentShards
from herd.run.executors import LocalExecutor


def document_shards(
    folder: Path, documents: Sequence[Document], *, files: int = 2, place: Executor | None = None
) -> DocumentShards:
    """The documents in so many part files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths, rows = [], []
    for number, row_numbers in enumerate(np.array_split(np.arange(len(documents)), files)):
        chunk = [documents[k] for k in row_numbers]
        columns = {
            name: arrow.array([getattr(document, name) for document in chunk], arrow.string())
            for name in ("id", "source", "url", "added")
        }
        columns["text"] = arrow.array([document.text for document in chunk], arrow.large_string())
        file = folder / f"part{number}.arrow"
        writer = BatchWriter(file)
        writer.write(arrow.record_batch(columns))
        writer.close()
        paths.append(file)
        rows.append(len(chunk))
    return DocumentShards(place or LocalExecutor(), folder / "steps", paths, rows)


def apply_dedup(name: str, folder: Path, documents: Sequence[Document], **settings: object) -> dict[str, str]:
    """The texts that a step leaves, by id."""
    shards = document_shards(folder, documents)
    result = dedups.make(dedups.configure(name, **settings))(shards)
    for removal in result.removals:
        shards.drop(name, removal)
    remaining: dict[str, str] = {}
    for shard in shards.snapshot(folder):
        mask = shard.mask()
        for start, batch in shard.batches("id", "text"):
            for row in range(batch.num_rows):
                if mask[start + row]:
                    remaining[batch.column("id")[row].as_py()] = batch.column("text")[row].as_py()
    return remaining
