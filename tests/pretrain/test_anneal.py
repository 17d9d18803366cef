"""Members of an average that a crash left behind are compared with what was written."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from herd.core.errors import CorruptArtifactError
from herd.pretrain.anneal import AnnealSettings, AveragedCheckpoints
from herd.train.checkpoint import checkpoints, save
from tests.train.test_loop import state

SETTINGS = AnnealSettings(
    tokens=10,
    length=1,
    batch_tokens=1,
    lr=1e-3,
    mixture_weights={"a": 1.0},
    averaged_checkpoints=3,
    averaging_window=0.4,
)


@pytest.mark.parametrize("way", ["flip", "lost"])
def test_checkpoints_after_a_damaged_member_are_not_gone_on_from(way: str, tmp_path: Path) -> None:
    made = state()
    members = AveragedCheckpoints(tmp_path / "members", 10, SETTINGS)
    assert sorted(members.steps) == [6, 8, 10]
    for step in (6, 7, 8, 10):
        members.save_if_due(step, SimpleNamespace(full_model=lambda: made.model))  # type: ignore[arg-type]
        if step in (7, 8):
            made.step = step
            save(tmp_path, made)
    assert len(members.read()) == 3
    members.start_over_if_damaged(tmp_path)
    assert len(checkpoints(tmp_path)) == 2
    file = tmp_path / "members" / "000000008.safetensors"
    if way == "lost":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-1] + b"x")
    members.start_over_if_damaged(tmp_path)
    assert [one.name for one in checkpoints(tmp_path)] == ["step-000000007"]
    with pytest.raises(CorruptArtifactError, match="run the same command again"):
        members.read()
