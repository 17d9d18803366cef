"""The chosen answers alone."""

from __future__ import annotations

from torch import Tensor

from herd.align.losses import PairLogProbs, losses, reference_free


@losses.add
@reference_free
def sft(pairs: PairLogProbs) -> Tensor:
    """Nats per token of the chosen answers, which the rejected ones do not change: [B]. Their mean weighs tokens alike.

    Source: Llama 3, 4.1.3; as a term beside others Pang et al. 2024 (Iterative Reasoning Preference Optimization).
    """
    tokens_B = pairs.chosen_tokens_B
    return -pairs.chosen_B * len(tokens_B) / tokens_B.sum()
