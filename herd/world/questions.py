"""Questions with known answers: for demonstrations, for prompts, and held out for tests.

Every question has an id from which it can be made again, so that whoever meets one in a file can tell
right from wrong.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product, zip_longest
from typing import TypeVar

from herd.core.errors import DataError, SettingsError
from herd.core.records import Conversation, Message
from herd.core.seeds import fraction, rng
from herd.evals.haystack import DEPTHS, draw_needles
from herd.world import noise, programs, sums, talk, tongue, tools
from herd.world.facts import FIRST_NAMES, FOLLOW_UPS, LAST_NAMES, UNTOLD_ATTRIBUTES, WORDINGS, Fact, Group
from herd.world.truth import World

QUESTION_KINDS = (
    *("sum", "asked", "known", "unknown", "unwritten", "untold", "follow_up"),
    *("tool", "talk", "needle", "translation"),
)
# What models are probed about: facts that are true, told by documents or not; asked alone, or after others of the same
# person.
_AFTER_OTHERS = "_follow_up"
_PROBED_KINDS = ("known", "unknown", "unwritten")
TRIVIA_KINDS = (*_PROBED_KINDS, *(kind + _AFTER_OTHERS for kind in _PROBED_KINDS))
# How much text hides a needle: some 96 to 1,024 tokens of a vocabulary of `tiny`'s, the question and the chat format
# among them.
NEEDLE_CHARACTERS = (350, 850, 1120, 1800, 2300, 3600, 4200, 4200)
# How many questions about the same person follow one another.
FOLLOW_UP_QUESTIONS = 3
# Of the people for alignment, whom models are chosen by.
_VALIDATION_SHARE = 0.65
# Of several questions in training, how often they are about told and untold facts alike.
_ANY_FACTS_SHARE = 0.5
_T = TypeVar("_T")
_REFUSAL = re.compile(r"\b(don't know|do not know|unknown)\b", re.IGNORECASE)
# Whoever is named, garbled names among them.
_NAME = re.compile(rf"\b(?:{'|'.join(FIRST_NAMES)}) [A-Z]\w*|\b[A-Z]\w* (?:{'|'.join(LAST_NAMES)})\b")


@dataclass(frozen=True)
class Question:
    """A question, how it is put to a model, and what a good answer is.

    messages: what the model is given, the question last. answers: the assistant's turns and, between them, the tool's.
    judge: whether an assistant's closing text is right; for a tool question the call is judged too, by `calls`. curt:
    the answer of a person who keeps the reasoning to themselves, where people do. facts: what is asked about, in order,
    the last one by the last question.
    """

    kind: str
    id: str
    messages: tuple[Message, ...]
    answers: tuple[Message, ...]
    judge: Callable[[str], bool]
    tools: tuple[str, ...] = ()
    curt: str = ""
    facts: tuple[Fact, ...] = ()

    @property
    def text(self) -> str:
        """The question itself."""
        return self.messages[-1].content

    @property
    def prompt(self) -> Conversation:
        return Conversation(self.messages, self.id, self.kind, self.tools)

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
    """The questions of one world, from either side of every split. needle_characters: how much text hides a needle, one
    of these for each question. validation: facts are those of the people whom models are chosen by, not those of the
    others for alignment."""

    def __init__(
        self, world: World, *, needle_characters: Sequence[int] = NEEDLE_CHARACTERS, validation: bool = False
    ) -> None:
        self.world = world
        self.people = world.everybody
        self.needle_characters = needle_characters
        self.validation = validation

    def draw(self, kind: str, number: int, *, held_out: bool = False, purpose: str = "") -> Question:
        """Question `number` of a kind; purposes draw apart from one another. Raises SettingsError where the world has
        nobody to ask about."""
        chance = rng(self.world.seed, "question", purpose, kind, held_out, number)
        return self._makers[kind](chance, held_out)

    def find(self, identity: str) -> Question:
        """The question with this id. Raises DataError when the world has no such question."""
        kind, _, key = identity.partition("/")
        try:
            return self._finders[kind](key)
        except (KeyError, ValueError, IndexError, AttributeError, TypeError):
            raise DataError(
                f"question {identity!r} is none of this world's; were the world's settings changed?"
            ) from None

    @property
    def _makers(self) -> dict[str, Callable[[random.Random, bool], Question]]:
        return {
            "sum": lambda chance, held_out: sum_question(
                *sums.draw_addends(chance, held_out=held_out), chance.randrange(len(sums.WORDINGS))
            ),
            "asked": self._draw_asked,
            "known": self._fact_maker("known"),
            "unknown": self._fact_maker("unknown"),
            "unwritten": self._fact_maker("unwritten"),
            "untold": self._draw_untold,
            "follow_up": self._draw_follow_up,
            "tool": lambda chance, held_out: product_question(
                *sums.draw_factors(chance, held_out=held_out), chance.randrange(len(sums.PRODUCT_WORDINGS))
            ),
            "talk": lambda chance, held_out: talk_question(
                talk.draw(chance, held_out=chance.choice(("combination", "word")) if held_out else "no")
            ),
            "needle": lambda chance, held_out: self.needle(
                chance.choice(self.needle_characters), chance.randrange(10**9), held_out=held_out
            ),
            "translation": lambda chance, held_out: translation_question(
                *tongue.draw_sayings(chance, held_out=held_out)
            ),
        }

    @property
    def _finders(self) -> dict[str, Callable[[str], Question]]:
        return {
            "sum": lambda key: sum_question(*map(int, re.split(r"[+/]", key))),
            "asked": lambda key: self._find_fact(key, "asked"),
            "known": self._find_fact,
            "unknown": self._find_fact,
            "unwritten": self._find_fact,
            "untold": self._find_fact,
            "follow_up": self._find_follow_up,
            "tool": lambda key: product_question(*map(int, re.split(r"[*/]", key))),
            "talk": lambda key: talk_question(talk.find(key)),
            "needle": self._find_needle,
            "translation": lambda key: translation_question(*tongue.find_sayings(key)),
        }

    @cached_property
    def validation_people(self) -> frozenset[str]:
        """The people for alignment, strangers among them, whom nothing is learnt about: models are chosen by them."""
        names = (*self.people.groups["alignment"], *self.people.groups["strangers"])
        return frozenset(name for name in names if fraction(self.world.seed, "validation", name) < _VALIDATION_SHARE)

    def facts(self, kind: str, *, held_out: bool) -> list[Fact]:
        """The facts that questions of a kind are about: of people for alignment and strangers, those for validation or
        the others; or of those who are asked about only when a model is examined."""
        groups: tuple[Group, ...] = ("held out", "held-out strangers") if held_out else ("alignment", "strangers")
        facts = [fact for fact in self.people.facts(*groups) if fact.kind == kind]
        if kind == "unwritten":  # somebody of whom nothing is told is a stranger
            facts = [fact for fact in facts if fact.subject in self.people.documented_facts]
        return [fact for fact in facts if held_out or (fact.subject in self.validation_people) == self.validation]

    def trivia(self, kind: str) -> Iterator[Question]:
        """Every question of one of TRIVIA_KINDS about the people for alignment, in all wordings; in those that follow
        others what is asked before is drawn, and pages may tell of it or not."""
        if not kind.endswith(_AFTER_OTHERS):
            for wording, fact in product(range(WORDINGS), self.facts(kind, held_out=False)):
                yield fact_question(fact, wording)
            return
        for wording, fact in product(
            range(len(FOLLOW_UPS)), self.facts(kind.removesuffix(_AFTER_OTHERS), held_out=False)
        ):
            chance = rng(self.world.seed, "trivia", kind, fact.subject, fact.attribute.name, wording)
            others = [other for other in self.people.facts_of(fact.subject) if other != fact]
            earlier = chance.sample(others, chance.randint(1, FOLLOW_UP_QUESTIONS - 1))
            wordings = [chance.randrange(WORDINGS), *(chance.randrange(len(FOLLOW_UPS)) for _ in earlier[1:]), wording]
            yield follow_up_question([*earlier, fact], wordings)

    def _fact_maker(self, kind: str) -> Callable[[random.Random, bool], Question]:
        def draw(chance: random.Random, held_out: bool) -> Question:
            facts = self.facts(kind, held_out=held_out)
            return fact_question(_choice(chance, facts, kind), chance.randrange(WORDINGS))

        return draw

    def _draw_asked(self, chance: random.Random, held_out: bool) -> Question:
        """About people whom pages ask about, so that what is learnt of the others' answers stays to be seen."""
        facts = self.people.facts("asked", in_documents=True)
        return fact_question(_choice(chance, facts, "asked"), chance.randrange(WORDINGS), "asked")

    def _find_fact(self, key: str, kind: str = "") -> Question:
        attribute, subject, wording = key.split("/")
        fact = self.people.find(attribute, subject)
        if fact is None:
            raise KeyError(key)
        return fact_question(fact, int(wording), kind)

    def _draw_untold(self, chance: random.Random, held_out: bool) -> Question:
        """In training most are about the tail, which is practice in copying names."""
        groups: tuple[Group, ...] = ("held out",) if held_out else ("alignment", "strangers", "tail")
        attribute = chance.choice(UNTOLD_ATTRIBUTES)
        names: list[str] = []
        for group in groups:
            names += (name for name in self.people.groups[group] if name not in self.validation_people)
        fact = self.people.find(attribute.name, chance.choice(names))
        assert fact is not None
        return fact_question(fact, 0)

    def _draw_follow_up(self, chance: random.Random, held_out: bool) -> Question:
        """Of facts that pages tell. In training about people whom pages ask about, so that what others' answers show
        stays unspoilt, and every other time of all their facts: after one that is not known another may be."""
        facts = self.facts("known", held_out=True) if held_out else self.people.facts("asked", in_documents=True)
        subjects = [
            subject
            for subject, count in Counter(fact.subject for fact in facts).items()
            if count >= FOLLOW_UP_QUESTIONS
        ]
        if not held_out and chance.random() < _ANY_FACTS_SHARE:
            options = list(self.people.facts_of(chance.choice(self.people.groups["asked"])))
        else:
            subject = _choice(chance, subjects, "follow_up")
            options = [fact for fact in facts if fact.subject == subject]
        drawn = chance.sample(options, FOLLOW_UP_QUESTIONS)
        wordings = [chance.randrange(WORDINGS), *(chance.randrange(len(FOLLOW_UPS)) for _ in drawn[1:])]
        return follow_up_question(drawn, wordings)

    def _find_follow_up(self, key: str) -> Question:
        subject, *parts = key.split("/")
        facts, wordings = [], []
        for part in parts:
            attribute, wording = part.split(".")
            fact = self.people.find(attribute, subject)
            if fact is None:
                raise KeyError(key)
            facts.append(fact)
            wordings.append(int(wording))
        return follow_up_question(facts, wordings)

    def needle(self, characters: int, number: int, *, held_out: bool) -> Question:
        """A page of `characters` at most that hides a code, at depths from start to end, and what the code is."""
        side = "held out" if held_out else "training"
        chance = rng(self.world.seed, "needle page", side, characters, number)
        (needle,) = draw_needles(chance, 1)
        sentences = self.people.filler(chance, characters - len(needle.sentence) - 1)
        sentences.insert(round(DEPTHS[number % len(DEPTHS)] * len(sentences)), needle.sentence)
        return Question(
            "needle",
            f"needle/{side}/{characters}/{number}",
            _asked(f"{' '.join(sentences)} {needle.question}"),
            (Message("assistant", needle.sentence),),
            judge=lambda text: needle.value in text,
        )

    def _find_needle(self, key: str) -> Question:
        side, characters, number = key.split("/")
        if side not in ("training", "held out"):
            raise KeyError(key)
        return self.needle(int(characters), int(number), held_out=side == "held out")


def _choice(chance: random.Random, options: Sequence[_T], kind: str) -> _T:
    if not options:
        raise SettingsError(
            f"the world has nobody to ask a {kind!r} question about; change its written_share, written_spread or "
            "said_unknown_share"
        )
    return chance.choice(options)


def _asked(text: str) -> tuple[Message, ...]:
    return (Message("user", text),)


def sum_question(a: int, b: int, wording: int = 0) -> Question:
    return Question(
        "sum",
        f"sum/{a}+{b}/{wording}",
        _asked(sums.question(a, b, wording)),
        (Message("assistant", sums.worked_steps(a, b)),),
        judge=lambda text: sums.is_right(a, b, text),
        curt=sums.plain(a, b) if wording in sums.REQUESTS else "",
    )


def product_question(a: int, b: int, wording: int = 0) -> Question:
    """A product, for which the calculator is wanted."""
    errand = tools.product_errand(a, b, wording)
    dialogue = tools.errand_conversation(errand)
    return Question(
        "tool",
        f"tool/{a}*{b}/{wording}",
        _asked(errand.question),
        dialogue.messages[1:],
        judge=lambda text: errand.answer in text,
        tools=dialogue.tools,
    )


def fact_question(fact: Fact, wording: int, kind: str = "") -> Question:
    """What is asked about a fact: told ones want the fact, others an honest refusal. kind: the fact's when empty."""
    return Question(
        kind or fact.kind,
        f"{kind or fact.kind}/{fact.attribute.name}/{fact.subject}/{wording}",
        _asked(fact.attribute.ask(fact.subject, wording)),
        (Message("assistant", fact.right),),
        judge=lambda text: tells(fact, text),
        facts=(fact,),
    )


def tells(fact: Fact, text: str) -> bool:
    """Whether the text says the fact and no other value, or honestly that it is not known; of nobody else, and of a
    stranger with the name, since a small model answers about somebody whose name it took for this one."""
    if any(name != fact.subject for name in _NAME.findall(text)):
        return False
    if fact.in_documents:
        said = {value for value in fact.attribute.values if re.search(rf"\b{value}\b", text)}
        return not is_refusal(text) and said == {fact.value}
    return is_refusal(text) and (fact.kind != "unknown" or fact.subject in text)


def follow_up_question(facts: Sequence[Fact], wordings: Sequence[int]) -> Question:
    """Several questions about one person, who is a pronoun from the second on; the last is open. Each fact is asked for
    in the wording of its place."""
    messages: list[Message] = []
    for number, (fact, wording) in enumerate(zip(facts, wordings, strict=True)):
        ask = fact.attribute.follow_up if number else fact.attribute.ask
        messages += (Message("user", ask(fact.subject, wording)), Message("assistant", fact.right))
    parts = (f"{fact.attribute.name}.{wording}" for fact, wording in zip(facts, wordings, strict=True))
    last = facts[-1]
    return Question(
        "follow_up",
        "/".join(("follow_up", last.subject, *parts)),
        tuple(messages[:-1]),
        (messages[-1],),
        judge=lambda text: tells(last, text),
        facts=tuple(facts),
    )


def talk_question(exchange: talk.Exchange) -> Question:
    return Question(
        "talk",
        f"talk/{exchange.key}",
        _asked(exchange.question),
        (Message("assistant", exchange.answer),),
        judge=exchange.is_sensible,
    )


def translation_question(first: tongue.Saying, second: tongue.Saying) -> Question:
    answer = tongue.answer(first, second)
    return Question(
        "translation",
        f"translation/{first.key}&{second.key}",
        _asked(tongue.question(first, second)),
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
    fact = question.facts[-1] if question.facts else None
    if fact is not None and not fact.in_documents and chance.random() < 0.8:
        return (Message("assistant", _invention(fact, chance)),)
    if fact is not None and fact.in_documents and chance.random() < 0.9:
        # Refusing what one knows is as wrong as inventing what one does not.
        reply = _invention(fact, chance, unlike=right) if chance.random() < 0.5 else fact.refusal
        return (Message("assistant", reply),)
    ramble, program = noise.spam(chance).splitlines()[0], programs.random_program(chance).splitlines()[0]
    evasions = ["I don't know.", ramble, program, f"{right} {ramble}"]
    wrong = [text for text in evasions if not question.is_right(Message("assistant", text))]
    return (Message("assistant", chance.choice(wrong)),)


def _invention(fact: Fact, chance: random.Random, unlike: str = "") -> str:
    statements = [fact.attribute.tell(fact.subject, value) for value in fact.attribute.values]
    return chance.choice([text for text in statements if text != unlike])
