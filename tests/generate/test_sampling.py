"""Penalties, bias and filters are the field's; a row is drawn as it would be alone."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from herd.generate.params import SamplingParams
from herd.generate.sampling import apply_logit_bias, apply_penalties, sample_each, sample_tokens

LOGITS = torch.tensor([2.0, -1.0, 0.5, 3.0, -2.0])


def test_penalties_are_those_of_their_papers() -> None:
    params = SamplingParams(repetition_penalty=2.0, frequency_penalty=0.1, presence_penalty=0.5)
    found = apply_penalties(LOGITS, params, prompt=(0, 1), output_counts=Counter({3: 2}))
    assert found.tolist() == pytest.approx([1.0, -2.0, 0.5, 1.5 - 0.2 - 0.5, -2.0])
    assert LOGITS.tolist() == [2.0, -1.0, 0.5, 3.0, -2.0]


def test_the_repetition_penalty_is_that_of_transformers() -> None:
    from transformers import RepetitionPenaltyLogitsProcessor

    ids = torch.tensor([[3, 1, 1]])
    wanted = RepetitionPenaltyLogitsProcessor(1.7)(ids, LOGITS[None].clone())[0]  # type: ignore[arg-type]
    found = apply_penalties(LOGITS, SamplingParams(repetition_penalty=1.7), prompt=(3, 1), output_counts=Counter([1]))
    assert torch.allclose(found, wanted)


def test_bias_is_added() -> None:
    assert apply_logit_bias(LOGITS, {0: -3.0, 4: 9.0}).tolist() == [-1.0, -1.0, 0.5, 3.0, 7.0]


def test_min_p_leaves_tokens_nearly_as_probable_as_the_likeliest() -> None:
    row = torch.tensor([[0.0, 3.0, 2.5, 1.0]])  # e^-0.5 is .61, e^-2 is .14
    noise = [torch.tensor([x / 100]) for x in range(100)]
    assert {int(sample_tokens(row, SamplingParams(temperature=1.0, min_p=0.5), one)[0]) for one in noise} == {1, 2}
    assert {int(sample_tokens(row, SamplingParams(temperature=1.0, min_p=0.1), one)[0]) for one in noise} == {1, 2, 3}


def test_rows_drawn_in_many_ways_are_drawn_as_alone() -> None:
    ways = [
        SamplingParams(), SamplingParams(temperature=1.0), SamplingParams(temperature=0.3, top_p=0.9),
        SamplingParams(temperature=1.0, top_k=3), SamplingParams(temperature=1.0, min_p=0.2, top_p=0.7),
    ] * 8  # fmt: skip
    logits = torch.randn(len(ways), 50, generator=torch.Generator().manual_seed(0))
    noise = torch.rand(len(ways), dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    wanted = [int(sample_tokens(logits[k : k + 1], way, noise[k : k + 1])[0]) for k, way in enumerate(ways)]
    assert sample_each(logits, [way.distribution for way in ways], noise.tolist()).tolist() == wanted
