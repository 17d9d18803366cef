"""What recipes of pre-training share: the plans that they make of text, a ladder and a base model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from herd.core.errors import SettingsError
from herd.core.stage import plan_of
from herd.corpus.settings import CurateSettings
from herd.model.sizes import Size
from herd.pretrain.anneal import AnnealSettings
from herd.pretrain.long_context import LongContextSettings
from herd.pretrain.pretrain import PretrainSettings
from herd.recipes.data import PreparedData, prepare_data
from herd.recipes.pretraining import curated_text, pretrain_base, scaling_law, train_ladder
from herd.scaling.budget import LadderSettings
from herd.train.schedule import BatchPhase, MixPhase
from tests.recipes.test_data import data

SIZE = Size(dim=8, n_layers=1, n_heads=2, n_kv_heads=1, ffn_dim=16)
BASE = PretrainSettings(
    size=SIZE,
    length=16,
    tokens=1024,
    batch=(BatchPhase(until=1.0, batch_tokens=64),),
    mix=(MixPhase(until=1.0, mixture_weights={"web": 1.0}),),
    lr=1e-3,
)
LADDER = LadderSettings(
    budgets=(6e7, 1.2e8),
    sizes=tuple(replace(SIZE, dim=dim) for dim in (8, 12, 16, 20)),
    length=16,
    batch_tokens=64,
    lr=2e-3,
    mixture_weights={"web": 1.0},
)


def prepared(folder: Path) -> PreparedData:
    return prepare_data(data(folder, "web"))


def test_text_becomes_one_corpus_with_every_source_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "b.txt").write_text("b")
    paths = {"web": (str(tmp_path / "a.txt"),), "books": (str(tmp_path / "b.txt"),)}
    plan = plan_of(curated_text(paths, CurateSettings(rules={"default": ()})))
    assert [parent.settings["source"] for parent in plan.parents] == ["web", "books"]


def test_a_base_model_goes_through_the_stages_that_are_asked_for(tmp_path: Path) -> None:
    made = prepared(tmp_path)
    longer = LongContextSettings(
        length=32, batch_tokens=64, check_tokens=640, lr=1e-3, mixture_weights={"web": 1.0}, text_sources=("web",)
    )
    ending = AnnealSettings(tokens=640, length=32, batch_tokens=64, lr=1e-3, mixture_weights={"web": 1.0})
    plain = pretrain_base(made.tokens, made.vocabulary, BASE)
    assert (plan_of(plain).stage.name, plan_of(plain).settings["settings"]["tokens"]) == ("pretrain", 1024)
    whole = plan_of(pretrain_base(made.tokens, made.vocabulary, BASE, (longer, replace(longer, length=64)), ending))
    names = [whole.stage.name]
    while names[-1] != "pretrain":
        (whole,) = [parent for parent in whole.parents if parent.stage.name != "pack"]
        names.append(whole.stage.name)
    assert names == ["anneal", "extend_context", "extend_context", "pretrain"]
    assert whole.key == plain.key


def test_the_ladder_trains_every_size_at_every_budget_and_asks_about_the_base(tmp_path: Path) -> None:
    made = prepared(tmp_path)
    ladder = train_ladder(made.tokens, made.vocabulary, LADDER, BASE, vocab_size=556)
    rows = [plan_of(model).settings["settings"] for model in ladder.models]
    assert [row["size"]["dim"] for row in rows] == [8, 12, 16, 20] * 2
    assert {row["lr"] for row in rows} == {2e-3}
    law = plan_of(scaling_law(ladder))
    assert [parent.key for parent in law.parents] == [model.key for model in ladder.models]
    assert law.settings["target_flops"] == 1024 * SIZE.shape(vocab_size=556, max_seq_len=16).training_flops(16)


def test_a_rung_has_its_part_of_the_bases_warm_up_and_ends_with_its_own_schedule(tmp_path: Path) -> None:
    made = prepared(tmp_path)
    base = replace(BASE, tokens=64_000, warmup=50, schedule_steps=2000)

    def warmups(ladder: LadderSettings, base: PretrainSettings) -> set[float]:
        models = train_ladder(made.tokens, made.vocabulary, ladder, base, vocab_size=556).models
        rows = [plan_of(model).settings["settings"] for model in models]
        assert all(row.get("schedule_steps") is None for row in rows)
        return {row["warmup"] for row in rows}

    assert warmups(LADDER, base) == {50 / 2000}
    assert warmups(LADDER, replace(base, schedule_steps=None)) == {50 / 1000}
    assert warmups(LADDER, replace(base, warmup=0.03)) == {0.03}
    assert warmups(LADDER, replace(base, warmup=0)) == {0.0}
    assert warmups(LADDER, replace(base, warmup=5000)) == {0.99}
    assert warmups(replace(LADDER, warmup=7), base) == {7.0}


def test_no_law_is_asked_about_a_model_that_is_there_already(tmp_path: Path) -> None:
    made = prepared(tmp_path)
    with pytest.raises(SettingsError, match=r"write `base\.size`"):
        scaling_law(train_ladder(made.tokens, made.vocabulary, LADDER, replace(BASE, size=None), vocab_size=556))
