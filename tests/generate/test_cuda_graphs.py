"""A step that is taken without Python: here each is run as it would be captured; graphs themselves need a GPU and are
asked in test_on_gpu.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from herd.generate.cuda_graphs import CudaGraphDecoder
from herd.generate.params import Distribution, SamplingParams
from herd.generate.sampling import sample_tokens
from herd.model import cache as cache_module
from herd.model.cache import PagedKVCache
from tests.model.test_transformer import SMALL, model

MODEL = model()
ROWS = 4


class Run:
    def __init__(self, captured: CudaGraphDecoder, reach: int) -> None:
        self.replay = lambda: captured._step(reach)


@pytest.fixture(autouse=True, scope="module")
def _uncaptured() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CudaGraphDecoder, "_capture", lambda captured, reach: Run(captured, reach))
        yield


def captured_of(prompts: list[list[int]], distribution: Distribution | None) -> CudaGraphDecoder:
    """Block 0 is the null block; the prompts stand in blocks 1 and after, but for their last tokens."""
    cache = PagedKVCache.empty(SMALL, 1 + ROWS, 32, torch.float32, torch.device("cpu"))
    table = torch.tensor([[row + 1 if row < len(prompts) else 0] for row in range(ROWS)])
    for row, prompt in enumerate(prompts):
        if len(prompt) > 1:
            one = PagedKVCache(
                cache.keys_LBGSE, cache.values_LBGSE, table[row : row + 1], torch.zeros(1, dtype=torch.long)
            )
            MODEL.hidden_states(torch.tensor([prompt[:-1]]), cache=one)
    return CudaGraphDecoder(MODEL, cache.keys_LBGSE, cache.values_LBGSE, table, distribution, None)


def logits(tokens: list[int]) -> torch.Tensor:
    return MODEL(torch.tensor([tokens]))[:, -1]


@settings(max_examples=10, deadline=None)
@given(
    st.lists(st.integers(2, 12), min_size=1, max_size=3), st.sampled_from([0.0, 0.9]), st.integers(0, 9),
    st.lists(st.booleans(), min_size=5, max_size=5),
)  # fmt: skip
@torch.inference_mode()
def test_rows_that_come_and_go_write_what_the_model_says(
    lengths: list[int], temperature: float, seed: int, drops: list[bool]
) -> None:
    texts = [[(7 * row + 5 * at) % 90 + 3 for at in range(length)] for row, length in enumerate(lengths)]
    params = SamplingParams(temperature=temperature, top_p=0.9)
    captured = captured_of(texts, params.distribution)
    chance = torch.Generator().manual_seed(seed)
    untouched = captured.cache.keys_LBGSE[:, ROWS].clone()
    for drop in drops:
        if drop and len(texts) > 1:
            texts.pop()  # the last row is in use no more
        noise = torch.rand(len(texts), dtype=torch.float64, generator=chance)
        captured.step([text[-1] for text in texts], [len(text) - 1 for text in texts], noise.tolist())
        drawn = captured.sampled_tokens()
        # What it believes to stand on the device stands there; else it would not bring what is needed.
        assert captured._tokens == captured._tokens_B.tolist()
        live = captured._lengths[: len(texts)]
        assert live == captured.cache.lengths_B[: len(texts)].tolist() == [len(text) for text in texts]
        for row, text in enumerate(texts):
            token, logprob = sample_tokens(logits(text), params, noise[row : row + 1])
            assert drawn[row][0] == int(token)
            assert drawn[row][1] == pytest.approx(float(logprob), abs=1e-4)
            text.append(int(token))
    assert torch.equal(captured.cache.keys_LBGSE[:, ROWS], untouched)  # idle rows write into the null block


@torch.inference_mode()
def test_without_a_distribution_the_logits_are_given_and_nothing_is_drawn() -> None:
    texts = [[5, 6, 7], [4, 9]]
    captured = captured_of(texts, None)
    captured.step([7, 9], [2, 1], [0.5, 0.5])
    for row, text in enumerate(texts):
        assert torch.allclose(captured.logits_BV[row], logits(text)[0], atol=1e-4)
    assert captured.cache.lengths_B.tolist() == [3, 2, 0, 0]
    assert captured._tokens_B.tolist()[:2] == [7, 9]


def test_it_is_of_the_memory_that_it_was_made_on() -> None:
    captured = captured_of([[5]], Distribution())
    held = captured.cache.keys_LBGSE, captured.cache.values_LBGSE, captured.cache.table_BN
    assert captured.reads(*held)
    assert captured.reads(held[0], held[1], held[2][:])  # another view of the same
    assert not captured.reads(held[0], held[1], held[2][:2])
    assert not captured.reads(held[0], held[1], held[2].clone())
    assert not captured.reads(held[0].clone(), held[1], held[2])


def test_few_graphs_look_at_growing_parts_of_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = PagedKVCache.empty(SMALL, 2, 1000, torch.float32, torch.device("cpu"))
    captured = CudaGraphDecoder(MODEL, cache.keys_LBGSE, cache.values_LBGSE, cache.table_BN, None, None)
    if cache_module.cpu_kernels() is not None:
        assert captured._kv_len(1) == 1000  # a kernel of our own sees for itself
    monkeypatch.setattr(cache_module, "cpu_kernels", lambda: None)
    assert [captured._kv_len(slots) for slots in (1, 256, 257, 513, 1000)] == [256, 256, 512, 1000, 1000]
