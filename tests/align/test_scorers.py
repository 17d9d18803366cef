"""Rows 43 and 44 with scorers that learnt: a reward model, and a small language model that answers the product's own
rubrics and names intentions. Quality and difficulty are planted, and known to nobody but the test."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from herd.align import curation
from herd.align.curation import CurationSettings, DialogueScores, agreement, intentions, score_dialogues
from herd.align.reward import RewardSettings, train_reward
from herd.align.sft import SftSettings, sft
from herd.core.artifacts import Checkpoint, Dialogues
from herd.core.records import Conversation, Message, Preference
from herd.core.storage import write_conversations
from herd.generate.engine import SamplingParams
from herd.generate.samplers import EngineSampler, ScriptedSampler
from herd.judge.reward import RewardJudge
from herd.judge.rubric import GENERAL_RUBRIC, AnswerRubric
from herd.model.sizes import Shape
from herd.model.transformer import Transformer, initialize
from herd.tokens import bpe
from herd.train.checkpoint import write_checkpoint
from tests.align.latent import KINDS, WORDS, kept, work

RUDE = "whatever dunno meh".split()
INTENTS = {
    "mend code": ("mend my script", "my program crashes", "find the bug"),
    "plan a trip": ("plan a journey", "where should we travel", "book the hotel"),
    "cook food": ("name a recipe", "what can I bake", "plan the supper"),
    "write a poem": ("write some verses", "make it rhyme", "say it as a poem"),
    "solve a sum": ("add up the bill", "work out the total", "divide the cost"),
    "learn a language": ("teach me the grammar", "translate the letter", "explain the idiom"),
    "keep fit": ("draw up a training", "how do I run faster", "stretch my back"),
    "grow plants": ("water the garden", "when do tomatoes ripen", "prune the hedge"),
}
FILLER = "I was up late and it rained all day so my dog is sad again but never mind that now".split()
SHAPE = Shape(vocab_size=256, dim=64, n_layers=3, n_heads=4, n_kv_heads=2, ffn_dim=128, max_seq_len=320)


def answered(chance: random.Random, number: int) -> tuple[Conversation, int]:
    """An answer, and how many faults were planted in it: words off the topic, and rude ones."""
    kind = chance.choice(sorted(KINDS))
    own, others = KINDS[kind], [word for word in WORDS if word not in KINDS[kind]]
    faults = chance.choice([0, 0, 1, 1, 2, 3, 4])
    said = chance.choices(own, k=8 - faults)
    said += [chance.choice(RUDE if chance.random() < 0.5 else others) for _ in range(faults)]
    chance.shuffle(said)
    messages = (Message("user", f"Name {kind}"), Message("assistant", " ".join(said)))
    return Conversation(messages, id=str(number)), faults


def asked(chance: random.Random, number: int) -> tuple[Conversation, list[str]]:
    """One to six wishes among words that wish for nothing, and what they are."""
    wished = chance.sample(sorted(INTENTS), chance.randint(1, 6))
    parts = [chance.choice(INTENTS[name]) for name in wished]
    parts += [" ".join(chance.choices(FILLER, k=6)) for _ in range(chance.randint(0, 4))]
    chance.shuffle(parts)
    messages = (Message("user", ", ".join(parts)), Message("assistant", "Done."))
    return Conversation(messages, id=str(number)), sorted(wished)


def lessons(count: int, seed: int) -> list[Conversation]:
    """What the judge learns from: the product's questions about dialogues of its own, answered by who planted them."""
    chance = random.Random(seed)
    found = []
    for number in range(count):
        one, faults = answered(chance, number)
        # A judge of quality that has seen little, and from people who now and then miss a fault or see one too many.
        seen = max(0, faults + (chance.random() < 0.2) - (chance.random() < 0.2))
        if number % 3 == 0:
            found.append(GENERAL_RUBRIC.ask(one).with_messages(Message("assistant", f"score: {max(1, 3 - seen)}")))
        other, wished = asked(chance, number)
        found.append(
            curation.DIFFICULTY.ask(other).with_messages(Message("assistant", f"score: {(len(wished) + 1) // 2}"))
        )
        listed = "\n".join(f"- {name}" for name in wished)
        found.append(tagging(other).with_messages(Message("assistant", listed)))
    return found


def tagging(one: Conversation) -> Conversation:
    """What the product asks when it wants intentions."""
    heard: list[Conversation] = []

    def hears(question: Conversation) -> str:
        heard.append(question)
        return ""

    intentions([one], ScriptedSampler(hears))
    return heard[0]


@pytest.fixture(scope="module")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    folder = tmp_path_factory.mktemp("blank")
    texts = [" ".join(message.content for message in one.messages) for one in lessons(150, 9)]
    text = bpe.train_bpe(iter(texts * 3), vocab_size=900, digits_together=True)
    made = Transformer(replace(SHAPE, vocab_size=text.vocab_size))
    initialize(made, std=0.05, layers=SHAPE.n_layers, generator=torch.Generator().manual_seed(0))
    write_checkpoint(folder, made, text, kind="base")
    return Checkpoint(folder)


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory, blank: Checkpoint) -> EngineSampler:
    """A language model that was taught by other dialogues what the rubrics mean."""
    folder = tmp_path_factory.mktemp("judge")
    (folder / "lessons").mkdir()
    write_conversations(folder / "lessons", lessons(1200, 1))
    settings = SftSettings(length=320, batch_size=8, epochs=4, lr=2e-3)
    made = sft.body(work(folder), blank, (Dialogues(folder / "lessons"),), settings=settings)
    return EngineSampler(made.path, SamplingParams(temperature=0.0, max_tokens=40))


@pytest.fixture(scope="module")
def reward(tmp_path_factory: pytest.TempPathFactory, blank: Checkpoint) -> RewardJudge:
    """A plain reward model from pairs of other answers, the one with fewer faults chosen."""
    folder, chance = tmp_path_factory.mktemp("reward"), random.Random(2)
    pairs: list[Preference] = []
    while len(pairs) < 1500:
        (one, few), (other, many) = (answered(chance, len(pairs)) for _ in range(2))
        if few < many and one.messages[0] == other.messages[0]:
            prompt = replace(one, messages=one.messages[:1])
            pairs.append(Preference(prompt=prompt, chosen=(one.last,), rejected=(other.last,)))
    settings = RewardSettings(batch_size=32, epochs=3, lr=1e-3)
    made = train_reward.body(work(folder), blank, (kept(folder / "pairs", pairs),), settings=settings)
    return RewardJudge.load(made)


@pytest.mark.slow
@pytest.mark.row(43, "union")
@pytest.mark.row(43, "kappa")
def test_the_union_of_two_scorers_that_learnt_finds_more_good_answers(
    judge: EngineSampler, reward: RewardJudge, figure: Callable[..., None]
) -> None:
    chance = random.Random(77)
    rows = [answered(chance, number) for number in range(600)]
    truth = np.array([faults == 0 for _, faults in rows])
    scored = score_dialogues([one for one, _ in rows], reward, judge, CurationSettings())
    signals = {"reward model": scored.by_reward(0.25), "language model": scored.by_points}
    signals["union"] = signals["reward model"] | signals["language model"]
    recall = {name: float(kept[truth].mean()) for name, kept in signals.items()}
    precision = {name: float(truth[kept].mean()) for name, kept in signals.items()}
    kappa = agreement(scored, 0.25)["kappa"]
    told = ", ".join(f"{name} {recall[name]:.1%} (precision {precision[name]:.1%})" for name in signals)
    figure(f"{truth.mean():.0%} of 600 good; recall by {told}; kappa {kappa:.2f}", seeds=0)
    # A wider net always catches more: told beside it, the reward model alone, letting as many through.
    wide = np.argsort(-scored.rewards, kind="stable")[: int(signals["union"].sum())]
    figure(f"the reward model alone, letting as many through as both: recall {truth[wide].sum() / truth.sum():.1%}")
    assert recall["union"] > max(recall["reward model"], recall["language model"])
    # Either signal alone must mean something, or their union would gain by chance.
    assert min(precision.values()) > 1.3 * truth.mean()
    assert 0 < kappa < 1


def rank(planted: Sequence[float], said: Any) -> float:
    found: Any = spearmanr(planted, said, nan_policy="omit")
    return float(found.statistic)


@pytest.mark.slow
@pytest.mark.parametrize(
    "way",
    [
        pytest.param("intentions", marks=pytest.mark.row(44, "tags")),
        pytest.param("points", marks=pytest.mark.row(44, "three_point")),
    ],
)
def test_difficulty_by_a_model_that_learnt_follows_the_planted(
    judge: EngineSampler, figure: Callable[..., None], way: Any
) -> None:
    chance = random.Random(78)
    rows = [asked(chance, number) for number in range(300)]
    planted = [float(len(wished)) for _, wished in rows]
    given = [one for one, _ in rows]

    class Difficulty:
        """Asked for difficulty alone: quality is another matter."""

        def sample(self, conversations: Sequence[Conversation]) -> list[str]:
            general = GENERAL_RUBRIC.question
            wanted = [one for one in conversations if general not in one.last.content]
            said = iter(judge.sample(wanted))
            return ["" if general in one.last.content else next(said) for one in conversations]

    found = score_dialogues(given, None, Difficulty(), CurationSettings(keep="all", difficulty=way)).difficulty
    words = score_dialogues(given, None, None, CurationSettings(keep="all")).difficulty
    name = {"intentions": "by intentions it names", "points": "on the three-point scale"}[way]
    share = float(np.isnan(found).mean())
    figure(
        f"rank correlation {rank(planted, found):.2f} {name}, {rank(planted, words):.2f} by words; {share:.0%} unread",
        seeds=0,
    )
    assert share < 0.05
    assert rank(planted, found) >= 0.6


def test_questions_of_the_judge_are_the_products_own() -> None:
    one, wished = asked(random.Random(0), 0)
    assert "one intention a line" in tagging(one).last.content
    assert isinstance(GENERAL_RUBRIC, AnswerRubric)
    assert 1 <= len(wished) <= 6
    nothing = DialogueScores(np.array([np.nan]), np.array([np.nan]), np.ones(1))
    assert not nothing.by_reward(0.25).any()


def test_planted_faults_are_what_was_planted() -> None:
    for number in range(40):
        one, faults = answered(random.Random(number), number)
        kind = one.messages[0].content.split()[1]
        assert sum(word not in KINDS[kind] for word in one.last.content.split()) == faults
