"""The reward model (4.1.2)."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from herd.align.columns import ParsedRows
from herd.align.loading import read_rankings
from herd.align.preflight import check_trainable
from herd.align.results import CalibrationBin, FinetuningResult, HeldOutPairs, RewardModelResult
from herd.align.tuning import finetune, load_for_finetuning
from herd.core.artifacts import Checkpoint, Preferences
from herd.core.errors import DataError, SettingsError
from herd.core.records import Preference, Strength
from herd.core.settings import AddedLater, NonNegativeFloat, PositiveFloat, PositiveInt, Share, settings
from herd.core.stage import Work, stage
from herd.core.storage import read_preferences
from herd.evals.intervals import wilson
from herd.evals.validation import METRIC, ExampleFigures, Validation, validation_words
from herd.model.collectives import RankGroup
from herd.model.config import read_shape
from herd.model.fused import fused_kernels
from herd.model.heads import RewardModel
from herd.tokens.jinja import chat_template_of
from herd.tokens.tokenizer import TextTokenizer
from herd.train.loop import MetricSums
from herd.train.preferences import (
    EncodedPreference,
    PreferenceBatch,
    PreferenceBatches,
    encode_preferences,
    eval_batches,
    most_measured_tokens,
)
from herd.train.settings import PreferenceSettings, num_ranks

_BINS = 10
_T = TypeVar("_T")


@settings
class RewardSettings(PreferenceSettings):
    """batch_size: prompts a step. margins: by how much a better answer must be ahead, by strength, as in Llama 2 (1,
    2/3, 1/3, 0); none in Llama 3. share_prompt: a prompt and all its answers, in an order drawn anew, make one row;
    else each answer is read alone. cross_attention: later answers of such a row see earlier ones, which costs no table
    of the row's tokens but is approximate; else each stands as if alone, and the scores are those of answers read
    alone. held_out_share: share of the preferences that only test the model, in which sources are as they come.
    eval_by_epoch: they are measured before training and after every epoch too, as with `early_stop` and `eval_steps`,
    and not only in the end."""

    epochs: PositiveInt = 2
    lr: PositiveFloat | None = 5e-4
    warmup: NonNegativeFloat = 0.05
    margins: dict[Strength, float] | None = None
    share_prompt: bool = False
    cross_attention: bool = False
    held_out_share: Share = 0.1
    eval_by_epoch: AddedLater[bool] = False


@stage(paper="4.1.2", version=6, ranks=num_ranks, gpu=True)
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
    tokenizer = TextTokenizer.load(base.path)
    all_preferences = read_rankings(preferences, settings.balanced_sources)
    ranked = [preference for preference in all_preferences if preference.strength in settings.strengths]
    if not ranked:
        raise DataError(
            f"none of {len(all_preferences)} preferences is {' or '.join(settings.strengths)}; widen reward.strengths"
        )
    given_tests = read_preferences(held_out.path) if held_out else ()
    test_preferences = [preference for preference in given_tests if preference.strength in settings.strengths]
    train_size = len(ranked) if test_preferences else max(1, round(len(ranked) * (1 - settings.held_out_share)))
    chat_template, context = chat_template_of(tokenizer), read_shape(base.path).max_seq_len
    notes = check_trainable(ParsedRows([], ranked), chat_template, tokenizer, context)
    trainable = load_for_finetuning(work, base.path, settings, reward=True)
    train_set = encode_preferences(
        ranked[:train_size], chat_template, context=context, share_prompt=settings.share_prompt,
        balanced_sources=settings.balanced_sources, seed=settings.seed,
    )  # fmt: skip
    batches = PreferenceBatches(
        train_set.preferences, size=settings.batch_size, epochs=settings.epochs, seed=settings.seed,
        pad=tokenizer.pad_id, length=context, share_prompt=settings.share_prompt, steps=settings.steps,
        ranks=settings.layout.data, drop_last=settings.dataloader_drop_last,
    )  # fmt: skip
    if settings.early_stop and not (test_preferences or ranked[train_size:]):
        raise SettingsError("early_stop needs preferences that only test; raise held_out_share, or leave it out")
    # Before training: that nothing is left to test with is reported at once.
    test_preferences = test_preferences or ranked[train_size:] or ranked
    test_set = encode_preferences(
        test_preferences, chat_template, context=context, share_prompt=settings.share_prompt
    ).preferences
    margins = _margins(ranked[:train_size], train_set.preferences, settings.margins)
    options = {"share_prompt": settings.share_prompt, "cross_attention": settings.cross_attention}
    validation = None
    if settings.eval_by_epoch or settings.early_stop or settings.eval_steps:
        measure = partial(ranking_figures, ranked=test_set, pad=tokenizer.pad_id, **options)
        held_out_sources = [test_preferences[encoded.row].prompt.source for encoded in test_set]
        validation = Validation(work, trainable, batches, measure, settings, held_out_sources)
    loss = ranking_loss(margins, cross_attention=settings.cross_attention)
    steps, lr = finetune(work, trainable, batches, loss=loss, settings=settings, validation=validation)
    trainable.save(tokenizer, kind="reward")
    with trainable.strategy.evaluating() as model:
        gaps = held_out_gaps(model, test_set, tokenizer.pad_id, **options)
    work.record(
        FinetuningResult(
            examples=sum(_num_pairs(preference) for preference in batches.preferences),
            step_unit="pairs",
            lr=lr,
            left_out={
                "too long": train_set.too_long,
                "alike": train_set.duplicates,
                "unbalanced": train_set.unbalanced,
                "weak": len(all_preferences) - len(ranked),
            },
            notes=notes,
            sources=dict(Counter(ranked[encoded.row].prompt.source for encoded in batches.preferences)),
            flops=batches.training_flops(trainable.shape, len(steps), scores=True),
        )
    )
    sources = [test_preferences[encoded.row].prompt.source for encoded in test_set for _ in pairs_of(encoded.answers)]
    work.record(ranking_result := reward_result(gaps, sources))
    work.headline = (
        f"ranks {ranking_result.held_out.right / max(1, len(gaps)):.0%} of {len(gaps)} held-out pairs as people do, "
        f"its certainty off by {ranking_result.calibration_error:.0%}"
        f"{validation_words(validation.curve) if validation else ''}{trainable.trainable_note}"
    )
    return Checkpoint(work.out)


def _margins(
    preferences: Sequence[Preference], ranked: Sequence[EncodedPreference], margins: Mapping[Strength, float] | None
) -> Mapping[int, float]:
    """By the number of the ranked answers: a row's own, or that of its strength."""
    by_number: dict[int, float] = {}
    for encoded in ranked:
        preference = preferences[encoded.row]
        margin = preference.margin if preference.margin is not None else (margins or {}).get(preference.strength, 0.0)
        if margin:
            by_number[encoded.number] = margin
    return by_number


def ranking_loss(
    margins: Mapping[int, float] | None = None, *, cross_attention: bool = False
) -> Callable[[nn.Module, PreferenceBatch], tuple[Tensor, MetricSums]]:
    """-log of the chance that the better answer wins: the mean over the pairs of a prompt's answers, summed over
    prompts.

    margins: what a better answer must be ahead by, by the number of the ranked answers; 0 where none is named.
    Source: Bradley and Terry 1952; Ouyang et al. 2022, eq. 1; with margins Touvron et al. 2023 (Llama 2), eq. 2.
    """

    def loss(model: nn.Module, batch: PreferenceBatch) -> tuple[Tensor, MetricSums]:
        total, right = torch.zeros(()), 0.0
        for encoded, scores in zip(batch.preferences, scores_of(model, batch, cross_attention), strict=True):
            gaps = gaps_of(scores)
            total = total - F.logsigmoid(gaps - (margins or {}).get(encoded.number, 0.0)).mean()
            right += float((gaps > 0).float().mean())
        return total, {"accuracy": right}

    return loss


def gaps_of(scores: Tensor) -> Tensor:
    """By how much each answer is ahead of each that is ranked below it."""
    return torch.stack([better - worse for better, worse in pairs_of(scores)])


def _num_pairs(ranked: EncodedPreference) -> int:
    return len(ranked.answers) * (len(ranked.answers) - 1) // 2


def pairs_of(ranked: Iterable[_T]) -> Iterator[tuple[_T, _T]]:
    """Each with each that is ranked below it."""
    return itertools.combinations(ranked, 2)


def scores_of(model: nn.Module, batch: PreferenceBatch, cross_attention: bool = False) -> tuple[Tensor, ...]:
    """The scores of every prompt's answers, best answer first, each read at the answer's last token.

    cross_attention: whether answers that share a row see those before them.
    """
    packed = batch.packed
    branches = {} if cross_attention or not batch.share_prompt else {"branches_BT": packed.branches_RT}
    scores_RT = model(packed.tokens_RT, documents_BT=packed.attention_documents, **branches)
    return scores_RT.flatten()[packed.ends_A].split(packed.counts)


@torch.no_grad()
def held_out_gaps(
    model: RewardModel,
    ranked: Sequence[EncodedPreference],
    pad: int,
    *,
    share_prompt: bool = False,
    cross_attention: bool = False,
) -> Tensor:
    """By how much the better answer of every pair is ahead: [pairs], on the CPU. Ranks that share the model do a part
    each."""
    model.eval()
    device = next(model.parameters()).device

    def gaps(batch: PreferenceBatch) -> Tensor:
        return torch.cat([gaps_of(scores) for scores in scores_of(model, batch.to(device), cross_attention)]).cpu()

    with fused_kernels(model.trunk):
        batches = list(
            eval_batches(
                ranked, pad=pad, length=model.shape.max_seq_len, share_prompt=share_prompt,
                max_tokens=most_measured_tokens(device),
            )
        )  # fmt: skip
        return torch.cat(RankGroup.joined().map(batches, gaps, collective=True))


def ranking_figures(
    model: RewardModel, *, ranked: Sequence[EncodedPreference], pad: int, share_prompt: bool, cross_attention: bool
) -> dict[str, ExampleFigures]:
    """Of every prompt the loss without margins, how many pairs of its answers are ranked right, and by how much the
    better answer is ahead. A pair of equal scores is half right."""
    gaps = held_out_gaps(model, ranked, pad, share_prompt=share_prompt, cross_attention=cross_attention)
    by_prompt = gaps.split([_num_pairs(encoded) for encoded in ranked])
    counts = [float(len(own)) for own in by_prompt]
    return {
        METRIC: ExampleFigures.of_values([float(-F.logsigmoid(own).mean()) for own in by_prompt]),
        "accuracy": ExampleFigures([float(((own.sign() + 1) / 2).sum()) for own in by_prompt], counts),
        "margin": ExampleFigures([float(own.sum()) for own in by_prompt], counts),
    }


def calibration(gaps: Tensor) -> tuple[float, list[CalibrationBin]]:
    """How far the chance a reward model gives its favourite is from how often that is right: the mean of the
    bins, and the bins.

    Source: Guo et al. 2017 (On Calibration of Modern Neural Networks), eq. 3; the chance is the sigmoid of the gap.
    """
    sure, right = gaps.abs().sigmoid(), gaps > 0
    number = ((sure - 0.5) * 2 * _BINS).long().clamp(0, _BINS - 1)
    bins = []
    for bin_index in range(_BINS):
        in_bin = number == bin_index
        if bool(in_bin.any()):
            count, confidence, accuracy = (
                int(in_bin.sum()),
                float(sure[in_bin].mean()),
                float(right[in_bin].float().mean()),
            )
            bins.append(CalibrationBin(count, confidence, accuracy))
    return sum(own.pairs * abs(own.confidence - own.accuracy) for own in bins) / max(1, len(gaps)), bins


def reward_result(gaps: Tensor, sources: Sequence[str]) -> RewardModelResult:
    """How held-out pairs were ranked. gaps: [pairs], by how much the better answer of each is ahead. sources: of the
    prompt of each."""
    right = (gaps > 0).tolist()
    by_source: dict[str, list[bool]] = {}
    for source, is_right in zip(sources, right, strict=True):
        by_source.setdefault(source, []).append(is_right)
    off, bins = calibration(gaps)
    return RewardModelResult(
        _count(right), off, tuple(bins), {source: _count(own) for source, own in sorted(by_source.items())}
    )


def _count(right: Sequence[bool]) -> HeldOutPairs:
    interval = wilson(sum(right), len(right))
    return HeldOutPairs(sum(right), len(right), interval.low, interval.high)
