"""Who may look where, as each way to attend says it: all of them say the same."""

from __future__ import annotations

import itertools
import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from herd.core.errors import SettingsError
from herd.model import attention_backends as attending_module
from herd.model.attention_backends import (
    Blockwise,
    Flex,
    Sdpa,
    Varlen,
    attend_last,
    attention_backend,
    branch_mask,
    branch_positions,
    cu_seqlens_of,
    document_mask,
    long_rows,
    make_mask,
    starts_of,
)
from herd.model.transformer import Transformer
from tests.model.test_transformer import SMALL, model

CPU = torch.device("cpu")
DOCUMENTS = st.lists(st.lists(st.integers(0, 3), min_size=9, max_size=9).map(sorted), min_size=1, max_size=3)
WINDOWS = st.none() | st.integers(1, 12)


@given(DOCUMENTS, WINDOWS)
def test_a_document_mask_is_the_starts_and_the_runs(rows: list[list[int]], window: int | None) -> None:
    documents = torch.tensor(rows)
    mask, starts = document_mask(documents, window), starts_of(documents, window)
    assert mask.shape == (len(rows), 1, 9, 9)
    for row, numbers in enumerate(rows):
        for token in range(9):
            seen = [at for at in range(token + 1) if numbers[at] == numbers[token]]
            seen = seen if window is None else [at for at in seen if token - at < window]
            assert mask[row, 0, token].nonzero().flatten().tolist() == seen
            assert seen == list(range(int(starts[row, token]), token + 1))
    edges = cu_seqlens_of(documents).tolist()
    assert len(edges).bit_count() == 1
    flat = [(row, number) for row, numbers in enumerate(rows) for number in numbers]
    lengths = [b - a for a, b in itertools.pairwise(edges) if b > a]
    assert edges[0] == 0
    assert edges[-1] == len(flat)
    assert [len(set(flat[a:b])) for a, b in itertools.pairwise(edges) if b > a] == [1] * len(lengths)
    assert len(lengths) == len(set(flat))  # numbers are sorted, so a run is a document


@given(st.lists(st.integers(0, 2), min_size=1, max_size=4), st.integers(1, 4), WINDOWS)
def test_a_branch_stands_behind_its_trunk_and_sees_no_other(
    branches: list[int], trunk: int, window: int | None
) -> None:
    # Two documents: a trunk and answers 1 to n of some lengths; then one of a trunk alone.
    own = [0] * trunk + [number + 1 for number, length in enumerate(branches) for _ in range(length)]
    row, documents = torch.tensor([[*own, 0, 0]]), torch.tensor([[0] * len(own) + [1, 1]])
    positions = branch_positions(documents, row)[0].tolist()
    seen = branch_mask(documents, row, window).may_look[0, 0]
    for token, number in enumerate(own):
        before = [at for at in range(token + 1) if own[at] in (0, number)]
        assert positions[token] == len(before) - 1
        assert seen[token].nonzero().flatten().tolist() == before[-window if window else 0 :]
    assert positions[-2:] == [0, 1]
    assert not seen[-2:, : len(own)].any()


@pytest.mark.parametrize("way", [Sdpa, Blockwise])
def test_a_window_without_documents_is_a_window_in_one_document(way: type[Sdpa | Blockwise]) -> None:
    x = torch.zeros(2, 9, 4)
    assert make_mask(way(), x, None, None) is None
    wanted = way().mask(torch.zeros(2, 9, dtype=torch.long), 3)
    assert wanted is not None
    assert torch.equal(make_mask(way(), x, None, 3), wanted)
    q, k, v = torch.randn(2, 4, 9, 8), torch.randn(2, 2, 9, 8), torch.randn(2, 2, 9, 8)
    wanted = Sdpa().attend(q, k, v, make_mask(Sdpa(), x, None, 3))
    assert torch.allclose(way().attend(q, k, v, make_mask(way(), x, None, 3)), wanted, atol=1e-5)
    assert way().positions(5) == slice(5)


def test_a_name_is_refused_with_the_nearest_and_a_feature_by_name() -> None:
    shape = (4, 2, 16, 8)
    assert isinstance(attention_backend("sdpa", CPU, torch.float32, shape=shape), Sdpa)
    with pytest.raises(SettingsError, match="'sdpaa' is no way to attend; did you mean 'sdpa'"):
        attention_backend("sdpaa", CPU, torch.float32, shape=shape)
    with pytest.raises(SettingsError, match="'flex' does not train on cpu; choose 'sdpa' or 'auto'"):
        attention_backend("flex", CPU, torch.float32, shape=shape)
    assert Sdpa.supported_features - Varlen.supported_features == {"sliding_window"}


def test_products_in_16_bits_come_back_in_16_bits_from_our_kernel() -> None:
    q, k, v = (torch.randn(1, heads, 9, 8).bfloat16() for heads in (4, 2, 2))
    found = Blockwise().attend(q, k, v, None)
    assert found.dtype == torch.bfloat16
    assert torch.allclose(found.float(), Sdpa().attend(q.float(), k.float(), v.float(), None), atol=1e-2)


def test_the_ways_to_attend_agree_and_others_are_refused() -> None:
    q, k, v = torch.randn(2, 4, 16, 8), torch.randn(2, 2, 16, 8), torch.randn(2, 2, 16, 8)
    documents = torch.tensor([[0] * 5 + [1] * 11, [0] * 16])
    plain, flex = Sdpa(), Flex(compiled=False)
    for numbers in (documents, None):
        wanted = plain.attend(q, k, v, plain.mask(numbers))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it is slow without being compiled
            found = flex.attend(q, k, v, flex.mask(numbers))
        assert torch.allclose(found, wanted, atol=1e-5)
    cpu = torch.device("cpu")
    with pytest.raises(SettingsError, match="'varlen' does not train on cpu"):
        attention_backend("varlen", cpu, torch.float32, shape=(4, 2, 16, 8))
    assert isinstance(attention_backend("auto", cpu, torch.float32, shape=(4, 2, 16, 8)), Blockwise)
    assert isinstance(attention_backend("auto", cpu, torch.bfloat16, shape=(4, 2, 16, 8)), Sdpa)
    with pytest.raises(SettingsError, match="no way to attend"):
        attention_backend("flesh", cpu, torch.float32, shape=(4, 2, 16, 8))


def test_a_machine_without_a_compiler_takes_pytorchs_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attending_module, "cpu_kernels", lambda: None)
    cpu = torch.device("cpu")
    assert isinstance(attention_backend("auto", cpu, torch.float32, shape=(4, 2, 16, 8)), Sdpa)
    with pytest.raises(SettingsError, match="needs a C\\+\\+ compiler"):
        attention_backend("blockwise", cpu, torch.float32, shape=(4, 2, 16, 8))


def test_runs_of_documents_are_laid_end_to_end() -> None:
    runs = cu_seqlens_of(torch.tensor([[0, 0, 1, 1, 1], [0, 0, 0, 0, -1]]))
    assert runs.tolist() == [0, 2, 5, 9, 10, 10, 10, 10]
    assert starts_of(torch.tensor([[0, 0, 1, 1, 1], [0, 0, 0, 0, -1]])).tolist() == [[0, 0, 2, 2, 2], [0, 0, 0, 0, 4]]


@given(st.integers(1, 12), st.integers(0, 12), st.sampled_from([1, 2, 4]))
def test_the_last_tokens_see_all_up_to_their_own(new: int, before: int, groups: int) -> None:
    generator = torch.Generator().manual_seed(new)
    slots = new + before
    q, k, v = (torch.randn(1, n, t, 8, generator=generator) for n, t in ((4, new), (groups, slots), (groups, slots)))
    may_look = torch.ones(new, slots, dtype=torch.bool).tril(before)[None, None]
    assert torch.allclose(attend_last(q, k, v), Sdpa().attend(q, k, v, may_look), atol=1e-6)


def test_models_that_only_read_attend_in_long_rows_as_training_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is a GPU, which a model without memory stands for here."""
    chosen, asked = Blockwise(), list[tuple[int, ...]]()

    def fastest(device: torch.device, dtype: torch.dtype, *, shape: tuple[int, ...], features: object) -> object:
        asked.append(shape)
        return chosen

    monkeypatch.setattr(attending_module, "fastest_backend", fastest)
    with torch.device("meta"):
        elsewhere = Transformer(SMALL)
    here = model()
    for network, length, takes in ((elsewhere, 4096, True), (elsewhere, 64, False), (here, 4096, False)):
        before = network.attention_backend
        with long_rows(network, length):
            assert (network.attention_backend is chosen) == takes
            assert (network.blocks[0].get_submodule("attention").attention_backend is chosen) == takes
        assert network.attention_backend is before
    assert asked == [(4, 2, 4096, 8)]
