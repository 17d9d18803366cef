"""Recipes shrunk by rules: what each number becomes, that any scale makes a recipe that plans, and a whole run."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.core.errors import SettingsError
from herd.core.recipe import load_recipe, recipe_from
from herd.core.stage import walk
from herd.model.sizes import SIZES
from herd.recipes import recipes
from herd.recipes.llama3 import Llama3Settings
from herd.recipes.rehearsal import RULES, Scale, rehearsal_notes, scale_down, scale_for
from herd.recipes.rehearsal_flops import settings_parts
from herd.run.runner import run_stages
from herd.scaling.budget import ladder_runs
from herd.scaling.laws import FEWEST_POINTS, parabola
from herd.tokens.tokenizer import CONTROL_TOKENS
from herd.train.layout import ParallelLayout
from herd.train.schedule import BatchRamp

PRESETS = ("llama3-8b", "llama3-70b", "llama3-405b")


def numbers(name: str, *overrides: str) -> Llama3Settings:
    return load_recipe(name, recipes, overrides).settings


def with_rounds() -> Llama3Settings:
    rounds = "[{preferences: [p.jsonl], dialogues: {general: [d.jsonl]}}]"
    return numbers("llama3-8b", f"alignment.rounds={rounds}")


def test_8b_at_3e_7() -> None:
    before = with_rounds()
    s = scale_down(before, 3e-7)
    assert s.base.size is not None
    assert (s.base.size.dim, s.base.size.n_layers, s.base.size.n_heads, s.base.size.n_kv_heads) == (64, 4, 2, 1)
    assert s.base.size.ffn_dim == 224
    assert s.tokenizer.vocab_size == 1024
    assert not s.tokenizer.file
    assert s.base.tokens == pytest.approx(15.6e12 * 3e-7, rel=1e-3)
    ramp = BatchRamp(s.base.batch, s.base.tokens or 0, s.base.length)
    assert [(phase.rows, phase.length) for phase in ramp.plan] == [(36, 64), (48, 96), (96, 96)]
    assert ramp.steps == pytest.approx(1_100_928 * 3e-7**0.5, rel=0.02)
    assert s.base.schedule_steps == pytest.approx(1_200_000 / 1_100_928 * ramp.steps, abs=1)
    assert s.base.warmup == 4
    assert s.base.lr == pytest.approx(3e-4 * 3e-7 ** (-2 / 9))
    assert [longer.length for longer in s.longer] == [192, 352, 544, 736, 1088, 1440]
    assert sum(longer.check_tokens for longer in s.longer) == pytest.approx(800e9 * 3e-7, rel=0.05)
    assert {(longer.gate, longer.until, longer.checks) for longer in s.longer} == {(0.0, 1.0, 1)}
    assert s.anneal is not None
    assert (s.anneal.length, s.anneal.tokens // s.anneal.batch_tokens) == (1440, 2)
    assert s.alignment is not None
    assert (s.alignment.num_rounds, s.alignment.max_samples, s.alignment.selection.num_samples) == (2, 100, 4)
    assert (s.alignment.sft.steps, s.alignment.sft.length, s.alignment.sft.lr) == (10, 1440, None)
    assert s.alignment.dpo is not None
    assert (s.alignment.dpo.batch_size, s.alignment.dpo.lr) == (4, None)
    trainings = (s.base, *s.longer, s.anneal, s.alignment.sft, s.alignment.dpo)
    assert all((part.dtype, part.compile, part.layout) == ("fp32", False, ParallelLayout()) for part in trainings)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("scale", [1e-5, 1e-6, 1e-7, 1e-8, 1e-9])
def test_any_scale_of_any_preset_plans(name: str, scale: float) -> None:
    recipe = load_recipe(name, recipes)
    small = replace(recipe, settings=scale_down(recipe.settings, scale))
    s: Llama3Settings = small.settings
    lengths = [s.base.length, *(longer.length for longer in s.longer)]
    assert lengths == sorted(set(lengths))
    assert all(length % 32 == 0 and length >= 64 for length in lengths)
    ramp = BatchRamp(s.base.batch, s.base.tokens or 0, s.base.length)
    assert all(phase.steps >= 2 for phase in ramp.plan)
    assert ramp.trained_tokens == s.base.tokens
    for longer in s.longer:
        assert longer.batch_tokens % longer.length == 0
    assert s.base.lr <= 1e-2
    names = [plan.stage.name for plan in walk(small.plan())]
    assert names.count("extend_context") == 6
    again = recipe_from(small.to_row(), recipes, where=Path("again.yaml"))
    assert again.settings == small.settings


@given(st.floats(-9, -5), st.floats(-9, -5))
def test_a_smaller_scale_has_less_of_everything(first: float, second: float) -> None:
    smaller, larger = (scale_down(BEFORE, 10**exponent) for exponent in sorted((first, second)))
    for s, t in ((smaller, larger),):
        assert s.base.size is not None
        assert t.base.size is not None
        assert (s.base.tokens or 0) <= 1.1 * (t.base.tokens or 0)  # whole batches
        assert s.base.size.dim <= t.base.size.dim
        assert s.base.size.n_layers <= t.base.size.n_layers
        assert s.base.length <= t.base.length
        assert s.base.lr >= t.base.lr


BEFORE = numbers("llama3-8b")


@pytest.mark.parametrize("size", sorted(SIZES))
@pytest.mark.parametrize("weights", [1e-6, 1e-3, 0.3])
def test_every_size_shrinks_to_one_that_is_valid(size: str, weights: float) -> None:
    changes = RULES[type(SIZES[size])](SIZES[size], Scale(1e-6, weights, {}))
    small = replace(SIZES[size], **changes)
    assert small.head_dim == 32
    assert small.n_layers >= 1


def test_sources_without_files_are_left_out_and_told(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.txt").write_text("Some text.")
    before = numbers("llama3-8b", f"files={{general: [{tmp_path}/a.txt], code: [{tmp_path}/b.txt]}}")
    s = scale_down(before, 1e-7)
    assert s.mixes["base.mix.0.mixture_weights"] == pytest.approx({"general": 0.5 / 0.67, "code": 0.17 / 0.67})
    assert s.declared.keys() == {"general", "code"}
    assert s.anneal is not None
    assert s.anneal.mixture_weights == pytest.approx({"general": 0.4 / 0.65, "code": 0.25 / 0.65})
    notes = rehearsal_notes(before, s)
    assert "source math has no files: its share of up to 25% goes to the others, and is not tried" in notes
    assert "alignment.rounds names no files: alignment is not tried" in notes
    assert "gates are asked and reported, and do not bind" in notes
    only = scale_down(numbers("llama3-8b", f"files={{code: [{tmp_path}/b.txt]}}"), 1e-7)
    assert only.longer[0].text_sources == only.measure.needle_sources == ("code",)


def test_a_model_that_is_there_keeps_its_size_and_rates() -> None:
    row = {"recipe": "align", "model": "m", "rounds": [{"preferences": ["p"]}], "sft": {"lora": None, "steps": 900}}
    before = recipe_from(row, recipes, where=Path("mine.yaml")).settings
    s = scale_down(before, 1e-4)
    assert (s.sft.lr, s.sft.steps, s.sft.length) == (before.sft.lr, 10, 64)
    assert s.max_samples == 100
    assert s.title == f"{before.title}, rehearsed at a scale of 0.0001"
    with pytest.raises(SettingsError, match="this recipe trains none"):
        scale_for(before, 600)


@pytest.mark.parametrize("name", ["pretrain", "30m", "150m", "1b"])
def test_presets_of_base_models_shrink_too(name: str, tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text("Some text.")
    row = {"recipe": name, "files": {"books": [str(tmp_path / "book.txt")]}}
    recipe = recipe_from(row, recipes, where=tmp_path / "mine.yaml")
    for scale in (1e-2, 1e-4):
        small = replace(recipe, settings=scale_down(recipe.settings, scale))
        assert small.settings.base.size.dim < recipe.settings.base.size.dim
        assert small.settings.held_out_share >= 0.02
        assert "curate" in [plan.stage.name for plan in walk(small.plan())]


@pytest.mark.parametrize("scale", [1e-4, 1e-6, 1e-7, 1e-9])
def test_a_ladder_shrinks_to_one_that_trains(scale: float) -> None:
    ladder = (
        "{budgets: [6.0e18, 1.0e19, 1.0e20], sizes: [3.2-1b, 3.2-3b, 8b, 3.1-8b], length: 4096, "
        "batch_tokens: 1048576, lr: 3.0e-4, mixture_weights: {general: 1.0}}"
    )
    s = scale_down(numbers("llama3-8b", f"ladder={ladder}"), scale)
    assert s.ladder is not None
    assert list(s.ladder.budgets) == sorted(set(s.ladder.budgets))
    vocab_size = (s.tokenizer.vocab_size or 0) + len(CONTROL_TOKENS)
    runs = ladder_runs(s.ladder, vocabulary=vocab_size)
    assert len(runs) == 3 * len(s.ladder.sizes)
    for budget in s.ladder.budgets:
        # What fits the law refuses a curve of fewer than four, after all models are trained.
        tokens = [run.tokens for run in runs if run.budget == budget]
        assert len(set(tokens)) >= FEWEST_POINTS
        middle = math.sqrt(min(tokens) * max(tokens))
        curve = parabola(tokens, [math.log(count / middle) ** 2 for count in tokens])
        assert curve.is_inside


RUNGS = [{"size": "3.2-1b", "tokens": 10**9 * 2**n, "lr": 3e-4} for n in range(4)]
SEARCHES = (
    {"method": {"regmix": {"runs": 8}}},
    {"candidates": {"a": {"books": 1.0}, "b": {"books": 1.0}}, "rungs": RUNGS, "seeds": [0, 1, 2]},
)


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("scale", [1e-3, 1e-5, 1e-8])
def test_no_count_of_tokens_of_a_search_for_a_mix_stays(search: dict[str, Any], scale: float, tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text("Some text.")
    proxy = {"size": "3.2-1b", "length": 2048, "tokens": 10**9, "batch_tokens": 2**19, "lr": 3e-4, "dtype": "bf16"}
    row = {
        "recipe": "1b",
        "files": {"books": [str(tmp_path / "book.txt")]},
        "mix_search": {"proxy": proxy, **search},
    }
    before = recipe_from(row, recipes, where=tmp_path / "mine.yaml").settings
    s = scale_down(before, scale)
    old, new = (
        [
            (type(part), name, getattr(part, name))
            for part in settings_parts(settings)
            for name in ("tokens", "batch_tokens", "check_tokens")
            if hasattr(part, name)
        ]
        for settings in (before, s)
    )
    assert [count[:2] for count in old] == [count[:2] for count in new]
    assert all(count < was for (*_, was), (*_, count) in zip(old, new, strict=True))
    run = s.mix_search.proxy
    assert (run.size.dim, run.dtype) == (scale_size(before, scale), "fp32")
    assert run.batch_tokens % run.length == 0
    assert run.lr > 3e-4
    rungs = s.mix_search.rungs
    assert len({rung.tokens for rung in rungs}) == len(before.mix_search.rungs)
    assert all(rung.tokens % run.batch_tokens == 0 and rung.lr == run.lr for rung in rungs)


def scale_size(before: Any, scale: float) -> int:
    size = before.mix_search.proxy.size
    return RULES[type(size)](size, Scale(scale, scale ** (2 / 3), {}))["dim"]


def test_a_rehearsal_is_chosen_by_time_and_a_scale_is_a_share() -> None:
    scales = [scale_for(numbers(name), 600) for name in PRESETS]
    assert scales == sorted(scales, reverse=True)
    assert scales[0] == 3e-7
    assert scales[0] > scale_for(BEFORE, 60)
    for scale in (0.0, 1.0):
        with pytest.raises(SettingsError, match="write a share"):
            scale_down(BEFORE, scale)


def test_other_recipes_shrink_too() -> None:
    small = replace(load_recipe("tiny", recipes), settings=scale_down(numbers_of_tiny(), 0.01))
    assert small.settings.base.length < numbers_of_tiny().base.length


def numbers_of_tiny() -> Any:
    return load_recipe("tiny", recipes).settings


def test_8b_runs_whole_on_sixty_kilobytes(tmp_path: Path) -> None:
    """Every stage of the recipe, from files to the report, with what its sources lack left out."""
    words = "stone river light green music paper winter garden silver morning".split()

    def text(name: str, count: int) -> str:
        file = tmp_path / f"{name}.jsonl"
        documents = [
            " ".join(
                f"The {words[(n * k + k) % 10]} of {name} {n % 17} is {words[(n + k * k) % 10]}." for k in range(40)
            )
            for n in range(count)
        ]
        file.write_text(
            "".join(json.dumps({"text": document, "id": str(n)}) + "\n" for n, document in enumerate(documents))
        )
        return str(file)

    def rows(name: str, values: list[dict[str, Any]]) -> str:
        file = tmp_path / f"{name}.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in values))
        return str(file)

    preferences = [{"prompt": f"Is it {n}?", "chosen": f"Yes, it is {n}.", "rejected": "No."} for n in range(20)]
    dialogues = [{"prompt": f"Say {n}.", "response": f"It is {n}."} for n in range(20)]
    row = {
        "recipe": "llama3-8b",
        "files": {"general": [text("general", 30)], "code": [text("code", 30)]},
        "curate": {"rules": {"default": []}},
        "alignment": {
            "num_rounds": 2,
            "curation": None,
            "rounds": [
                {
                    "preferences": [rows("preferences", preferences)],
                    "dialogues": {"general": [rows("dialogues", dialogues)]},
                }
            ],
        },
    }
    recipe = recipe_from(row, recipes, where=tmp_path / "mine.yaml")
    small = replace(recipe, settings=scale_down(recipe.settings, 1e-9))
    report = run_stages(small.plan(), tmp_path / "run", jobs=0)
    page = (report.path / "report.html").read_text()
    assert all(label in page for label in ("SFT 1", "DPO 2", "base"))
