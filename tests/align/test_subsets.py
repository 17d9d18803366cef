"""So many dialogues of each source."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.align.results import DialogueCount
from herd.align.subsets import mix_by_share, preference_prompts, sample_by_source, share_counts
from herd.core.artifacts import Dialogues, Preferences
from herd.core.errors import DataError
from herd.core.records import Conversation, Message, Preference
from herd.core.stage import Work
from herd.core.storage import read_conversations, write_conversations, write_preferences
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


def mix(folder: Path, sizes: dict[str, int], shares: dict[str, float], max_repeats: int = 4) -> tuple[Work, list[str]]:
    """Sources of a mix of one artifact with so many dialogues of each."""
    rows = [
        Conversation((Message("user", "?"), Message("assistant", "!")), id=f"{source}/{number}", source=source)
        for source, size in sizes.items()
        for number in range(size)
    ]
    part = Path(tempfile.mkdtemp(dir=folder))
    write_conversations(part, rows)
    work = Work(Path(tempfile.mkdtemp(dir=folder)), folder, LocalExecutor())
    mix_by_share.body(work, (Dialogues(part),), shares=shares, max_repeats=max_repeats)
    return work, [row.id for row in read_conversations(work.out)]


@given(SIZES, st.lists(st.floats(0.01, 1.0), min_size=3, max_size=3), st.integers(1, 5))
def test_every_source_has_its_share_and_none_is_read_too_often(sizes, weights, max_repeats) -> None:
    shares = {name: weight / sum(weights) for name, weight in zip("abc", weights, strict=True)}
    counts = share_counts(sizes, shares, max_repeats)
    assert set(counts) == set(sizes)
    assert all(1 <= count <= max_repeats * sizes[name] for name, count in counts.items())
    assert sum(counts.values()) <= sum(sizes.values()) + len(sizes)  # one at least of each
    whole, total = sum(shares[name] for name in sizes), sum(counts.values())
    assert all(abs(count - total * shares[name] / whole) <= len(sizes) for name, count in counts.items())


def test_a_small_source_stands_several_times_and_a_large_one_in_part(tmp_path: Path) -> None:
    work, ids = mix(tmp_path, {"a": 10, "b": 2, "c": 5}, {"a": 0.5, "b": 0.5}, max_repeats=3)
    counts = Counter(name.partition("/")[0] for name in ids)
    assert counts == {"a": 6, "b": 6}
    assert Counter(name for name in ids if name[0] == "b") == {"b/0": 3, "b/1": 3}
    assert work.results[DialogueCount].left_out == {"a source without a share": 5, "more than its share": 4}
    assert mix(tmp_path, {"a": 10, "b": 2, "c": 5}, {"a": 0.5, "b": 0.5}, max_repeats=3)[1] == ids


def test_shares_of_sources_that_are_not_there_go_to_the_others(tmp_path: Path) -> None:
    work, ids = mix(tmp_path, {"a": 4}, {"a": 0.25, "b": 0.75})
    assert len(ids) == 4
    assert "none of b, whose shares the others have" in work.headline
    with pytest.raises(DataError, match="there are a"):
        mix(tmp_path, {"a": 4}, {"b": 1.0})


def test_a_prompt_of_several_rankings_is_asked_once(tmp_path: Path) -> None:
    answer = (Message("assistant", "1"),), (Message("assistant", "2"),)
    prompts = [Conversation((Message("user", text),), source="mine") for text in ("a", "b", "a")]
    write_preferences(tmp_path, [Preference(prompt=prompt, chosen=answer[0], rejected=answer[1]) for prompt in prompts])
    (tmp_path / "out").mkdir()
    work = Work(tmp_path / "out", tmp_path, LocalExecutor())
    preference_prompts.body(work, (Preferences(tmp_path),))
    found = list(read_conversations(work.out))
    assert [prompt.last.content for prompt in found] == ["a", "b"]
    assert {prompt.source for prompt in found} == {"mine"}
    assert work.results[DialogueCount].left_out == {"asked before": 1}
