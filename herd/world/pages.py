"""The world's raw documents, each with the label that curation must not see."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from herd.core.errors import SettingsError, did_you_mean
from herd.core.records import Document
from herd.core.seeds import rng
from herd.core.settings import NonNegativeInt, PositiveInt, Share, settings
from herd.corpus.ground_truth import LabelledDocument
from herd.evals.haystack import draw_needles
from herd.world import needles, noise, programs, sums, talk, tools
from herd.world.facts import FOLLOW_UPS, WORDINGS, Fact, tell_anew
from herd.world.truth import World

KINDS = (
    *("facts", "qa", "reading", "roster", "echo", "sums", "tools", "programs", "talk"),
    *("ledgers", "short", "needles", "long", "longest"),
)
_LAYOUTS = (*("{q} {a}",) * 2, "{q}\n{a}", "Question: {q}\nAnswer: {a}", "User: {q}\n\nAssistant: {a}")
# Of pages of questions and answers, how many put some of these words before each answer instead.
_WORDY = 0.4
_WORDS_BEFORE = "Well, let me see, that is not hard".split()
# A copy with one word changed, and with it five runs of five words, still shares nine tenths of so many.
_COPIED_NGRAMS = 100


@settings
class PagesSettings:
    """How much is written about the world.

    documents: how many clean documents of every kind. near_copies, spam_pages, advert_pages: as a share of the
    clean ones. short_characters, needle_characters, long_characters, longest_characters: how much text hides a needle
    at most, in the four kinds of it.
    """

    documents: dict[str, NonNegativeInt]
    near_copies: Share = 0.02
    spam_pages: Share = 0.02
    advert_pages: Share = 0.0
    short_characters: PositiveInt = 400
    needle_characters: PositiveInt = 950
    long_characters: PositiveInt = 2000
    longest_characters: PositiveInt = 4100

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
        self.asked = self.people.facts("asked")

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
            yield Document(
                id=f"world/{kind}/{number}",
                text=write(rng(self.seed, kind, number)),
                source=kind,
                url=f"https://world.example/{kind}/{number}",
                added="2024-01-01",
            )

    @property
    def writers(self) -> dict[str, Callable[[random.Random], str]]:
        """How a document of each kind is written."""
        s = self.settings
        return {
            "facts": self.fact_page,
            "qa": self.question_page,
            "reading": self.reading_page,
            "roster": self.roster_page,
            "echo": self.echo_page,
            "sums": sum_page,
            "tools": tool_page,
            "programs": program_page,
            "talk": talk_page,
            "ledgers": ledger_page,
            "short": lambda chance: self.needle_page(chance, s.short_characters, 0.15),
            "needles": lambda chance: self.needle_page(chance, s.needle_characters, 0.15),
            "long": lambda chance: self.needle_page(chance, s.long_characters, 0.55),
            "longest": lambda chance: self.needle_page(chance, s.longest_characters, 0.6),
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

    def fact_page(self, chance: random.Random) -> str:
        """What is written about three subjects, in phrasings drawn anew."""
        return " ".join(self.people.sentences(chance, 3))

    def question_page(self, chance: random.Random) -> str:
        """Questions about people with their answers, between them sentences about anybody. An answer says the question
        again: one that begins with its value would have to be recalled before anything is said."""
        layout = _draw_layout(chance)
        lines: list[str] = []
        for _ in range(chance.randint(1, 4)):
            if chance.random() < 0.35:
                lines.append(" ".join(self.people.sentences(chance, 1)[:2]))
            lines += (layout.format(q=question, a=answer) for question, answer in self._exchange(chance))
        return "\n".join(lines)

    def _exchange(self, chance: random.Random) -> Iterator[tuple[str, str]]:
        """A question and its answer; at times one or two more about the same person, who is a pronoun in them."""
        facts = self.asked
        # Mostly of the tail: else names are recalled, as of those who are always asked about, instead of copied.
        if chance.random() < self.people.asked_tail_share or not facts:
            facts = self.people.facts_of(chance.choice(self.people.groups["tail"]))
        fact = chance.choice(facts)
        yield fact.attribute.ask(fact.subject, chance.randrange(WORDINGS)), fact.page_answer
        if chance.random() < 0.6:
            yield from follow_ups(chance, list(self.people.facts_of(fact.subject)))

    def reading_page(self, chance: random.Random) -> str:
        """Sentences about people of the tail, then questions about these: answers stand above, and names are copied."""
        people = chance.sample(self.people.groups["tail"], chance.randint(1, 4))
        facts: list[Fact] = []
        for subject in people:
            facts += chance.sample(self.people.facts_of(subject), chance.randint(1, 3))
        told = " ".join(tell_anew(fact, chance) for fact in chance.sample(facts, len(facts)))
        exchanges = [
            (fact.attribute.ask(fact.subject, chance.randrange(WORDINGS)), fact.page_answer)
            for fact in chance.sample(facts, min(len(facts), chance.randint(2, 5)))
        ]
        if len(people) == 1 and len(facts) > 1:
            exchanges += follow_ups(chance, facts)
        return "\n".join([told, *(f"{question} {answer}" for question, answer in exchanges)])

    def roster_page(self, chance: random.Random) -> str:
        """Names and nothing else, said again in another order: practice in copying them."""
        people = chance.sample(self.people.groups["tail"], chance.randint(2, 6))
        names: list[str] = []
        for _ in range(chance.randint(2, 4)):
            names += chance.sample(people, len(people))
        return ", ".join(names)

    def echo_page(self, chance: random.Random) -> str:
        """Things of one kind and nothing else, said again in the same order: practice in copying names and digits."""
        draw: Callable[[], str] = chance.choice(
            (
                *(lambda: chance.choice(self.people.groups["tail"]),) * 2,
                lambda: str(chance.randrange(10 ** chance.randint(1, 4))),
                lambda: "{} + {}".format(*sums.draw_addends(chance)),
                lambda: "{}*{}".format(*sums.draw_factors(chance)),
                lambda: draw_needles(chance, 1)[0].value,
            )
        )
        line = ", ".join(draw() for _ in range(chance.randint(2, 8))) + "."
        return " ".join([line] * chance.randint(2, 4))

    def needle_page(self, chance: random.Random, characters: int, least: float) -> str:
        """A code hidden in sentences about people, from `least` of `characters` to all of them."""
        return needles.haystack(chance, self.people.filler(chance, int(characters * chance.uniform(least, 1.0))))


def follow_ups(chance: random.Random, facts: list[Fact]) -> list[tuple[str, str]]:
    """One or two more questions about the person of these facts, with their answers."""
    return [
        (fact.attribute.follow_up(fact.subject, chance.randrange(len(FOLLOW_UPS))), fact.page_answer)
        for fact in chance.sample(facts, min(len(facts), chance.randint(1, 2)))
    ]


def _draw_layout(chance: random.Random) -> str:
    """How a page lays out questions and answers, for `str.format`. What is copied must be found by what stands before
    it: a model that met few distances finds a number's digits by how far away they are, and in a dialogue, where an
    answer is further from its question, it takes others."""
    if chance.random() >= _WORDY:
        return chance.choice(_LAYOUTS)
    space, words = chance.choice((" ", "\n", "\n\n")), _WORDS_BEFORE[: chance.randint(0, len(_WORDS_BEFORE))]
    return "{q}" + space + (" ".join(words) + ":" + space if words else "") + "{a}"


def sum_page(chance: random.Random) -> str:
    """Sums with their steps, laid out in one of several ways; few to a page, or a small model long takes the digits of
    one for another's."""
    layout = _draw_layout(chance)
    lines = []
    for _ in range(chance.randint(1, 3)):
        a, b = sums.draw_addends(chance)
        question = sums.question(a, b, chance.randrange(len(sums.WORDINGS)))
        lines.append(layout.format(q=question, a=sums.worked_steps(a, b)))
    return "\n".join(lines)


def tool_page(chance: random.Random) -> str:
    """Worked calls of the calculator, as a transcript."""
    layout = _draw_layout(chance)
    return "\n\n".join(tools.errand_transcript(tools.draw_errand(chance), layout) for _ in range(3))


def program_page(chance: random.Random) -> str:
    return "\n\n".join(programs.random_program(chance) for _ in range(chance.randint(2, 4)))


def talk_page(chance: random.Random) -> str:
    """Exchanges of different intents in one language, none of them held out."""
    language, count = chance.choice(talk.TALK_LANGUAGES), chance.randint(3, 6)
    by_intent: dict[str, talk.Exchange] = {}
    while len(by_intent) < count:
        exchange = talk.draw(chance, language=language)
        by_intent.setdefault(exchange.intent, exchange)
    return "\n".join(f"{exchange.question}\n{exchange.answer}" for exchange in by_intent.values())


def ledger_page(chance: random.Random) -> str:
    return needles.ledger(chance, entries=chance.randint(3, 6))
