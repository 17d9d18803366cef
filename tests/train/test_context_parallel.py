"""Context parallel: chunks of all ranks together attend as the whole sequence does, and so do their gradients."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from herd.model.architecture import ALL_FEATURES
from herd.train import context_parallel as module
from herd.train.context_parallel import ContextParallelAttention

RANKS, LENGTH, HEADS, GROUPS, WIDTH = 3, 12, 4, 2, 8


@dataclass
class Network:
    """What lies between ranks: gathers give each rank's part as it is known, and what is summed is kept."""

    parts: list[Tensor] = field(default_factory=list)
    summed: list[Tensor] = field(default_factory=list)

    def all_gather(self, into: list[Tensor], own: Tensor, group: Any) -> None:
        assert any(torch.equal(own, part) for part in self.parts)
        for place, part in zip(into, self.parts, strict=True):
            place.copy_(part)

    def all_reduce(self, total: Tensor, group: Any) -> None:
        self.summed.append(total.clone())


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    made = Network()
    monkeypatch.setattr(dist, "all_gather", made.all_gather)
    monkeypatch.setattr(dist, "all_reduce", made.all_reduce)
    return made


def ranks() -> list[ContextParallelAttention]:
    return [ContextParallelAttention(None, RANKS, rank) for rank in range(RANKS)]


def drawn() -> tuple[Tensor, Tensor, Tensor]:
    chance = torch.Generator().manual_seed(0)
    return tuple(torch.randn(2, heads, LENGTH, WIDTH, generator=chance) for heads in (HEADS, GROUPS, GROUPS))  # type: ignore[return-value]


def whole(q: Tensor, k: Tensor, v: Tensor, documents_BT: Tensor | None) -> Tensor:
    """Causal attention over all of the sequence, within documents."""
    mask = torch.ones(LENGTH, LENGTH, dtype=torch.bool).tril()[None]
    if documents_BT is not None:
        mask = mask & (documents_BT[:, :, None] == documents_BT[:, None, :])
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None], enable_gqa=True)


def test_every_position_is_held_by_one_rank_in_two_mirrored_chunks() -> None:
    places = [one.positions(LENGTH // RANKS).tolist() for one in ranks()]
    assert places == [[0, 1, 10, 11], [2, 3, 8, 9], [4, 5, 6, 7]]


@pytest.mark.parametrize("packed", [False, True])
def test_the_rows_of_each_rank_are_those_of_the_whole(packed: bool, network: Network) -> None:
    q, k, v = drawn()
    documents = torch.tensor([[0] * 5 + [1] * 7, [0] * 9 + [1] * 3]) if packed else None
    wanted = whole(q, k, v, documents)
    places = [one.positions(LENGTH // RANKS) for one in ranks()]
    for one, own in zip(ranks(), places, strict=True):
        mask = None
        if documents is not None:
            network.parts = [documents[:, some] for some in places]
            mask = one.mask(documents[:, own])
        else:
            assert one.mask(None) is None
        network.parts = [torch.stack((k[:, :, some], v[:, :, some])) for some in places]
        found = one.attend(q[:, :, own], k[:, :, own], v[:, :, own], mask)
        assert torch.allclose(found, wanted[:, :, own], atol=1e-5)


def test_slopes_of_keys_and_values_are_summed_over_all_ranks(network: Network) -> None:
    q, k, v = drawn()
    slopes = torch.randn(q.shape, generator=torch.Generator().manual_seed(1))
    keys, values = k.clone().requires_grad_(), v.clone().requires_grad_()
    wanted = torch.autograd.grad((whole(q, keys, values, None) * slopes).sum(), (keys, values))
    places = [one.positions(LENGTH // RANKS) for one in ranks()]
    network.parts = [torch.stack((k[:, :, some], v[:, :, some])) for some in places]
    for one, own in zip(ranks(), places, strict=True):
        mine = k[:, :, own].clone().requires_grad_(), v[:, :, own].clone().requires_grad_()
        out = one.attend(q[:, :, own], *mine, None)
        found = torch.autograd.grad((out * slopes[:, :, own]).sum(), mine)
        # A rank's own share of what was handed to the sum.
        part = network.summed[-1].chunk(RANKS, -2)[one.rank]
        assert all(torch.equal(a, b) for a, b in zip(found, part, strict=True))
    total = torch.stack(network.summed).sum(0)  # as the ranks would have it
    order = torch.cat(places)
    for found, right in zip(total, wanted, strict=True):
        assert torch.allclose(found, right[:, :, order], atol=1e-5)


def test_what_context_ranks_cannot_compute_is_not_among_what_they_have() -> None:
    assert ContextParallelAttention.supported_features < ALL_FEATURES
    assert "sliding_window" not in ContextParallelAttention.supported_features
    with pytest.raises(AssertionError):
        ranks()[0].mask(torch.zeros(1, 4), window=8)
    assert module.UNSUPPORTED_FEATURES["context"] == ALL_FEATURES - ContextParallelAttention.supported_features
