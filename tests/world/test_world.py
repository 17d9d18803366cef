"""The world: what is true in it, that it is the same again, and that its labels are right."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.core.records import ToolCall
from herd.world import noise, programs, sums, tools
from herd.world.pages import Pages, PagesSettings
from herd.world.talk import TALK
from herd.world.truth import World

KINDS = ("facts", "sums", "programs", "tools", "talk", "ledgers", "needles", "long", "longest")
WORLD = World(people=24)
SETTINGS = PagesSettings(documents=dict.fromkeys(KINDS, 40), near_copies=0.1, spam_pages=0.05)


def pages(world: World = WORLD):
    return list(Pages(world, SETTINGS).documents())


def test_the_same_seed_writes_the_same_world_and_another_another() -> None:
    assert pages() == pages()
    assert pages() != pages(World(seed=1, people=24))


def test_labels_count_what_was_planted() -> None:
    found = pages()
    labels = [one.label for one in found]
    assert labels.count("clean") == 40 * len(KINDS)
    assert labels.count("spam") == round(40 * len(KINDS) * 0.05)
    ids = {one.document.id: one.document for one in found}
    for one in found:
        if one.label == "near-duplicate":
            assert ids[one.of].text != one.document.text
            assert one.document.source == ids[one.of].source
    assert len(ids) == len(found)


def test_adding_documents_of_one_kind_leaves_the_others_as_they_are() -> None:
    more = PagesSettings(documents=SETTINGS.documents | {"sums": 50}, near_copies=0.0, spam_pages=0.0)
    before = {one.document.id: one.document.text for one in pages() if one.label == "clean"}
    after = {one.document.id: one.document.text for one in Pages(WORLD, more).documents()}
    assert all(after[name] == text for name, text in before.items())


@given(st.integers(10, 9999), st.integers(10, 9999))
def test_steps_add_up(a: int, b: int) -> None:
    if len(str(a)) != len(str(b)):
        return
    text = sums.steps(a, b)
    assert sums.is_right(a, b, text)
    for left, right in re.findall(r"([\d+]+)=(\d+)", text):
        assert sum(map(int, left.split("+"))) == int(right)
    assert not sums.is_right(a, b, text.replace(f"so {a + b}", f"so {a + b + 1}"))


def test_the_split_of_sums_does_not_care_for_order() -> None:
    chance = random.Random(0)
    for _ in range(200):
        a, b = sums.draw(chance)
        assert sums.is_held_out(a, b) == sums.is_held_out(b, a)


def test_programs_pass_their_own_tests() -> None:
    for seed in range(50):
        names: dict[str, object] = {}
        exec(programs.program(random.Random(seed)), names)
        assert any(callable(value) for name, value in names.items() if not name.startswith("__"))


@pytest.mark.parametrize(
    ("query", "answer"),
    [("6*7", "42"), ("12 + 30", "42"), ("50-8", "42"), ("__import__('os')", "error"), ("9**9", "error"), ("", "error")],
)
def test_the_calculator_computes_and_nothing_else(query: str, answer: str) -> None:
    assert tools.calculate(query).startswith(answer)


def test_the_look_up_knows_what_no_page_tells() -> None:
    people = WORLD.everybody
    fact = next(fact for fact in people.facts if not fact.written)
    assert tools.look_up(f"{fact.attribute.name} of {fact.subject}", people) == fact.value
    assert tools.look_up("shoe size of nobody", people) == "error: not found"
    assert tools.run(ToolCall("rocket", {}), people) == "error: there is no tool called rocket"


def test_transcripts_hold_the_call_and_its_result() -> None:
    people = WORLD.everybody
    for seed in range(20):
        errand = tools.draw(people, random.Random(seed))
        text = tools.transcript(errand, people)
        assert tools.run(errand.call, people) in text.splitlines()
        assert text.endswith(errand.answer)


def test_talk_has_the_same_exchanges_in_every_language() -> None:
    assert set(TALK) == {"en", "de", "es"}
    assert len({len(exchanges) for exchanges in TALK.values()}) == 1


def test_a_near_copy_differs_in_a_few_words() -> None:
    text = " ".join(f"word{chr(97 + n % 26)}" for n in range(500))
    copy = noise.near_copy(text, random.Random(0))
    changed = sum(a != b for a, b in zip(text.split(), copy.split(), strict=True))
    assert len(copy.split()) == 500
    assert changed <= 5
    assert noise.near_copy("1 2 3", random.Random(0)) == "1 2 3 again"
