"""What is only declared can be planned with, and never run."""

from __future__ import annotations

from pathlib import Path

import pytest

from herd.core.artifacts import Artifact
from herd.core.errors import DataError, SettingsError
from herd.core.stage import walk
from herd.corpus.settings import CurateSettings
from herd.corpus.stages import curate
from herd.pretrain.vocabulary import planned_vocab_size
from herd.recipes.declared import (
    check_declared,
    declared_dialogues,
    declared_preferences,
    declared_settings,
    declared_text,
    declared_tokenizer,
)
from herd.tokens.stages import pack
from herd.tokens.tokenizer import CONTROL_TOKENS
from tests.imported import work


def planned() -> Artifact:
    corpus = curate(
        (declared_text(source="web", tokens=100), declared_text(source="code", tokens=5)),
        settings=CurateSettings(rules={"default": ()}),
    )
    return pack(corpus, declared_tokenizer(vocab_size=1000, file="ranks"), held_out_share=0.1)


def test_what_is_missing_is_named_by_its_settings() -> None:
    plans = walk(planned())
    assert declared_settings(plans) == ["files.web", "files.code", "tokenizer.file"]
    with pytest.raises(SettingsError, match="files.web, files.code, tokenizer.file: only declared"):
        check_declared(plans)
    check_declared([plan for plan in plans if not plan.stage.stand_in])
    (vocabulary,) = (plan for plan in plans if plan.stage.name == "declared_tokenizer")
    assert planned_vocab_size(vocabulary) == 1000 + len(CONTROL_TOKENS)


def test_no_stage_makes_what_is_declared(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"files\.web is only declared"):
        declared_text.body(work(tmp_path / "text"), source="web", tokens=10)
    with pytest.raises(DataError, match=r"tokenizer\.file ranks is only declared"):
        declared_tokenizer.body(work(tmp_path / "tokenizer"), vocab_size=10, file="ranks")
    for number, stage in enumerate((declared_dialogues, declared_preferences)):
        with pytest.raises(DataError, match=r"rounds\.0 is only declared"):
            stage.body(work(tmp_path / str(number)), setting="rounds.0")
