"""Several processes that hold parts of one model compute what one process computes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from herd.core.errors import SettingsError, TrainingError
from herd.model.transformer import Transformer
from herd.run.executors import LocalExecutor
from herd.run.ranks import RankSupervisor
from herd.train.checkpoint import TrainState, checkpoints, restore
from herd.train.freezing import unfrozen_names
from herd.train.layout import ParallelLayout
from herd.train.loop import single_device
from herd.train.optimizer import OptimizerSettings, build_optimizer
from herd.train.regions import ShardedReader
from tests.train.ranks import SHAPE, batches, initial, losses, partly_frozen

# Fewer micro-batches than stages, and what is kept for the way back.
OF_OTHER_COMPUTE = ("pipeline=2,chunks=2,micro_batch=8", "tensor=2,recompute=selective")
OF_TWO = ("data=2", "tensor=2", "context=2", "pipeline=2", "pipeline=2,chunks=2", *OF_OTHER_COMPUTE)
OF_FOUR = (
    "data=2,tensor=2",
    "data=2,context=2",
    "data=2,pipeline=2",
    "tensor=2,context=2",
    "tensor=2,pipeline=2",
    "context=2,pipeline=2",
    "data=4",
)
TOLERANCE = 2e-5  # of losses and gradient norms, as a share; sums in another order


def in_one(folder: Path, name: str = "adamw", unfrozen: str = "") -> tuple[TrainState, list[list[float]]]:
    state = state_of(name, unfrozen)
    state.model.load_state_dict(dict(initial()))
    return state, losses(state, batches(folder), single_device(state, LocalExecutor()))


def state_of(name: Any, unfrozen: str = "") -> TrainState[Transformer]:
    model = partly_frozen(SHAPE, unfrozen)
    return TrainState(model, build_optimizer(model, OptimizerSettings(name=name)))


@pytest.mark.row(38, "rank_map")
@pytest.mark.parametrize(("ranks", "layouts"), [(2, OF_TWO), (4, OF_FOUR)])
def test_every_layout_trains_as_one_process_does(ranks: int, layouts: tuple[str, ...], tmp_path: Path, figure) -> None:
    command = [sys.executable, "-W", "ignore", "-m", "tests.train.ranks", str(tmp_path), *layouts]
    RankSupervisor(command, ranks, tmp_path / "crew").run(lambda *_: None)
    rows = json.loads((tmp_path / "rows.json").read_text())
    state, wanted = in_one(tmp_path / "tokens")
    worst = 0.0
    for words in layouts:
        found = rows[words]["steps"]
        worst = max(
            worst, *(abs(a / b - 1) for x, y in zip(found, wanted, strict=True) for a, b in zip(x, y, strict=True))
        )
        assert rows[words]["kept"], f"{words}: not every weight came back from its checkpoint"
        # Whatever the layout it was saved from, one process reads it.
        again = state_of("adamw")
        assert restore(tmp_path / words, again)
        for one, other in zip(again.model.parameters(), state.model.parameters(), strict=True):
            assert torch.allclose(one, other, atol=2e-4)
        moments = [s for weight in again.model.parameters() for s in (again.optimizer.state[weight]["exp_avg"],)]
        assert all(moment.abs().sum() > 0 for moment in moments)
    figure(f"{len(layouts)} layouts of {ranks} ranks: losses and gradient norms within {worst:.0e} of one process's")
    assert worst < TOLERANCE


@pytest.mark.parametrize(("ranks", "layouts"), [(2, ("data=2", "tensor=2", "pipeline=2")), (4, ("data=2,tensor=2",))])
def test_muon_makes_whole_matrices_orthogonal_whatever_the_layout(
    ranks: int, layouts: tuple[str, ...], tmp_path: Path
) -> None:
    state, wanted = in_one(tmp_path / "tokens", "muon")
    layouts = tuple(f"{words},optimizer=muon" for words in layouts)
    command = [sys.executable, "-W", "ignore", "-m", "tests.train.ranks", str(tmp_path), *layouts]
    RankSupervisor(command, ranks, tmp_path / "crew").run(lambda *_: None)
    rows = json.loads((tmp_path / "rows.json").read_text())
    for words in layouts:
        assert rows[words]["steps"] == [pytest.approx(step, rel=1e-5) for step in wanted], words
        assert rows[words]["kept"], f"{words}: not every weight came back from its checkpoint"
        again = state_of("muon")
        assert restore(tmp_path / words, again)
        for (name, weight), other in zip(again.model.named_parameters(), state.model.parameters(), strict=True):
            assert torch.allclose(weight, other, atol=1e-5), (words, name)
            ours, theirs = again.optimizer.state[weight], state.optimizer.state[other]
            assert ours.keys() == theirs.keys()
            assert all(torch.allclose(ours[key], theirs[key], atol=1e-5) for key in ours), (words, name)


def test_ranks_leave_frozen_weights_alone(tmp_path: Path) -> None:
    unfrozen = "lm_head|layers.1.self_attn|norm"
    _, wanted = in_one(tmp_path / "tokens", "muon", unfrozen)
    layouts = tuple(f"{words},optimizer=muon,unfrozen={unfrozen}" for words in ("data=2", "tensor=2"))
    command = [sys.executable, "-W", "ignore", "-m", "tests.train.ranks", str(tmp_path), *layouts]
    RankSupervisor(command, 2, tmp_path / "crew").run(lambda *_: None)
    rows = json.loads((tmp_path / "rows.json").read_text())
    for words in layouts:
        assert rows[words]["steps"] == [pytest.approx(step, rel=1e-5) for step in wanted], words
        assert set(ShardedReader(checkpoints(tmp_path / words)[-1]).weights()) == unfrozen_names(SHAPE, [unfrozen])


def test_layouts_that_cannot_be_are_told_with_the_number_to_change() -> None:
    with pytest.raises(SettingsError, match="kv_heads 2 cannot be divided by 4; the largest that fits is 2"):
        ParallelLayout(tensor=4).check(SHAPE, length=32)
    with pytest.raises(SettingsError, match="try chunks"):
        ParallelLayout(pipeline=4, chunks=4).check(SHAPE, length=32)


def test_ranks_that_keep_dying_are_given_up(tmp_path: Path) -> None:
    crew = RankSupervisor([sys.executable, "-c", "raise SystemExit(3)"], 2, tmp_path)
    with pytest.raises(TrainingError, match="ranks keep dying .rank . ended with 3."):
        crew.run(lambda *_: None)
