"""The reward model (4.1.2)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from herd.align.columns import Given
from herd.align.preflight import check
from herd.align.results import CalibrationBin, FinetuningResult, HeldOutPairs, RewardModelResult
from herd.align.tuning import finetune, prepare
from herd.core.artifacts import Checkpoint, Preferences
from herd.core.errors import DataError
from herd.core.records import Preference, Strength
from herd.core.settings import NotNegative, Positive, Rate, Share, settings
from herd.core.stage import Work, stage
from herd.core.storage import read_preferences
from herd.evals.spread import wilson
from herd.model.config import shape_in
from herd.model.fused import quickly
from herd.model.heads import RewardModel
from herd.tokens.jinja import chat_format
from herd.tokens.tokenizer import TextTokenizer
from herd.train.loop import Sums
from herd.train.ranked import Ranked, RankedBatch, RankedBatches, encode_ranked, in_turn
from herd.train.settings import FinetuneSettings, ranks_of
from herd.train.spread import spread

_BINS = 10


@settings
class RewardSettings(FinetuneSettings):
    """batch_size: prompts a step. strengths: only preferences as strong as these count. margins: by how much a better
    answer must be ahead, by strength, as in Llama 2 (1, 2/3, 1/3, 0); none in Llama 3. together: a prompt and all its
    answers, in an order drawn anew, make one row; else each answer is read alone. cross_attention: later answers of
    such a row see earlier ones, which costs no table of the row's tokens but is approximate; else each stands as if
    alone, and the scores are those of answers read alone. held_out_share: share of the preferences that only test the
    model."""

    epochs: Positive = 2
    lr: Rate | None = 5e-4
    warmup: NotNegative = 0.05
    strengths: tuple[Strength, ...] = ("significantly better", "better")
    margins: dict[Strength, float] | None = None
    together: bool = False
    cross_attention: bool = False
    held_out_share: Share = 0.1


@stage(paper="4.1.2", version=4, ranks=ranks_of, gpu=True)
def train_reward(
    work: Work,
    base: Checkpoint,
    preferences: tuple[Preferences, ...],
    held_out: Preferences | None = None,
    *,
    settings: RewardSettings,
) -> Checkpoint:
    """A model that scores answers, trained on top of `base` to rank them as people did.

    held_out: what it is tested with, in the place of a share of `preferences`. Of three ranked answers all pairs count.
    Source: Llama 3, 4.1.2.
    """
    text = TextTokenizer.load(base.path)
    given = [one for each in preferences for one in read_preferences(each.path)]
    ranked = [one for one in given if one.strength in settings.strengths]
    if not ranked:
        raise DataError(
            f"none of {len(given)} preferences is {' or '.join(settings.strengths)}; widen reward.strengths"
        )
    apart = [one for one in read_preferences(held_out.path) if one.strength in settings.strengths] if held_out else []
    kept = len(ranked) if apart else max(1, round(len(ranked) * (1 - settings.held_out_share)))
    form, context = chat_format(text), shape_in(base.path).context
    notes = check(Given([], ranked), form, text, context)
    made = prepare(work, base.path, settings, reward=True)
    learnt = encode_ranked(ranked[:kept], form, context=context, shared=settings.together)
    batches = RankedBatches(
        learnt.ranked,
        size=settings.batch_size,
        epochs=settings.epochs,
        seed=settings.seed,
        pad=text.pad,
        length=context,
        shared=settings.together,
    )
    # Before training: that nothing is left to test with is told at once.
    tested = encode_ranked(apart or ranked[kept:] or ranked, form, context=context, shared=settings.together).ranked
    margins = _margins(ranked[:kept], learnt.ranked, settings.margins)
    loss = ranking(margins, cross_attention=settings.cross_attention)
    _, lr = finetune(work, made, batches, loss=loss, settings=settings)
    made.save(text, kind="reward")
    seen = {"together": settings.together, "cross_attention": settings.cross_attention}
    with made.hands.evaluating() as model:
        gaps = held_out_gaps(model, tested, text.pad, **seen)
    work.record(
        FinetuningResult(
            examples=sum(len(one.answers) * (len(one.answers) - 1) // 2 for one in batches.ranked),
            step_unit="pairs",
            lr=lr,
            left_out={"too long": learnt.too_long, "alike": learnt.alike, "weak": len(given) - len(ranked)},
            notes=notes,
        )
    )
    ranking_result = reward_result(gaps)
    share = ranking_result.held_out.right / max(1, len(gaps))
    work.record(ranking_result)
    work.headline = (
        f"ranks {share:.0%} of {len(gaps)} held-out pairs as people do, "
        f"its certainty off by {ranking_result.calibration_error:.0%}"
    )
    return Checkpoint(work.out)


def _margins(
    preferences: Sequence[Preference], ranked: Sequence[Ranked], margins: Mapping[Strength, float] | None
) -> Mapping[int, float]:
    """By the number of the ranked answers: a row's own, or that of its strength."""
    found: dict[int, float] = {}
    for one in ranked:
        given = preferences[one.row]
        margin = given.margin if given.margin is not None else (margins or {}).get(given.strength, 0.0)
        if margin:
            found[one.number] = margin
    return found


def ranking(
    margins: Mapping[int, float] | None = None, *, cross_attention: bool = False
) -> Callable[[nn.Module, RankedBatch], tuple[Tensor, Sums]]:
    """-log of the chance that the better answer wins: the mean over the pairs of a prompt's answers, summed over
    prompts.

    margins: what a better answer must be ahead by, by the number of the ranked answers; 0 where none is named.
    Source: Bradley and Terry 1952; Ouyang et al. 2022, eq. 1; with margins Touvron et al. 2023 (Llama 2), eq. 2.
    """

    def loss(model: nn.Module, batch: RankedBatch) -> tuple[Tensor, Sums]:
        total, right = torch.zeros(()), 0.0
        for one, scores in zip(batch.ranked, scores_of(model, batch, cross_attention), strict=True):
            gaps = gaps_of(scores)
            total = total - F.logsigmoid(gaps - (margins or {}).get(one.number, 0.0)).mean()
            right += float((gaps > 0).float().mean())
        return total, {"ranked right": right}

    return loss


def gaps_of(scores: Tensor) -> Tensor:
    """By how much each answer is ahead of each that is ranked below it."""
    return torch.stack([scores[a] - scores[b] for a, b in itertools.combinations(range(len(scores)), 2)])


def scores_of(model: nn.Module, batch: RankedBatch, cross_attention: bool = False) -> tuple[Tensor, ...]:
    """The scores of every prompt's answers, best answer first, each read at the answer's last token.

    cross_attention: whether answers that share a row see those before them.
    """
    packed = batch.packed
    branches = {} if cross_attention or not batch.shared else {"branches_BT": packed.branches_RT}
    scores_RT = model(packed.tokens_RT, documents_BT=packed.looked_at, **branches)
    return scores_RT.flatten()[packed.ends_A].split(packed.counts)


@torch.no_grad()
def held_out_gaps(
    model: RewardModel, ranked: Sequence[Ranked], pad: int, *, together: bool = False, cross_attention: bool = False
) -> Tensor:
    """By how much the better answer of every pair is ahead: [pairs], on the CPU. Ranks that share the model do a part
    each."""
    model.eval()
    device = next(model.parameters()).device

    def gaps(batch: RankedBatch) -> Tensor:
        return torch.cat([gaps_of(scores) for scores in scores_of(model, batch.to(device), cross_attention)]).cpu()

    with quickly(model.trunk):
        batches = list(in_turn(ranked, pad=pad, length=model.shape.context, shared=together))
        return torch.cat(spread(batches, gaps, together=True))


def calibration(gaps: Tensor) -> tuple[float, list[CalibrationBin]]:
    """How far the chance a reward model gives its favourite is from how often that is right: the mean of the
    bins, and the bins.

    Source: Guo et al. 2017 (On Calibration of Modern Neural Networks), eq. 3; the chance is the sigmoid of the gap.
    """
    sure, right = gaps.abs().sigmoid(), gaps > 0
    number = ((sure - 0.5) * 2 * _BINS).long().clamp(0, _BINS - 1)
    bins = []
    for one in range(_BINS):
        some = number == one
        if bool(some.any()):
            count, said, was = int(some.sum()), float(sure[some].mean()), float(right[some].float().mean())
            bins.append(CalibrationBin(count, said, was))
    return sum(own.pairs * abs(own.said - own.was) for own in bins) / max(1, len(gaps)), bins


def reward_result(gaps: Tensor) -> RewardModelResult:
    """How held-out pairs were ranked. gaps: [pairs], by how much the better answer of each is ahead."""
    right = int((gaps > 0).sum())
    interval = wilson(right, len(gaps))
    off, bins = calibration(gaps)
    return RewardModelResult(HeldOutPairs(right, len(gaps), interval.low, interval.high), off, tuple(bins))
