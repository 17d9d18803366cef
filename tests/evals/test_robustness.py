"""What should not matter is varied, nothing else is, and an oracle is right under all of it."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.core.errors import DataError
from herd.core.records import Message
from herd.evals.robustness import (
    BASE,
    FACTORS,
    QUESTION_TEMPLATES,
    VARIANTS,
    PromptVariant,
    adversarial_ratio,
    macro_spread,
    move_choices,
    robustness_task,
    variant_prompt,
    variants_of,
)
from herd.evals.task import Grade, ModelAnswer, Task


def row(number: int, subject: str = "sums", gold: int | None = None) -> dict[str, Any]:
    own = number % 4 if gold is None else gold
    choices = [f"wrong {number}-{place}" for place in range(4)]
    choices[own] = f"right {number}"
    return {
        "id": str(number),
        "question": f"Question {{{number}}}?",
        "choices": choices,
        "gold": own,
        "subject": subject,
    }


ROWS = [row(number, "sums" if number < 6 else "old_towns") for number in range(10)]
SHOTS = {subject: [row(100 + number, subject) for number in range(4)] for subject in ("sums", "old_towns")}


def named(text: str, variant: PromptVariant) -> str:
    """The label of the right choice in a question that was put."""
    (line,) = [line for line in text.splitlines() if re.search(r"\bright \d+$", line)]
    label = next(label for label in variant.labels if line.startswith(label))
    assert line == variant.form.format(label=label, choice=line.partition(" ")[2])
    return label


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_the_right_choice_stays_right_under_every_variant(variant: PromptVariant) -> None:
    for number, asked in enumerate(ROWS):
        prompt, gold = variant_prompt(asked, SHOTS[asked["subject"]], variant)
        *shots, last = prompt.split("\n\n" if variant.template < 3 else "Question:")[
            -5 if variant.template < 3 else 0 :
        ]
        text = prompt[prompt.rindex(f"Question {{{number}}}?") :]
        assert named(text, variant) == variant.labels[gold]
        assert all(choice in text for choice in asked["choices"])
        assert len(shots) >= 4
        assert prompt.count("right 10") == 4  # the shots' right choices
        assert not last.endswith(" ")


def test_variants_differ_from_the_base_in_one_thing() -> None:
    assert len({variant.name for variant in VARIANTS}) == len(VARIANTS) == 21
    for variant in VARIANTS:
        changed = [field for field in ("labels", "form", "order", "shots", "template")
                   if getattr(variant, field) != getattr(BASE, field)]  # fmt: skip
        assert len(changed) == (variant.factor != "base")
        assert {"labels": "labels", "form": "labels"}.get("".join(changed), "".join(changed)) in (variant.factor, "")
    assert len(QUESTION_TEMPLATES) == 5
    assert [variant.factor for variant in variants_of(("order",))] == ["base"] + ["order"] * 8


@pytest.mark.parametrize("shots", ["AAAA", "ABCD", "AADD", "BBCC"])
def test_shots_have_the_labels_asked_for(shots: str) -> None:
    variant = next(variant for variant in VARIANTS if variant.shots == shots)
    prompt, _ = variant_prompt(ROWS[0], SHOTS["sums"], variant)
    assert re.findall(r"Answer: (\w)\n", prompt) == list(shots)
    base, _ = variant_prompt(ROWS[0], SHOTS["sums"], BASE)
    assert re.findall(r"Answer: (\w)\n", base) == ["ABCD"[row["gold"]] for row in SHOTS["sums"]]


@given(st.integers(0, 3), st.integers(0, 50), st.sampled_from(["kept", "cyclic 1", "cyclic 3", "shuffled", "gold 2"]))
def test_moved_choices_are_the_same_choices(gold: int, number: int, order: str) -> None:
    asked = row(number, gold=gold)
    moved = move_choices(asked, order)
    assert sorted(moved["choices"]) == sorted(asked["choices"])
    assert moved["choices"][moved["gold"]] == f"right {number}"
    assert move_choices(asked, order) == moved
    if order == "gold 2":
        assert moved["gold"] == 2
    if order == "cyclic 1":
        assert moved["choices"] == asked["choices"][1:] + asked["choices"][:1]


def graded(task: Task, pick: Any) -> dict[str, Any]:
    grades = []
    for example in task.examples:
        text = pick(example)
        grades.append([task.judge(example, ModelAnswer(text, Message("assistant", text)))])
    return {name: metric(grades) for name, metric in task.metrics.items()}


def test_an_oracle_is_right_under_all_and_nothing_is_apart() -> None:
    task = robustness_task(ROWS, SHOTS, FACTORS)
    assert len(task.examples) == len(ROWS) * len(VARIANTS)
    assert len({example.id for example in task.examples}) == len(task.examples)
    found = graded(task, lambda example: example.target)
    for name, interval in found.items():
        assert interval == pytest.approx((0.0,) * 3 if name.startswith("spread") else (1.0,) * 3), name


def test_a_model_that_says_a_is_found_out() -> None:
    task = robustness_task(ROWS, SHOTS, FACTORS)
    found = graded(task, lambda example: example.row["labels"][0])
    assert found["order gold A"].value == 1.0
    assert found["order gold B"].value == 0.0
    assert found["spread of order"].value == 1.0
    assert found["spread of template"].value == 0.0
    assert found["spread of labels"].value == 0.0
    share = (sum(row["gold"] == 0 for row in ROWS[:6]) / 6 + sum(row["gold"] == 0 for row in ROWS[6:]) / 4) / 2
    assert found["base"].value == pytest.approx(share)  # subjects count the same


def test_questions_that_are_void_somewhere_count_nowhere() -> None:
    task = robustness_task(ROWS, SHOTS, ("template",))
    grades = [[task.judge(example, ModelAnswer(example.target, Message("assistant", "")))] for example in task.examples]
    grades[1] = [Grade(None, parts=grades[1][0].parts)]
    assert task.metrics["spread of template"](grades).value == 0.0
    assert task.metrics["template 1"](grades).value == 1.0
    assert math.isnan(task.metrics["template 1"](grades[:1]).value)


def test_nineteen_in_twenty_intervals_hold_the_truth() -> None:
    held = {"spread": 0, "macro": 0}
    for seed in range(20):
        chance = np.random.default_rng(seed)
        scores = np.stack([chance.random(300) < share for share in (0.5, 0.8)], axis=1).astype(float)
        spread, macro = macro_spread(scores, np.arange(300) % 4), macro_spread(scores[:, :1], np.arange(300) % 4)
        held["spread"] += spread.low < 0.3 < spread.high
        held["macro"] += macro.low < 0.5 < macro.high
        assert macro.value == pytest.approx(scores[:, 0].mean())
    assert min(held.values()) >= 16


def test_more_choices_than_labels_are_said() -> None:
    many = {**row(1), "choices": list("abcde"), "gold": 0}
    with pytest.raises(DataError, match="has 5 choices; there are labels for four"):
        variant_prompt(many, (), BASE)


def test_what_is_left_of_a_score_has_an_interval() -> None:
    ratio = adversarial_ratio([1.0] * 80 + [0.0] * 20, [1.0] * 40 + [0.0] * 60)
    assert ratio.value == pytest.approx(0.5)
    assert 0.36 < ratio.low < 0.5 < ratio.high < 0.66
    assert adversarial_ratio([1.0] * 10, [1.0] * 5) == (1.0, 1.0, 1.0)
    with pytest.raises(DataError, match="nothing of the plain task is right"):
        adversarial_ratio([0.0], [1.0])
    with pytest.raises(DataError, match="one has none"):
        adversarial_ratio([], [1.0])
