"""`herd dpo`: the loss that is named, a rate by the model's size, and held-out margins."""

from __future__ import annotations

from pathlib import Path

import pytest

from herd.cli import main
from herd.core.settings import read_yaml
from tests.commands.test_finetuning import own as own


def test_pairs_are_learnt_by_the_loss_that_is_named(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["dpo", "smol", "pairs.jsonl", "--loss", "ipo: {}", "--batch-size", "4", "--lora", "2", "--jobs", "0"]
    assert main([*command, "--out", "mine"]) == 0
    out = capsys.readouterr().out
    assert "-- best --" in out
    assert "--set dpo.include_eos=true counts it" in out
    assert "log p of chosen" in out
    values, _ = read_yaml(own / "mine" / "recipe.yaml")
    assert values["recipe"] == "dpo"
    assert values["dpo"]["loss"] == {"ipo": {}}
    assert values["dpo"]["lora"] == {"rank": 2}


def test_the_rate_is_a_tenth_of_that_of_sft(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rates = []
    for stage, rows in (("sft", "rows.jsonl"), ("dpo", "pairs.jsonl")):
        assert main([stage, "smol", rows, "--dry-run"]) == 0
        recipe = capsys.readouterr().out.partition("the recipe would be")[2]
        rates.append(float(recipe.partition("lr: ")[2].split()[0]))
    assert rates[1] == pytest.approx(rates[0] / 10, rel=0.1)
