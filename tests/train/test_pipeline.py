"""Pieces of a model one after another compute what the whole does, and so does a pipeline of one stage."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from itertools import pairwise

import pytest
import torch
import torch.distributed as dist

from herd.core.errors import TrainingError
from herd.model.transformer import Transformer
from herd.train.batches import IGNORE_INDEX, Batch
from herd.train.layout import ParallelLayout
from herd.train.objectives import NextTokenLoss, next_token_loss
from herd.train.pipeline import ModelChunk, Pipeline
from herd.train.regions import named_weights
from tests.model.test_transformer import SMALL, ids, model


def batch(rows: int = 4) -> Batch:
    tokens = ids(rows, 12)
    targets = tokens.roll(-1, 1)
    targets[:, -1] = IGNORE_INDEX
    documents = torch.zeros_like(tokens)
    documents[:, 7:] = 1
    return Batch(tokens, targets, documents, sources=("a", "b") * (rows // 2))


def pieces(whole: Transformer, *cuts: int) -> list[ModelChunk]:
    ends = (0, *cuts, SMALL.n_layers)
    made = [
        ModelChunk(whole, range(start, end), first=number == 0, last=number == len(cuts))
        for number, (start, end) in enumerate(pairwise(ends))
    ]
    for piece in made:
        piece.set_max_seq_len(SMALL.max_seq_len)
    return made


@pytest.mark.parametrize("cuts", [(), (1,), (1, 2), (0, 3)])
def test_pieces_one_after_another_give_the_loss_of_the_whole(cuts: tuple[int, ...]) -> None:
    whole, given = model(), batch()
    wanted, _ = next_token_loss(whole, given)
    x = given.tokens_BT
    made = pieces(whole, *cuts)
    for piece in made:
        piece.total = given.loss_denominator
        x = piece(x, targets_BT=given.targets_BT, documents_BT=given.documents_BT)
    assert x.shape == (1,)
    assert float(x.detach()) == pytest.approx(float(wanted.detach()) / given.loss_denominator, rel=1e-5)
    (each,) = made[-1].token_losses
    assert each.shape == given.tokens_BT.shape
    assert float(each.sum().detach()) == pytest.approx(float(wanted.detach()), rel=1e-5)


def test_every_weight_is_in_one_piece_by_the_name_it_has_in_the_whole() -> None:
    whole = model()
    found = [name for piece in pieces(whole, 1, 2) for name, _ in named_weights(piece)]
    assert sorted(found) == sorted(name for name, _ in whole.named_parameters())


@pytest.fixture
def alone() -> Iterator[None]:
    """A group of this process only."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    dist.init_process_group("gloo", init_method=address, rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize("micro_batch", [1, 2, 4])
def test_a_stage_gives_loss_sums_and_gradients_of_its_batch(micro_batch: int, alone: None) -> None:
    given, plain, whole = batch(), model(), model()
    total, sums = next_token_loss(plain, given)
    (total / given.loss_denominator).backward()
    line = Pipeline(pieces(whole), ParallelLayout(), 0, dist.group.WORLD, torch.device("cpu"))
    for _ in range(2):  # the second time the schedule is there already
        whole.zero_grad()
        value, found = line.step(given, NextTokenLoss(), given.loss_denominator, micro_batch)
        assert value == pytest.approx(float(total.detach()) / given.loss_denominator, rel=1e-5)
        assert found == pytest.approx(sums, rel=1e-5)
        for a, b in zip(whole.parameters(), plain.parameters(), strict=True):
            assert a.grad is not None
            assert b.grad is not None
            assert torch.allclose(a.grad, b.grad, atol=1e-6)


def test_rows_that_do_not_share_out_over_micro_batches_are_told() -> None:
    line = Pipeline(pieces(model()), ParallelLayout(), 0, None, torch.device("cpu"))
    with pytest.raises(TrainingError, match="4 rows cannot be divided into micro-batches of 3; set micro_batch to 1"):
        line.step(batch(), NextTokenLoss(), 1.0, 3)
