"""Work of which ranks do a part each: every item once, and the same list on every rank."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st

from herd.model.collectives import RankGroup, join_ranks
from herd.run.ranks import Rank, RankSupervisor
from tests.align.test_tuning import numbers_in
from tests.model.inference import MEASURED, STAGES, inputs, run_stages
from tests.model.test_devices import DATA_PARALLEL


class Ranks:
    """So many ranks as threads of this process, in the place of the network between them."""

    def __init__(self, count: int) -> None:
        self.count, self.here, self.board = count, threading.local(), [None] * count
        self.meet = threading.Barrier(count, timeout=30)

    def gather(self, into: list[Any], own: Any) -> None:
        self.board[self.here.rank] = own
        self.meet.wait()
        into[:] = self.board
        self.meet.wait()

    def run(self, monkeypatch: pytest.MonkeyPatch, work: Callable[[int], Any]) -> list[Any]:
        monkeypatch.setattr(dist, "is_initialized", lambda: True)
        monkeypatch.setattr(dist, "get_world_size", lambda: self.count)
        monkeypatch.setattr(dist, "get_rank", lambda: self.here.rank)
        monkeypatch.setattr(dist, "all_gather_object", self.gather)
        found: list[Any] = [None] * self.count

        def one(rank: int) -> None:
            self.here.rank = rank
            found[rank] = work(rank)

        threads = [threading.Thread(target=one, args=(rank,)) for rank in range(self.count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return found


@given(st.lists(st.integers(), max_size=9), st.integers(1, 4))
def test_every_item_is_done_by_one_rank_and_all_have_all_of_it_in_order(items: list[int], ranks: int) -> None:
    done: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        found = Ranks(ranks).run(
            patch, lambda rank: RankGroup.joined().map(items, lambda one: done.append(one) or 2 * one)
        )
    assert found == [[2 * one for one in items]] * ranks
    assert sorted(done) == sorted(items)


@given(st.integers(1, 9), st.integers(2, 4))
def test_together_all_ranks_compute_equally_often(count: int, ranks: int) -> None:
    """A model whose weights they share waits for all of them."""
    calls = [0] * ranks
    with pytest.MonkeyPatch.context() as patch:
        crew = Ranks(ranks)

        def compute(item: int) -> int:
            calls[crew.here.rank] += 1
            return item

        found = crew.run(patch, lambda rank: RankGroup.joined().map(range(count), compute, collective=True))
    assert found == [list(range(count))] * ranks
    assert set(calls) == {-(-count // ranks)}


def test_one_process_does_all_of_it() -> None:
    assert RankGroup.joined().map([3, 1, 2], lambda one: -one, collective=True) == [-3, -1, -2]
    assert RankGroup.joined().map([], lambda one: one) == []


def test_ranks_join_once(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []
    monkeypatch.setattr(dist, "init_process_group", lambda kind, timeout: begun.append(kind))
    join_ranks(torch.device("cpu"))
    assert begun == ["gloo"]
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    join_ranks(torch.device("cpu"))
    assert begun == ["gloo"]


def test_two_ranks_infer_as_one_does(tmp_path: Path, figure: Callable[..., None]) -> None:
    """Of every stage that divides its rows: the same results and files, bit for bit, of about half the work each."""
    assert set(STAGES) == DATA_PARALLEL
    inputs(tmp_path)
    command = [sys.executable, "-W", "ignore", "-m", "tests.model.inference", str(tmp_path)]
    RankSupervisor(command, 2, tmp_path / "ranks").run(lambda *_: None)
    first, second = (json.loads((tmp_path / f"outcomes-{rank}.json").read_text()) for rank in range(2))
    alone = json.loads(json.dumps(run_stages(tmp_path, Rank(0, 1, 0))))
    shares = []
    for name in STAGES:
        assert first[name]["results"] == alone[name]["results"]
        assert first[name]["answers"] == second[name]["answers"] == alone[name]["answers"]
        assert files_of(tmp_path / f"{name}-2-0") == files_of(tmp_path / f"{name}-1-0")
        shares += [each[name]["tokens"] / alone[name]["tokens"] for each in (first, second)]
        assert all(0.3 < share < 0.7 for share in shares[-2:]), (name, shares[-2:])
    for name in MEASURED:  # trained on two ranks, which rounds otherwise
        found, wanted = (numbers_in(each[name]["results"]) for each in (first, alone))
        assert found == pytest.approx(wanted, rel=1e-3)
        assert {place for place in found if "held_out" in place}
        assert first[name]["answers"] == second[name]["answers"]
        shares += [each[name]["tokens"] / alone[name]["tokens"] for each in (first, second)]
        assert all(0.3 < share < 0.7 for share in shares[-2:]), (name, shares[-2:])
    figure(f"two ranks: {len(STAGES)} stages with the same results, {min(shares):.0%} to {max(shares):.0%} of the work")


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
