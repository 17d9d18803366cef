"""What a request asks for, in vLLM's names."""

from __future__ import annotations

from dataclasses import field
from typing import NamedTuple

from herd.core.settings import NonNegativeInt, PositiveFloat, PositiveInt, Share, settings
from herd.tokens.generation_config import GenerationConfig


class Distribution(NamedTuple):
    """What logits are made into before a token is drawn."""

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0


@settings
class SamplingParams:
    """How the tokens of a request are drawn, and when they end.

    n: answers to the prompt. temperature 0 always takes the likeliest.
    top_p: only tokens whose probabilities, likeliest first, add up to this (Holtzman et al. 2020). top_k: only so many;
    0 for all. min_p: only tokens at least this part as probable as the likeliest (Nguyen et al. 2024).
    repetition_penalty: logits of tokens in the prompt or the answer are divided by it where positive, else multiplied
    (Keskar et al. 2019). frequency_penalty, presence_penalty: taken off the logits of tokens in the answer, for each
    time and once.
    seed: with it and its place among the prompts an answer is always the same, whatever is written beside it.
    stop: texts that end an answer, which ends before them; they need the engine's tokenizer. stop_token_ids: beside the
    engine's own.
    logprobs: so many of the likeliest tokens are returned for each token. logit_bias: added to the logits of these ids.
    choices: the only answers there may be, as ids or as text.
    """

    n: PositiveInt = 1
    temperature: float = 0.0
    top_p: Share = 1.0
    top_k: NonNegativeInt = 0
    min_p: Share = 0.0
    repetition_penalty: PositiveFloat = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    seed: int = 0
    max_tokens: PositiveInt = 64
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    logprobs: NonNegativeInt = 0
    logit_bias: dict[int, float] = field(default_factory=dict)
    choices: tuple[tuple[int, ...] | str, ...] = ()

    @classmethod
    def from_generation_config(
        cls, config: GenerationConfig, *, max_tokens: int, temperature: float | None = None, seed: int = 0
    ) -> SamplingParams:
        """As a model is sampled by default. temperature: another one than the model's."""
        return cls(
            temperature=config.temperature if temperature is None else temperature,
            top_p=config.top_p,
            top_k=config.top_k,
            min_p=config.min_p,
            repetition_penalty=config.repetition_penalty,
            max_tokens=max_tokens,
            seed=seed,
        )

    @property
    def distribution(self) -> Distribution:
        """What rows must have in common to be drawn together."""
        return (
            Distribution(self.temperature, self.top_p, self.top_k, self.min_p) if self.temperature else Distribution()
        )

    @property
    def changes_logits(self) -> bool:
        """Whether a token is drawn from other logits than the model's."""
        penalties = self.repetition_penalty != 1 or self.frequency_penalty != 0 or self.presence_penalty != 0
        return penalties or bool(self.logit_bias) or bool(self.choices)


GREEDY = SamplingParams()
