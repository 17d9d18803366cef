"""DPO as a stage."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from herd.align.dpo import DpoSettings, dpo
from herd.align.losses import losses
from herd.core.artifacts import Checkpoint, Preferences
from herd.core.places import LocalPlace
from herd.core.registry import Use
from herd.core.stage import Work
from herd.core.storage import write_preferences
from herd.model.weights import load_transformer
from herd.train.checkpoint import write_checkpoint
from tests.model.test_transformer import model
from tests.tokens.test_chat import TOKENIZER
from tests.train.test_ranked import preference


def test_a_model_with_nothing_to_prefer_stays_as_it_is(tmp_path: Path) -> None:
    for name in ("base", "ranked", "out", "scratch"):
        (tmp_path / name).mkdir()
    write_checkpoint(tmp_path / "base", model(), TOKENIZER, kind="chat")
    write_preferences(tmp_path / "ranked", [replace(preference(0), strength="slightly better")])
    work = Work(tmp_path / "out", tmp_path / "scratch", LocalPlace())
    settings = DpoSettings(loss=Use(kind=losses.kind, name="dpo", settings={}))
    tuned = dpo.body(work, Checkpoint(tmp_path / "base"), (Preferences(tmp_path / "ranked"),), settings=settings)
    assert "stays as it is" in work.figures["headline"]
    before, after = load_transformer(tmp_path / "base"), load_transformer(tuned.path)
    assert all(torch.equal(a, b) for a, b in zip(before.parameters(), after.parameters(), strict=True))
