"""Planted causes of a gap are recovered to the exact point, and the parts always add up to the gap."""

from __future__ import annotations

import random
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from herd.core.errors import DataError
from herd.evals.answer_runs import AnswerRun
from herd.evals.comparison import CONTENT, ITEMS, TRUNCATED, UNPARSED, TaskComparison, compare_runs, join_words
from tests.evals.runs import Model, planted_run

HUNDRED = [f"n{number}" for number in range(100)]


def points_of(found: TaskComparison) -> dict[str, float]:
    return {part.name: part.points.value for part in found.parts if part.points.value}


def solver(right: int, wrong: str = "x") -> Model:
    """Reasons on two lines and gives the answer; of the first `right` items the right one."""

    def answer(item: str) -> str:
        said = item if int(item[1:]) < right else wrong
        return f"Let us see.\nIt is\n#### {said}"

    return answer


def test_one_model_under_other_stop_strings() -> None:
    # lighteval #649: one model, GSM8K .690 against .0015, by the stop strings alone.
    items = [f"n{number}" for number in range(1319)]
    good, early = 910, 2

    def model(item: str) -> str:
        number = int(item[1:])
        return f"#### {item}" if number < early else solver(good)(item)

    first = planted_run("a", model, items, stop=("Question:",), name="same")
    second = planted_run("b", model, items, stop=("\n", "Question:"), name="same")
    found = compare_runs(first, second)
    assert (round(found.first.value, 3), round(found.second.value, 4)) == (0.69, 0.0015)
    assert points_of(found) == {"stop strings": pytest.approx(100 * (early - good) / 1319)}
    (part,) = [part for part in found.parts if part.points.value]
    assert part.how == "graded again"
    assert part.items == good - early
    assert part.points.high < 0
    # Turned round, how the answers that were cut go on stands in the other run.
    back = compare_runs(second, first)
    assert points_of(back) == {"stop strings": pytest.approx(100 * (good - early) / 1319)}
    assert not back.notes


def test_one_model_graded_otherwise() -> None:
    def model(item: str) -> str:
        return f"It is {item}" if int(item[1:]) < 30 else f"#### {item}"

    first, second = (planted_run(name, model, HUNDRED, grader=name, name="same") for name in ("strict", "flexible"))
    found = compare_runs(first, second)
    assert found.gap == pytest.approx(30)
    assert points_of(found) == {"extraction": pytest.approx(30)}


def test_one_model_with_fewer_tokens() -> None:
    def model(item: str) -> str:
        return ("Well. " * 40 if int(item[1:]) < 25 else "") + f"#### {item}"

    first = planted_run("a", model, HUNDRED, max_tokens=500, name="same")
    second = planted_run("b", model, HUNDRED, max_tokens=100, name="same")
    assert points_of(compare_runs(first, second)) == {"token limit": pytest.approx(-25)}
    assert points_of(compare_runs(second, first)) == {"token limit": pytest.approx(25)}


def test_the_models_own_part_is_told_by_what_the_answers_show() -> None:
    def second_model(item: str) -> str:
        number = int(item[1:])
        if number < 10:
            return "No."  # nothing to read
        return "Hm. " * 100 if number < 30 else solver(60)(item)  # never ends

    first = planted_run("a", solver(70), HUNDRED, max_tokens=200)
    second = planted_run("b", second_model, HUNDRED, max_tokens=200)
    found = compare_runs(first, second)
    assert points_of(found) == {"models": pytest.approx(-40)}
    assert found.parts[0].how == "what is left"
    assert found.symptoms == {
        UNPARSED: pytest.approx(-10), TRUNCATED: pytest.approx(-20), CONTENT: pytest.approx(-10),
    }  # fmt: skip
    assert (found.paired.worse, found.paired.better) == (40, 0)
    assert found.needed[1.0] > found.needed[5.0] > 0


def test_causes_that_act_on_other_items_are_all_recovered() -> None:
    def first_model(item: str) -> str:
        number = int(item[1:])
        if number < 10:
            return f"Thus\n#### {item}"  # a stop string at a line end takes it away
        if number < 30:
            return f"So {item}"  # only flexible extraction reads it
        if number < 45:
            return "Well. " * 40 + f"#### {item}"  # too long for fewer tokens
        return f"#### {item}" if number < 80 else "#### no"

    def second_model(item: str) -> str:
        return f"#### {item}" if int(item[1:]) >= 95 else first_model(item)

    first = planted_run("a", first_model, HUNDRED, max_tokens=500)
    second = planted_run("b", second_model, HUNDRED, max_tokens=100, stop=("\n",), grader="flexible")
    found = compare_runs(first, second)
    assert points_of(found) == {
        "stop strings": pytest.approx(-10),
        "extraction": pytest.approx(20),
        "token limit": pytest.approx(-15),
        "models": pytest.approx(5),
    }
    assert sum(points_of(found).values()) == pytest.approx(found.gap)


def test_template_shots_and_model_are_told_apart_by_further_runs_alone() -> None:
    chat, plain = {"chat template": "chat", "shots": 0}, {"chat template": "none", "shots": 5}
    first = planted_run("a", solver(40), HUNDRED, prompt=plain, name="small")
    second = planted_run("b", solver(70), HUNDRED, prompt=chat, name="large")
    found = compare_runs(first, second)
    assert points_of(found) == {"models, chat template and shots": pytest.approx(30)}
    assert found.parts[0].how == "cannot be told apart"
    assert any("--also" in note for note in found.notes)
    assert "prompts differ on 100 of 100 items" in found.notes
    # The small model was asked in the large one's way, too.
    bridge = planted_run("c", solver(55), HUNDRED, prompt=chat, name="small")
    found = compare_runs(first, second, [bridge])
    assert points_of(found) == {"chat template and shots": pytest.approx(15), "models": pytest.approx(15)}
    # And once with the template changed alone.
    half = planted_run("d", solver(45), HUNDRED, prompt={"chat template": "chat", "shots": 5}, name="small")
    found = compare_runs(first, second, [bridge, half])
    assert points_of(found) == {
        "chat template": pytest.approx(5), "shots": pytest.approx(10), "models": pytest.approx(15),
    }  # fmt: skip
    assert {part.how for part in found.parts} == {"measured"}
    odd = planted_run("e", solver(1), HUNDRED, prompt={"chat template": "other"}, name="small")
    found = compare_runs(first, second, [odd])
    assert any(note.startswith("e is not used") for note in found.notes)


def test_the_same_model_asked_otherwise_is_the_prompts_part() -> None:
    first, second = (
        planted_run(str(shots), solver(40 + shots), HUNDRED, prompt={"shots": shots}, name="same") for shots in (0, 5)
    )
    assert points_of(compare_runs(first, second)) == {"shots": pytest.approx(5)}


def test_settings_that_change_no_prompt_are_no_causes() -> None:
    first = planted_run("a", solver(40), HUNDRED, name="same")
    second = planted_run("b", solver(42), HUNDRED, name="same")
    assert points_of(compare_runs(first, second)) == {"other draws": pytest.approx(2)}


def test_items_that_only_one_run_has_are_a_part_of_their_own() -> None:
    first = planted_run("a", solver(50), HUNDRED)
    second = planted_run("b", solver(50), HUNDRED[:80], name="b")
    found = compare_runs(first, second)
    assert found.gap == pytest.approx(100 * (50 / 80 - 0.5))
    assert points_of(found) == {ITEMS: pytest.approx(12.5)}
    assert found.counts == (100, 80)
    with pytest.raises(DataError, match="share no item"):
        compare_runs(first, planted_run("c", solver(1), ["n200"]))


def test_what_no_grader_can_tell_is_said_to_be_untold() -> None:
    first = planted_run("a", solver(40), HUNDRED, knows_grader=False)
    second = planted_run("b", solver(70), HUNDRED, grader="flexible", knows_grader=False)
    found = compare_runs(first, second)
    assert points_of(found) == {"models and extraction": pytest.approx(30)}


def test_answers_that_both_ended_early_are_one_part_with_the_models() -> None:
    # Neither was written as far as to what would have ended it in the other run.
    def model(item: str) -> str:
        return f"{item} #### x\n{item}"

    first = planted_run("a", model, HUNDRED[:1], stop=("x",), grader="flexible")
    second = planted_run("b", lambda item: f"y\n{item}", HUNDRED[:1], stop=("\n",), grader="flexible")
    found = compare_runs(first, second)
    assert points_of(found) == {"models and stop strings": -100}


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000))
def test_parts_add_up_to_the_gap_whatever_the_runs_are(seed: int) -> None:
    rng = random.Random(seed)
    words = ["#### n1", "#### n2", "\n", "n1", "n2", "Q:", " so ", "#### n3", "n3"]

    def model(salt: int) -> Model:
        return lambda item: "".join(random.Random(f"{salt} {item}").choices(words, k=6))

    def run(label: str):
        return planted_run(
            label, model(rng.randrange(3)), ["n1", "n2", "n3"][: rng.randint(2, 3)],
            stop=tuple(rng.sample(["\n", "Q:", "so"], rng.randint(0, 2))), max_tokens=rng.choice([4, 12, 100]),
            grader=rng.choice(["strict", "flexible"]), prompt={"shots": rng.randrange(2)}, name=str(rng.randrange(2)),
            knows_grader=rng.random() < 0.8,
        )  # fmt: skip

    first, second, others = run("a"), run("b"), [run("c"), run("d")]
    found = compare_runs(first, second, others)
    again = compare_runs(first, second, others)
    assert found == again
    total = sum((Fraction(part.points.value) for part in found.parts), Fraction(0))
    assert float(total) == pytest.approx(found.gap, abs=1e-9)
    changed = sum(part.points.value for part in found.parts if set(part.causes) - GRADING - {ITEMS})
    assert sum(found.symptoms.values()) == pytest.approx(changed, abs=1e-9)


GRADING = {"stop strings", "token limit", "extraction", "pass@k"}


def test_lists_are_words() -> None:
    assert join_words(["a"]) == "a"
    assert join_words(["a", "b", "c"]) == "a, b and c"


@pytest.mark.parametrize("of_server", [False, True])
def test_answers_of_a_server_tell_what_ended_them_by_those_that_go_on(of_server: bool) -> None:
    def model(item: str) -> str:
        number = int(item[1:])
        if number < 10:
            return f"Thus\n\n#### {item}"
        return "Well. " * 40 + f"#### {item}" if number < 25 else f"#### {item}"

    def run(name: str, **settings: Any) -> AnswerRun:
        return planted_run(name, model, HUNDRED, name="same", of_server=of_server, **settings)

    whole = run("a", max_tokens=500)
    early, short = run("b", max_tokens=500, stop=("\n\n",)), run("c", max_tokens=60)
    for other, name, points in ((early, "stop strings", -10), (short, "token limit", -15)):
        assert points_of(compare_runs(whole, other)) == {name: pytest.approx(points)}
        assert points_of(compare_runs(other, whole)) == {name: pytest.approx(-points)}


def test_servers_do_not_tell_which_stop_string_ended_an_answer() -> None:
    def other_model(item: str) -> str:
        return "Hm.\n" + solver(60)(item)

    first = planted_run("a", solver(90), HUNDRED, stop=("\n",), of_server=True)
    second = planted_run("b", other_model, HUNDRED, of_server=True)
    found = compare_runs(first, second)
    # The first model's answers, had they gone on, are nowhere: held for whole ones, half of this would be the models'.
    assert points_of(found) == {"stop strings": pytest.approx(60)}
    assert any("orders of causes" in note for note in found.notes)


def test_precision_and_the_form_of_answers_are_causes_of_their_own() -> None:
    first, worse = (planted_run(name, solver(right), HUNDRED, name="same") for name, right in (("a", 70), ("b", 60)))
    assert points_of(compare_runs(first, replace(worse, precision="bf16"))) == {"precision": pytest.approx(-10)}
    compared = replace(worse, output="likelihood", grader="flexible")
    found = compare_runs(first, compared)
    assert points_of(found) == {"choices compared or answers written": pytest.approx(-10)}
    assert not any("cannot be graded" in note for note in found.notes)
