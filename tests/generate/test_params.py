"""What a request asks for, and when two are drawn alike."""

from __future__ import annotations

from typing import Any

import pytest

from herd.core.errors import SettingsError
from herd.core.settings import build, dump
from herd.generate.params import GREEDY, Distribution, SamplingParams
from herd.tokens.generation_config import GenerationConfig


def test_a_models_own_defaults_are_taken_but_for_what_is_asked() -> None:
    said = {"temperature": 0.6, "top_p": 0.9, "top_k": 40, "min_p": 0.05, "repetition_penalty": 1.1, "do_sample": True}
    own = GenerationConfig(said)
    found = SamplingParams.from_generation_config(own, max_tokens=7, seed=3)
    assert found == SamplingParams(
        temperature=0.6, top_p=0.9, top_k=40, min_p=0.05, repetition_penalty=1.1, max_tokens=7, seed=3
    )
    assert SamplingParams.from_generation_config(own, max_tokens=7, temperature=0.0).temperature == 0.0
    assert SamplingParams.from_generation_config(own, max_tokens=7, temperature=1.5).temperature == 1.5


def test_all_that_take_the_likeliest_are_drawn_alike_whatever_else_they_say() -> None:
    assert SamplingParams(top_p=0.5, top_k=3, min_p=0.1, seed=9).distribution == Distribution() == GREEDY.distribution
    warm = SamplingParams(temperature=0.5, top_p=0.9, top_k=3, min_p=0.1, seed=1)
    assert warm.distribution == Distribution(0.5, 0.9, 3, 0.1)
    assert warm.distribution == SamplingParams(temperature=0.5, top_p=0.9, top_k=3, min_p=0.1, seed=2).distribution


@pytest.mark.parametrize(
    ("asked", "changes"),
    [
        ({}, False),
        ({"temperature": 2.0, "top_k": 1, "logprobs": 3, "stop": ("x",)}, False),
        ({"repetition_penalty": 0.9}, True),
        ({"frequency_penalty": -0.1}, True),
        ({"presence_penalty": 0.1}, True),
        ({"logit_bias": {0: 1.0}}, True),
        ({"choices": ("a",)}, True),
    ],
)
def test_logits_are_changed_where_something_asks_for_it(asked: dict[str, Any], changes: bool) -> None:
    assert SamplingParams(**asked).changes_logits is changes


@pytest.mark.parametrize(
    "wrong", [{"n": 0}, {"top_p": 1.5}, {"top_k": -1}, {"min_p": -0.1}, {"repetition_penalty": 0}, {"max_tokens": 0}]
)
def test_numbers_that_mean_nothing_are_refused_by_name(wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(SettingsError, match=name):
        build(SamplingParams, wrong, where="a request")


def test_parameters_are_read_from_files_and_written_back() -> None:
    row = {"n": 2, "stop": ["a"], "logit_bias": {"5": 1.5}, "choices": [[1, 2], "no"], "stop_token_ids": [7]}
    params = build(SamplingParams, row, where="a recipe")
    assert params == SamplingParams(n=2, stop=("a",), logit_bias={5: 1.5}, choices=((1, 2), "no"), stop_token_ids=(7,))
    assert build(SamplingParams, dump(params), where="again") == params
