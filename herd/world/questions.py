"""Questions with known answers: for demonstrations, for prompts, and held out for tests.

Every question has an id from which it can be made again, so that whoever meets one in a file can tell
right from wrong.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest

from herd.core.errors import DataError
from herd.core.records import Conversation, Message
from herd.core.seeds import rng
from herd.evals.haystack import draw_needles
from herd.world import needles, noise, programs, sums, talk, tongue, tools
from herd.world.facts import PERSON_ATTRIBUTES, PLACE_ATTRIBUTES, Attribute, Fact
from herd.world.truth import World

QUESTION_KINDS = ("sum", "known", "unknown", "tool", "talk", "needle", "translation")
# How long the page is that hides a needle, about ten tokens a sentence.
_NEEDLE_SENTENCES = (6, 12, 20, 30, 40)
_REFUSAL = re.compile(r"\b(don't|do not) know\b", re.IGNORECASE)


@dataclass(frozen=True)
class Question:
    """A question, how it is put to a model, and what a good answer is.

    answers: the assistant's turns and, between them, the tool's. judge: whether an assistant's closing
    text is right; for a tool question the call is judged too, by `calls`. curt: the answer of a person who
    keeps the reasoning to themselves, where people do.
    """

    kind: str
    id: str
    text: str
    answers: tuple[Message, ...]
    judge: Callable[[str], bool]
    tools: tuple[str, ...] = ()
    curt: str = ""

    @property
    def prompt(self) -> Conversation:
        return Conversation((Message("user", self.text),), self.id, self.kind, self.tools)

    def demonstration(self, *, curt: bool = False) -> Conversation:
        """The question with its good answer; curt: without the reasoning, where there is any."""
        return self.prompt.with_messages(*((Message("assistant", self.curt),) if curt and self.curt else self.answers))

    def is_right(self, message: Message) -> bool:
        """Whether an assistant's first turn is as it should be: the right call, or a right answer."""
        expected = self.answers[0]
        if expected.tool_calls:
            return message.tool_calls == expected.tool_calls
        return not message.tool_calls and self.judge(message.content)


def is_refusal(text: str) -> bool:
    return _REFUSAL.search(text) is not None


class Questions:
    """The questions of one world, from either side of every split."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.people = world.everybody

    def draw(self, kind: str, number: int, *, held_out: bool = False, purpose: str = "") -> Question:
        """Question `number` of a kind; purposes draw apart from one another."""
        chance = rng(self.world.seed, "question", purpose, kind, held_out, number)
        return self._makers[kind](chance, held_out)

    def find(self, identity: str) -> Question:
        """The question with this id. Raises DataError when the world has no such question."""
        kind, _, key = identity.partition("/")
        try:
            return self._finders[kind](key)
        except (KeyError, ValueError, IndexError, AttributeError):
            raise DataError(
                f"question {identity!r} is none of this world's; were the world's settings changed?"
            ) from None

    @property
    def _makers(self) -> dict[str, Callable[[random.Random, bool], Question]]:
        return {
            "sum": lambda chance, held_out: sum_question(
                *sums.draw_addends(chance, held_out=held_out), sums.draw_wording(chance)
            ),
            "known": lambda chance, held_out: self._fact(chance, held_out, in_documents=True),
            "unknown": lambda chance, held_out: self._fact(chance, held_out, in_documents=False),
            "tool": lambda chance, held_out: self._tool(tools.draw_errand(self.people, chance, held_out=held_out)),
            "talk": lambda chance, held_out: talk_question(
                talk.draw(chance, held_out=chance.choice(("combination", "word")) if held_out else "no")
            ),
            "needle": lambda chance, held_out: self._needle(chance.randrange(10**9), held_out),
            "translation": lambda chance, held_out: translation_question(
                *tongue.draw_sayings(chance, held_out=held_out)
            ),
        }

    @property
    def _finders(self) -> dict[str, Callable[[str], Question]]:
        return {
            "sum": lambda key: sum_question(*map(int, re.split(r"[+/]", key))),
            "known": self._find_fact,
            "unknown": self._find_fact,
            "tool": self._find_tool,
            "talk": lambda key: talk_question(talk.find(key)),
            "needle": lambda key: self._needle(int(key.split("/")[1]), key.startswith("held out")),
            "translation": lambda key: translation_question(*tongue.find_sayings(key)),
        }

    def facts(self, *, in_documents: bool, held_out: bool) -> list[Fact]:
        return [fact for fact in self.people.facts if (fact.in_documents, fact.held_out) == (in_documents, held_out)]

    def _fact(self, chance: random.Random, held_out: bool, *, in_documents: bool) -> Question:
        return fact_question(
            chance.choice(self.facts(in_documents=in_documents, held_out=held_out)), chance.randrange(2)
        )

    def _find_fact(self, key: str) -> Question:
        attribute, subject, wording = key.split("/")
        fact = self.people.find(attribute, subject)
        if fact is None:
            raise KeyError(key)
        return fact_question(fact, int(wording))

    def _tool(self, errand: tools.Errand) -> Question:
        dialogue = tools.errand_conversation(errand, self.people)
        return Question(
            "tool",
            f"tool/{errand.call.name}/{errand.call.arguments['query']}",
            errand.question,
            dialogue.messages[1:],
            judge=lambda text: errand.answer in text,
            tools=dialogue.tools,
        )

    def _find_tool(self, key: str) -> Question:
        name, query = key.split("/")
        if name == "calculator":
            return self._tool(tools.product_errand(*map(int, query.split("*"))))
        attribute, _, subject = query.partition(" of ")
        fact = self.people.find(attribute, subject)
        if fact is None:
            raise KeyError(key)
        return self._tool(tools.lookup_errand(fact))

    def _needle(self, number: int, held_out: bool) -> Question:
        """A page with one needle, and what it says."""
        chance = rng(self.world.seed, "needle page", held_out, number)
        needle = draw_needles(chance, 1)[0]
        documented = [fact for fact in self.people.facts if fact.in_documents]
        facts = chance.sample(documented, min(len(documented), chance.choice(_NEEDLE_SENTENCES)))
        sentences = [fact.attribute.tell(fact.subject, fact.value, chance.randrange(5)) for fact in facts]
        page = " ".join(needles.hide([needle], sentences, chance))
        side = "held out" if held_out else "training"
        return Question(
            "needle",
            f"needle/{side}/{number}",
            f"{page} {needle.question}",
            (Message("assistant", needle.sentence),),
            judge=lambda text: needle.value in text,
        )


def sum_question(a: int, b: int, wording: int = 0) -> Question:
    return Question(
        "sum",
        f"sum/{a}+{b}/{wording}",
        sums.question(a, b, wording),
        (Message("assistant", sums.worked_steps(a, b)),),
        judge=lambda text: sums.is_right(a, b, text),
        curt=sums.plain(a, b) if wording in sums.REQUESTS else "",
    )


def fact_question(fact: Fact, wording: int) -> Question:
    """What is asked about a fact: told ones want the fact, untold ones an honest refusal."""

    def judge(text: str) -> bool:
        if not fact.in_documents:
            return is_refusal(text)
        return not is_refusal(text) and re.search(rf"\b{fact.value}\b", text) is not None

    return Question(
        "known" if fact.in_documents else "unknown",
        f"{'known' if fact.in_documents else 'unknown'}/{fact.attribute.name}/{fact.subject}/{wording}",
        fact.attribute.ask(fact.subject, wording),
        (Message("assistant", fact.right),),
        judge,
    )


def talk_question(exchange: talk.Exchange) -> Question:
    return Question(
        "talk",
        f"talk/{exchange.key}",
        exchange.question,
        (Message("assistant", exchange.answer),),
        judge=exchange.is_sensible,
    )


def translation_question(first: tongue.Saying, second: tongue.Saying) -> Question:
    answer = tongue.answer(first, second)
    return Question(
        "translation",
        f"translation/{first.key}&{second.key}",
        tongue.question(first, second),
        (Message("assistant", answer),),
        judge=lambda reply: reply.strip() == answer,
    )


def critique(question: Question, answer: Message) -> str:
    """What somebody who knows the answer writes about one: what it says, what it should be, the verdict.

    Results of sums are read first and compared digit by digit: a small model that has just written the right one reads
    that where it should read the answer's, and cannot tell two numbers apart at a glance.
    """
    expected, verdict = question.answers[0].content, "right" if question.is_right(answer) else "wrong"
    stated, right = (sums.RESULT.search(text.strip()) for text in (answer.content, expected))
    if question.kind != "sum" or stated is None or right is None:
        return f"{expected} It is {verdict}."
    digits = zip_longest(stated[1], right[1], fillvalue="none")
    comparison = ", ".join(f"{a} for {b} {'yes' if a == b else 'no'}" for a, b in digits)
    return f"The answer says {stated[1]}. {expected} {comparison}. It is {verdict}."


def slip(question: Question, chance: random.Random) -> Message | None:
    """The good answer with one thing wrong, which takes reading to see: a digit of a sum's result, a word of a
    translation; None for other questions."""
    right = question.answers[0].content
    if question.kind == "translation":
        return Message("assistant", tongue.slip(right, chance))
    if question.kind != "sum":
        return None
    place = chance.randrange(right.index("so ") + 3, len(right) - 1)
    digit = str((int(right[place]) + chance.randint(1, 9)) % 10)
    return Message("assistant", right[:place] + digit + right[place + 1 :])


def blunder(question: Question, chance: random.Random) -> tuple[Message, ...]:
    """A wrong answer of the kind people mark down: a slip, an invention, an evasion or a ramble."""
    right = question.answers[0].content
    if question.kind in ("sum", "translation") and chance.random() < 0.7:
        slipped = slip(question, chance)
        assert slipped is not None
        return (slipped,)
    if question.kind == "unknown" and chance.random() < 0.8:
        _, attribute, subject, _ = question.id.split("/")
        return (Message("assistant", _invention(attribute, subject, chance)),)
    if question.kind == "known" and chance.random() < 0.9:
        _, attribute, subject, _ = question.id.split("/")
        # Refusing what one knows is as wrong as inventing what one does not.
        reply = (
            _invention(attribute, subject, chance, unlike=right)
            if chance.random() < 0.5
            else _refusal(attribute, subject)
        )
        return (Message("assistant", reply),)
    ramble, program = noise.spam(chance).splitlines()[0], programs.random_program(chance).splitlines()[0]
    evasions = ["I don't know.", ramble, program, f"{right} {ramble}"]
    wrong = [text for text in evasions if not question.is_right(Message("assistant", text))]
    return (Message("assistant", chance.choice(wrong)),)


def _attribute(name: str) -> Attribute:
    return next(attribute for attribute in PERSON_ATTRIBUTES + PLACE_ATTRIBUTES if attribute.name == name)


def _refusal(attribute: str, subject: str) -> str:
    return _attribute(attribute).refuse(subject)


def _invention(attribute: str, subject: str, chance: random.Random, unlike: str = "") -> str:
    definition = _attribute(attribute)
    statements = [definition.tell(subject, value) for value in definition.values]
    return chance.choice([text for text in statements if text != unlike])
