"""What each step of a run did to each ability."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from herd.evals.intervals import wilson
from herd.evals.results import EvaluationResult, NeedleCell, TaskResult, TextResult
from herd.report.abilities import ability_scores, losses_of, measured_steps
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
    (loss,) = losses_of({"a": before, "b": {}, "c": after})
    assert loss.step == "c"


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
