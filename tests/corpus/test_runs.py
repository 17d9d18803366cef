"""Sorted runs: ranges of keys hold every key once, with what stands beside it."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.corpus import runs
from herd.corpus.runs import group_starts, key_ranges, read_range, write_run

KEYS = st.lists(st.integers(0, (1 << 64) - 1) | st.sampled_from([0, 1, 1 << 63, (1 << 64) - 1]), max_size=20)


@given(st.lists(KEYS, min_size=1, max_size=3), st.integers(1, 30))
def test_the_ranges_together_hold_every_key_once_in_order(given_keys: list[list[int]], held: int) -> None:
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "RANGE_KEYS", held)
        folder, names, number = Path(name), [], 0
        for run, keys in enumerate(given_keys):
            names.append(f"{run:05}")
            write_run(folder, names[-1], np.array(keys, np.uint64), np.arange(number, number + len(keys)))
            number += len(keys)
        found = [read_range(folder, names, span) for span in key_ranges(number)]
    pairs = [pair for keys, beside in found for pair in zip(keys.tolist(), beside.tolist(), strict=True)]
    # Equal keys stand in the order of the runs, and in a run in the order in which they came.
    assert pairs == sorted(zip([key for keys in given_keys for key in keys], range(number), strict=True))


@given(st.integers(0, 10**9), st.integers(1, 10**8))
def test_ranges_follow_one_another_and_cover_all_keys(total: int, held: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "RANGE_KEYS", max(held, total // 1000 + 1))
        spans = key_ranges(total)
        assert len(spans) * runs.RANGE_KEYS >= total
    assert (spans[0][0], spans[-1][1]) == (0, 1 << 64)
    assert all(low < high == after for (low, high), (after, _) in itertools.pairwise(spans))
    widths = [high - low for low, high in spans]
    assert max(widths) - min(widths) <= 1


def test_keys_without_values_and_no_runs_are_read(tmp_path: Path) -> None:
    write_run(tmp_path / "deep", "a", np.array([7, 3, 7], np.uint64))
    keys, beside = read_range(tmp_path / "deep", ["a"], (0, 1 << 64), values=False)
    assert (keys.tolist(), beside.tolist()) == ([3, 7, 7], [])
    assert sorted(file.name for file in (tmp_path / "deep").iterdir()) == ["a.keys.npy"]  # nothing half written
    keys, beside = read_range(tmp_path, [], (0, 1 << 64))
    assert (keys.dtype, keys.tolist(), beside.tolist()) == (np.uint64, [], [])


@given(KEYS)
def test_groups_are_runs_of_equal_keys(values: list[int]) -> None:
    keys = np.array(sorted([one % 5 for one in values]), np.uint64)
    starts = group_starts(keys)
    groups = [keys[low:high].tolist() for low, high in itertools.pairwise(starts)]
    assert [one for group in groups for one in group] == keys.tolist()
    assert [len(set(group)) for group in groups] == [1] * len(set(keys.tolist()))
