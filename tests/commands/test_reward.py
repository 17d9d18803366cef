"""`herd reward`: a model that scores, and how well it ranks pairs of prompts it never saw."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from herd.cli import main
from herd.model.heads import RewardModel
from herd.model.weights import load_model
from herd.serve.folders import model_in
from herd.train.checkpoint import kind_of
from tests.commands.test_finetuning import own as own


def test_pairs_make_a_reward_model(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reward", "smol", "pairs.jsonl", "--batch-size", "4", "--held-out-share", "0.3", "--jobs", "0"]) == 0
    out = capsys.readouterr().out
    assert "held-out pairs as people do" in out
    run = own / "runs" / "reward-smol"
    folder = next((run / "artifacts").glob("train_reward-*"))
    assert kind_of(model_in(folder, reward=True)) == "reward"
    assert "scores: herd export runs/reward-smol FOLDER" in out
    assert "herd chat" not in out
    for words in (
        ["chat", "runs/reward-smol"],
        ["sft", "runs/reward-smol", "rows.jsonl", "--dry-run"],
        ["eval", "runs/reward-smol", "arithmetic"],
    ):
        assert main(words) == 1
        assert "holds a reward model, which gives scores and no text" in capsys.readouterr().err
    assert main(["export", "runs/reward-smol", "judge"]) == 0
    out = capsys.readouterr().out
    assert "transformers.AutoModelForSequenceClassification.from_pretrained('judge') reads it" in out
    assert (own / "judge" / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    assert main(["reward", "smol", "pairs.jsonl", "--out", "lora", "--lora", "2", "--jobs", "0"]) == 0
    assert main(["export", "lora", "merged", "--merge"]) == 0
    merged, adapters = load_model(Path("merged")), load_model(model_in(Path("lora"), reward=True))
    for name, weight in adapters.state_dict().items():
        assert torch.allclose(merged.state_dict()[name], weight), name
    assert isinstance(merged, RewardModel)
