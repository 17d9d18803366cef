"""The simulated annotators of alignment: who demonstrates, who asks, who ranks answers (4.2.1).

The world plays them: it knows what is right, so no ranking in `tiny` is a matter of taste. With a team of
annotators, or a stronger model, these stages are what is exchanged; the others stay.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from herd.align.loading import write_dialogues
from herd.align.results import PreferenceCount
from herd.core.artifacts import Checkpoint, Dialogues, Preferences
from herd.core.errors import SettingsError, did_you_mean
from herd.core.records import Conversation, Message, Preference, Strength
from herd.core.seeds import rng
from herd.core.settings import NonNegativeInt, PositiveInt, Share, settings
from herd.core.stage import Work, stage
from herd.core.storage import read_conversations, read_preferences, write_preferences
from herd.generate.engine import Engine, SamplingParams
from herd.generate.toolbox import ToolboxUse, toolboxes
from herd.judge.critic import criticize_answers
from herd.model.collectives import RankGroup
from herd.model.devices import place_model
from herd.model.weights import load_transformer
from herd.tokens.jinja import chat_template_of
from herd.tokens.tokenizer import TextTokenizer
from herd.world import noise
from herd.world.questions import (
    NEEDLE_CHARACTERS,
    QUESTION_KINDS,
    TRIVIA_KINDS,
    Question,
    Questions,
    blunder,
    critique,
    slip,
)
from herd.world.toolbox import world_tools
from herd.world.tools import TOOL_NAMES
from herd.world.truth import World


@settings
class QuestionSet:
    """How many questions of every kind, and whom they are for: purposes draw apart from one another. needle_characters:
    how much text hides a needle, one of these for each question about one. validation: facts are asked of people whom
    nothing is learnt about."""

    counts: dict[str, NonNegativeInt]
    purpose: str
    needle_characters: tuple[PositiveInt, ...] = NEEDLE_CHARACTERS
    validation: bool = False

    def __post_init__(self) -> None:
        for kind in self.counts:
            if kind not in QUESTION_KINDS:
                raise SettingsError(f"no question is of the kind {kind!r}{did_you_mean(kind, QUESTION_KINDS)}")

    def draw(self, world: World) -> list[Question]:
        """The questions, each once, in an order drawn anew."""
        book = Questions(world, needle_characters=self.needle_characters, validation=self.validation)
        questions = _draw_questions(book, self.counts, purpose=self.purpose)
        rng(world.seed, "order", self.purpose).shuffle(questions)
        return questions


def _draw_questions(
    book: Questions, counts: Mapping[str, int], *, purpose: str, held_out: bool = False
) -> list[Question]:
    """So many questions of every kind, each once."""
    by_id: dict[str, Question] = {}
    for kind, count in sorted(counts.items()):
        for number in range(count):
            question = book.draw(kind, number, held_out=held_out, purpose=purpose)
            by_id[question.id] = question
    return list(by_id.values())


@stage(paper="4.2.1", version=5)
def demonstrate(work: Work, *, world: World, questions: QuestionSet, curt_share: Share = 0.0) -> Dialogues:
    """Questions with the answers that people would have the model give.

    Every second question names the tools although its answer needs none: being offered one is no reason to call it.
    curt_share: how often people who are requested a sum write down the result alone: worked steps are scarce in
    what people write (Llama 3, 4.3.3). A model that copies them is mostly wrong, which ranked answers then show.
    """
    haste = rng(world.seed, "curt", questions.purpose)
    dialogues = [question.demonstration(curt=haste.random() < curt_share) for question in questions.draw(world)]
    dialogues = [
        dialogue if number % 2 else replace(dialogue, tools=TOOL_NAMES) for number, dialogue in enumerate(dialogues)
    ]
    work.record(ToolboxUse(toolboxes.dump(toolboxes.configure(world_tools.__name__))))
    return write_dialogues(work, dialogues, f"{len(dialogues):,} demonstrations")


@stage(paper="4.2.2", version=3)
def draw_prompts(work: Work, *, world: World, questions: QuestionSet) -> Dialogues:
    """Prompts alone; what the answers shall be is for others to find out."""
    prompts = [question.prompt for question in questions.draw(world)]
    return write_dialogues(work, prompts, f"{len(prompts):,} prompts")


@stage(paper="4.3.6", version=2)
def draw_trivia(
    work: Work, *, world: World, kinds: tuple[str, ...], validation: bool = False, at_most: NonNegativeInt = 0
) -> Dialogues:
    """Every question of these kinds about the people for alignment, with what is true, told by documents or not, and in
    `metadata["refusal"]` what somebody says who does not know it: for probing what a model knows.

    validation: those about the people whom nothing is learnt about, to choose between models by; otherwise those about
    the others. at_most: of each kind so many, drawn; 0 for all. Raises SettingsError for a kind of question that is
    none about facts of people.
    """
    for kind in kinds:
        if kind not in TRIVIA_KINDS:
            raise SettingsError(f"models are not probed by {kind!r} questions{did_you_mean(kind, TRIVIA_KINDS)}")
    book, dialogues = Questions(world, validation=validation), []
    for kind in kinds:
        questions = list(book.trivia(kind))
        if at_most and len(questions) > at_most:
            questions = rng(world.seed, "trivia", kind).sample(questions, at_most)
        for question in questions:
            fact = question.facts[-1]
            prompt = replace(question.prompt, source=kind, metadata={"refusal": fact.refusal})
            dialogues.append(prompt.with_messages(Message("assistant", fact.answer)))
    return write_dialogues(work, dialogues, f"{len(dialogues):,} questions with what is true")


@stage(paper="4.1.6", version=2)
def heldout_prompts(work: Work, *, world: World, counts: dict[str, NonNegativeInt]) -> Dialogues:
    """Prompts that nobody ever learns from, to choose between models by."""
    questions = _draw_questions(Questions(world), counts, purpose="examined", held_out=True)
    prompts = [question.prompt for question in questions]
    return write_dialogues(work, prompts, f"{len(prompts):,} prompts that are held out")


@stage(paper="4.2.1", version=3, gpu=True, data_parallel=True)
def annotate(
    work: Work, models: tuple[Checkpoint, ...], prompts: Dialogues, *, world: World, sampling: SamplingParams
) -> Preferences:
    """Two answers to every prompt, one of each of two models, ranked by people, who edit where neither will do.

    models: prompts take two of them in turn, as in the report; one alone answers twice. Prompts whose answer is a call
    of a tool are left to demonstrations: a call is right or it is not.
    """
    conversations = [prompt for prompt in read_conversations(prompts.path) if not prompt.tools]
    answer_pairs = _two_answers(work, models, conversations, sampling)
    book = Questions(world)
    preferences: list[Preference] = []
    verdicts: Counter[str] = Counter()
    for prompt, answers in zip(conversations, answer_pairs, strict=True):
        ranked = rank(book.find(prompt.id), prompt, answers, rng(world.seed, "annotator", prompt.id))
        verdicts[ranked.verdict] += 1
        preferences.append(ranked.preference)
    write_preferences(work.out, preferences)
    strengths: Counter[str] = Counter(preference.strength for preference in preferences)
    work.record(
        PreferenceCount(
            len(preferences),
            strengths=dict(strengths.most_common()),
            sources=dict(Counter(preference.prompt.source for preference in preferences)),
            verdicts=dict(verdicts.most_common()),
        )
    )
    work.headline = f"{len(preferences):,} ranked answers, {verdicts['one right']:,} of them one right, one wrong"
    return Preferences(work.out)


def _two_answers(
    work: Work, models: Sequence[Checkpoint], conversations: Sequence[Conversation], sampling: SamplingParams
) -> list[list[Message]]:
    """Of every prompt the answers of the two models whose turn it is: [prompts][2]."""
    turns = np.add.outer(np.arange(len(conversations)), np.arange(2)) % len(models)
    answers: list[list[Message]] = [[] for _ in conversations]
    ranks = RankGroup.of(work)
    for number, model in enumerate(models):
        tokenizer = TextTokenizer.load(model.path)
        network = place_model(load_transformer(model.path), work.device, work.dtype)
        chat_template, engine = (
            chat_template_of(tokenizer),
            Engine(network, tokenizer.stop_token_ids, tokenizer=tokenizer, ranks=ranks),
        )
        own = np.nonzero(turns == number)[0].tolist()  # a place twice where one model answers twice
        offset = sum(len(replies) for replies in answers)

        def report(part: int, total: int, offset: int = offset) -> None:
            work.progress(offset + part, 2 * len(conversations), "answers")

        ids = [chat_template.encode_prompt(conversations[place]) for place in own]
        outputs = engine.generate(ids, replace(sampling, n=1), workers=work.executor.workers, report=report)
        for place, completion in zip(own, outputs, strict=True):
            answers[place].append(chat_template.parse_message(completion.token_ids))
    return answers


@stage(paper="-", version=2)
def corrupt_answers(work: Work, prompts: Dialogues, *, world: World) -> Preferences:
    """To every prompt the right answer, over the same with one word wrong; prompts whose answers people do not slip in
    are left out and counted. Source: Pal et al. 2024 (Smaug), pairs of low edit distance."""
    book, pairs = Questions(world), []
    conversations = list(read_conversations(prompts.path))
    for prompt in conversations:
        question = book.find(prompt.id)
        wrong = slip(question, rng(world.seed, "misquoted", prompt.id))
        if wrong is not None:
            right = question.answers[0]
            pairs.append(Preference(prompt=prompt, chosen=(right,), rejected=(wrong,), strength="significantly better"))
    write_preferences(work.out, pairs)
    work.record(PreferenceCount(len(pairs), left_out={"no slip to make": len(conversations) - len(pairs)}))
    work.headline = f"{len(pairs):,} pairs that differ in one word"
    return Preferences(work.out)


@stage(paper="-", version=2)
def criticize(work: Work, preferences: tuple[Preferences, ...], *, world: World) -> Preferences:
    """The ranked answers, each with the critique of a person who knows the right one: the oracle of Ankner et al. 2024
    (Critique-out-Loud Reward Models), from which a critic learns."""
    book = Questions(world)
    ranked_answers = itertools.chain.from_iterable(read_preferences(artifact.path) for artifact in preferences)
    pairs = [
        criticize_answers(preference, lambda answered: critique(book.find(answered.id), answered.last))
        for preference in ranked_answers
    ]
    write_preferences(work.out, pairs)
    work.record(PreferenceCount(len(pairs)))
    work.headline = f"{len(pairs):,} ranked answers criticized"
    return Preferences(work.out)


@dataclass(frozen=True)
class Annotation:
    """What an annotator makes of two answers. verdict: `one right`, `both right` or `both wrong`."""

    preference: Preference
    verdict: str


def rank(question: Question, prompt: Conversation, answers: Sequence[Message], chance: random.Random) -> Annotation:
    """The preference that a person who knows the answer gives.

    One right: it is chosen. Both right: one of them is set against a blunder written by hand, which teaches a
    reward model what to look for; rated low, because the model itself would not have said it, and learning
    from what it does not say unlearns what it knows. Both wrong: the better one is edited until it is right,
    and a ramble is worse than a wrong answer to the question.
    Source: Llama 3, 4.2.1 (edited > chosen > rejected; four strengths).
    """
    right = [answer for answer in answers if question.is_right(answer)]
    wrong = [answer for answer in answers if not question.is_right(answer)]
    if right and wrong:
        return Annotation(_pair(prompt, right[0], wrong[0], "significantly better"), "one right")
    if right:
        (worse,) = blunder(question, chance)
        return Annotation(_pair(prompt, right[0], worse, "slightly better"), "both right")
    ramble = Message("assistant", noise.spam(chance).splitlines()[0])
    edited = Preference(
        prompt=prompt, edited=(question.answers[0],), chosen=(wrong[0],), rejected=(ramble,), strength="better"
    )
    return Annotation(edited, "both wrong")


def _pair(prompt: Conversation, chosen: Message, rejected: Message, strength: Strength) -> Preference:
    return Preference(prompt=prompt, chosen=(chosen,), rejected=(rejected,), strength=strength)
