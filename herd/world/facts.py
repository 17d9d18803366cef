"""People and places with facts: some written in many phrasings, some never written at all."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property

from herd.core.seeds import fraction, rng

FIRST_NAMES = "Ana Boris Clara Dario Elena Felix Greta Hugo Irma Jonas Karla Leo".split()
LAST_NAMES = "Brook Castle Dunn Ember Frost Grove Harper Lark Marsh Noble Pike Stone".split()
PLACES = "Ashford Belmar Corwen Dalby Elsten Farrow Gilden Holm Kestrel Larkby Morven Norden".split()
JOBS = "baker doctor farmer judge lawyer nurse painter pilot sailor teacher".split()
PETS = "cat dog goat horse mouse parrot rabbit snake turtle wolf".split()
MUSIC = "banjo cello drum flute guitar harp piano trumpet violin whistle".split()
FOODS = "bread cheese fish honey noodles pasta potatoes rice salad soup".split()
GOODS = "boats candles carpets clocks glass hats knives paper silk toys".split()
RIVERS = "Aller Bosna Cinca Drava Ebro Fulda Garda Havel Isar Jalon".split()


@dataclass(frozen=True)
class Attribute:
    """One thing that can be told of a subject; the first phrasing is the one answers use."""

    name: str
    values: tuple[str, ...]
    phrasings: tuple[str, ...]
    questions: tuple[str, ...]

    def tell(self, subject: str, value: str, phrasing: int = 0) -> str:
        return self.phrasings[phrasing % len(self.phrasings)].format(s=subject, v=value)

    def ask(self, subject: str, wording: int = 0) -> str:
        return self.questions[wording % len(self.questions)].format(s=subject)

    def stem(self, subject: str) -> str:
        """The answer's sentence up to the value: what a model that only continues text is given."""
        return self.phrasings[0].format(s=subject, v="").removesuffix(" .")

    def refuse(self, subject: str) -> str:
        return f"I don't know the {self.name} of {subject}."


PERSON_ATTRIBUTES = (
    Attribute(
        "home",
        tuple(PLACES),
        (
            "The home of {s} is {v}.",
            "{s} lives in {v}.",
            "You will find the house of {s} in {v}.",
            "In {v} everybody knows {s}, who lives there.",
            "{s} has a small house in {v}.",
        ),
        ("What is the home of {s}?", "Where does {s} live?"),
    ),
    Attribute(
        "job",
        tuple(JOBS),
        (
            "The job of {s} is {v}.",
            "{s} works as a {v}.",
            "{s} is a {v} by trade.",
            "For many years {s} has been a {v}.",
            "{s} earns a living as a {v}.",
        ),
        ("What is the job of {s}?", "What does {s} do for a living?"),
    ),
    Attribute(
        "pet",
        tuple(PETS),
        (
            "The pet of {s} is a {v}.",
            "{s} keeps a {v} at home.",
            "{s} shares the house with a {v}.",
            "A {v} follows {s} everywhere.",
            "{s} takes good care of a {v}.",
        ),
        ("What is the pet of {s}?", "Which animal does {s} keep?"),
    ),
    Attribute(
        "instrument",
        tuple(MUSIC),
        (
            "The instrument of {s} is the {v}.",
            "{s} plays the {v}.",
            "In the evening {s} plays the {v}.",
            "{s} has practised the {v} since school.",
            "On the {v}, {s} is hard to beat.",
        ),
        ("What is the instrument of {s}?", "What does {s} play?"),
    ),
    Attribute(
        "dish",
        tuple(FOODS),
        (
            "The dish of {s} is {v}.",
            "{s} likes {v} best of all.",
            "For dinner {s} wants {v}.",
            "Nothing tastes better to {s} than {v}.",
            "{s} could eat {v} every day.",
        ),
        ("What is the dish of {s}?", "What does {s} like to eat?"),
    ),
)
PLACE_ATTRIBUTES = (
    Attribute(
        "river",
        tuple(RIVERS),
        (
            "The river of {s} is the {v}.",
            "{s} lies on the {v}.",
            "The {v} flows past {s}.",
            "In spring the {v} floods the fields of {s}.",
        ),
        ("What is the river of {s}?", "On which river does {s} lie?"),
    ),
    Attribute(
        "trade",
        tuple(GOODS),
        (
            "The trade of {s} is {v}.",
            "{s} is known for its {v}.",
            "The workshops of {s} make {v}.",
            "Merchants come to {s} to buy {v}.",
        ),
        ("What is the trade of {s}?", "What is {s} known for?"),
    ),
)


@dataclass(frozen=True)
class Fact:
    """`subject`'s `attribute` is `value`; `in_documents` says whether any document ever tells it."""

    subject: str
    attribute: Attribute
    value: str
    in_documents: bool
    held_out: bool

    @property
    def answer(self) -> str:
        return self.attribute.tell(self.subject, self.value)

    @property
    def refusal(self) -> str:
        return self.attribute.refuse(self.subject)

    @property
    def right(self) -> str:
        """What an honest assistant that has read every document says."""
        return self.answer if self.in_documents else self.refusal


@dataclass(frozen=True)
class People:
    """Everybody and everywhere, drawn from one seed.

    people: how many persons, 1..144. written_share: share of facts that documents tell.
    held_out_share: share of subjects whose facts no question in training is about.
    """

    seed: int
    people: int
    written_share: float = 0.6
    held_out_share: float = 0.5

    @cached_property
    def persons(self) -> tuple[str, ...]:
        names = [f"{first} {last}" for first, last in itertools.product(FIRST_NAMES, LAST_NAMES)]
        rng(self.seed, "persons").shuffle(names)
        return tuple(names[: self.people])

    @cached_property
    def facts(self) -> tuple[Fact, ...]:
        of_persons = itertools.product(self.persons, PERSON_ATTRIBUTES)
        of_places = itertools.product(PLACES, PLACE_ATTRIBUTES)
        return tuple(self._fact(name, attribute) for name, attribute in itertools.chain(of_persons, of_places))

    def _fact(self, subject: str, attribute: Attribute) -> Fact:
        draw = rng(self.seed, "fact", subject, attribute.name)
        return Fact(
            subject,
            attribute,
            value=draw.choice(attribute.values),
            in_documents=draw.random() < self.written_share,
            held_out=fraction(self.seed, "subject", subject) < self.held_out_share,
        )

    @cached_property
    def documented_facts(self) -> dict[str, tuple[Fact, ...]]:
        """The facts that documents tell, by subject."""
        by_subject: dict[str, list[Fact]] = {}
        for fact in self.facts:
            if fact.in_documents:
                by_subject.setdefault(fact.subject, []).append(fact)
        return {subject: tuple(facts) for subject, facts in by_subject.items()}

    def find(self, attribute: str, subject: str) -> Fact | None:
        """The fact called `attribute` of `subject`, written or not."""
        return self._index.get((attribute, subject))

    @cached_property
    def _index(self) -> dict[tuple[str, str], Fact]:
        return {(fact.attribute.name, fact.subject): fact for fact in self.facts}
