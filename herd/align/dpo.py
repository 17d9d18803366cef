"""Preferences learnt without a reward model (4.1.4)."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from herd.align.columns import ParsedRows
from herd.align.loading import read_rankings
from herd.align.losses import PairLogProbs, losses, uses_mismatched, uses_reference
from herd.align.preflight import check_trainable
from herd.align.results import FinetuningResult, LogProbChange, PreferenceLearning
from herd.align.tuning import finetune, load_for_finetuning
from herd.core.artifacts import Checkpoint, Preferences
from herd.core.errors import DataError, SettingsError
from herd.core.registry import PluginConfig
from herd.core.settings import AddedLater, NonNegativeFloat, PositiveFloat, settings
from herd.core.stage import Work, stage
from herd.core.storage import read_preferences
from herd.core.terminal import count_of
from herd.evals.validation import METRIC, ExampleFigures, Validation, validation_words
from herd.model.collectives import RankGroup
from herd.model.fused import fused_kernels
from herd.model.sizes import Shape
from herd.model.transformer import Transformer
from herd.tokens.jinja import ChatTemplate, chat_template_of
from herd.tokens.tokenizer import TextTokenizer
from herd.train.log_probs import target_log_probs as log_probs_of
from herd.train.loop import MetricSums
from herd.train.optimizer import OptimizerSettings
from herd.train.preferences import (
    EncodedPreference,
    PackedPreferences,
    PreferenceBatch,
    PreferenceBatches,
    encode_preferences,
    eval_batches,
    mismatched_completions,
    most_measured_tokens,
)
from herd.train.session import check_data_parallel
from herd.train.settings import PreferenceSettings, num_ranks

PreferenceLoss = Annotated[PluginConfig, losses.choice]

_EOS_PAIRS = 32  # pairs by which it is decided whether a model unlearns to end


@settings
class DpoSettings(PreferenceSettings):
    """loss: a preference loss by name. nll_weight: of the likelihood of the chosen answers, per token.
    include_eos: whether what ends an answer counts, as elsewhere; the report leaves it out, since both answers of a
    pair have it. batch_size: pairs a step."""

    loss: PreferenceLoss
    nll_weight: float = 0.2
    include_eos: bool = False
    lr: PositiveFloat | None = 1e-4
    warmup: NonNegativeFloat = 0.1
    optimizer: OptimizerSettings = OptimizerSettings(weight_decay=0.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layout.devices > 1:
            check_data_parallel(self.layout, "DPO")
            if uses_mismatched(self.loss.name):
                raise SettingsError(
                    f"loss {self.loss.name} compares all pairs of a step with one another; train it on one rank, or "
                    "take the loss kto_pair"
                )


@stage(paper="4.1.4", version=6, ranks=num_ranks, gpu=True)
def dpo(
    work: Work,
    model: Checkpoint,
    preferences: tuple[Preferences, ...],
    held_out: AddedLater[Preferences | None] = None,
    *,
    settings: DpoSettings,
) -> Checkpoint:
    """`model`, moved towards the answers people chose, with itself as the reference.

    Headers and endings are left out of both answers, and the chosen ones' likelihood is held up by
    `nll_weight`. Of three ranked answers the best two make the pair; with no pair the model stays as it is. held_out:
    pairs that are never learnt, on which the loss and TRL's figures are measured before training and by epoch. Raises
    SettingsError for `early_stop` without them.
    Source: Llama 3, 4.1.4. The report does not say how its NLL term is normalised; here it is the mean over
    the batch's pairs of nats per token.
    """
    tokenizer = TextTokenizer.load(model.path)
    trainable = load_for_finetuning(work, model.path, settings)
    ranked = read_rankings(preferences, settings.balanced_sources)
    strong = [preference for preference in ranked if preference.strength in settings.strengths]
    if not strong:
        # Answers that all are equally good leave nothing to learn, which is no reason to end the run.
        trainable.save(tokenizer, kind="chat")
        work.record(FinetuningResult(examples=0, step_unit="pairs", lr=None, left_out={}, notes={}))
        work.record(PreferenceLearning(LogProbChange(0.0, 0.0), LogProbChange(0.0, 0.0)))
        wanted = " or ".join(settings.strengths)
        work.headline = f"none of {len(ranked)} preferences is {wanted}; the model stays as it is"
        return Checkpoint(work.out)
    chat_template, context = chat_template_of(tokenizer), trainable.shape.max_seq_len
    notes = check_trainable(ParsedRows([], strong), chat_template, tokenizer, context)
    held_out_pairs, held_out_sources = _held_out_pairs(held_out, chat_template, context, settings)
    encoded = encode_preferences(
        strong, chat_template, max_answers=2, context=context, balanced_sources=settings.balanced_sources,
        seed=settings.seed,
    )  # fmt: skip
    pairs = encoded.preferences
    batches = PreferenceBatches(
        pairs, size=settings.batch_size, epochs=settings.epochs, seed=settings.seed, pad=tokenizer.pad_id,
        length=context, include_eos=settings.include_eos, steps=settings.steps, ranks=settings.layout.data,
        drop_last=settings.dataloader_drop_last,
    )  # fmt: skip
    all_logps = partial(_log_probs_with_eos, pairs=pairs, pad=tokenizer.pad_id, include_eos=settings.include_eos)
    with trainable.strategy.evaluating() as policy:
        before, eos_before = all_logps(policy, report=_reporter(work, "before"))
    reference = before if uses_reference(settings.loss.name) else torch.zeros_like(before)
    mismatches = None
    if uses_mismatched(settings.loss.name):
        with trainable.strategy.evaluating() as policy:
            mismatches = MismatchedCompletions.of(policy, pairs, tokenizer.pad_id, include_eos=settings.include_eos)
    loss = objective(losses.make(settings.loss), reference, settings.nll_weight, mismatches, reward_scale(settings))
    validation = None
    if held_out_pairs:
        with trainable.strategy.evaluating() as policy:
            measure = pair_figures(policy, held_out_pairs, settings, pad=tokenizer.pad_id)
        validation = Validation(work, trainable, batches, measure, settings, held_out_sources)
    steps, lr = finetune(work, trainable, batches, loss=loss, settings=settings, validation=validation)
    trainable.save(tokenizer, kind="chat")
    with trainable.strategy.evaluating() as policy:
        after, eos_after = all_logps(policy, report=_reporter(work, "after"))
    change = (after - before).mean(0).tolist()
    work.record(
        FinetuningResult(
            examples=len(pairs),
            step_unit="pairs",
            lr=lr,
            left_out={"too long": encoded.too_long, "alike": encoded.duplicates, "unbalanced": encoded.unbalanced},
            notes=notes,
            sources=dict(Counter(strong[pair.row].prompt.source for pair in pairs)),
            flops=_flops(batches, trainable.shape, len(steps), settings),
        )
    )
    work.record(PreferenceLearning(LogProbChange(*change), LogProbChange(*(eos_after - eos_before).mean(0).tolist())))
    headline = f"{count_of(len(pairs), 'pair')}; log p of chosen {change[0]:+.2f}, of rejected {change[1]:+.2f} nats"
    warned = "; chosen answers became less likely: raise nll_weight, or take the loss dpop" if change[0] < 0 else ""
    work.headline = headline + warned + _measured_words(validation, settings) + trainable.trainable_note
    return Checkpoint(work.out)


def _flops(batches: PreferenceBatches, shape: Shape, steps: int, settings: DpoSettings) -> float:
    """Of the steps, and of the reference, which reads every pair once."""
    reference = batches.forward_flops(shape) if uses_reference(settings.loss.name) else 0.0
    return batches.training_flops(shape, steps) + reference


def _measured_words(validation: Validation | None, settings: DpoSettings) -> str:
    if validation is None:
        return ""
    weight = settings.nll_weight
    nll = f"; {weight:g} times the chosen answers' nats a token are in that loss" if weight else ""
    return validation_words(validation.curve) + nll


def _held_out_pairs(
    held_out: Preferences | None, chat_template: ChatTemplate, context: int, settings: DpoSettings
) -> tuple[list[EncodedPreference], list[str]]:
    """What is measured by epoch: pairs that could be learnt as well, and their sources; nothing without `held_out`."""
    if held_out is None:
        if settings.early_stop:
            raise SettingsError(
                "early_stop keeps the best epoch on held-out pairs and there are none; give some, "
                "`dpo(model, preferences, held_out, settings=...)`, or leave early_stop out"
            )
        return [], []
    rows = list(read_preferences(held_out.path))
    strong = [row for row in rows if row.strength in settings.strengths]
    if not strong:
        raise DataError(f"none of {len(rows)} held-out pairs is {' or '.join(settings.strengths)}; hold out others")
    pairs = encode_preferences(strong, chat_template, max_answers=2, context=context).preferences
    return pairs, [strong[pair.row].prompt.source for pair in pairs]


def reward_scale(settings: DpoSettings) -> float:
    """What log-ratios to the reference are multiplied with to be the rewards of TRL: the loss's beta, 1 for a loss that
    has none, or whose beta is of means over tokens. Source: Rafailov et al. 2023, section 4."""
    own = settings.loss.settings
    return 1.0 if own.get("per_token") else float(own.get("beta", 1.0))


def pair_figures(
    reference: Transformer, pairs: Sequence[EncodedPreference], settings: DpoSettings, *, pad: int
) -> Callable[[Any], dict[str, ExampleFigures]]:
    """Asks a policy for figures of every pair: the loss that training minimises, margin and accuracy of its log-ratios
    to the `reference`, the chosen answers' nats per token, and rewards and log-probabilities of both answers. A margin
    of zero is half right."""
    name = settings.loss.name
    options: dict[str, Any] = {"include_eos": settings.include_eos}
    before = reference_log_probs(reference, pairs, pad, **options)
    compared = before if uses_reference(name) else torch.zeros_like(before)
    batches = eval_batches(pairs, pad=pad, length=reference.shape.max_seq_len, **options)
    tokens = torch.cat([batch.packed.lengths for batch in batches]).clamp_min(1).view(-1, 2)
    preference = losses.make(settings.loss)
    mismatches = MismatchedCompletions.of(reference, pairs, pad, **options) if uses_mismatched(name) else None

    def measure(model: Any) -> dict[str, ExampleFigures]:
        logps = reference_log_probs(model, pairs, pad, **options)
        own = PairLogProbs(*logps.T, *compared.T, *tokens.T)
        if mismatches is not None:
            own = replace(own, mismatched_M=mismatches.all_logratios(model, pad, **options))
        nll_B = -own.chosen_B / own.chosen_tokens_B
        logratios = logps - before
        margin_B = logratios @ torch.tensor([1.0, -1.0])
        rewards = reward_scale(settings) * logratios
        columns = {
            METRIC: preference(own) + settings.nll_weight * nll_B,
            "accuracy": (margin_B.sign() + 1) / 2,
            "margin": margin_B,
            "nll": nll_B,
            "rewards/chosen": rewards[:, 0],
            "rewards/rejected": rewards[:, 1],
            "logps/chosen": own.chosen_B,
            "logps/rejected": own.rejected_B,
        }
        return {name: ExampleFigures.of_values(column.tolist()) for name, column in columns.items()}

    return measure


@dataclass(frozen=True)
class MismatchedCompletions:
    """Answers behind prompts that they were not given to, by the pairs' numbers, and what the reference thinks of them:
    log-probabilities [2]. How likely they became says how far a policy has moved, whatever it was taught."""

    ranked: dict[int, EncodedPreference]
    reference: dict[int, Tensor]

    @classmethod
    def of(
        cls, reference: Transformer, pairs: Sequence[EncodedPreference], pad: int, *, include_eos: bool = False
    ) -> MismatchedCompletions:
        """Raises DataError when no prompt has an answer of another one."""
        ranked = mismatched_completions(pairs, reference.shape.max_seq_len)
        if not ranked:
            raise DataError(
                f"the loss compares with answers to other prompts, and none of {len(pairs)} pairs has one that fits; "
                "give more prompts, or take the loss kto_pair"
            )
        logps = reference_log_probs(reference, list(ranked.values()), pad, include_eos=include_eos)
        return cls(ranked, dict(zip(ranked, logps, strict=True)))

    def all_logratios(self, model: Transformer, pad: int, *, include_eos: bool = False) -> Tensor:
        """Log-ratios of all of them: [M]."""
        logps = reference_log_probs(model, list(self.ranked.values()), pad, include_eos=include_eos)
        return (logps - torch.stack(list(self.reference.values()))).flatten()

    @torch.no_grad()
    def logratios(self, model: nn.Module, batch: PreferenceBatch) -> Tensor:
        """Log-ratios of those that belong to the pairs of a batch: [M], or a zero when there are none."""
        numbers = [number for number in batch.numbers if number in self.ranked]
        if not numbers:
            return torch.zeros(1)
        packed = replace(batch, preferences=tuple(self.ranked[number] for number in numbers)).packed
        logps = completion_log_probs(model, packed)
        return logps - torch.cat([self.reference[number] for number in numbers]).to(logps.device)


def objective(
    preference: Callable[[PairLogProbs], Tensor],
    reference: Tensor,
    nll_weight: float,
    mismatches: MismatchedCompletions | None = None,
    scale: float = 1.0,
) -> Callable[[nn.Module, PreferenceBatch], tuple[Tensor, MetricSums]]:
    """The loss of a batch of pairs: `preference`, and the chosen answers' NLL per token.

    reference: log-probabilities [pairs, 2] of chosen and rejected answers under the reference. mismatches: for a loss
    that asks for them. Logged under TRL's names. scale: what log-ratios are multiplied with to be rewards.
    """

    def loss(model: nn.Module, batch: PreferenceBatch) -> tuple[Tensor, MetricSums]:
        packed = batch.packed
        chosen_B, rejected_B = completion_log_probs(model, packed).view(-1, 2).T
        tokens = packed.lengths.clamp_min(1).view(-1, 2).T
        reference_logps = reference[batch.numbers].to(chosen_B.device).T
        pairs = PairLogProbs(chosen_B, rejected_B, *reference_logps, *tokens)
        if mismatches:
            pairs = replace(pairs, mismatched_M=mismatches.logratios(model, batch))
        preferred_B = preference(pairs)
        nll_B = -chosen_B / pairs.chosen_tokens_B
        return (preferred_B + nll_weight * nll_B).sum(), _metrics(pairs, preferred_B, nll_B, scale)

    return loss


def _metrics(pairs: PairLogProbs, preferred_B: Tensor, nll_B: Tensor, scale: float) -> MetricSums:
    """Sums over the pairs, by TRL's names."""
    rows = {
        "preference": preferred_B,
        "nll_loss": nll_B,
        "logps/chosen": pairs.chosen_B,
        "logps/rejected": pairs.rejected_B,
        "rewards/chosen": scale * pairs.chosen_logratio,
        "rewards/rejected": scale * pairs.rejected_logratio,
        "rewards/margins": scale * pairs.margin,
        "rewards/accuracies": (pairs.margin > 0).float(),
        "lengths/chosen": pairs.chosen_tokens_B.float(),
        "lengths/rejected": pairs.rejected_tokens_B.float(),
    }
    sums = torch.stack([row.detach().sum() for row in rows.values()]).tolist()
    return dict(zip(rows, sums, strict=True))


def completion_log_probs(model: nn.Module, packed: PackedPreferences) -> Tensor:
    """Log-probability of every answer, summed over its own tokens, in nats: [A]."""

    def summed(hidden_RTD: Tensor, weight_VD: Tensor) -> Tensor:
        return packed.sums(log_probs_of(hidden_RTD, weight_VD, packed.targets_RT))

    logps = model(packed.tokens_RT, documents_BT=packed.attention_documents, finish=summed)
    assert isinstance(logps, Tensor)
    return logps


@torch.no_grad()
def reference_log_probs(
    model: Transformer, pairs: Sequence[EncodedPreference], pad: int, *, include_eos: bool = False,
    report: Callable[[float, float], None] | None = None,
) -> Tensor:  # fmt: skip
    """Log-probabilities of every pair's answers, computed once: [pairs, 2], on the CPU. Ranks that share the model do a
    part each. report: is called with how many of this rank's batches are done, of how many."""
    model.eval()
    device = next(model.parameters()).device
    batches = list(
        eval_batches(
            pairs, pad=pad, length=model.shape.max_seq_len, include_eos=include_eos,
            max_tokens=most_measured_tokens(device),
        )
    )  # fmt: skip
    ranks, done = RankGroup.joined(), itertools.count(1)
    own = -(-len(batches) // ranks.size)

    def compute(batch: PreferenceBatch) -> Tensor:
        logps = completion_log_probs(model, batch.to(device).packed).cpu()
        if report is not None:
            report(next(done), own)
        return logps

    with fused_kernels(model):
        logps = ranks.map(batches, compute, collective=True)
    return torch.cat(logps).view(-1, 2)


def _reporter(work: Work, when: str) -> Callable[[float, float], None]:
    """Progress alone: no rank ends here while others wait for its part."""
    return lambda done, total: work.report(done, total, f"log-probabilities {when} training")


def _log_probs_with_eos(
    model: Transformer, pairs: Sequence[EncodedPreference], pad: int, *, include_eos: bool,
    report: Callable[[float, float], None],
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Those of all pairs' answers, and of what ends the first ones'."""
    logps, first = reference_log_probs(model, pairs, pad, include_eos=include_eos, report=report), pairs[:_EOS_PAIRS]
    return logps, eos_log_probs(model, first, pad, logps[:_EOS_PAIRS], include_eos=include_eos)


def eos_log_probs(
    model: Transformer, pairs: Sequence[EncodedPreference], pad: int, logps: Tensor, *, include_eos: bool
) -> Tensor:
    """Log-probabilities of what ends every pair's answers, in nats: [pairs, 2]. logps: those of the answers, with their
    `include_eos` or without."""
    other_logps = reference_log_probs(model, pairs, pad, include_eos=not include_eos)
    return logps - other_logps if include_eos else other_logps - logps
