"""What each step of a run did to each ability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from herd.evals.intervals import wilson
from herd.evals.results import EvaluationResult, NeedleCell, TaskResult, TextResult
from herd.pretrain.results import ContextExtension, GateResult, ShortLosses
from herd.report.abilities import (
    MeasuredStep,
    ability_scores,
    losses_of,
    measured_steps,
    text_changes,
    text_losses_of,
)
from herd.report.sections.steps import open_gates
from herd.train.results import HeldOutLoss
from tests.report.test_texts import held_out
from tests.results import Made


def task(right: Sequence[int | None]) -> TaskResult:
    valid = [score for score in right if score is not None]
    return TaskResult(*wilson(sum(valid), len(valid)), len(right), len(right) - len(valid), tuple(right), 0.0, 1.0)


def model(key: str, **inputs: Any) -> Any:
    made = Made(key=key)
    made.metadata["inputs"] = inputs
    return made


def measured(label: str, of: str, right: Sequence[int | None], found: int = 40) -> Any:
    cells = (NeedleCell(512, 0.0, found, 40), NeedleCell(512, 1.0, found, 40))
    made = Made(EvaluationResult(label, True, {"sums": task(right)}, cells), key=f"evaluate_model-{of}")
    made.metadata["inputs"] = {"model": of, "tokens": None}
    return made


RIGHT, HALF = [1] * 100, [1] * 50 + [0] * 50


def test_steps_are_the_models_that_the_last_one_was_made_from() -> None:
    made = [
        *(model("base"), model("sft", model="base", dialogues=["rows"]), model("rows"), model("twin", model="base")),
        model("average", members=["sft", "base"]),
        *(measured("base", "base", HALF), measured("SFT", "sft", RIGHT), measured("other seed", "twin", RIGHT)),
        measured("final", "average", RIGHT),
    ]
    assert list(measured_steps(made)) == ["base", "SFT", "final"]
    assert measured_steps(made[:3]) == {}


def test_a_step_that_makes_something_worse_is_named_with_what_was_before() -> None:
    steps = [("base", HALF, 40), ("SFT", RIGHT, 30), ("DPO", [*RIGHT[:99], 0], 30), ("final", HALF, 39)]
    rows = [measured(label, label, right, found) for label, right, found in steps]
    made = [model("base"), model("SFT", model="base"), model("DPO", model="SFT"), model("final", model="DPO"), *rows]
    lost = list(losses_of(measured_steps(made)))
    # One wrong answer more is within the interval.
    assert [(loss.step, loss.ability) for loss in lost] == [("SFT", "needle_512"), ("final", "sums")]
    assert (lost[1].before.interval.value, lost[1].after.interval.value) == (0.99, 0.5)
    assert lost[0].before.questions == 80


def test_an_ability_left_unmeasured_by_a_step_is_compared_with_where_it_was_last() -> None:
    before = ability_scores(EvaluationResult("a", True, {"sums": task(RIGHT)}))
    after = ability_scores(EvaluationResult("c", True, {"sums": task(HALF)}))
    (loss,) = losses_of({"a": MeasuredStep(None, before), "b": MeasuredStep("a", {}), "c": MeasuredStep("b", after)})
    assert loss.step == "c"


def test_a_round_that_begins_from_the_base_again_is_compared_with_the_base() -> None:
    chain = {"base": {}, "one": {"model": "base"}, "refusing": {"model": "one"}, "rows": {"model": "refusing"}}
    chain |= {"two": {"base": "base", "dialogues": ["rows"]}, "end": {"first": "two", "last": "two"}}
    shares = {"base": RIGHT, "one": RIGHT, "refusing": HALF, "two": HALF, "end": HALF}
    made = [model(key, **made_of) for key, made_of in chain.items()]
    made += [measured(label, label, right) for label, right in shares.items()]
    steps = measured_steps(made)
    assert {label: step.before for label, step in steps.items()} == {
        "base": None, "one": "base", "refusing": "one", "two": "base", "end": "two",
    }  # fmt: skip
    assert [loss.step for loss in losses_of(steps)] == ["refusing", "two"]


def test_pairs_count_where_questions_are_the_same_and_void_ones_say_nothing() -> None:
    void = ability_scores(EvaluationResult("a", True, {"sums": task([None, *RIGHT])}))["sums"]
    worse = ability_scores(EvaluationResult("b", True, {"sums": task([0, *RIGHT])}))["sums"]
    assert void.questions == 100
    assert worse.gain_over(void) == (0.0, 0.0, 0.0)
    fewer = ability_scores(EvaluationResult("c", True, {"sums": task(HALF)}))["sums"]
    assert fewer.gain_over(worse).high < 0  # other questions, so by their intervals


def test_what_has_no_right_answers_is_no_ability() -> None:
    bits = TextResult(1.2, 1.1, 1.3, questions=3, nats_per_token=1.0, token_perplexity=2.7)
    assert ability_scores(EvaluationResult("a", False, {"book": bits})) == {}


def test_a_gate_that_was_not_passed_is_told_at_the_top() -> None:
    short = ShortLosses(length=64, losses={}, weights={})
    passed, missed = (GateResult(0.6, recall, (), (), recall > 0.6) for recall in (0.875, 0.25))
    made: Any = [
        Made(ContextExtension(512, 512, True, passed, (), (), passed, short, short)),
        Made(ContextExtension(1024, 1024, True, passed, (), (), missed, short, short)),
        Made(ContextExtension(2048, 1024, False, missed, (), (), passed, short, short)),
    ]
    sentences = list(open_gates(made))
    assert len(sentences) == 2
    assert "context of 1024 tokens was not passed: at 1024 tokens the needle test finds 25%" in sentences[0]
    assert "context of 2048 tokens was not passed, and it stays 1024" in sentences[1]


def read(label: str, of: str, **levels: float) -> Any:
    """What was measured on held-out text, nats a token by source."""
    losses = {source: held_out(level, noise=0.02, seed=sum(map(ord, label))) for source, level in levels.items()}
    made = Made(EvaluationResult(label, False, {}, held_out=losses), key=f"evaluate_model-{of}")
    made.metadata["inputs"] = {"model": of, "tokens": "pack-1"}
    return made


def test_planted_worse_text_is_named_and_a_change_within_its_interval_is_not() -> None:
    made = [
        *(model("one"), model("two", init_from="one"), model("three", init_from="two")),
        *(read("before", "one", wiki=3.0, books=4.0), read("after", "two", wiki=3.1, books=3.5)),
        read("again", "three", books=3.501, code=2.0),
    ]
    steps = measured_steps(made)
    (worse,) = text_losses_of(steps)
    assert (worse.step, worse.earlier, worse.name) == ("after", "before", "wiki")
    assert worse.rise.value == pytest.approx(0.1 / 3, abs=0.01)
    by_name = {(change.step, change.name): change for change in text_changes(steps)}
    assert by_name["after", "books"].is_better
    again = by_name["again", "books"]
    assert not again.is_better
    assert not again.is_worse
    assert ("again", "code") not in by_name  # measured there for the first time


def test_text_left_unmeasured_by_a_step_is_compared_with_where_it_was_last() -> None:
    made = [model("one"), model("two", init_from="one"), model("three", init_from="two")]
    made += [read("before", "one", wiki=3.0), read("between", "two"), read("last", "three", wiki=3.3)]
    (worse,) = text_losses_of(measured_steps(made))
    assert (worse.step, worse.earlier) == ("last", "before")


def test_less_than_a_thousandth_is_no_change_however_sure_it_is() -> None:
    made = [model("one"), model("two", init_from="one"), read("x", "one", wiki=3.0, web=3.0)]
    result = made[-1].result(EvaluationResult)
    losses = {"wiki": scaled_loss(result.held_out["wiki"], 1.0005), "web": scaled_loss(result.held_out["web"], 0.9995)}
    made.append(Made(EvaluationResult("y", False, {}, held_out=losses), key="evaluate_model-two"))
    made[-1].metadata["inputs"] = {"model": "two", "tokens": "pack-1"}
    changes = list(text_changes(measured_steps(made)))
    assert [change.rise.low > 0 for change in changes] == [True, False]
    assert not any(change.is_worse or change.is_better for change in changes)


def scaled_loss(loss: HeldOutLoss, factor: float) -> HeldOutLoss:
    return replace(
        loss, nats_per_token=factor * loss.nats_per_token, row_nats=tuple(factor * nats for nats in loss.row_nats)
    )
