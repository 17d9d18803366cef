"""So many dialogues of each source."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.align.results import DialogueCount
from herd.align.subsets import sample_by_source
from herd.core.artifacts import Dialogues
from herd.core.errors import DataError
from herd.core.records import Conversation, Message
from herd.core.stage import Work
from herd.core.storage import read_conversations, write_conversations
from herd.run.executors import LocalExecutor


def sample(folder: Path, sizes: dict[str, int], counts: dict[str, int], seed: int = 0) -> tuple[Work, list[str]]:
    """Ids of what is drawn of two artifacts with so many dialogues of each source."""
    rows = [
        Conversation((Message("user", "?"), Message("assistant", "!")), id=f"{source}/{number}", source=source)
        for source, size in sizes.items()
        for number in range(size)
    ]
    parts = []
    for number in range(2):
        part = Path(tempfile.mkdtemp(dir=folder))
        write_conversations(part, rows[number::2])
        parts.append(Dialogues(part))
    work = Work(Path(tempfile.mkdtemp(dir=folder)), folder, LocalExecutor())
    sample_by_source.body(work, tuple(parts), counts=counts, seed=seed)
    return work, [row.id for row in read_conversations(work.out)]


SIZES = st.dictionaries(st.sampled_from("abc"), st.integers(1, 6), min_size=1)


@given(SIZES, st.dictionaries(st.sampled_from("abcd"), st.integers(1, 8), min_size=1), st.integers(0, 3))
def test_every_source_has_as_many_as_are_asked_for_where_there_are_so_many(
    sizes: dict[str, int], counts: dict[str, int], seed: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        if not sizes.keys() & counts.keys():
            with pytest.raises(DataError, match="no dialogue is of a source that counts names"):
                sample(Path(folder), sizes, counts, seed)
            return
        work, ids = sample(Path(folder), sizes, counts, seed)
        by_source = Counter(name.split("/")[0] for name in ids)
        assert by_source == {name: min(sizes[name], counts[name]) for name in sizes.keys() & counts.keys()}
        assert len(set(ids)) == len(ids)
        assert len(ids) + sum(work.results[DialogueCount].left_out.values()) == sum(sizes.values())
        more = {name: count + 2 for name, count in counts.items()}
        assert set(ids) <= set(sample(Path(folder), sizes, more, seed)[1])


def test_a_seed_draws_others(tmp_path: Path) -> None:
    sizes, counts = {"a": 30, "b": 30}, {"a": 5}
    first, again, other = (sample(tmp_path, sizes, counts, seed)[1] for seed in (0, 0, 1))
    assert first == again != other
