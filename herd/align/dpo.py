"""Preferences learnt without a reward model (4.1.4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import torch
from torch import Tensor, nn

from herd.align.columns import Given
from herd.align.losses import Likelihoods, knows_mismatched, knows_reference, losses
from herd.align.preflight import check
from herd.align.results import FinetuningResult, LogProbChange, PreferenceLearning
from herd.align.tuning import finetune, prepare
from herd.core.artifacts import Checkpoint, Preferences
from herd.core.errors import DataError, SettingsError
from herd.core.records import Strength
from herd.core.registry import Use
from herd.core.settings import NotNegative, Rate, settings
from herd.core.stage import Work, stage
from herd.core.storage import read_preferences
from herd.model.fused import quickly
from herd.model.transformer import Transformer
from herd.tokens.jinja import chat_format
from herd.tokens.tokenizer import TextTokenizer
from herd.train.log_probs import log_probs as log_probs_of
from herd.train.loop import Sums
from herd.train.optimizer import AdamWSettings
from herd.train.ranked import Packed, Ranked, RankedBatch, RankedBatches, encode_ranked, in_turn, mismatched
from herd.train.settings import FinetuneSettings, ranks_of
from herd.train.spread import spread
from herd.train.start import check_data_parallel

Loss = Annotated[Use, losses.choice]

_ENDS = 32  # pairs by which it is told whether a model unlearns to end


@settings
class DpoSettings(FinetuneSettings):
    """loss: a preference loss by name. nll_weight: of the likelihood of the chosen answers, per token.
    endings: whether what ends an answer counts, as elsewhere; the report leaves it out, since both answers of a pair
    have it. strengths: only preferences as strong as these count. batch_size: pairs a step."""

    loss: Loss
    nll_weight: float = 0.2
    endings: bool = False
    strengths: tuple[Strength, ...] = ("significantly better", "better")
    lr: Rate | None = 1e-4
    warmup: NotNegative = 0.1
    optimizer: AdamWSettings = AdamWSettings(weight_decay=0.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layout.devices > 1:
            check_data_parallel(self.layout, "DPO")
            if knows_mismatched(self.loss.name):
                raise SettingsError(
                    f"loss {self.loss.name} compares all pairs of a step with one another; train it on one rank, or "
                    "take the loss kto_pair"
                )


@stage(paper="4.1.4", version=5, ranks=ranks_of, gpu=True)
def dpo(work: Work, model: Checkpoint, preferences: tuple[Preferences, ...], *, settings: DpoSettings) -> Checkpoint:
    """`model`, moved towards the answers people chose, with itself as the reference.

    Headers and endings are left out of both answers, and the chosen ones' likelihood is held up by
    `nll_weight`. Of three ranked answers the best two make the pair; with no pair the model stays as it is.
    Source: Llama 3, 4.1.4. The report does not say how its NLL term is normalised; here it is the mean over
    the batch's pairs of nats per token.
    """
    text = TextTokenizer.load(model.path)
    made = prepare(work, model.path, settings)
    ranked = [one for each in preferences for one in read_preferences(each.path)]
    strong = [one for one in ranked if one.strength in settings.strengths]
    if not strong:
        # Answers that all are equally good leave nothing to learn, which is no reason to end the run.
        made.save(text, kind="chat")
        work.record(FinetuningResult(examples=0, step_unit="pairs", lr=None, left_out={}, notes={}))
        work.record(PreferenceLearning(LogProbChange(0.0, 0.0), LogProbChange(0.0, 0.0)))
        found = f"none of {len(ranked)} preferences is {' or '.join(settings.strengths)}"
        work.headline = f"{found}; the model stays as it is"
        return Checkpoint(work.out)
    form, context = chat_format(text), made.shape.context
    notes = check(Given([], strong), form, text, context)
    kept = encode_ranked(strong, form, most=2, context=context)
    pairs = kept.ranked
    batches = RankedBatches(
        pairs,
        size=settings.batch_size,
        epochs=settings.epochs,
        seed=settings.seed,
        pad=text.pad,
        length=context,
        endings=settings.endings,
    )
    with made.hands.evaluating() as policy:
        before = reference_log_probs(policy, pairs, text.pad, endings=settings.endings)
        ends = ending_log_probs(policy, pairs[:_ENDS], text.pad, before[:_ENDS], endings=settings.endings)
    reference = before if knows_reference(settings.loss.name) else torch.zeros_like(before)
    strangers = None
    if knows_mismatched(settings.loss.name):
        with made.hands.evaluating() as policy:
            strangers = Mismatched.of(policy, pairs, text.pad, endings=settings.endings)
    loss = objective(losses.make(settings.loss), reference, settings.nll_weight, strangers)
    _, lr = finetune(work, made, batches, loss=loss, settings=settings)
    made.save(text, kind="chat")
    with made.hands.evaluating() as policy:
        after = reference_log_probs(policy, pairs, text.pad, endings=settings.endings)
        ended = ending_log_probs(policy, pairs[:_ENDS], text.pad, after[:_ENDS], endings=settings.endings)
    moved = (after - before).mean(0).tolist()
    work.record(
        FinetuningResult(
            examples=len(pairs),
            step_unit="pairs",
            lr=lr,
            left_out={"too long": kept.too_long, "alike": kept.alike},
            notes=notes,
        )
    )
    drift = (ended - ends).mean(0).tolist()
    work.record(PreferenceLearning(LogProbChange(*moved), LogProbChange(*drift)))
    found = f"{len(pairs):,} pairs; log p of chosen {moved[0]:+.2f}, of rejected {moved[1]:+.2f} nats"
    warned = "; chosen answers became less likely: raise nll_weight, or take the loss dpop" if moved[0] < 0 else ""
    work.headline = found + warned
    return Checkpoint(work.out)


@dataclass(frozen=True)
class Mismatched:
    """Answers behind prompts that they were not given to, by the pairs' numbers, and what the reference thinks of them:
    log-probabilities [2]. How likely they became says how far a policy has moved, whatever it was taught."""

    ranked: dict[int, Ranked]
    reference: dict[int, Tensor]

    @classmethod
    def of(cls, reference: Transformer, pairs: Sequence[Ranked], pad: int, *, endings: bool = False) -> Mismatched:
        """Raises DataError when no prompt has an answer of another one."""
        ranked = mismatched(pairs, reference.shape.context)
        if not ranked:
            raise DataError(
                f"the loss compares with answers to other prompts, and none of {len(pairs)} pairs has one that fits; "
                "give more prompts, or take the loss kto_pair"
            )
        known = reference_log_probs(reference, list(ranked.values()), pad, endings=endings)
        return cls(ranked, dict(zip(ranked, known, strict=True)))

    @torch.no_grad()
    def ratios(self, model: nn.Module, batch: RankedBatch) -> Tensor:
        """Log-ratios of those that belong to the pairs of a batch: [M], or a zero when there are none."""
        numbers = [number for number in batch.numbers if number in self.ranked]
        if not numbers:
            return torch.zeros(1)
        packed = replace(batch, ranked=tuple(self.ranked[number] for number in numbers)).packed
        found = log_probs(model, packed)
        return found - torch.cat([self.reference[number] for number in numbers]).to(found.device)


def objective(
    preference: Callable[[Likelihoods], Tensor],
    reference: Tensor,
    nll_weight: float,
    strangers: Mismatched | None = None,
) -> Callable[[nn.Module, RankedBatch], tuple[Tensor, Sums]]:
    """The loss of a batch of pairs: `preference`, and the chosen answers' NLL per token.

    reference: log-probabilities [pairs, 2] of chosen and rejected answers under the reference. strangers: for a loss
    that asks for them. Logged under TRL's names; rewards there are beta times the log-ratios, here the log-ratios,
    since not every loss has a beta.
    """

    def loss(model: nn.Module, batch: RankedBatch) -> tuple[Tensor, Sums]:
        packed = batch.packed
        chosen_B, rejected_B = log_probs(model, packed).view(-1, 2).T
        tokens = packed.lengths.clamp_min(1).view(-1, 2).T
        known = reference[batch.numbers].to(chosen_B.device).T
        pairs = Likelihoods(chosen_B, rejected_B, *known, *tokens)
        if strangers:
            pairs = replace(pairs, mismatched_M=strangers.ratios(model, batch))
        preferred_B = preference(pairs)
        nll_B = -chosen_B / pairs.chosen_tokens_B
        return (preferred_B + nll_weight * nll_B).sum(), _logged(pairs, preferred_B, nll_B)

    return loss


def _logged(pairs: Likelihoods, preferred_B: Tensor, nll_B: Tensor) -> Sums:
    """Sums over the pairs, by TRL's names."""
    rows = {
        "preference": preferred_B,
        "nll_loss": nll_B,
        "logps/chosen": pairs.chosen_B,
        "logps/rejected": pairs.rejected_B,
        "rewards/chosen": pairs.chosen_ratio,
        "rewards/rejected": pairs.rejected_ratio,
        "rewards/margins": pairs.gain,
        "rewards/accuracies": (pairs.gain > 0).float(),
        "lengths/chosen": pairs.chosen_tokens_B.float(),
        "lengths/rejected": pairs.rejected_tokens_B.float(),
    }
    sums = torch.stack([row.detach().sum() for row in rows.values()]).tolist()
    return dict(zip(rows, sums, strict=True))


def log_probs(model: nn.Module, packed: Packed) -> Tensor:
    """Log-probability of every answer, summed over its own tokens, in nats: [A]."""

    def summed(hidden_RTD: Tensor, weight_VD: Tensor) -> Tensor:
        return packed.sums(log_probs_of(hidden_RTD, weight_VD, packed.targets_RT))

    found = model(packed.tokens_RT, documents_BT=packed.looked_at, finish=summed)
    assert isinstance(found, Tensor)
    return found


@torch.no_grad()
def reference_log_probs(model: Transformer, pairs: Sequence[Ranked], pad: int, *, endings: bool = False) -> Tensor:
    """Log-probabilities of every pair's answers, computed once: [pairs, 2], on the CPU. Ranks that share the model do a
    part each."""
    model.eval()
    device = next(model.parameters()).device
    batches = list(in_turn(pairs, pad=pad, length=model.shape.context, endings=endings))
    with quickly(model):
        found = spread(batches, lambda batch: log_probs(model, batch.to(device).packed).cpu(), together=True)
    return torch.cat(found).view(-1, 2)


def ending_log_probs(model: Transformer, pairs: Sequence[Ranked], pad: int, known: Tensor, *, endings: bool) -> Tensor:
    """Log-probabilities of what ends every pair's answers, in nats: [pairs, 2]. known: those of the answers, with their
    `endings` or without."""
    other = reference_log_probs(model, pairs, pad, endings=not endings)
    return known - other if endings else other - known
