"""What a plan says its trainings take: as `herd budget` says it, as table 4 has it, as a run then took it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from herd.core.artifacts import Checkpoint, Tokens
from herd.core.stage import plan_of, walk
from herd.corpus.settings import CurateSettings
from herd.corpus.sources import crawls_of
from herd.corpus.stages import curate
from herd.model.sizes import parse_size
from herd.pretrain.mix import ProportionalMix
from herd.pretrain.planning import PlannedTraining, planned_trainings
from herd.pretrain.pretrain import PretrainSettings, pretrain
from herd.recipes.costing import (
    StageForecast,
    expected_losses,
    forecast_costs,
    forecast_lines,
    oversized_stages,
    time_words,
    training_jobs,
    whole_model_notes,
)
from herd.run.runner import required_plans
from herd.tokens.stages import pack, train_tokenizer
from herd.train.cost import TrainingJob, cost
from herd.train.layout import ParallelLayout
from herd.train.machines import load_machine
from herd.train.schedule import BatchPhase, MixPhase
from tests.smoke import planned

H100 = load_machine("h100")
VOCABULARY = 128_000


def training_plan(size: str, length: int, batch_tokens: int, tokens: int, **more: Any) -> Checkpoint:
    """A pre-training with a tokenizer that is still to be trained."""
    source = next(plan for plan in walk(planned()) if plan.stage.name == "curate")
    vocabulary = train_tokenizer(source.stage.artifact_type.from_plan(source), vocab_size=VOCABULARY)
    settings = PretrainSettings(
        size=parse_size(size),
        length=length,
        tokens=tokens,
        batch=(BatchPhase(until=1.0, batch_tokens=batch_tokens),),
        mix=(MixPhase(until=1.0, mixture_weights={"web": 1.0}),),
        lr=1e-4,
        **({"dtype": "bf16", "compile": True} | more),
    )
    return pretrain(Tokens.from_plan(source), vocabulary, settings=settings)


SHAPES = [
    ("8b", 8_192, 2**24, 64),
    ("8b", 4_096, 2**22, 8),
    ("70b", 8_192, 2**24, 512),
    ("405b", 8_192, 2**24, 16_384),
    ("10m", 1_024, 2**19, 1),
    ("1m", 512, 2**16, 2),
    ("width=2048,layers=16", 4_096, 2**20, 8),
    ("width=1024,layers=24,heads=16,kv_heads=4,ffn=4096,tied=true", 2_048, 2**19, 4),
    ("width=4096,layers=48", 8_192, 2**23, 128),
    ("width=768,layers=12", 131_072, 2**20, 8),
]


@pytest.mark.parametrize(("size", "length", "batch_tokens", "devices"), SHAPES)
def test_a_plan_says_what_budget_says(size: str, length: int, batch_tokens: int, devices: int, tmp_path: Path) -> None:
    shape = parse_size(size).shape(vocab_size=VOCABULARY + 256, max_seq_len=length)
    recompute: Any = "selective" if size == "405b" else False
    job = TrainingJob(shape, 100 * batch_tokens, length, batch_tokens, recompute=recompute)
    budget = cost(job, devices, H100)
    plan = training_plan(size, length, batch_tokens, 100 * batch_tokens, layout=budget.layout, recompute=recompute)
    (forecast,) = forecast_costs(walk(plan), H100, artifacts=tmp_path)
    assert forecast.costs == (replace(budget, job=forecast.main.job),)
    assert forecast.memory == budget.memory
    assert forecast.days == budget.days
    assert (forecast.main.layout, forecast.main.micro_batch) == (budget.layout, budget.micro_batch)
    assert forecast.main.fits
    assert forecast.steps == 100
    assert forecast.to_row()["money"] == budget.money


@pytest.mark.row(38, "table_4")
def test_the_reports_run_is_planned_as_table_4_and_its_54_days_have_it(figure: Any, tmp_path: Path) -> None:
    found = {}
    for name, length, layout in (
        ("row 1", 8_192, ParallelLayout(tensor=8, pipeline=16, data=64, chunks=8)),
        ("row 2", 8_192, ParallelLayout(tensor=8, pipeline=16, data=128, chunks=8)),
        ("row 3", 131_072, ParallelLayout(tensor=8, context=16, pipeline=16, data=8, chunks=8)),
    ):
        plan = training_plan("405b", length, 2**24, 15_600_000_000_000, layout=layout, recompute="selective")
        (found[name],) = forecast_costs(walk(plan), H100, artifacts=tmp_path)
        assert found[name].main.fits
        assert found[name].main.micro_batch == 1
    for name, printed in (("row 1", 43), ("row 2", 41), ("row 3", 38)):
        assert 100 * found[name].main.utilization == pytest.approx(printed, abs=2)
    row = found["row 2"]
    assert row.flops == pytest.approx(3.94e25, rel=0.01)
    assert row.failures / row.days * 54 == pytest.approx(419)
    assert row.main.useful > 0.9
    assert row.days == pytest.approx(68.3, rel=0.02)
    said = "\n".join(forecast_lines([row], H100, tmp_path))
    assert "one in 3.1 h" in said
    assert "as in table 4 of Llama 3" in said
    assert "measuring held-out text holds the whole model on a device, 812 GB in bf16" in said
    figure(
        f"405B: {row.days:.1f} days, {row.device_hours / 1e6:.1f}M device hours, {row.main.utilization:.1%} MFU, "
        f"{row.memory.total / 1e9:.0f} of 80 GB, {row.failures:.0f} failures, "
        f"{row.failures / row.days * 54:.0f} in 54 days"
    )


def test_a_ramp_of_batches_is_summed_and_a_stated_speed_is_taken(tmp_path: Path) -> None:
    plan = plan_of(training_plan("8b", 8_192, 2**23, 2**23 * 64, layout=ParallelLayout(data=64)))
    (training,) = planned_trainings([*walk(Checkpoint.from_plan(plan))])
    s = training.settings
    assert isinstance(s, PretrainSettings)
    ramp = (BatchPhase(until=0.25, batch_tokens=2**22), BatchPhase(until=1.0, batch_tokens=2**23))
    ramped = replace(training, settings=replace(s, batch=ramp))
    jobs = training_jobs(ramped)
    assert [job.batch_tokens for job in jobs] == [2**22, 2**23]
    assert sum(job.tokens for job in jobs) == 2**23 * 64
    (plain,) = forecast_costs(walk(Checkpoint.from_plan(plan)), H100, artifacts=tmp_path, mfu=0.2)
    assert plain.main.utilization == pytest.approx(0.2)
    assert plain.main.speed_from == "as given"
    both = StageForecast(ramped, tuple(cost(job, 64, H100, layout=s.layout) for job in jobs), ramped.steps)
    assert both.tokens == plain.tokens
    assert both.main.job.batch_tokens == 2**23
    assert both.days == sum(part.days for part in both.costs)


def test_what_was_measured_takes_the_place_of_an_estimate(smoke_run: Path) -> None:
    plans = required_plans(planned())
    before = forecast_costs(plans, H100, artifacts=smoke_run / "nowhere")
    after = forecast_costs(plans, H100, artifacts=smoke_run / "artifacts")
    assert all(forecast.main.speed_is_estimated and forecast.is_least for forecast in before)
    assert not any(forecast.is_least for forecast in after)
    for forecast in after:
        assert forecast.main.speed_from == f"measured by {forecast.key}"
        assert forecast.days > 0
    assert "the least they take there" in "\n".join(forecast_lines(before, H100, smoke_run / "nowhere"))
    lines = "\n".join(forecast_lines(after, H100, smoke_run / "artifacts"))
    assert "measured: " in lines
    assert "the least" not in lines
    assert not list(whole_model_notes(plans, after, H100))


def test_small_new_models_that_no_device_notices_have_one_line(smoke_run: Path) -> None:
    forecasts = forecast_costs(required_plans(planned()), H100, artifacts=smoke_run / "nowhere")
    rungs = [forecast for forecast in forecasts if forecast.training.is_new_model]
    assert len(rungs) > 2
    before = list(forecast_lines(forecasts, H100, smoke_run / "nowhere"))
    (line,) = [line for line in before if " models of " in line]
    count = int(line.partition(": ")[2].partition(" ")[0])
    after = list(forecast_lines(forecasts, H100, smoke_run / "artifacts"))  # made: each has been measured
    assert len(after) == len(before) + count - 1


def test_what_is_read_so_many_times_is_guessed_by_bytes(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_bytes(b"x" * 40_000)
    corpus = curate(crawls_of({"books": [str(tmp_path)]}), settings=CurateSettings(rules={}))
    vocabulary = train_tokenizer(corpus, vocab_size=VOCABULARY)
    settings = PretrainSettings(
        size=parse_size("1m"),
        length=512,
        epochs=2.5,
        batch=(BatchPhase(until=1.0, batch_tokens=1024),),
        mix=ProportionalMix(),
        lr=1e-4,
    )
    model = pretrain(pack(corpus, vocabulary), vocabulary, settings=settings)
    (forecast,) = forecast_costs(walk(model), H100, artifacts=tmp_path)
    assert forecast.tokens == pytest.approx(25_000, abs=1024)
    assert "guessed from the bytes" in "\n".join(forecast_lines([forecast], H100, tmp_path))
    assert isinstance(forecast.training, PlannedTraining)
    assert forecast.training.stated_settings == settings


def test_without_a_law_no_loss_is_expected(smoke_run: Path) -> None:
    plans = required_plans(planned())
    forecasts = forecast_costs(plans, H100, artifacts=smoke_run / "nowhere")
    assert expected_losses(plans, forecasts, smoke_run / "nowhere", None) == {}


def test_times_are_said_in_a_unit_that_suits_them() -> None:
    assert [time_words(days) for days in (68.3, 0.5, 1 / 48, 1e-4)] == ["68.3 days", "12.0 h", "30.0 min", "8.6 s"]


def test_stages_that_hold_a_whole_model_say_where_it_does_not_fit(tmp_path: Path) -> None:
    plan = training_plan("70b", 8_192, 2**22, 2**22, layout=ParallelLayout(tensor=8, data=8))
    (forecast,) = forecast_costs(walk(plan), H100, artifacts=tmp_path)
    assert any("141 GB in bf16" in note for note in forecast.notes)


@pytest.mark.parametrize(("size", "name", "reached"), [("8b", "8B", 0.15), ("70b", "70B", 0.27), ("405b", "", 0.0)])
def test_an_estimate_by_the_largest_model_says_what_smaller_ones_reached(
    size: str, name: str, reached: float, tmp_path: Path
) -> None:
    layout = ParallelLayout(data=64) if size == "8b" else ParallelLayout(tensor=8, pipeline=2, data=4)
    plans = [plan_of(training_plan(size, 8_192, 2**24, 10**12, layout=layout))]
    (forecast,) = forecast_costs(plans, H100, artifacts=tmp_path)
    lines = [line for line in forecast_lines([forecast], H100, tmp_path) if "by its card" in line]
    assert len(lines) == bool(name)
    for line in lines:
        hours = forecast.flops / (reached * H100.peak_flops) / 3600
        assert f"the {reached:.0%} that Llama 3's {name} reached in all" in line
        assert f"it takes {hours:,.0f} device hours" in line
    (given,) = forecast_costs(plans, H100, artifacts=tmp_path, mfu=0.4)
    assert not any("by its card" in line for line in forecast_lines([given], H100, tmp_path))


def test_stages_to_make_that_no_device_holds_are_listed_with_their_parts(tmp_path: Path) -> None:
    plans = walk(training_plan("70b", 8_192, 2**22, 2**22, layout=ParallelLayout(tensor=8, data=8)))
    (line,) = oversized_stages(plans, H100, artifacts=tmp_path)
    assert line.startswith("pretrain-")
    assert "measuring held-out text holds the whole model on a device, 141 GB in bf16" in line
    assert not oversized_stages(plans, replace(H100, memory_bytes=288e9), artifacts=tmp_path)
    small = walk(training_plan("8b", 8_192, 2**22, 2**22, layout=ParallelLayout(data=64)))
    assert not oversized_stages(small, H100, artifacts=tmp_path)
