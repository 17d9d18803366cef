"""Preference losses. One function is one loss; a new file here is found.

All take what a batch of pairs is worth to the policy and to the reference, and give the loss of each pair, [B].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor

from herd.core.registry import Registry


@dataclass(frozen=True)
class PairLogProbs:
    """Log-probabilities of chosen and rejected answers, each summed over the answer's learnt tokens, in nats: [B].

    chosen_B, rejected_B: by the policy. reference_chosen_B, reference_rejected_B: by the reference; zeros for losses
    that know none. chosen_tokens_B, rejected_tokens_B: how many tokens were summed over. mismatched_M: log-ratios of
    answers behind prompts that they were not given to, for losses that ask for them; zero for others.
    """

    chosen_B: Tensor
    rejected_B: Tensor
    reference_chosen_B: Tensor
    reference_rejected_B: Tensor
    chosen_tokens_B: Tensor
    rejected_tokens_B: Tensor
    mismatched_M: Tensor = field(default_factory=lambda: torch.zeros(1))

    @property
    def chosen_logratio(self) -> Tensor:
        """How much likelier the policy finds the chosen answers than the reference, in nats."""
        return self.chosen_B - self.reference_chosen_B

    @property
    def rejected_logratio(self) -> Tensor:
        """The same of the rejected answers."""
        return self.rejected_B - self.reference_rejected_B

    @property
    def margin(self) -> Tensor:
        """How much further apart the policy holds the pair than the reference does."""
        return self.chosen_logratio - self.rejected_logratio

    @property
    def mean_margin(self) -> Tensor:
        """`margin` of log-ratios that are means over an answer's tokens."""
        return self.chosen_logratio / self.chosen_tokens_B - self.rejected_logratio / self.rejected_tokens_B

    @classmethod
    def from_logratios(cls, chosen_B: Tensor, rejected_B: Tensor) -> PairLogProbs:
        """Log-ratios alone, for losses that look at nothing else; every answer counts as one token."""
        zeros_B, ones_B = torch.zeros_like(chosen_B), torch.ones_like(chosen_B)
        return cls(chosen_B, rejected_B, zeros_B, zeros_B, ones_B, ones_B)


losses: Registry[Callable[..., Tensor]] = Registry("losses", __name__)

L = TypeVar("L", bound=Callable[..., Tensor])


def reference_free(loss: L) -> L:
    """Marks a loss that looks at the policy alone: no reference has to be asked."""
    loss.reference_free = True  # type: ignore[attr-defined]
    return loss


def needs_mismatched(loss: L) -> L:
    """Marks a loss that looks at answers behind prompts that they were not given to."""
    loss.mismatched = True  # type: ignore[attr-defined]
    return loss


def uses_mismatched(name: str) -> bool:
    return getattr(losses.get(name), "mismatched", False)


def uses_reference(name: str) -> bool:
    return not getattr(losses.get(name), "reference_free", False)
