"""A model given away at the end of a recipe."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from herd.core.artifacts import Checkpoint
from herd.core.errors import SettingsError
from herd.model.weights import load_transformer
from herd.serve.stages import export_model
from tests.imported import work
from tests.serve.test_compare import chat_model


def test_a_folder_holds_the_model_in_the_form_that_was_asked_for(tmp_path: Path) -> None:
    model = Checkpoint(chat_model(tmp_path / "model"))
    made = export_model.body(work(tmp_path / "a"), model, weight_format="bfloat16")
    assert [file.name for file in made.path.iterdir()] == ["model"]
    mine, theirs = load_transformer(model.path), load_transformer(made.path / "model")
    for one, other in zip(mine.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one.bfloat16(), other.bfloat16())
    as_they_are = export_model.body(work(tmp_path / "b"), model)
    for one, other in zip(mine.parameters(), load_transformer(as_they_are.path / "model").parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_form_that_there_is_none_of_leaves_nothing(tmp_path: Path) -> None:
    doing = work(tmp_path / "a")
    with pytest.raises(SettingsError, match="'int7' is no form of weights"):
        export_model.body(doing, Checkpoint(chat_model(tmp_path / "model")), weight_format="int7")
    assert not list(doing.out.iterdir())
