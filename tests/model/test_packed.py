"""Packed weights read as the model does, for as long as they are the model's."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from herd.core.errors import DataError
from herd.model import packed as module
from herd.model.cache import PagedKVCache
from herd.model.packed import PackedModel, packable, weight_versions
from herd.model.transformer import Transformer, initialize
from tests.model.test_kernels import SMALL


def small() -> Transformer:
    model = Transformer(SMALL()).eval()
    initialize(model, std=0.2, layers=2, generator=torch.Generator().manual_seed(0))
    return model


@given(st.lists(st.integers(1, 9), min_size=1, max_size=4), st.integers(0, 8))
def test_prompts_of_any_lengths_are_read_as_each_alone_to_the_bit(lengths: list[int], cut: int) -> None:
    packed, shape = PackedModel(MODEL), MODEL.shape
    chance = torch.Generator().manual_seed(sum(lengths))
    rows = [torch.randint(0, 53, (length,), generator=chance) for length in lengths]
    starts = torch.tensor([0, *lengths]).cumsum(0)

    def empty(count: int) -> PagedKVCache:
        return PagedKVCache.empty(shape, count, 40, torch.float32, torch.device("cpu"))

    together = packed.read_prompts(torch.cat(rows), starts, empty(len(rows)))
    assert together.shape == (sum(lengths), shape.dim)
    for row, start in zip(rows, starts.tolist(), strict=False):
        cache, parts = empty(1), []
        for part in (row[:cut], row[cut:]):
            if len(part):
                parts.append(packed.read_prompts(part, torch.tensor([0, len(part)]), cache))
                cache.lengths_B = cache.lengths_B + len(part)
        assert torch.equal(torch.cat(parts), together[start : start + len(row)])


MODEL = small()


def test_a_snapshot_is_of_the_model_until_a_weight_changes() -> None:
    model = small()
    packed = PackedModel(model)
    assert packed.matches(model)
    assert not packed.matches(small())
    before = weight_versions(model)
    with torch.no_grad():
        model.norm.weight.add_(0.0)
    assert not packed.matches(model)
    assert sum(a != b for a, b in zip(before, weight_versions(model), strict=True)) == 1
    with torch.inference_mode():
        fixed = Transformer(SMALL())
    packed = PackedModel(fixed)  # tensors that keep no version
    assert packed.matches(fixed)
    fixed.norm.weight.data = fixed.norm.weight.data.clone()
    assert not packed.matches(fixed)


def test_a_model_too_large_to_hold_twice_is_not_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = sum(weight.numel() for weight in MODEL.parameters())
    monkeypatch.setattr(module, "_MAX_BYTES", 4 * numbers)
    assert packable(MODEL)
    monkeypatch.setattr(module, "_MAX_BYTES", 4 * numbers - 1)
    assert not packable(MODEL)


@settings(max_examples=30)
@given(
    st.sampled_from([(32, 4, 2, 40), (48, 2, 1, 64), (36, 3, 3, 24), (64, 4, 1, 96)]),
    st.integers(1, 9),
    st.lists(st.integers(1, 9), min_size=1, max_size=4),
    st.booleans(),
    st.integers(1, 3),
)
def test_a_packed_model_reads_as_the_model_does(
    sizes: tuple[int, int, int, int], rows: int, pieces: list[int], tied: bool, threads: int
) -> None:
    """Any widths, in pieces of any length after one another, on one thread or several."""
    dim, n_heads, n_kv_heads, ffn_dim = sizes
    shape = SMALL(dim=dim, n_heads=n_heads, n_kv_heads=n_kv_heads, ffn_dim=ffn_dim, tied_output=tied)
    model = Transformer(shape).eval()
    initialize(model, std=0.2, layers=2, generator=torch.Generator().manual_seed(rows))
    tokens = torch.randint(0, 53, (rows, sum(pieces)), generator=torch.Generator().manual_seed(1))
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            packed, cache = PackedModel(model), PagedKVCache.empty(shape, rows, 40, torch.float32, torch.device("cpu"))
            found = []
            for piece in tokens.split(pieces, 1):
                found.append(packed.logits(packed.hidden_states(piece, cache=cache)))
                cache.lengths_B = cache.lengths_B + piece.shape[1]
            wanted = model(tokens)
    finally:
        torch.set_num_threads(1)
    assert torch.allclose(torch.cat(found, 1), wanted, atol=2e-5, rtol=1e-4)


def test_a_row_does_not_depend_on_those_beside_it() -> None:
    shape = SMALL(n_layers=2)
    model = Transformer(shape).eval()
    initialize(model, std=0.2, layers=2, generator=torch.Generator().manual_seed(0))
    packed, tokens = PackedModel(model), torch.randint(0, 53, (11, 7))

    def logits(rows: torch.Tensor) -> torch.Tensor:
        cache = PagedKVCache.empty(shape, len(rows), 40, torch.float32, torch.device("cpu"))
        return packed.logits(packed.hidden_states(rows, cache=cache))

    alone = torch.cat([logits(tokens[row : row + 1]) for row in range(11)])
    assert torch.equal(logits(tokens), alone)


def test_what_does_not_fit_is_told_and_read_nowhere() -> None:
    shape = SMALL(n_layers=1)
    packed, cache = PackedModel(Transformer(shape)), PagedKVCache.empty(shape, 1, 4, torch.float32, torch.device("cpu"))
    with pytest.raises(DataError, match="53 is no token of a vocabulary of 53"):
        packed.hidden_states(torch.tensor([[53]]), cache=cache)
    with pytest.raises(DataError, match="5 more tokens do not fit a cache of 4"):
        packed.hidden_states(torch.tensor([[1, 2, 3, 4, 5]]), cache=cache)


def test_models_that_are_not_whole_and_in_fp32_are_not_packed() -> None:
    shape = SMALL(n_layers=1)
    assert packable(Transformer(shape))
    assert not packable(Transformer(shape).to(torch.bfloat16))
    assert not packable(torch.nn.Linear(3, 3))
