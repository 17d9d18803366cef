"""`herd reward`: a model that scores, and how well it ranks pairs of prompts it never saw."""

from __future__ import annotations

from pathlib import Path

import pytest

from herd.cli import main
from herd.serve.folders import model_in
from herd.train.checkpoint import kind_of
from tests.commands.test_finetuning import own as own


def test_pairs_make_a_reward_model(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reward", "smol", "pairs.jsonl", "--batch-size", "4", "--held-out-share", "0.3", "--jobs", "0"]) == 0
    out = capsys.readouterr().out
    assert "held-out pairs as people do" in out
    folder = next((own / "runs" / "reward-smol" / "artifacts").glob("train_reward-*"))
    assert kind_of(model_in(folder)) == "reward"
