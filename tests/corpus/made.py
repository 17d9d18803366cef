"""Documents as the steps over all of them see them, without a run around."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as arrow

from herd.core.executor import Place
from herd.core.records import Document
from herd.corpus.dedup import dedups
from herd.corpus.parts import Parts, Writer
from herd.run.executors import LocalPlace


def parts(folder: Path, documents: Sequence[Document], *, files: int = 2, place: Place | None = None) -> Parts:
    """The documents in so many part files."""
    folder.mkdir(parents=True, exist_ok=True)
    made, rows = [], []
    for number, share in enumerate(np.array_split(np.arange(len(documents)), files)):
        held = [documents[k] for k in share]
        columns = {
            name: arrow.array([getattr(one, name) for one in held], arrow.string())
            for name in ("id", "source", "url", "added")
        }
        columns["text"] = arrow.array([one.text for one in held], arrow.large_string())
        file = folder / f"part{number}.arrow"
        writer = Writer(file)
        writer.write(arrow.record_batch(columns))
        writer.close()
        made.append(file)
        rows.append(len(held))
    return Parts(place or LocalPlace(), folder / "steps", made, rows)


def applied(name: str, folder: Path, documents: Sequence[Document], **settings: object) -> dict[str, str]:
    """The texts that a step leaves, by id."""
    held = parts(folder, documents)
    outcome = dedups.make(dedups.use(name, **settings))(held)
    for dropped in outcome.dropped:
        held.drop(name, dropped)
    left: dict[str, str] = {}
    for job in held.jobs(folder):
        mask = job.mask()
        for start, batch in job.batches("id", "text"):
            for row in range(batch.num_rows):
                if mask[start + row]:
                    left[batch.column("id")[row].as_py()] = batch.column("text")[row].as_py()
    return left
