"""Weights that learn while the others stay as they are, chosen by name."""

from __future__ import annotations

import re
from collections.abc import Sequence

from torch import nn

from herd.core.errors import SettingsError, did_you_mean
from herd.model.adapters import SCORE_WEIGHT
from herd.model.heads import RewardModel
from herd.model.sizes import Shape
from herd.model.weights import hugging_face_names


def freeze_except(model: nn.Module, shape: Shape, unfrozen_parameters: Sequence[str]) -> None:
    """Freezes all weights whose names no pattern matches; none where there are no patterns. A reward model's new head
    learns whatever they say.

    unfrozen_parameters: as `unfrozen_names` has them. Raises SettingsError as that does.
    """
    if not unfrozen_parameters:
        return
    reward = isinstance(model, RewardModel)
    unfrozen = unfrozen_names(shape, unfrozen_parameters, reward=reward) | ({SCORE_WEIGHT} if reward else set())
    for name, weight in model.named_parameters():
        weight.requires_grad_(name in unfrozen)


def unfrozen_names(shape: Shape, unfrozen_parameters: Sequence[str], *, reward: bool = False) -> set[str]:
    """Our names of the weights that the patterns match; of all weights where there are no patterns.

    unfrozen_parameters: regular expressions, each found anywhere in the weight's name in Hugging Face's layout, as
    axolotl has them. Raises SettingsError for a pattern that matches nothing.
    """
    names = hugging_face_names(shape, reward=reward)
    if not unfrozen_parameters:
        return set(names)
    unfrozen: set[str] = set()
    for pattern in unfrozen_parameters:
        matches = {ours for ours, theirs in names.items() if re.search(pattern, theirs)}
        if not matches:
            raise SettingsError(f"unfrozen_parameters: {pattern!r} {_no_match(pattern, shape, sorted(names.values()))}")
        unfrozen |= matches
    return unfrozen


def check_all_learn(unfrozen_parameters: Sequence[str]) -> None:
    """Raises SettingsError for patterns where a new model is made."""
    if unfrozen_parameters:
        raise SettingsError("a new model has learnt nothing to keep; leave unfrozen_parameters out")


def check_patterns(unfrozen_parameters: Sequence[str]) -> None:
    """Raises SettingsError for what is no regular expression."""
    for pattern in unfrozen_parameters:
        try:
            re.compile(pattern)
        except re.error as fault:
            raise SettingsError(
                f"unfrozen_parameters: {pattern!r} is no regular expression ({fault}); mend it"
            ) from None


def _no_match(pattern: str, shape: Shape, names: Sequence[str]) -> str:
    """The sentence's end."""
    if shape.tied_output and re.search(pattern, "lm_head.weight"):
        return "matches no weight: the output is tied to the embedding; name model.embed_tokens.weight, which is both"
    # A name of each kind is enough to see what they look like, and layers have the same.
    kinds = [name for name in names if ".layers." not in name or ".layers.0." in name]
    return f"matches no weight of this model{did_you_mean(pattern.strip('^$'), kinds)}"
