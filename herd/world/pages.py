"""The world's raw documents, each with the label that curation must not see."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from herd.core.errors import SettingsError, did_you_mean
from herd.core.records import Document
from herd.core.seeds import rng
from herd.core.settings import NonNegativeInt, PositiveInt, Share, settings
from herd.corpus.ground_truth import LabelledDocument
from herd.world import needles, noise, programs, sums, talk, tools
from herd.world.facts import Fact
from herd.world.truth import World

KINDS = ("facts", "sums", "programs", "tools", "talk", "ledgers", "needles", "long", "longest")
# A long document's filler is about this long per needle, so that a row of tokens holds a few of them.
_SENTENCE_CHARACTERS = 45
# A model that met only one layout finds the digits by their distance, and loses them in any other.
_SUM_LAYOUTS = (
    *("{q} {a}",) * 3,
    *("Question: {q}\nAnswer: {a}", "User: {q}\n\nAssistant: {a}") * 2,
    "",
)
# A copy with one word changed, and with it five runs of five words, still shares nine tenths of so many.
_COPIED_NGRAMS = 100


@settings
class PagesSettings:
    """How much is written about the world.

    documents: how many clean documents of every kind. near_copies, spam_pages, advert_pages: as a share of the
    clean ones. needle_characters, long_characters, longest_characters: about how much text hides the needles at
    most, in the three kinds of it.
    """

    documents: dict[str, NonNegativeInt]
    near_copies: Share = 0.02
    spam_pages: Share = 0.02
    advert_pages: Share = 0.0
    needle_characters: PositiveInt = 900
    long_characters: PositiveInt = 1900
    longest_characters: PositiveInt = 3900

    def __post_init__(self) -> None:
        for kind in self.documents:
            if kind not in KINDS:
                raise SettingsError(f"documents names {kind!r}, which is no kind of page{did_you_mean(kind, KINDS)}")


class WorldPages:
    """All that is written about a world."""

    def __init__(self, world: World, settings: PagesSettings) -> None:
        self.settings = settings
        self.seed = world.seed
        self.people = world.everybody

    def documents(self) -> Iterator[LabelledDocument]:
        """Clean documents of every kind, then near copies of some of them, then spam."""
        clean: list[Document] = []
        for kind, count in sorted(self.settings.documents.items()):
            clean += self._kind(kind, count)
        yield from (LabelledDocument(document, "clean") for document in clean)
        yield from self._copies(clean)
        for name, write, share in (
            ("spam", noise.spam, self.settings.spam_pages),
            ("advert", noise.advert, self.settings.advert_pages),
        ):
            yield from self._spam(name, write, round(len(clean) * share))

    def _kind(self, kind: str, count: int) -> Iterator[Document]:
        write = self.writers[kind]
        for number in range(count):
            chance = rng(self.seed, kind, number)
            language = talk.LANGUAGES[number % len(talk.LANGUAGES)] if kind == "talk" else "en"
            yield Document(
                id=f"world/{kind}/{number}",
                text=write(chance, language),
                source=kind,
                url=f"https://world.example/{kind}/{number}",
                added="2024-01-01",
            )

    @property
    def writers(self) -> dict[str, Callable[[random.Random, str], str]]:
        """How a document of each kind is written."""
        return {
            "facts": self.fact_page,
            "sums": sum_page,
            "programs": program_page,
            "tools": self.tool_page,
            "talk": talk_page,
            "ledgers": ledger_page,
            "needles": self.needle_page,
            "long": self.long_page,
            "longest": self.longest_page,
        }

    def _copies(self, clean: list[Document]) -> Iterator[LabelledDocument]:
        chance = rng(self.seed, "copies")
        # Short or repetitive texts have too few runs for a copy to be both changed and recognisable.
        long_enough = [document for document in clean if noise.distinct_ngrams(document.text) >= _COPIED_NGRAMS]
        count = min(len(long_enough), round(len(clean) * self.settings.near_copies))
        for number, original in enumerate(chance.sample(long_enough, count)):
            copy = Document(
                id=f"world/copy/{number}",
                text=noise.near_copy(original.text, chance),
                source=original.source,
                url=f"https://mirror.example/{original.id}",
                added="2024-01-02",
            )
            yield LabelledDocument(copy, "near-duplicate", original.id)

    def _spam(self, name: str, write: Callable[[random.Random], str], count: int) -> Iterator[LabelledDocument]:
        for number in range(count):
            text = write(rng(self.seed, name, number))
            url = "https://" + ("offers" if name == "spam" else "shop") + f".example/{number}"
            document = Document(id=f"world/{name}/{number}", text=text, source="facts", url=url, added="2024-01-01")
            yield LabelledDocument(document, "spam")

    def fact_page(self, chance: random.Random, language: str) -> str:
        """What is written about three subjects, in phrasings drawn anew; or questions with their answers."""
        if chance.random() < 0.3:
            answerable = [fact for fact in self.people.facts if fact.in_documents and not fact.held_out]
            return "\n".join(
                f"{fact.attribute.ask(fact.subject, chance.randrange(2))} {fact.answer}"
                for fact in chance.sample(answerable, min(6, len(answerable)))
            )
        facts: list[Fact] = []
        for subject in chance.sample(sorted(self.people.documented_facts), 3):
            facts += self.people.documented_facts[subject]
        chance.shuffle(facts)
        return " ".join(
            fact.attribute.tell(fact.subject, fact.value, chance.randrange(len(fact.attribute.phrasings)))
            for fact in facts
        )

    def tool_page(self, chance: random.Random, language: str) -> str:
        """Worked calls of the calculator and of the look-up, as a transcript."""
        return "\n\n".join(
            tools.errand_transcript(tools.draw_errand(self.people, chance), self.people) for _ in range(3)
        )

    def filler(self, chance: random.Random, characters: int) -> list[str]:
        """Sentences about people and places, about `characters` in all."""
        sentences: list[str] = []
        while sum(map(len, sentences)) < characters:
            sentences += self.fact_page(chance, "en").replace("\n", " ").split(". ")
        return [sentence.rstrip(".") + "." for sentence in sentences[: max(1, characters // _SENTENCE_CHARACTERS)]]

    def needle_page(self, chance: random.Random, language: str) -> str:
        characters = int(self.settings.needle_characters * chance.uniform(0.3, 1.0))
        return needles.haystack(chance, self.filler(chance, characters), chance.choice((1, 1, 2)))

    def long_page(self, chance: random.Random, language: str) -> str:
        characters = int(self.settings.long_characters * chance.uniform(0.6, 1.0))
        return needles.haystack(chance, self.filler(chance, characters), chance.randint(1, 4))

    def longest_page(self, chance: random.Random, language: str) -> str:
        characters = int(self.settings.longest_characters * chance.uniform(0.7, 1.0))
        return needles.haystack(chance, self.filler(chance, characters), chance.randint(1, 6))


def sum_page(chance: random.Random, language: str) -> str:
    """Sums in signs, laid out in one of several ways; one page in eight without steps."""
    layout = chance.choice(_SUM_LAYOUTS)
    lines = []
    for _ in range(chance.randint(4, 8)):
        a, b = sums.draw_addends(chance, chance.choices(sums.DIGITS, (2, 3))[0])
        lines.append(layout.format(q=sums.question(a, b), a=sums.worked_steps(a, b)) if layout else sums.plain(a, b))
    return "\n".join(lines)


def program_page(chance: random.Random, language: str) -> str:
    return "\n\n".join(programs.random_program(chance) for _ in range(chance.randint(2, 4)))


def talk_page(chance: random.Random, language: str) -> str:
    """Exchanges of different intents, none of them held out."""
    count, by_intent = chance.randint(3, 6), dict[str, talk.Exchange]()
    while len(by_intent) < count:
        exchange = talk.draw(chance, language=language)
        by_intent.setdefault(exchange.intent, exchange)
    return "\n".join(f"{exchange.question}\n{exchange.answer}" for exchange in by_intent.values())


def ledger_page(chance: random.Random, language: str) -> str:
    return needles.ledger(chance, entries=chance.randint(18, 60))
