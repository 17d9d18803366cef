"""A made-up language with few words and an order of its own, which nothing in the world is written in: what a model
knows of it, it was taught by dialogues."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass
from functools import cache

from herd.core.seeds import fraction, rng
from herd.world.facts import FIRST_NAMES, LAST_NAMES, PERSON_ATTRIBUTES, PLACES, Attribute

NAME = "Velu"
HELD_OUT_SHARE = 0.2
_ONSETS = "b d f g k l m n p r s t v z".split()
_VOWELS = "a e i o u".split()


@cache
def dictionary() -> dict[str, str]:
    """A word of two syllables for each that is translated; names stay."""
    terms: set[str] = set()
    for attribute in PERSON_ATTRIBUTES:
        terms |= {attribute.name, *attribute.values}
    terms.difference_update(PLACES)
    words = ["".join(letters) for letters in itertools.product(_ONSETS, _VOWELS, repeat=2)]
    return dict(zip(sorted(terms), rng(0, "tongue").sample(words, len(terms)), strict=True))


@dataclass(frozen=True)
class Saying:
    """That somebody's `attribute` is `value`; nobody claims that it is true."""

    subject: str
    attribute: Attribute
    value: str

    @property
    def english(self) -> str:
        return self.attribute.tell(self.subject, self.value).removesuffix(".")

    @property
    def translated(self) -> str:
        """The value first, then what it is, then whose; `ka` joins the two, and there are no articles."""
        value = dictionary().get(self.value, self.value)
        return f"{value} {dictionary()[self.attribute.name]} ka {self.subject}"

    @property
    def key(self) -> str:
        return f"{self.attribute.name}:{self.subject}:{self.value}"


def draw_sayings(chance: random.Random, *, held_out: bool = False) -> tuple[Saying, Saying]:
    """Two sayings to translate in one sentence, from the wanted side of the split."""
    while True:
        first, second = _random_saying(chance), _random_saying(chance)
        if is_held_out_pair(first, second) == held_out:
            return first, second


def is_held_out_pair(first: Saying, second: Saying) -> bool:
    """Whether no dialogue may translate these two."""
    return fraction(0, "tongue", *sorted((first.key, second.key))) < HELD_OUT_SHARE


def find_sayings(keys: str) -> tuple[Saying, Saying]:
    """The two sayings with these keys. Raises ValueError or KeyError where there are none."""
    first, second = (_parse_saying(key) for key in keys.split("&"))
    return first, second


def question(first: Saying, second: Saying) -> str:
    return f"Say in {NAME}: {first.english}, and {second.english[0].lower()}{second.english[1:]}."


def answer(first: Saying, second: Saying) -> str:
    return f"{first.translated}, no {second.translated}."


def slip(translated: str, chance: random.Random) -> str:
    """A translation with one word mistaken for another."""
    words, vocabulary = translated.split(" "), list(dictionary().values())
    place = chance.choice([number for number, word in enumerate(words) if word in vocabulary])
    words[place] = chance.choice([word for word in vocabulary if word != words[place]])
    return " ".join(words)


def _random_saying(chance: random.Random) -> Saying:
    subject = f"{chance.choice(FIRST_NAMES)} {chance.choice(LAST_NAMES)}"
    attribute = chance.choice(PERSON_ATTRIBUTES)
    return Saying(subject, attribute, chance.choice(attribute.values))


def _parse_saying(key: str) -> Saying:
    name, subject, value = key.split(":")
    attributes = {attribute.name: attribute for attribute in PERSON_ATTRIBUTES}
    return Saying(subject, attributes[name], value)
