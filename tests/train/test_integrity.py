"""Weights that change in memory between two steps are noticed, their rank is named, and training goes back."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from herd.core.errors import TrainingError
from herd.train.guards import LossJumps
from herd.train.integrity import DamagedWeightsError, IntegrityCheck, WeightWatch, describe_faults, tensor_checksum
from herd.train.log import Step

RECIPE = Path(__file__).with_name("flipped.py")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_every_flipped_bit_changes_the_checksum(dtype: torch.dtype) -> None:
    weights = [torch.randn(5, 3).to(dtype), torch.randn(4).to(dtype), torch.zeros(0, dtype=dtype)]
    before = int(tensor_checksum(weights))
    words = {2: torch.int16, 4: torch.int32, 8: torch.int64}[weights[0].element_size()]
    flat = weights[0].view(words).view(-1)
    for place in (0, 7, 14):
        for bit in range(8 * weights[0].element_size()):
            mask = torch.tensor(1, dtype=words) << bit
            flat[place] ^= mask
            assert int(tensor_checksum(weights)) != before
            flat[place] ^= mask
    assert int(tensor_checksum(weights)) == before


def test_what_steps_change_is_no_fault_and_what_else_does_is() -> None:
    weight = torch.ones(8)
    watched = WeightWatch([weight])
    watched.check()  # nothing is kept yet
    for _ in range(3):
        watched.check()
        weight += 1.0
        watched.record()
    assert not watched.changed
    weight.view(torch.int32)[2] ^= 1 << 30
    watched.check()
    weight += 1.0
    watched.record()
    watched.check()
    assert watched.changed  # until training has gone back
    watched.reset()
    assert not watched.changed


def test_the_faulty_rank_is_named() -> None:
    assert describe_faults([False] * 4, [5, 5, 5, 5], [0, 0, 0, 0]) == ""
    assert describe_faults([False] * 4, [5, 5, 6, 6], [0, 0, 1, 1]) == ""
    assert describe_faults([False, True], [5, 5], [0, 0]).startswith("rank 1: its weights changed in memory")
    assert describe_faults([False, True], [5, 6], [0, 0]).count("rank") == 1
    assert (
        describe_faults([False] * 3, [5, 7, 5], [0, 0, 0]) == "rank 1: its copy of the weights is not that of 2 others"
    )
    assert describe_faults([False] * 2, [5, 7], [0, 0]) == "ranks 0, 1: their copies of the same weights differ"


def step(number: int, skipped: str = "") -> Step:
    return Step(number, 1.0, 1.0, 0.1, 1.0, 8.0, skipped=skipped)


def test_ranks_are_asked_every_so_many_steps_and_before_anything_is_kept() -> None:
    asked: list[int] = []
    compared = IntegrityCheck(lambda: asked.append(1) or "", lambda: True, 10)
    for number in range(1, 31):
        assert not compared.roll_back_if_damaged(step(number), now=number == 25)
    assert len(asked) == 4
    assert not compared.roll_back_if_damaged(step(31, "not finite"), now=False)
    assert len(asked) == 5


def test_a_rank_that_is_wrong_again_and_again_is_given_up_with_its_name() -> None:
    compared = IntegrityCheck(lambda: "rank 1: its weights changed", lambda: True, 1)
    for number in (1, 2, 3):
        assert compared.roll_back_if_damaged(step(number), now=False)
    with pytest.raises(TrainingError, match="rank 1: its weights changed, for the 4th time"):
        compared.roll_back_if_damaged(step(4), now=False)
    with pytest.raises(DamagedWeightsError, match="nothing is saved yet"):
        IntegrityCheck(lambda: "rank 1", lambda: False, 1).roll_back_if_damaged(step(1), now=False)


def test_a_jump_of_the_loss_is_told_once() -> None:
    jumps = LossJumps()
    losses = [4.0 - 0.01 * n + 0.02 * (n % 3) for n in range(40)] + [5.0] * 5 + [3.7]
    assert [number for number, loss in enumerate(losses) if jumps.add(number, loss)] == [40]
    assert jumps.steps == [40]


@pytest.mark.row(38, "faults")
def test_a_bit_that_flips_in_one_rank_changes_nothing_in_the_end(tmp_path: Path, figure) -> None:
    command = [sys.executable, "-m", "herd", "run", str(RECIPE), "--out", str(tmp_path), "--save-every", "0.2"]
    sets = ["--set", "at=12", "--set", f"once={tmp_path / 'once'}"]
    done = subprocess.run([*command, *sets], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("once-*"))) == 2
    rows = json.loads(next((tmp_path / "artifacts").glob("train_flipped-*/scores.json")).read_text())
    log = next((tmp_path / "logs").glob("train_flipped-*.log")).read_text()
    told = re.findall(r"step (\d+): rank 1: its weights changed in memory between two steps; going back", log)
    assert len(told) >= 2
    assert all(12 < int(number) <= 20 for number in told)  # ranks compare every ten steps
    assert ": rank 0: " not in log
    for calm, found in rows.values():
        assert calm["told"] == []
        assert found["losses"] == calm["losses"]
        assert found["weights"] == calm["weights"]
    figure(
        "a bit flipped in rank 1 is noticed within 10 steps, the rank named, and the run ends bit for bit as without"
    )
