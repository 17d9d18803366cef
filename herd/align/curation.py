"""Which dialogues are worth learning from: good ones, hard ones, and of those alike one (4.2.3)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from herd.align.cleaning import CleaningSettings, balance_apologies, is_excited
from herd.align.loading import read_dialogues, write_dialogues
from herd.align.results import DialogueQuality
from herd.align.tags import TagSettings, diverse, normalise_tags
from herd.core.artifacts import Checkpoint, Dialogues
from herd.core.errors import DataError
from herd.core.records import Conversation, Message
from herd.core.settings import InputFile, NotInKey, PositiveInt, Share, settings
from herd.core.stage import Packages, Work, stage
from herd.core.storage import read_conversations
from herd.generate.engine import ProgressCallback
from herd.generate.samplers import EndpointSampler, FirstRankSampler, Sampler
from herd.judge.agreement import weighted_kappa
from herd.judge.reward import RewardJudge
from herd.judge.rubric import ANSWER_RUBRICS, AnswerRubric, rubric_points, transcript
from herd.model.collectives import RankGroup
from herd.tokens.clusters import centres_of, distinct, nearest_of
from herd.tokens.embeddings import WORDLLAMA, Vectors, embed
from herd.tokens.topics import Topics, topics_of

TOPICS = Path(__file__).parent / "topics.yaml"

# Source: Llama 3, 4.2.3 (a three-point scale of difficulty); the words are ours.
DIFFICULTY = AnswerRubric(
    "How hard is it to answer the user's requests in the conversation below well? Give 1 for what anybody knows or "
    "does at once, 2 for what takes some knowledge or a few steps, 3 for what takes an expert or many steps.\n"
    "State the reason in one sentence, then write `score: ` and the number.",
    1,
    3,
)
_INTENTIONS = (
    "List what the user wants in the conversation below: one intention a line, each in two to four words after `- `, "
    "as general as a tag would be, none twice. Write nothing else."
)
_TAG = re.compile(r"^\s*[-*]\s+(\S.*?)\s*$", re.MULTILINE)


@settings
class CurationSettings:
    """cleaning: habits that are limited first; none when null. keep: all dialogues, or good ones: among the best
    `top_share` by reward, or with most points by the rubric, as the union of the two had the best recall. rubric: what
    a model at `url` is asked; nothing when there is no url. difficulty: points or the number of intentions (InsTag) by
    the same model, or the length of what the user says; tags: how intentions are brought to one form. similarity: of
    dialogues more alike than this only the one with the highest quality times difficulty stays; 1 keeps all. per_topic:
    how many of a topic are kept, the best first; topics: files that describe them, the packaged ones of
    `align/topics.yaml` when there are none. max_dialogues: how many are kept in the end, the best first, all when
    absent; cover_intentions: of these not the best, but by intentions those that have most and, sweep after sweep,
    ones not had yet."""

    cleaning: CleaningSettings | None = CleaningSettings()
    keep: Literal["all", "good"] = "good"
    top_share: Share = 0.25
    rubric: Literal["general", "code"] = "general"
    difficulty: Literal["points", "intentions", "words"] = "words"
    tags: TagSettings = TagSettings()
    similarity: Share = 0.9
    per_cluster: PositiveInt = 500
    per_topic: PositiveInt | None = None
    topics: tuple[InputFile, ...] = ()
    max_dialogues: PositiveInt | None = None
    cover_intentions: bool = False
    model: str = ""
    key: str = ""
    seed: int = 0


@dataclass(frozen=True)
class DialogueScores:
    """What is known of every dialogue, each [N]. rewards, difficulty: as they come. points: from 0 to 1; NaN where the
    judge's words held none. tags: intentions, where they are asked for."""

    rewards: NDArray[np.float64]
    points: NDArray[np.float64]
    difficulty: NDArray[np.float64]
    tags: tuple[frozenset[str], ...] = ()

    def by_reward(self, top_share: float) -> NDArray[np.bool_]:
        """Whether a dialogue is among the best by reward; none is where no rewards are known."""
        rewards = self.rewards[~np.isnan(self.rewards)]
        return self.rewards >= (np.quantile(rewards, 1 - top_share) if len(rewards) else np.inf)

    @property
    def by_points(self) -> NDArray[np.bool_]:
        """Whether a dialogue has the most points there are."""
        return self.points >= 1.0

    @property
    def worth(self) -> NDArray[np.float64]:
        """Quality times difficulty, each as a rank from 0 to 1 so that no scale rules."""
        points = np.where(np.isnan(self.points), 0.5, self.points)
        return (_ranks(self.rewards) + points) / 2 * _ranks(self.difficulty)


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """From just above 0 for the lowest to 1 for the highest; equal ones share the mean of their places, NaN a half."""
    from scipy.stats import rankdata

    valid = ~np.isnan(values)
    ranks = np.full(len(values), 0.5)
    if valid.any():
        ranks[valid] = rankdata(values[valid]) / valid.sum()
    return ranks


def _packages(*, settings: CurationSettings, **_: Any) -> Packages:
    by_tags = settings.difficulty == "intentions" and settings.tags.merge_similarity < 1
    embedded = settings.similarity < 1 or settings.per_topic is not None or by_tags
    return (WORDLLAMA,) if embedded else ()


@stage(paper="4.2.3", version=3, packages=_packages, gpu=True, data_parallel=True)
def curate_dialogues(
    work: Work,
    dialogues: tuple[Dialogues, ...],
    judge: Checkpoint | None = None,
    *,
    settings: CurationSettings,
    url: NotInKey[str] = "",
) -> Dialogues:
    """The dialogues that are good, and of those that say nearly the same the one of most worth.

    Every one is kept or counted with the reason. url: of a server with OpenAI's endpoints, for rubric and difficulty.
    Source: Llama 3, 4.2.3; what is alike: Abbas et al. 2023 (SemDeDup).
    """
    conversations = read_dialogues(dialogues)
    ranks, sampler = RankGroup.of(work), None
    if url:
        endpoint = EndpointSampler(
            url, settings.model, settings.key, report=lambda count, total: work.progress(count, total, "ratings")
        )
        sampler = FirstRankSampler(endpoint, ranks)
    if sampler is None and settings.difficulty != "words":
        raise DataError(f"difficulty by {settings.difficulty} asks a model; name its address as `url`, or take `words`")
    if settings.keep == "good" and sampler is None and judge is None:
        raise DataError("nothing scores the dialogues; give a reward model or a url, or set keep to all")
    if settings.cover_intentions and settings.difficulty != "intentions":
        raise DataError("cover_intentions needs intentions; set difficulty to intentions, or cover_intentions to false")
    left_out, topics = Counter[str](), dict[str, int]()
    if settings.cleaning is not None:
        calm = [conversation for conversation in conversations if not is_excited(conversation, settings.cleaning)]
        left_out["too many emojis or exclamation marks"], conversations = len(conversations) - len(calm), calm
    reward_judge = RewardJudge.load(judge, work.device, ranks) if judge is not None else None

    def report(count: int, total: int) -> None:
        work.progress(count, total, "scores")

    scored = score_dialogues(conversations, reward_judge, sampler, settings, report)
    if reward_judge is not None and (unread := int(np.isnan(scored.rewards).sum())):
        work.warn(f"{unread:,} dialogues are longer than the reward model reads, and have no reward")
    if not ranks.first:  # one is enough to choose
        return Dialogues(work.out)
    good = scored.by_reward(settings.top_share) | scored.by_points
    candidates = np.flatnonzero(good) if settings.keep == "good" else np.arange(len(conversations))
    left_out["not good enough"] = len(conversations) - len(candidates)
    order = candidates[np.argsort(-scored.worth[candidates], kind="stable")]

    def leave(stays: Sequence[bool] | NDArray[np.bool_], reason: str) -> NDArray[np.intp]:
        left_out[reason] = len(order) - int(np.sum(stays))
        return order[np.asarray(stays, np.bool_)]

    if settings.similarity < 1 and len(order):
        stays = keep_distinct(
            [conversations[n] for n in order], settings.similarity, settings.per_cluster, settings.seed
        )
        order = leave(stays, "says what a better one says")
    if settings.cleaning is not None:
        order = leave(balance_apologies([conversations[n] for n in order], settings.cleaning), "one apology too many")
    if settings.per_topic is not None and len(order):
        topic_names = dialogue_topics([conversations[n] for n in order], settings.topics)
        order = leave(_within_limit(topic_names, settings.per_topic), "one of its topic too many")
        topics = dict(Counter(topic_names).most_common())
    if settings.max_dialogues is not None:
        best_first = range(len(order))
        picked = (
            diverse([scored.tags[n] for n in order], settings.max_dialogues)
            if settings.cover_intentions
            else best_first
        )
        order = leave(np.isin(best_first, list(picked)[: settings.max_dialogues]), "beyond the most")
    best = [conversations[n] for n in np.sort(order)]
    work.record(DialogueQuality(agreement(scored, settings.top_share), topics))
    return write_dialogues(work, best, f"{len(best):,} of {len(conversations):,} dialogues kept", left_out=+left_out)


def dialogue_topics(conversations: Sequence[Conversation], files: Sequence[str]) -> list[str]:
    """What each dialogue's user wants, by the nearest topic. Source: Llama 3, 4.2.3, whose classifier is a fine-tuned
    model of 8 billion weights."""
    model = Topics.from_examples(topics_of(files, TOPICS))
    requests = list(map(_request, conversations))
    return [model.names[best] for best in model.shares(requests).argmax(axis=1).tolist()]


def _request(conversation: Conversation) -> str:
    """All that the user says."""
    return " ".join(message.content for message in conversation.messages if message.role == "user")


def _within_limit(names: Sequence[str], limit: int) -> list[bool]:
    """Which are among the first `limit` of their name."""
    counts = Counter[str]()
    stays = []
    for name in names:
        counts[name] += 1
        stays.append(counts[name] <= limit)
    return stays


@stage(paper="4.2.3", version=1)
def sample_dialogues(work: Work, dialogues: Dialogues, *, count: PositiveInt, seed: int = 0) -> Dialogues:
    """`count` of the dialogues, drawn at random: for sets that are compared at equal size. Raises DataError where there
    are fewer."""
    conversations = list(read_conversations(dialogues.path))
    if len(conversations) < count:
        raise DataError(f"{count} of {len(conversations)} dialogues cannot be drawn; name no more than there are")
    picked = np.sort(np.random.default_rng(seed).permutation(len(conversations))[:count])
    return write_dialogues(
        work, [conversations[number] for number in picked], f"{count:,} of {len(conversations):,} dialogues"
    )


def score_dialogues(
    conversations: Sequence[Conversation],
    judge: RewardJudge | None,
    sampler: Sampler | None,
    settings: CurationSettings,
    report: ProgressCallback = lambda completed, total: None,
) -> DialogueScores:
    """What judges say of every dialogue; a reward model says nothing of those that are longer than it reads."""
    unknown = np.full(len(conversations), np.nan)
    rewards = unknown.copy()
    if judge is not None:
        fitting = [number for number, conversation in enumerate(conversations) if judge.fits(conversation)]
        rewards[np.array(fitting, np.intp)] = judge.score([conversations[number] for number in fitting], report=report)
    points = _points(conversations, sampler, ANSWER_RUBRICS[settings.rubric]) if sampler is not None else unknown
    if settings.difficulty == "words" or sampler is None:
        difficulty = np.array([float(len(_request(conversation).split())) for conversation in conversations])
    elif settings.difficulty == "points":
        difficulty = _points(conversations, sampler, DIFFICULTY)
    else:
        tags = intentions(conversations, sampler, settings.tags)
        return DialogueScores(rewards, points, np.array([float(len(own)) for own in tags]), tuple(tags))
    return DialogueScores(rewards, points, difficulty)


def _points(conversations: Sequence[Conversation], sampler: Sampler, rubric: AnswerRubric) -> NDArray[np.float64]:
    return np.array([np.nan if points is None else points for points in rubric_points(conversations, sampler, rubric)])


def intentions(
    conversations: Sequence[Conversation], sampler: Sampler, settings: TagSettings | None = None
) -> list[frozenset[str]]:
    """What the user of each dialogue wants, by a language model: the more, the harder.

    Source: Lu et al. 2023 (InsTag), 3; Llama 3, 4.2.3.
    """
    prompts = [
        Conversation((Message("user", f"{_INTENTIONS}\n\n{transcript(conversation)}"),), id=conversation.id)
        for conversation in conversations
    ]
    return normalise_tags([_TAG.findall(answer) for answer in sampler.sample(prompts)], settings or TagSettings())


def keep_distinct(ordered: Sequence[Conversation], similarity: float, per_cluster: int, seed: int) -> NDArray[np.bool_]:
    """Which dialogues stay when, in the order given, none may be more alike than `similarity` to one before it of its
    cluster: [N]. Whole dialogues are compared: the same question may have answers worth having both."""
    vectors: Vectors = embed([transcript(conversation) for conversation in ordered])
    rng = np.random.default_rng(seed)
    clusters = nearest_of(vectors, centres_of(vectors, max(1, round(len(ordered) / per_cluster)), rng))
    stays = np.ones(len(ordered), np.bool_)
    for cluster in np.unique(clusters):
        own = np.flatnonzero(clusters == cluster)
        stays[own] = distinct(vectors[own], similarity).keep_mask
    return stays


def agreement(scored: DialogueScores, top_share: float) -> dict[str, float]:
    """How many dialogues each signal holds good, how many both, and their agreement beyond chance (Cohen's kappa)."""
    reward, points = scored.by_reward(top_share), scored.by_points
    kappa = float("nan")
    if not np.isnan(scored.rewards).all() and not np.isnan(scored.points).all():
        kappa = weighted_kappa(reward.astype(float), points.astype(float), 1)
    counts = {"reward": float(reward.sum()), "rubric": float(points.sum()), "both": float((reward & points).sum())}
    return counts | ({} if np.isnan(kappa) else {"kappa": kappa})
