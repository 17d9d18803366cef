"""What alignment records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from herd.core.results import fields_added, results
from herd.evals.intervals import Interval

# ---- data ----


@results.add(version=1)
@dataclass(frozen=True)
class DialogueCount:
    """Conversations, by source. left_out: those that are not among them, by reason."""

    dialogues: int
    sources: Mapping[str, int]
    left_out: Mapping[str, int] = field(default_factory=dict)


@results.add(version=1)
@dataclass(frozen=True)
class PreferenceCount:
    """Ranked answers. left_out: prompts without, by reason. strengths, sources: how many of each. verdicts: what
    annotators found, where there were any."""

    pairs: int
    left_out: Mapping[str, int] = field(default_factory=dict)
    strengths: Mapping[str, int] = field(default_factory=dict)
    sources: Mapping[str, int] = field(default_factory=dict)
    verdicts: Mapping[str, int] = field(default_factory=dict)


@results.add(version=1)
@dataclass(frozen=True)
class HeldOutSplit:
    """Rows to learn from, and those that are held out. prompts: of these, how many are different. near_duplicates: rows
    to learn from that hold half of the 8-grams of a held-out prompt."""

    train: int
    held_out: int
    prompts: int
    near_duplicates: int


@results.add(version=1)
@dataclass(frozen=True)
class RejectionSampling:
    """Of several answers to each prompt the best. different_answers: to all prompts together. first_reward,
    best_reward: mean reward of first answers and of the best. best_of: a row for every K: what the best of K answers is
    worth. points_unread, not_criticized, not_scored: answers of which a judge, a critic or the reward model could say
    nothing; None where there was none."""

    prompts: int
    different_answers: int
    first_reward: float
    best_reward: float
    best_of: tuple[Mapping[str, float], ...]
    points_unread: int
    not_criticized: int | None = None
    not_scored: int | None = None


@results.add(version=1)
@dataclass(frozen=True)
class DialogueQuality:
    """What curation found good. agreement: how many dialogues each signal holds good, how many both, and their kappa.
    topics: of those that were left when topics were balanced."""

    agreement: Mapping[str, float]
    topics: Mapping[str, int] = field(default_factory=dict)


@results.add(version=1)
@dataclass(frozen=True)
class SelfRanking:
    """What a model that judges itself made. judgements: pairs of critiques. chosen_tokens, rejected_tokens: the mean
    lengths of ranked answers."""

    judgements: int
    chosen_tokens: float
    rejected_tokens: float


@dataclass(frozen=True)
class KnowledgeCounts:
    """Questions of a source, by whether a model knows their answers. right: the share of all its answers."""

    known: int
    unknown: int
    uncertain: int
    right: float


@results.add(version=1)
@dataclass(frozen=True)
class KnowledgeProbe:
    """What a model knows, by its own answers. sources: of each source of questions. by_right: how many questions have
    0, 1, ... right of all answers to them. truncated_share: of a chat model's answers, those without an end."""

    sources: Mapping[str, KnowledgeCounts]
    by_right: tuple[int, ...]
    truncated_share: float


# ---- models ----


@results.add(version=1)
@dataclass(frozen=True)
class ImportedModel:
    """A model from outside. context: tokens it reads."""

    num_params: int
    vocab_size: int
    context: int


@results.add(version=2, upgrades={1: fields_added})
@dataclass(frozen=True)
class FinetuningResult:
    """What a model was fine-tuned on: conversations, or pairs of answers. step_unit: what the weight of a step counts.
    lr: the peak; None where nothing was learnt. left_out: examples, by reason. notes: what is well to know of them.
    sources: examples by source; shares: of all that is learnt, by source, replayed ones as `replay/NAME`. flops:
    of learning from pairs, steps and the reference's pass, without padding; 0 where `TrainingResult` has them, and
    where they were not counted."""

    examples: int
    step_unit: str
    lr: float | None
    left_out: Mapping[str, int]
    notes: Mapping[str, int]
    sources: Mapping[str, int] = field(default_factory=dict)
    shares: Mapping[str, float] = field(default_factory=dict)
    flops: float = 0.0


@dataclass(frozen=True)
class LogProbChange:
    """How far the log-probability of chosen and of rejected answers moved, the mean in nats."""

    chosen: float
    rejected: float


@results.add(version=1)
@dataclass(frozen=True)
class PreferenceLearning:
    """What a loss on pairs did: to whole answers, and to what ends them."""

    log_prob_change: LogProbChange
    eos_change: LogProbChange


@dataclass(frozen=True)
class HeldOutPairs:
    """Pairs that only tested, and how many were ranked as people do; the share's 95 % interval."""

    right: int
    pairs: int
    low: float
    high: float


@dataclass(frozen=True)
class CalibrationBin:
    """Pairs of like certainty. confidence: the chance the model gave its favourite; accuracy: how often that was
    right."""

    pairs: int
    confidence: float
    accuracy: float


@results.add(version=2)
@dataclass(frozen=True)
class RewardModelResult:
    """How a reward model ranks held-out pairs, all and by source of their prompts. calibration_error: the mean distance
    of certainty and truth."""

    held_out: HeldOutPairs
    calibration_error: float
    calibration: tuple[CalibrationBin, ...]
    sources: Mapping[str, HeldOutPairs] = field(default_factory=dict)


@results.add(version=1)
@dataclass(frozen=True)
class ModelAverage:
    """The models, by key, whose weights were averaged. losses: of the best alone, of all together and of those chosen,
    where some were chosen."""

    members: tuple[str, ...]
    losses: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class RoundScore:
    """A model on held-out prompts. tokens: of an answer, the mean. win_rate: over the model before; None for the
    first."""

    right: Interval
    tokens: float
    win_rate: Interval | None = None


@results.add(version=1)
@dataclass(frozen=True)
class RoundComparison:
    """Models of several rounds, in their order. chosen: the number of the one that is kept, from 0."""

    rounds: tuple[RoundScore, ...]
    chosen: int


@dataclass(frozen=True)
class InterpolatedModel:
    """A model between two others, or beyond the last. right: by source of held-out prompts. tokens: of an answer, the
    mean."""

    alpha: float
    right: Mapping[str, Interval]
    tokens: float


@results.add(version=1)
@dataclass(frozen=True)
class ModelInterpolation:
    """Models on the line through two. alpha: of the one that is kept. targets: of the share right, by source.
    parameters: how many tensors differ between the models tried."""

    models: tuple[InterpolatedModel, ...]
    alpha: float
    targets: Mapping[str, float]
    parameters: int


# ---- comparisons ----


@results.add(version=1)
@dataclass(frozen=True)
class CriticScores:
    """How often each critic judges a pair right."""

    critics: tuple[Interval, ...]


@dataclass(frozen=True)
class StepGain:
    """A step of alignment: the share right after it, and the gain over the step before, paired by seed."""

    step: str
    share: float
    gain: Interval


@dataclass(frozen=True)
class EosChange:
    """How far the log-probability of what ends chosen and rejected answers moved, in nats."""

    chosen: Interval
    rejected: Interval


@dataclass(frozen=True)
class MethodGain:
    """A method of learning from preferences. chosen, rejected: how far the log-probability of answers moved, in nats.
    truncated_share: the share of answers without an end. gain: over the model before; over_first: over the first
    method."""

    method: str
    chosen: Interval
    rejected: Interval
    eos: EosChange
    truncated_share: float
    tokens: float
    gain: Interval
    over_first: Interval


@dataclass(frozen=True)
class BestOf:
    """What the best of K answers is worth: the mean over seeds of each figure, by name."""

    k: float
    values: Mapping[str, Interval]


@dataclass(frozen=True)
class JudgeScore:
    """A judge of answers. right: of held-out pairs. gain: over the first judge. best_of: none of one that did not
    choose."""

    judge: str
    right: Interval
    gain: Interval
    best_of: tuple[BestOf, ...]


@results.add(version=1)
@dataclass(frozen=True)
class AlignmentComparison:
    """What every step of alignment gained on a task, over seeds."""

    task: str
    seeds: int
    rows: tuple[StepGain, ...]
    methods: tuple[MethodGain, ...]
    judges: tuple[JudgeScore, ...]


@dataclass(frozen=True)
class DialogueSetScore:
    """What models taught by a set of dialogues have right, by task and in the mean, and the gain over the first set."""

    set: str
    dialogues: int
    right: Mapping[str, Interval]
    gain: Mapping[str, Interval]


@results.add(version=1)
@dataclass(frozen=True)
class DialogueSetComparison:
    """Sets of dialogues at equal size, over seeds."""

    seeds: int
    rows: tuple[DialogueSetScore, ...]
