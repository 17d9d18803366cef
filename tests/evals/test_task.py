"""What a task is: prompts of two forms, ways of answering that can be, and grades from 0 to 1."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.core.errors import DataError, SettingsError
from herd.core.records import Conversation, Message
from herd.evals.task import Example, Generate, Grade, LogLikelihood, ModelAnswer, Perplexity, Prompt, Task
from tests.evals.test_harness import SUMS, ask


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(SettingsError, match="all alike"):
        Generate(num_samples=3)
    with pytest.raises(SettingsError, match="k is 4 of 3"):
        Generate(num_samples=3, temperature=1.0, k=4)
    with pytest.raises(SettingsError, match="no examples"):
        Task([], ask)
    with pytest.raises(SettingsError, match="nobody to grade"):
        Task(SUMS, ask)
    with pytest.raises(DataError, match=r"grade of 2\.0"):
        Grade(2.0)


@given(st.integers(-1, 6), st.integers(1, 5))
def test_the_best_of_k_wants_as_many_samples(k: int, samples: int) -> None:
    if 1 <= k <= samples:
        assert Generate(num_samples=samples, temperature=0.5, k=k).k == k
    else:
        with pytest.raises(SettingsError, match=f"k is {k} of {samples} samples"):
            Generate(num_samples=samples, temperature=0.5, k=k)


@pytest.mark.parametrize("score", [-0.1, 1.1, float("nan"), float("inf")])
def test_a_grade_is_from_none_to_all_right_or_void(score: float) -> None:
    with pytest.raises(DataError, match="is none from 0 to 1; mend the task's grader"):
        Grade(score)
    assert [Grade(one).score for one in (0.0, 1.0, 0.5, None)] == [0.0, 1.0, 0.5, None]


def test_a_text_alone_is_put_to_any_model_and_a_prompt_as_it_is() -> None:
    task = Task(SUMS, ask, Perplexity())
    assert task.prompt_for(SUMS[0]) == Prompt(
        Conversation((Message("user", "after 1 comes"),), SUMS[0].id), "after 1 comes"
    )
    own = Prompt(Conversation((Message("system", "s"), Message("user", "u"))), "plain")
    assert Task(SUMS, lambda _: own, Perplexity()).prompt_for(SUMS[0]) is own


def test_of_likelihoods_the_target_is_right_unless_somebody_judges() -> None:
    answers = LogLikelihood(lambda example: [" 1", " 2"])
    example = Example("a", target=" 2")
    said = {text: ModelAnswer(text, Message("assistant", text)) for text in (" 2", " 1", "2")}
    task = Task([example], ask, answers)
    assert {text: task.judge(example, answer).score for text, answer in said.items()} == {
        " 2": 1.0,
        " 1": 0.0,
        "2": 0.0,
    }
    grade = task.judge(example, said[" 1"])
    assert (grade.extracted, grade.reason) == (" 1", "the target is ' 2'")
    strict = Task([example], ask, answers, lambda example, answer: Grade(None, reason=example.id + answer.text))
    assert strict.judge(example, said[" 2"]) == Grade(None, reason="a 2")


@pytest.mark.parametrize("temperature", [-1.0, float("inf"), float("nan")])
def test_a_temperature_is_a_number_from_0(temperature: float) -> None:
    with pytest.raises(SettingsError, match="temperature"):
        Generate(temperature=temperature)
