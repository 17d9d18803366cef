"""Tasks ask what training never saw, and grade as people would."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass

import pytest

from herd.core.records import Conversation, Message
from herd.evals.tasks import Example, ModelAnswer, Task, tasks
from herd.world.pages import PagesSettings, WorldPages
from herd.world.questions import Questions
from herd.world.sums import is_held_out_sum
from herd.world.tasks import in_world
from herd.world.truth import World

WORLD = World(people=24)


NAMES = ("arithmetic", "facts_known", "facts_unknown", "small_talk", "tools", "velu_translation")


@dataclass(frozen=True)
class Item:
    """One example of a task, asked of either kind of model."""

    task: Task
    example: Example

    @property
    def prompt(self) -> Conversation:
        return self.task.prompt_for(self.example).chat

    @property
    def gold(self) -> str:
        return self.example.target

    def answered(self, message: Message) -> bool:
        """Whether a chat model's turn is right."""
        return self.task.judge(self.example, ModelAnswer(message.content, message, chat=True)).score == 1

    def continued(self, text: str) -> bool:
        """Whether what a model that only continues text wrote is right."""
        return self.task.judge(self.example, ModelAnswer(text, Message("assistant", text))).score == 1


def items(name: str, **settings: int | str) -> list[Item]:
    task = tasks.make(tasks.configure(name, world=WORLD, **settings))()
    return [Item(task, example) for example in task.examples]


def test_the_recipe_fills_in_its_world_and_another_process_finds_the_task() -> None:
    (use,) = in_world([tasks.parse({"arithmetic": {"questions": 3}})], WORLD)
    assert use == tasks.configure("arithmetic", world=WORLD, questions=3)
    row = tasks.dump(use)
    assert row == {
        "herd.world.tasks.arithmetic:arithmetic": {
            "world": {"seed": 0, "people": 24, "written_share": 0.6},
            "questions": 3,
        }
    }
    code = f"from herd.evals.tasks import tasks; print(len(tasks.make(tasks.parse({row!r}))().examples))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "3"


@pytest.mark.parametrize("name", NAMES)
def test_every_question_has_a_right_answer_and_wrong_ones(name: str) -> None:
    for item in items(name, questions=30):
        found = Questions(WORLD).find(item.prompt.id) if name != "arithmetic" else None
        assert not item.answered(Message("assistant", "Bananas."))
        assert not item.continued("bananas")
        if found is not None:
            assert item.answered(found.answers[0])
        assert bool(item.gold) == (name != "facts_unknown")
        assert not item.gold or item.continued(item.gold)


@pytest.mark.row(78, "oracles")
@pytest.mark.parametrize("name", NAMES)
def test_an_oracle_is_right_and_who_gives_another_questions_answer_is_not(name: str, figure) -> None:
    asked = items(name, questions=100)
    book = Questions(WORLD)
    # What an oracle says of each question. A guesser knows the form: it says what is right of other questions, and of
    # people nobody wrote about what is true of others, since every refusal there is right.
    golds = [
        Message("assistant", item.gold.strip()) if name == "arithmetic" else book.find(item.prompt.id).answers[0]
        for item in asked
    ]
    known = [book.find(item.prompt.id).answers[0] for item in items("facts_known", questions=len(asked))]
    guesses = (known * len(asked))[: len(asked)] if name == "facts_unknown" else golds[7:] + golds[:7]
    oracle = sum(item.answered(gold) for item, gold in zip(asked, golds, strict=True)) / len(asked)
    guesser = sum(item.answered(guess) for item, guess in zip(asked, guesses, strict=True)) / len(asked)
    chance = sum(guess == gold for guess, gold in zip(guesses, golds, strict=True)) / len(asked)
    figure(f"{name}: oracle {oracle:.0%}, guesser {guesser:.0%}, equal answers {chance:.0%}")
    assert oracle == 1
    assert guesser <= chance + 0.05


def test_arithmetic_is_held_out_of_everything_written_and_asked() -> None:
    asked = {tuple(map(int, re.findall(r"\d+", item.prompt.last.content))) for item in items("arithmetic")}
    assert len(asked) > 250
    assert all(is_held_out_sum(a, b) for a, b in asked)
    settings = PagesSettings(documents={"sums": 300, "tools": 50})
    for page in WorldPages(WORLD, settings).documents():
        for a, b in re.findall(r"(\d+) \+ (\d+)", page.document.text):
            assert not is_held_out_sum(int(a), int(b))
    book = Questions(WORLD)
    for number in range(200):
        a, b = map(int, re.findall(r"\d+", book.draw("sum", number, purpose="demonstrations").text))
        assert not is_held_out_sum(a, b)


def test_an_answer_counts_by_its_result() -> None:
    (item,) = items("arithmetic", questions=1)
    a, b = map(int, re.findall(r"\d+", item.prompt.last.content))
    assert item.answered(Message("assistant", f"so {a + b}."))
    assert item.continued(f" {a} + {b} = {a + b}.\nWhat is 1 + 1?")
    assert not item.answered(Message("assistant", f"so {a + b + 1}."))
    assert not item.continued(f" no idea\nso {a + b}.")


def test_unknown_facts_are_written_nowhere() -> None:
    settings = PagesSettings(documents={"facts": 200, "long": 20, "needles": 50})
    text = " ".join(page.document.text for page in WorldPages(WORLD, settings).documents())
    people = WORLD.everybody
    for fact in people.facts:
        told = any(phrase.format(s=fact.subject, v=fact.value) in text for phrase in fact.attribute.phrasings)
        assert fact.in_documents or not told
    for item in items("facts_unknown"):
        assert item.answered(Message("assistant", "I don't know that."))
        assert not item.answered(Message("assistant", "It is a cat."))


def test_known_facts_are_of_subjects_never_asked_about() -> None:
    settings = PagesSettings(documents={"facts": 300})
    questions = [
        line
        for page in WorldPages(WORLD, settings).documents()
        for line in page.document.text.splitlines()
        if "?" in line
    ]
    assert questions
    for item in items("facts_known"):
        asked = item.prompt.last.content
        assert not any(line.startswith(asked) for line in questions)


def test_tools_want_exactly_the_right_call() -> None:
    for item in items("tools", questions=10):
        right = Questions(WORLD).find(item.prompt.id).answers[0]
        assert item.answered(right)
        call = right.tool_calls[0]
        wrong = Message("assistant", "", (type(call)(call.name, {"query": "1*1"}),))
        assert not item.answered(wrong)
        assert item.continued(f'{call.name}.call(query="{call.arguments["query"]}")\n42')


def test_small_talk_takes_turns_of_what_is_new_and_of_languages_and_a_grade_names_them() -> None:
    asked = items("small_talk", questions=12)
    assert sorted({tuple(item.prompt.id.split("/")[1:3]) for item in asked}) == [
        (side, language) for side in ("combination", "word") for language in ("de", "en", "es")
    ]
    (item, *_) = items("small_talk", questions=4, held_out="word", language="es")
    assert all(one.prompt.id.startswith("talk/word/es/") for one in items("small_talk", held_out="word", language="es"))
    reason = item.task.judge(item.example, ModelAnswer("No.", Message("assistant", "No."), chat=True)).reason
    assert reason.startswith("es, ")
    assert ", new word: the answer is " in reason
    assert item.task.prompt_for(item.example).plain.count("\n") == 7
