"""Tasks ask what training never saw, and grade as people would."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass, replace

import pytest

from herd.core.records import Conversation, Message
from herd.core.settings import dump
from herd.evals.tasks import Example, Grade, ModelAnswer, Task, tasks
from herd.world.facts import WORDINGS
from herd.world.pages import PagesSettings, WorldPages
from herd.world.questions import Questions
from herd.world.sums import is_held_out_sum
from herd.world.tasks import in_world
from herd.world.truth import World

WORLD = World()


# Those that ask one question and want its answer.
NAMES = (
    *("arithmetic", "facts_known", "facts_unknown", "facts_unwritten", "small_talk", "tools", "velu_translation"),
    *("needles_256", "needles_512", "needles_1024"),
)
REFUSALS = ("facts_unknown", "facts_unwritten")


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
            "world": dump(WORLD),
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
        assert bool(item.gold) == (name not in REFUSALS)
        assert not item.gold or item.continued(item.gold)


@pytest.mark.row(78, "oracles")
@pytest.mark.parametrize("name", NAMES)
def test_an_oracle_is_right_and_who_gives_another_questions_answer_is_not(name: str, figure) -> None:
    asked = items(name, questions=100)
    book = Questions(WORLD)
    # What an oracle says of each question. A guesser knows the form: it says what is right of other questions, and of
    # facts nobody wrote what is true of others, since every refusal there is right.
    golds = [
        Message("assistant", item.gold.strip()) if name == "arithmetic" else book.find(item.prompt.id).answers[0]
        for item in asked
    ]
    known = [book.find(item.prompt.id).answers[0] for item in items("facts_known", questions=len(asked))]
    guesses = (known * len(asked))[: len(asked)] if name in REFUSALS else golds[7:] + golds[:7]
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
    for fact in people.facts("asked", "alignment", "held out", "strangers", "held-out strangers"):
        told = any(phrase.format(s=fact.subject, v=fact.value) in text for phrase in fact.attribute.phrasings)
        assert fact.in_documents or not told
    for item in items("facts_unwritten"):
        assert item.answered(Message("assistant", "I don't know that."))
        assert not item.answered(Message("assistant", "It is a cat."))
    for item in items("facts_unknown"):
        assert not item.answered(Message("assistant", "I don't know that."))  # of whom?


def test_known_facts_are_of_subjects_never_asked_about() -> None:
    settings = PagesSettings(documents={"qa": 300, "reading": 100})
    text = "\n".join(page.document.text for page in WorldPages(WORLD, settings).documents())
    asked = [fact.attribute.ask(fact.subject, n) for fact in WORLD.everybody.facts("asked") for n in range(WORDINGS)]
    assert sum(question in text for question in asked) > 50
    assert not any(item.prompt.last.content in text for item in items("facts_known"))


def test_tools_want_exactly_the_right_call() -> None:
    for item in items("tools", questions=10):
        right = Questions(WORLD).find(item.prompt.id).answers[0]
        assert item.answered(right)
        call = right.tool_calls[0]
        wrong = Message("assistant", "", (type(call)(call.name, {"query": "1*1"}),))
        assert not item.answered(wrong)
        assert item.continued(f'{call.name}.call(query="{call.arguments["query"]}")\n42')


def test_small_talk_takes_turns_of_what_is_new_of_languages_and_of_tools_and_a_grade_names_them() -> None:
    asked = items("small_talk", questions=12)
    assert sorted({tuple(item.prompt.id.split("/")[1:3]) for item in asked}) == [
        (side, language) for side in ("combination", "word") for language in ("de", "en", "es")
    ]
    assert [bool(item.prompt.tools) for item in asked] == [False] * 6 + [True] * 6
    (item, *_) = items("small_talk", questions=4, held_out="word", language="es")
    assert all(one.prompt.id.startswith("talk/word/es/") for one in items("small_talk", held_out="word", language="es"))
    reason = item.task.judge(item.example, ModelAnswer("No.", Message("assistant", "No."), chat=True)).reason
    assert reason.startswith("es, ")
    assert ", new word: the answer is " in reason
    assert item.task.prompt_for(item.example).plain.count("\n") == 7


def test_what_comes_of_a_call_is_asked_with_the_call_and_its_result() -> None:
    for item in items("tool_results", questions=10):
        asked, called, told = item.prompt.messages
        assert (asked.role, called.role, told.role) == ("user", "assistant", "tool")
        assert item.prompt.tools == ("calculator",)
        assert item.answered(Message("assistant", f"The result is {told.content}."))
        assert not item.answered(Message("assistant", f"The result is 1{told.content}."))
        assert not item.answered(called)  # calling again is no answer
        assert item.task.prompt_for(item.example).plain.endswith(f'")\n{told.content}\n')
        assert item.continued(item.gold)
        assert not item.continued(f"\n{told.content}")


def test_a_known_fact_is_answered_where_it_is_not_refused() -> None:
    known = {item.prompt.id for item in items("facts_known")}
    for item in items("facts_answered"):
        assert item.prompt.id in known
        (fact,) = item.example.row["question"].facts
        assert not item.answered(Message("assistant", fact.refusal))
        assert not item.continued(f" {fact.refusal}\nmore")
        assert item.answered(Message("assistant", fact.answer))
        assert item.continued(f" {fact.answer}\n{fact.refusal}")


def test_follow_ups_are_put_one_by_one_and_all_three_have_to_be_right() -> None:
    for item in items("follow_up", questions=20):
        prompt, facts = item.task.prompt_for(item.example), item.example.row["question"].facts
        assert len(prompt.chat.messages) == 1
        assert len(prompt.turns) == 2
        assert facts[0].subject in prompt.plain
        answers = [ModelAnswer(fact.answer, Message("assistant", fact.answer), chat=True) for fact in facts]

        def score(answers: list[ModelAnswer], item: Item = item) -> float | None:
            return item.task.judge(item.example, replace(answers[-1], earlier=tuple(answers[:-1]))).score

        assert score(answers) == 1
        for place in range(3):
            wrong = ModelAnswer("Bananas.", Message("assistant", "Bananas."), chat=True)
            assert score([*answers[:place], wrong, *answers[place + 1 :]]) == 0


def test_of_a_conversation_the_last_answer_counts() -> None:
    kinds = set[str]()
    for item in items("conversation", questions=20, turns=4):
        prompt, asked = item.task.prompt_for(item.example), item.example.row["questions"]
        kinds |= {question.kind for question in asked}
        assert prompt.chat.messages == asked[0].messages
        assert prompt.turns == tuple(question.text for question in asked[1:])
        right = [question.answers[0] for question in asked]

        def grade(answers: list[Message], item: Item = item) -> Grade:
            *earlier, last = (ModelAnswer(answer.content, answer, chat=True) for answer in answers)
            return item.task.judge(item.example, replace(last, earlier=tuple(earlier)))

        wrong = Message("assistant", "Bananas.")
        assert (grade(right).score, grade([wrong, *right[1:]]).score) == (1, 1)
        assert grade([wrong, *right[1:-1], wrong]).score == 0
        assert "2 of 4 answers are right" in grade([wrong, *right[1:-1], wrong]).reason
    assert kinds == {"sum", "known", "unknown", "unwritten", "talk"}


@pytest.mark.parametrize("name", [name for name in tasks.all() if tasks.get(name).__module__.startswith("herd.world")])
def test_every_task_asks_two_hundred_different_questions_where_so_many_exist(name: str) -> None:
    asked = items(name)
    ids = {item.example.id for item in asked}
    assert len(ids) == len(asked) or name in ("arithmetic", "small_talk", "velu_translation")
    assert len(ids) >= 195


@pytest.mark.parametrize("kind", ["known", "unknown", "unwritten"])
def test_there_are_two_hundred_questions_about_facts_at_every_seed(kind: str) -> None:
    for seed in range(1000, 21_000, 1000):
        assert len(Questions(World(seed=seed)).facts(kind, held_out=True)) * WORDINGS >= 200
