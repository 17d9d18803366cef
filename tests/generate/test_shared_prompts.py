"""Answers scored after prompts that are read once are scored as after prompts read each time."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from herd.generate import shared_prompts
from herd.generate.engine import Engine, score_greedy
from herd.generate.shared_prompts import can_share_prompts, score_shared
from tests.model.test_transformer import SMALL, model

NETWORK = model(replace(SMALL, max_seq_len=96))
ENGINE = Engine(NETWORK, frozenset())
VOCAB = NETWORK.shape.vocab_size


def agree(pairs: list[tuple[list[int], list[int]]]) -> None:
    told = score_greedy(ENGINE, [prompt for prompt, _ in pairs], [answer for _, answer in pairs])
    shared = score_shared(ENGINE, pairs)
    assert [logp for logp, _ in shared] == pytest.approx([logp for logp, _ in told], abs=1e-4)
    assert [greedy for _, greedy in shared] == [greedy for _, greedy in told]


def questions(rng: random.Random, shared: int, count: int, choices: int) -> list[tuple[list[int], list[int]]]:
    """Prompts that begin with the same `shared` ids, each with its choices."""
    begin = [rng.randrange(VOCAB) for _ in range(shared)]
    pairs = []
    for _ in range(count):
        prompt = begin + [rng.randrange(VOCAB) for _ in range(rng.randint(1, 20))]
        pairs += [(prompt, [rng.randrange(VOCAB) for _ in range(rng.randint(1, 20))]) for _ in range(choices)]
    return pairs


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 40), st.integers(1, 4), st.integers(1, 4), st.sampled_from([8, 60, 1024]))
def test_sharing_changes_no_score(seed: int, shared: int, count: int, choices: int, tokens: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shared_prompts, "_TOKENS", tokens)  # of a batch
        agree(questions(random.Random(seed), shared, count, choices) + questions(random.Random(seed + 1), 3, 2, 2))


def test_prompts_of_one_token_equal_answers_and_whole_blocks() -> None:
    agree(
        [
            ([5], [1, 2]),
            ([5], [1, 2]),
            ([5], [3]),
            (list(range(17)), [4]),
            (list(range(16)), [4]),
            (list(range(33)), [9]),
        ]
    )
    agree([(list(range(40)), [number]) for number in range(70)])  # more than are read at once


@pytest.mark.parametrize(("tokens", "reads"), [(1024, [50, 6]), (1, [51, 1, 1, 1, 1, 1])])
def test_what_prompts_have_in_common_is_read_once(
    tokens: int, reads: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_prompts, "_TOKENS", tokens)
    sizes: list[int] = []
    plain = NETWORK.hidden_states

    def count(ids: torch.Tensor, **how: object) -> torch.Tensor:
        sizes.append(ids.numel())
        return plain(ids, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(NETWORK, "hidden_states", count)
    begin = list(range(50))
    score_shared(ENGINE, [([*begin, number, 1], [answer]) for number in range(3) for answer in (7, 8)])
    assert sizes == reads


def test_whoever_is_told_hears_of_all_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_prompts, "_TOKENS", 1)
    told: list[tuple[int, int]] = []
    pairs = questions(random.Random(1), 5, 3, 2)
    score_shared(ENGINE, pairs, lambda done, total: told.append((done, total)))
    assert told == [(2, 6), (4, 6), (6, 6)]
    assert can_share_prompts(NETWORK)
    assert not can_share_prompts(model(replace(SMALL)).to("meta"))
