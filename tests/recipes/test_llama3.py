"""The report's recipe: its numbers, what marks them, and that it plans without anything to read."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from herd.core.errors import SettingsError
from herd.core.recipe import Recipe, load_recipe, recipe_from
from herd.core.stage import walk
from herd.model.sizes import LLAMA_VOCAB_SIZE
from herd.recipes import recipes
from herd.recipes.declared import declared_settings
from herd.recipes.llama3 import Llama3Settings
from herd.tokens.tokenizer import CONTROL_TOKENS
from herd.train.schedule import BatchRamp

FOLDER = Path(__file__).parents[2] / "herd" / "recipes"
PRESETS = ("llama3-8b", "llama3-70b", "llama3-405b")
# Peak rates and shapes: table 3 of the report.
TABLE_3 = {
    "llama3-8b": (3e-4, 32, 4096, 14336, 32),
    "llama3-70b": (1.5e-4, 80, 8192, 28672, 64),
    "llama3-405b": (8e-5, 126, 16384, 53248, 128),
}


@pytest.fixture(scope="module", params=PRESETS)
def preset(request: pytest.FixtureRequest) -> Recipe:
    return load_recipe(request.param, recipes)


@pytest.mark.parametrize("file", sorted(FOLDER.glob("llama3*.yaml")), ids=lambda file: file.stem)
def test_every_line_says_whether_the_report_states_it(file: Path) -> None:
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    numbers = [line for line in lines if not line.lstrip().startswith("#")]
    # A line that only begins a part has no number of its own.
    numbers = [line for line in numbers if not re.fullmatch(r"\s*(- )?[\w&]+:?", line)]
    unmarked = [line for line in numbers if not re.search(r"  # [RDO]\b", line)]
    assert len(numbers) > 10
    assert not unmarked


def test_the_numbers_are_the_reports(preset: Recipe) -> None:
    s: Llama3Settings = preset.settings
    lr, layers, dim, ffn, heads = TABLE_3[preset.name]
    size = s.base.size
    assert size is not None
    assert (s.base.lr, size.n_layers, size.dim, size.ffn_dim, size.n_heads) == (lr, layers, dim, ffn, heads)
    assert (size.n_kv_heads, size.rope_theta) == (8, 500_000.0)
    assert s.base.tokens == 15_600_000_000_000
    assert s.mixes["base.mix.0.mixture_weights"] == {"general": 0.5, "math": 0.25, "code": 0.17, "multilingual": 0.08}
    rate = s.base.lr_schedule(s.base.schedule_steps or 0)
    assert [rate(step) for step in (0, 8000, 1_200_000)] == pytest.approx([lr / 8000, lr, lr / 100])
    assert rate(604_000) == pytest.approx(lr * 0.505)  # half-way down
    assert len(s.longer) == 6
    assert [longer.length for longer in s.longer][-1] == 131_072
    assert sum(longer.checks * longer.check_tokens for longer in s.longer) == pytest.approx(800e9, rel=1e-3)
    assert all(longer.gate == longer.until == 1.0 for longer in s.longer)
    assert s.anneal is not None
    assert (s.anneal.tokens, s.anneal.length, s.anneal.min_lr_ratio) == (40_000_000, 131_072, 0.0)
    assert s.alignment is not None
    assert s.alignment.dpo is not None
    assert s.alignment.num_rounds == 6
    assert (s.alignment.sft.lr, s.alignment.sft.steps) == (1e-5, 9000)
    assert (s.alignment.dpo.lr, s.alignment.dpo.nll_weight, s.alignment.dpo.include_eos) == (1e-5, 0.2, False)
    assert dict(s.alignment.dpo.loss.settings)["beta"] == 0.1
    vocab_size = 100_256 + (s.tokenizer.extra or 0)
    assert s.tokenizer.vocab_size == vocab_size
    assert vocab_size + len(CONTROL_TOKENS) == LLAMA_VOCAB_SIZE


def test_every_training_has_the_bases_optimizer(preset: Recipe) -> None:
    s: Llama3Settings = preset.settings
    assert s.anneal is not None
    assert s.alignment is not None
    assert s.alignment.reward is not None
    assert s.alignment.dpo is not None
    continued = (*s.longer, s.anneal)
    assert s.base.optimizer.eps == 1e-5
    tuned = (s.alignment.reward, s.alignment.sft, s.alignment.dpo)
    assert {part.optimizer for part in (*continued, *tuned)} == {s.base.optimizer}
    # Rows of one length are compiled for; rewards' and preferences' differ.
    assert [part.compile for part in (s.base, *continued, s.alignment.sft)] == [True] * (len(continued) + 2)
    assert {part.dtype for part in (*continued, *tuned)} == {"bf16"}


def test_rates_go_on_down_the_reports_cosine(preset: Recipe) -> None:
    s: Llama3Settings = preset.settings
    assert s.anneal is not None
    assert s.base.tokens is not None
    rate = s.base.lr_schedule(s.base.schedule_steps or 0)
    step = BatchRamp(s.base.batch, s.base.tokens, s.base.length).steps
    for longer in s.longer:
        assert longer.lr == pytest.approx(rate(step), rel=0.04)
        step += longer.checks * longer.check_tokens // 2**24
    assert s.anneal.lr == pytest.approx(rate(step), rel=0.04)
    assert step < 1_200_000


def test_every_batch_divides_by_its_ranks_and_every_layout_by_the_model(preset: Recipe) -> None:
    s: Llama3Settings = preset.settings
    assert s.base.size is not None
    assert s.alignment is not None
    assert s.anneal is not None
    shape = s.base.size.shape(vocab_size=LLAMA_VOCAB_SIZE, max_seq_len=131_072)
    ramp = BatchRamp(s.base.batch, s.base.tokens or 0, s.base.length)
    trainings: list[tuple[Any, int, int]] = [(s.base, phase.rows, phase.length) for phase in ramp.plan]
    trainings += [(longer, longer.batch_tokens // longer.length, longer.length) for longer in (*s.longer, s.anneal)]
    trainings.append((s.alignment.sft, s.alignment.sft.batch_size, s.alignment.sft.length))
    for settings, rows, length in trainings:
        settings.layout.check(shape, length=length)
        assert rows % settings.layout.data == 0
    devices = [settings.layout.devices for settings in (s.base, *s.longer, s.anneal)]
    assert max(devices) == {"llama3-8b": 1024, "llama3-70b": 4096, "llama3-405b": 16_384}[preset.name]
    assert all(later.length > earlier.length for earlier, later in pairwise(s.longer))


def test_the_last_stage_of_405b_is_row_3_of_table_4() -> None:
    s: Llama3Settings = load_recipe("llama3-405b", recipes).settings
    last = s.longer[-1]
    last.layout.check_devices(16_384, rows=16, length=131_072, batch_tokens=last.batch_tokens)


def test_it_is_planned_whole_without_anything_to_read(preset: Recipe) -> None:
    plans = walk(preset.plan())
    names = [plan.stage.name for plan in plans]
    assert {name: names.count(name) for name in ("pretrain", "extend_context", "anneal", "train_reward", "dpo")} == {
        "pretrain": 1, "extend_context": 6, "anneal": 1, "train_reward": 6, "dpo": 2 * 6,
    }  # fmt: skip
    assert names.count("sft") == 2 * 7  # before the first prompts are answered too; two models are averaged
    assert names.count("average_models") == 6 + 7
    missing = declared_settings(plans)
    sources = [f"files.{name}" for name in ("general", "math", "code", "multilingual")]
    assert missing == [*sources, "tokenizer.file", "alignment.rounds"]
    rows = recipe_from(preset.to_row(), recipes, where=Path("again.yaml"))
    assert rows.plan().key == preset.plan().key


def test_files_take_the_place_of_what_is_declared(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("Some words.")
    recipe = load_recipe("llama3-8b", recipes, [f"files={{general: [{text}], math: [{text}]}}"])
    missing = declared_settings(walk(recipe.plan()))
    assert "files.code" in missing
    assert "files.general" not in missing


def test_columns_of_tables_and_ready_text_are_named_by_source(tmp_path: Path) -> None:
    (tmp_path / "code.jsonl").write_text('{"content": "x = 1"}\n')
    row = {
        "recipe": "llama3-8b",
        "files": {"code": [str(tmp_path / "code.jsonl")]},
        "columns": {"code": {"text": "content"}},
    }
    plans = walk(recipe_from(row, recipes, where=tmp_path / "mine.yaml").plan())
    (curated,) = (plan for plan in plans if plan.stage.name == "curate")
    rules = curated.settings["settings"]["rules"]
    assert rules["code"] == rules["math"] == []
    assert len(rules["default"]) > 10
    (crawl,) = (plan for plan in plans if plan.stage.name == "load_files")
    assert crawl.settings["columns"]["text"] == "content"


def test_a_source_without_text_is_refused_with_the_nearest() -> None:
    shares = "{genral: 0.5, math: 0.5}"
    with pytest.raises(SettingsError, match=r"anneal\.mixture_weights: no text is of source 'genral'.*'general'"):
        load_recipe("llama3-8b", recipes, [f"anneal.mixture_weights={shares}"])
    with pytest.raises(SettingsError, match=r"measure\.needle_sources"):
        load_recipe("llama3-8b", recipes, ["measure.needle_sources=[books]"])
