"""The reward model (4.1.2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from herd.core.artifacts import Checkpoint, Preferences
from herd.core.settings import Positive, Rate, Share, settings
from herd.core.stage import Work, stage
from herd.core.storage import read_preferences
from herd.evals.spread import wilson
from herd.model.heads import RewardModel
from herd.model.weights import load_transformer
from herd.tokens.chat import ChatFormat
from herd.tokens.tokenizer import TextTokenizer
from herd.train.checkpoint import TrainState, write_checkpoint
from herd.train.loop import Sums, train
from herd.train.optimizer import AdamWSettings, adamw
from herd.train.pairs import Answers, Pair, PairBatch, PairBatches, collate_pairs, encode_pairs
from herd.train.schedule import cosine


@settings
class RewardSettings:
    """pairs: how many a step. held_out_share: share of the preferences that only test the model."""

    pairs: Positive = 16
    epochs: Positive = 2
    peak_rate: Rate = 5e-4
    warmup_share: Share = 0.05
    final_share: Share = 0.1
    held_out_share: Share = 0.1
    optimizer: AdamWSettings = AdamWSettings()
    seed: int = 0


@stage(paper="4.1.2", version=1)
def train_reward(
    work: Work, base: Checkpoint, preferences: tuple[Preferences, ...], *, settings: RewardSettings
) -> Checkpoint:
    """A model that scores answers, trained on top of `base` to rank them as people did.

    Of three ranked answers all pairs count. Source: Llama 3, 4.1.2 (no margin term).
    Differs: each answer is a row of its own instead of several in one, which is exact and here as fast.
    """
    text = TextTokenizer.load(base.path)
    ranked = [one for each in preferences for one in read_preferences(each.path)]
    kept = max(1, round(len(ranked) * (1 - settings.held_out_share)))
    model = reward_model(base)
    form, context = ChatFormat(text), model.shape.context
    batches = PairBatches(
        encode_pairs(ranked[:kept], form, every=True, context=context),
        size=settings.pairs,
        epochs=settings.epochs,
        seed=settings.seed,
        pad=text.pad,
    )
    state = TrainState(model, adamw(model, settings.optimizer))
    rate = cosine(
        len(batches), peak=settings.peak_rate, warmup_share=settings.warmup_share, final_share=settings.final_share
    )
    train(work, state, batches, loss=ranking, rate=rate, clip=settings.optimizer.clip)
    write_checkpoint(work.out, model, text, kind="reward")
    tested = encode_pairs(ranked[kept:] or ranked, form, every=True, context=context)
    right = ranked_right(model, tested, text.pad)
    found = wilson(right, len(tested))
    work.figure("pairs", len(batches.pairs))
    work.figure("held_out", {"right": right, "pairs": len(tested), "low": found.low, "high": found.high})
    work.figure("headline", f"ranks {found.value:.0%} of {len(tested)} held-out pairs as people do")
    return Checkpoint(work.out)


def reward_model(base: Checkpoint) -> RewardModel:
    """A reward model with the weights of `base` and a head of zeros."""
    pretrained = load_transformer(base.path)
    model = RewardModel(pretrained.shape)
    weights = {name: value for name, value in pretrained.state_dict().items() if not name.startswith("output.")}
    model.trunk.load_state_dict(weights)
    return model


def ranking(model: nn.Module, batch: PairBatch) -> tuple[Tensor, Sums]:
    """-log of the chance that the better answer wins, summed over the pairs.

    Source: Bradley and Terry 1952; Ouyang et al. 2022, eq. 1, without the margin Llama 2 had.
    """
    gaps_B = scores(model, batch.better) - scores(model, batch.worse)
    return -F.logsigmoid(gaps_B).sum(), {"ranked right": float((gaps_B > 0).sum())}


def scores(model: nn.Module, answers: Answers) -> Tensor:
    """The score of every answer, read at its last token: [B]."""
    return model(answers.tokens_BT).gather(1, answers.last_B[:, None]).squeeze(1)


@torch.inference_mode()
def ranked_right(model: RewardModel, pairs: list[Pair], pad: int, size: int = 32) -> int:
    """How many pairs the model ranks as people did."""
    model.eval()
    right = 0
    for start in range(0, len(pairs), size):
        batch = collate_pairs(pairs[start : start + size], pad)
        right += int((scores(model, batch.better) > scores(model, batch.worse)).sum())
    return right
