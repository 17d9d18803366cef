"""Which models an average is made of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from herd.align.average import average_models, greedy_soup
from herd.align.results import ModelAverage
from herd.core.artifacts import ArtifactMetadata, Checkpoint, Dialogues, write_metadata
from herd.core.errors import DataError
from herd.core.stage import Work
from herd.core.storage import write_conversations
from herd.model.weights import load_transformer
from herd.run.executors import LocalExecutor
from herd.train.checkpoint import write_checkpoint
from tests.model.test_transformer import SMALL, model
from tests.tokens.test_chat import HELLO, TOKENIZER

SHAPE = replace(SMALL, vocab_size=TOKENIZER.vocab_size, max_seq_len=128)


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=6))
def test_no_average_is_worse_than_the_best_alone(places: list[float]) -> None:
    members = [{"w": torch.tensor([place])} for place in places]
    taken, losses = greedy_soup(members, lambda weights: float(weights["w"].square().sum()))
    assert losses["chosen"] <= losses["best"]
    assert len(set(taken)) == len(taken) >= 1
    mean = sum(places[number] for number in taken) / len(taken)
    assert mean**2 == pytest.approx(losses["chosen"], abs=1e-5)


def made(tmp_path: Path, name: str, shape=SHAPE, *, noise: float = 0.0) -> Checkpoint:
    folder = tmp_path / name
    folder.mkdir()
    one = model(shape)
    with torch.no_grad():
        for weight in one.parameters():
            weight.add_(noise * torch.randn(weight.shape, generator=torch.Generator().manual_seed(len(name))))
    write_checkpoint(folder, one, TOKENIZER, kind="chat")
    write_metadata(folder, ArtifactMetadata("Checkpoint", name, "sft", 1, "4.1.3", "", {}, {}))
    return Checkpoint(folder)


def test_an_average_leaves_out_what_makes_it_worse(tmp_path: Path) -> None:
    good, spoilt = made(tmp_path, "good"), made(tmp_path, "spoilt", noise=3.0)
    for name in ("all", "chosen", "talk"):
        (tmp_path / name).mkdir()
    write_conversations(tmp_path / "talk", [HELLO] * 3)
    work = Work(tmp_path / "chosen", tmp_path, LocalExecutor())
    average_models.body(work, (spoilt, good), Dialogues(tmp_path / "talk"))
    assert work.results[ModelAverage].members == ("good",)
    kept, wanted = load_transformer(tmp_path / "chosen"), load_transformer(good.path)
    assert all(torch.equal(a, b) for a, b in zip(kept.parameters(), wanted.parameters(), strict=True))
    work = Work(tmp_path / "all", tmp_path, LocalExecutor())
    average_models.body(work, (spoilt, good))
    assert work.results[ModelAverage].members == ("spoilt", "good")


def test_models_of_different_shapes_have_no_average(tmp_path: Path) -> None:
    models = made(tmp_path, "a"), made(tmp_path, "b", replace(SHAPE, ffn_dim=2 * SHAPE.ffn_dim))
    with pytest.raises(DataError, match="2 models of 2 shapes"):
        average_models.body(Work(tmp_path, tmp_path, LocalExecutor()), models)
