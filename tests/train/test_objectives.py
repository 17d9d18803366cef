"""The loss of the next token: summed over all targets, source by source, and with what holds logits back."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from herd.train.batches import IGNORE_INDEX, Batch
from herd.train.objectives import NextTokenLoss, local_rows, next_token_loss, per_source_sums
from tests.model.test_transformer import SMALL, ids, model


def batch(sources: tuple[str, ...] = ("a", "b", "a")) -> Batch:
    tokens = ids(3, 12)
    targets = tokens.roll(-1, 1)
    targets[:, -1] = IGNORE_INDEX
    targets[0, :4] = IGNORE_INDEX
    return Batch(tokens, targets, torch.zeros_like(tokens), sources=sources)


def test_the_loss_is_the_sum_of_nats_and_every_source_has_its_own() -> None:
    made, given = model(), batch()
    total, sums = next_token_loss(made, given)
    logits = made(given.tokens_BT).transpose(1, 2)
    each = F.cross_entropy(logits, given.targets_BT, ignore_index=IGNORE_INDEX, reduction="none").sum(1)
    assert float(total.detach()) == pytest.approx(float(each.sum().detach()), rel=1e-5)
    assert sums["loss/a"] == pytest.approx(float((each[0] + each[2]).detach()), rel=1e-5)
    assert sums["loss/b"] == pytest.approx(float(each[1].detach()), rel=1e-5)
    assert (sums["tokens/a"], sums["tokens/b"]) == (7 + 11, 11)
    assert sums["loss/a"] + sums["loss/b"] == pytest.approx(float(total.detach()), rel=1e-5)
    assert sums["tokens/a"] + sums["tokens/b"] == given.loss_denominator
    assert next_token_loss(made, batch(()))[1] == {}


def test_documents_of_a_row_do_not_see_each_other() -> None:
    made, given = model(), batch()
    documents = torch.zeros_like(given.tokens_BT)
    documents[:, 6:] = 1
    packed = replace(given, documents_BT=documents)
    apart = [
        Batch(given.tokens_BT[:, part], given.targets_BT[:, part], torch.zeros(3, 6, dtype=torch.long))
        for part in (slice(0, 6), slice(6, 12))
    ]
    total = float(next_token_loss(made, packed)[0].detach())
    assert total == pytest.approx(sum(float(next_token_loss(made, one)[0].detach()) for one in apart), rel=1e-5)
    assert total != pytest.approx(float(next_token_loss(made, given)[0].detach()), rel=1e-4)


def test_large_logits_cost_the_square_of_their_log_sum() -> None:
    """PaLM, section 5: z_loss x log² Z, a token."""
    made, given = model(), batch()
    plain, held = (float(NextTokenLoss(z)(made, given)[0].detach()) for z in (0.0, 1e-2))
    log_z = made(given.tokens_BT).logsumexp(-1)[given.targets_BT != IGNORE_INDEX]
    assert held - plain == pytest.approx(1e-2 * float(log_z.square().sum().detach()), rel=1e-4)
    # What is logged of a source is the loss alone.
    assert NextTokenLoss(1e-2)(made, given)[1] == pytest.approx(NextTokenLoss()(made, given)[1], rel=1e-5)


def test_sums_are_of_the_rows_that_have_a_source() -> None:
    given = batch()
    each = torch.where(given.targets_BT == IGNORE_INDEX, 0.0, 2.0)
    assert per_source_sums(given, each) == {"loss/a": 36.0, "tokens/a": 18, "loss/b": 22.0, "tokens/b": 11}
    with pytest.raises(ValueError, match="zip"):
        per_source_sums(replace(given, sources=("a",)), each)


def test_a_matrix_that_nobody_divides_is_here_whole() -> None:
    matrix = torch.zeros(SMALL.vocab_size, 2)
    assert local_rows(matrix) == (matrix, None)
