"""A grammar of small talk in three languages: who says what, and which replies to it are sensible.

A question's words decide which side of the split it is on, so that capitals, accents and punctuation never make a
trained question a held-out one. `no`: training holds it. `combination`: training holds its parts, never together.
`word`: one of its words is held out, and stands in no page and no dialogue of the world.
"""

from __future__ import annotations

import random
import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from herd.core.seeds import fraction
from herd.core.settings import read_yaml

HeldOut = Literal["no", "combination", "word"]
HELD_OUT_SHARE = 0.2
# How much of training's talk holds a name that nobody else has, or greets with such a word: so a word that is new is no
# reason to misunderstand the others. How much of what cannot be understood has a word that is as rarely met.
ADDRESSED_SHARE = 0.4
MADE_UP_SHARE = 0.6
# So many that hardly one is met twice: of a few, single tokens are learnt by heart and other words are no names.
_MADE_UP_WORDS = 4000
# What people open with or end on; they say it twice as often as the rest.
FREQUENT = "greeting morning afternoon evening night how_are_you name abilities help thanks goodbye".split()
_GRAMMAR: Mapping[str, Any] = read_yaml(Path(__file__).with_name("talk.yaml"))[0]
TALK_LANGUAGES = tuple(sorted(_GRAMMAR))
INTENTS = tuple(_GRAMMAR["en"]["intents"])
_BRACKET = re.compile(r"([()|])")
# What was put to a sentence that could stand without it is marked so.
_ADDED = re.compile("<[^<>]*>")
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)*")
_SENTENCE_START = re.compile(r"(?:^|(?<=[.!?] ))[¡¿]*\w")
_COMBINING = re.compile("[\u0300-\u036f]")
_SPANISH_ACCENTS = str.maketrans("áéíóú", "aeiou")


@dataclass(frozen=True)
class Exchange:
    """What somebody says and the answer that training gives to it. held_out: the side of the split."""

    language: str
    intent: str
    question: str
    held_out: HeldOut

    @property
    def answer(self) -> str:
        return answers(self.language, self.intent)[0]

    @property
    def key(self) -> str:
        """By which `find` makes the exchange again."""
        return f"{self.held_out}/{self.language}/{self.intent}/{self.question}"

    def is_sensible(self, reply: str) -> bool:
        """Whether a reply to this very question counts."""
        wording = _find(self.language, self.intent, self.question, self.held_out)
        return is_sensible(self.language, self.intent, reply, new_core=wording.has_new_core)


def draw(chance: random.Random, *, held_out: HeldOut = "no", language: str | None = None) -> Exchange:
    """An exchange from the wanted side of the split. In training half are said with nothing added to them but, at
    times, a name that nobody has, and what cannot be understood is said three times as often as elsewhere."""
    language = language or chance.choice(TALK_LANGUAGES)
    shares = {intent: 2 if intent in FREQUENT else 1 for intent in INTENTS}
    if held_out == "no":
        shares["unknown"] = 3
    intent = chance.choices(list(shares), list(shares.values()))[0]
    bare, longer = _of_side(language, intent, held_out)
    own = bare + longer if held_out == "word" else longer
    if held_out == "no" and chance.random() < 0.5:
        own = bare
    question = chance.choice(chance.choice(own).spellings)
    if held_out == "no":
        made_up = chance.choice(names(language))
        if intent == "unknown" and chance.random() < MADE_UP_SHARE:
            question = _replace_odd(question, made_up, _odd_words(language))
        elif intent != "unknown" and chance.random() < ADDRESSED_SHARE:
            # A greeting whose one word nobody knows is none.
            hello = _hello(language).match(question) if intent != "greeting" else None
            question = _address(chance, question, made_up, hello)
    return Exchange(language, intent, question, held_out)


def find(key: str) -> Exchange:
    """The exchange with this key. Raises ValueError or KeyError where there is none."""
    held_out, language, intent, question = key.split("/", 3)
    return Exchange(language, intent, question, _find(language, intent, question, held_out).held_out)


def is_sensible(language: str, intent: str, reply: str, *, new_core: bool = False) -> bool:
    """Whether a reply counts: it is, as a whole, one of the intent's answers in that language, whatever its capitals
    and spaces. new_core: whether a held-out word stands in what cannot be left out of the question; who does not know
    it may also say so and offer what they can, as to anything unknown. Nothing else counts: not an answer to another
    intent, in another language, or with more around it."""
    accepted = answers(language, intent)
    if new_core:
        accepted = (*accepted, *answers(language, "unknown"))
    return _plain(reply) in map(_plain, accepted)


def answers(language: str, intent: str) -> tuple[str, ...]:
    """What may be answered; the first is what training answers."""
    return tuple(_GRAMMAR[language]["intents"][intent]["answers"])


@cache
def new_words(language: str) -> frozenset[str]:
    """The words that are held out, as `folded_words` gives them."""
    return frozenset(folded_words(_GRAMMAR[language]["new_words"]))


@cache
def names(language: str) -> tuple[str, ...]:
    """Names that nobody has, in small letters: training calls the model so at times. Words of one to three syllables
    that the language could have, and that no sentence here holds."""
    chance = random.Random(f"names {language}")
    parts = {part: _GRAMMAR[language]["parts"][part].split("|") for part in ("onset", "vowel", "coda")}
    taken = _grammar_words(language)
    made = dict.fromkeys(_odd_words(language))
    while len(made) < _MADE_UP_WORDS:
        syllables = (chance.choice(options) for _ in range(chance.choice((1, 2, 2, 3))) for options in parts.values())
        word = "".join(syllables)
        if len(word) > 2 and taken.isdisjoint(folded_words(word)):
            made[word] = None
    return tuple(made)


@cache
def _names_set(language: str) -> frozenset[str]:
    return frozenset(names(language))


@cache
def _odd_words(language: str) -> tuple[str, ...]:
    """The made-up words that sentences of the grammar hold, held out ones left out."""
    parts = _GRAMMAR[language]["parts"]
    made = (start + end for start in parts["syllable"].split("|") for end in parts["end"].split("|"))
    return tuple(word for word in made if new_words(language).isdisjoint(folded_words(word)))


@cache
def _grammar_words(language: str) -> frozenset[str]:
    """Every word of the language's sentences, and those that are held out."""
    grammar = _GRAMMAR[language]
    texts = [text for part, text in grammar["parts"].items() if part not in ("onset", "vowel", "coda")]
    texts += chain.from_iterable(intent["questions"] for intent in grammar["intents"].values())
    return new_words(language).union(*map(folded_words, texts))


def folded_words(text: str) -> tuple[str, ...]:
    """The words of a text without capitals and accents."""
    return tuple(_WORD.findall(_COMBINING.sub("", unicodedata.normalize("NFKD", text.casefold()))))


@dataclass(frozen=True)
class Wording:
    """One way to say something. sentences: what it is in writing, mostly one. has_additions: whether something stands
    in it that could be left out, such as a name. has_new_core: whether a held-out word stands in the rest."""

    sentences: tuple[str, ...]
    has_additions: bool
    has_new_core: bool
    held_out: HeldOut

    @property
    def spellings(self) -> list[str]:
        """The ways in which people write it, each once."""
        return list(dict.fromkeys(chain.from_iterable(map(_spellings, self.sentences))))


def wordings(language: str, intent: str) -> tuple[Wording, ...]:
    """All ways to say something, told apart by their words. What cannot be shortened is no held-out combination."""
    return tuple(_by_words(language, intent).values())


@cache
def _by_words(language: str, intent: str) -> dict[tuple[str, ...], Wording]:
    parts, templates = _GRAMMAR[language]["parts"], _GRAMMAR[language]["intents"][intent]["questions"]
    marked: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    for sentence in chain.from_iterable(_sentences(template, parts) for template in templates):
        marked[folded_words(sentence)].append(sentence)
    return {own_words: _wording(language, own_words, sentences) for own_words, sentences in marked.items()}


def _wording(language: str, own_words: tuple[str, ...], marked: list[str]) -> Wording:
    has_additions = all(_ADDED.search(sentence) for sentence in marked)
    cores = (folded_words(_ADDED.sub("", sentence)) for sentence in marked)
    return Wording(
        tuple(sentence.replace("<", "").replace(">", "") for sentence in marked),
        has_additions,
        not any(new_words(language).isdisjoint(core) for core in cores),
        _side(language, own_words, has_additions),
    )


@cache
def _hello(language: str) -> re.Pattern[str]:
    """The greeting that a question opens with, as the group 1."""
    return re.compile(rf"[¡¿]*({'|'.join(_hellos(language))})\b", re.IGNORECASE)


@cache
def _hellos(language: str) -> tuple[str, ...]:
    """The words to open with that are not held out."""
    hellos = _GRAMMAR[language]["parts"]["hi"].split("|")
    return tuple(hello for hello in hellos if new_words(language).isdisjoint(folded_words(hello)))


def _put(question: str, span: tuple[int, int], word: str) -> str:
    """The question with a word, large or small as what it replaces."""
    start, end = span
    word = word[0].upper() + word[1:] if question[start].isupper() else word
    return question[:start] + word + question[end:]


def _address(chance: random.Random, question: str, name: str, hello: re.Match[str] | None) -> str:
    """The question with a name before it, after it, or in place of the model's or of the greeting it opens with."""
    if hello and chance.random() < 0.5:
        return _put(question, hello.span(1), name)
    for own, put in (("Herd", name.capitalize()), ("herd", name)):
        if own in question:
            return question.replace(own, put, 1)
    is_careful = not question[0].islower()
    name = name.capitalize() if is_careful else name
    if chance.random() < 0.5:
        return f"{name}! {question}" if is_careful else f"{name}, {question}"
    said = question.rstrip(".!?")
    return f"{said}, {name}{question[len(said) :]}"


def _replace_odd(question: str, made_up: str, odd: Collection[str]) -> str:
    """The question with a made-up word in place of the first odd one, where there is one."""
    for word in re.findall(r"\w+", question):
        if word.lower() in odd:
            return question.replace(word, made_up if word[0].islower() else made_up.capitalize(), 1)
    return question


def _find(language: str, intent: str, question: str, held_out: str) -> Wording:
    """The wording of a question, which in training may have a made-up word in it or besides. Raises KeyError where
    there is none."""
    plainer: Iterable[str] = ()
    if held_out == "no" and intent == "unknown":
        plainer = (_replace_odd(question, odd, _names_set(language)) for odd in _odd_words(language))
    elif held_out == "no":
        plainer = _without_name(language, question)
    for plain in chain((question,), plainer):
        wording = _by_words(language, intent).get(folded_words(plain))
        if wording is not None and wording.held_out == held_out and plain in wording.spellings:
            return wording
    raise KeyError(question)


def _without_name(language: str, question: str) -> Iterator[str]:
    """What the question may have been before `_address`."""
    for name in (word for word in re.findall(r"\w+", question) if word.lower() in _names_set(language)):
        yield question.replace(name, "Herd" if name[0].isupper() else "herd", 1)
        yield question.removeprefix(f"{name}! ").removeprefix(f"{name}, ")
        yield question.replace(f", {name}", "", 1)
        if question.lstrip("¡¿").startswith(name):
            start = question.index(name)
            yield from (_put(question, (start, start + len(name)), hello) for hello in _hellos(language))


@cache
def _of_side(language: str, intent: str, held_out: HeldOut) -> tuple[list[Wording], list[Wording]]:
    """The wordings of one side: those with nothing added, and the others."""
    own = [wording for wording in wordings(language, intent) if wording.held_out == held_out]
    return [wording for wording in own if not wording.has_additions], [
        wording for wording in own if wording.has_additions
    ]


def _side(language: str, own_words: tuple[str, ...], has_additions: bool) -> HeldOut:
    if not new_words(language).isdisjoint(own_words):
        return "word"
    held_out = has_additions and fraction(0, "talk", language, *own_words) < HELD_OUT_SHARE
    return "combination" if held_out else "no"


def _sentences(template: str, parts: Mapping[str, str]) -> list[str]:
    """Every sentence of a template, with marks where something was added."""
    while "{" in template:
        template = re.sub(r"\{(\w+)\}", lambda name: f"({parts[name[1]]})", template)
    return _expand(iter(_BRACKET.split(template.replace("[", "(|<(").replace("]", ")>)"))))


def _expand(pieces: Iterator[str]) -> list[str]:
    """What can be said up to the bracket that closes the choice."""
    finished, current = [], [""]
    for piece in pieces:
        if piece == ")":
            break
        if piece == "|":
            finished, current = finished + current, [""]
        else:
            choices = _expand(pieces) if piece == "(" else [piece]
            current = [start + choice for start in current for choice in choices]
    return finished + current


def _spellings(sentence: str) -> list[str]:
    """With care, calmly, and as people type in haste: without marks, capitals and, in Spanish, accents."""
    careful = _SENTENCE_START.sub(lambda start: start[0].upper(), sentence)
    unopened = re.sub("[¡¿]", "", sentence)
    hasty = unopened.replace("! ", ", ").rstrip(".!?").lower()
    return [
        careful,
        careful.replace("¡", "").replace("!", "."),
        unopened.lower(),
        hasty,
        hasty[0].upper() + hasty[1:],
        hasty.translate(_SPANISH_ACCENTS),
    ]


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()
