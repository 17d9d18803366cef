"""A model's words about documents as points and topics: what is read out of them, and what is chance."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.core.errors import DataError
from herd.core.records import Conversation
from herd.corpus.labels import EDUCATIONAL, LABEL_RUBRICS, QUALITY, READ_CHARACTERS, Rubric, label_texts, label_topic
from herd.generate.samplers import ScriptedSampler
from herd.judge.agreement import weighted_kappa
from tests.corpus.test_topics import PAGES

WORDLESS = "I cannot say."


def saying(rounds: list[list[int | None]]) -> ScriptedSampler:
    """A model that says these points, asking after asking, in the order of the texts."""
    turns = itertools.chain.from_iterable(rounds)

    def answer(conversation: Conversation) -> str:
        points = next(turns)
        return WORDLESS if points is None else f"score: {points}"

    return ScriptedSampler(answer)


def test_answers_are_read_as_points() -> None:
    assert EDUCATIONAL.points("Good. score: 4") == 4
    assert EDUCATIONAL.points("Score: 1 at first, but then\n**Educational score: 3**") == 3
    assert np.isnan(EDUCATIONAL.points("score: 7"))
    assert np.isnan(EDUCATIONAL.points("no idea"))
    assert set(LABEL_RUBRICS) == {"educational", "quality", "reasoning"}
    assert "<document>\nx" in QUALITY.ask("x" * 9000).last.content
    assert len(QUALITY.ask("x" * 9000).last.content) < 4000


def test_points_stand_where_the_rubric_says() -> None:
    graded = Rubric("grades", "Which grade?", 3, parse=r"grade (\d)")
    assert graded.points("score: 1, grade 2, no: grade 3") == 3
    assert np.isnan(graded.points("score: 2"))
    (asked,) = graded.ask("a page").messages
    assert (asked.role, asked.content) == ("user", "Which grade?\n\n<document>\na page\n</document>")


def test_a_model_that_does_not_answer_is_refused() -> None:
    with pytest.raises(DataError, match="100% of the model's answers hold no points"):
        label_texts(["a", "b"], ScriptedSampler(lambda conversation: "hm"), QUALITY)


POINTS = st.integers(0, 5) | st.none()


@given(st.integers(1, 4).flatmap(lambda count: st.lists(st.lists(POINTS, min_size=count, max_size=count), max_size=3)))
def test_the_mean_of_the_points_counts_and_answers_without_any_do_not(rounds: list[list[int | None]]) -> None:
    rounds = rounds or [[1, 2]]
    texts = [str(n) for n in range(len(rounds[0]))]
    said = [points for one in rounds for points in one]
    unreadable = said.count(None) / len(said)
    if unreadable > 0.5:
        with pytest.raises(DataError, match=f"{unreadable:.0%} of the model's answers hold no points"):
            label_texts(texts, saying(rounds), EDUCATIONAL, num_samples=len(rounds))
        return
    found = label_texts(texts, saying(rounds), EDUCATIONAL, num_samples=len(rounds))
    assert found.unreadable == pytest.approx(unreadable)
    for number, points in enumerate(found.points):
        own = [one[number] for one in rounds if one[number] is not None]
        assert np.isnan(points) if not own else points == pytest.approx(sum(map(float, filter(None, own))) / len(own))
    if len(rounds) == 1:
        assert np.isnan(found.agreement)
    else:
        first, second = (np.array([np.nan if one is None else one for one in rounds[k]], float) for k in (0, 1))
        np.testing.assert_equal(found.agreement, weighted_kappa(first, second, 5))


def test_no_texts_have_no_labels() -> None:
    found = label_texts([], ScriptedSampler(lambda _: WORDLESS), QUALITY, num_samples=2)
    assert (len(found.points), found.unreadable) == (0, 0.0)
    assert label_topic([], ScriptedSampler(lambda _: WORDLESS), ["a"]) == []


def test_a_model_names_topics() -> None:
    def answer(conversation: Conversation) -> str:
        words = conversation.last.content
        return "It is a match report.\n**topic:** Sports and Fitness." if "striker" in words else "topic: health"

    texts = [PAGES["sports and fitness"], PAGES["health"]]
    assert label_topic(texts, ScriptedSampler(answer), list(PAGES)) == ["sports and fitness", "health"]
    with pytest.raises(DataError, match="100% of the model's answers name no topic"):
        label_topic(texts, ScriptedSampler(lambda _: "I cannot tell."), list(PAGES))


@pytest.mark.parametrize(
    ("answer", "topic"),
    [
        ("topic: Health", "health"),
        ("Topic - **health**.", "health"),
        ("topic: travel\nNo, I take that back.\ntopic: health", "health"),
        ("topic: `health` for sure", "health"),
        ("topic: healthy living", ""),
        ("health", ""),
    ],
)
def test_the_last_topic_named_counts_if_it_is_listed(answer: str, topic: str) -> None:
    names = ["travel", "health"]
    answers = iter([answer, "topic: travel"])
    assert label_topic(["a", "b"], ScriptedSampler(lambda _: next(answers)), names) == [topic, "travel"]


def test_a_model_is_shown_the_topics_and_the_beginning_of_a_page() -> None:
    asked: list[str] = []

    def answer(conversation: Conversation) -> str:
        asked.append(conversation.last.content)
        return "topic: b c"

    assert label_topic(["x" * 9 * READ_CHARACTERS], ScriptedSampler(answer), ["a", "b c"]) == ["b c"]
    assert "\n- a\n- b c\n" in asked[0]
    assert asked[0].count("x" * READ_CHARACTERS) == 1
    assert "x" * (READ_CHARACTERS + 1) not in asked[0]
    assert set(LABEL_RUBRICS) == {one.name for one in LABEL_RUBRICS.values()}
