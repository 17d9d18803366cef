"""How well text is predicted, and by how much more or less than before."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.evals.intervals import ratio_mean
from herd.evals.results import EvaluationResult, TextResult
from herd.report.texts import TextLoss, text_losses
from herd.train.results import HeldOutLoss

SIZES = tuple(range(100, 124))


def held_out(level: float, *, rows: int = 24, spread: float = 0.4, noise: float = 0.0, seed: int = 0) -> HeldOutLoss:
    """A loss on rows some of which are harder, the same ones for every model. noise: of a model's own."""
    rng, own = np.random.default_rng(7), np.random.default_rng(seed)
    sizes = SIZES[:rows]
    nats = tuple(
        float(size * (level + spread * hard + noise * luck))
        for size, hard, luck in zip(sizes, rng.normal(size=rows), own.normal(size=rows), strict=True)
    )
    mean = ratio_mean(nats, sizes)
    return HeldOutLoss(mean.value, mean.value / math.log(2) / 4, sum(sizes), mean.low, mean.high, nats, sizes)


def loss(level: float, text: str = "pack-1", **more: float) -> TextLoss:
    return TextLoss.of_source(held_out(level, **more), text)  # type: ignore[arg-type]


def test_the_interval_is_that_of_the_nats_in_bits_a_byte_and_in_perplexity() -> None:
    measured = held_out(3.0)
    text = TextLoss.of_source(measured, "pack-1")
    assert text.bits is not None
    assert text.perplexity_interval is not None
    assert measured.low is not None
    assert text.bits.low == pytest.approx(measured.low / math.log(2) / 4)
    assert text.perplexity == pytest.approx(math.exp(measured.nats_per_token))
    assert text.perplexity_interval.low == pytest.approx(math.exp(measured.low))
    assert TextLoss.of_source(HeldOutLoss(3.0, 1.0, 10), "").perplexity_interval is None


def test_rows_are_compared_each_with_itself_so_that_small_changes_stand_out_of_large_differences() -> None:
    before, after = loss(3.0), loss(3.03, noise=0.01, seed=1)
    assert before.bits is not None
    assert after.bits is not None
    assert after.bits.low < before.bits.high  # the intervals of both overlap by far
    rise = after.change_from(before)
    assert rise is not None
    assert 0 < rise.low < rise.value < rise.high
    assert rise.value == pytest.approx(after.nats_per_token / before.nats_per_token - 1)


def test_a_change_within_its_interval_is_none_either_way() -> None:
    rise = loss(3.002, noise=0.05, seed=2).change_from(loss(3.0, noise=0.05, seed=3))
    assert rise is not None
    assert rise.low < 0 < rise.high


def test_other_text_is_compared_by_bits_a_byte_with_both_intervals() -> None:
    before, after = loss(3.0), loss(3.03, noise=0.01, seed=1, text="pack-2")  # type: ignore[arg-type]
    rise = after.change_from(before)
    assert rise is not None
    assert rise.low < 0 < rise.high  # less is known without pairs
    far = loss(6.0, text="pack-2").change_from(before)
    assert far is not None
    assert far.low > 0.5


def test_without_an_interval_nothing_is_said() -> None:
    old = TextLoss.of_source(HeldOutLoss(3.0, 1.0, 1000), "pack-1")
    assert old.change_from(old) is None
    assert loss(3.5).change_from(old) is None
    single = TextLoss.of_source(HeldOutLoss(3.0, 1.0, 10, row_nats=(30.0,), row_tokens=(10,)), "pack-1")
    assert single.change_from(single) is None


def test_texts_of_tasks_stand_beside_sources_and_are_compared_text_by_text() -> None:
    task = TextResult(1.0, 0.9, 1.1, 3, 2.0, math.exp(2.0), (10.0, 20.0, 30.0), (10, 20, 30))
    worse = TextResult(1.1, 1.0, 1.2, 3, 2.2, math.exp(2.2), (11.0, 22.1, 33.0), (10, 20, 30))
    results = [
        EvaluationResult(label, False, {"book": result}, held_out={"book": held_out(3.0)})
        for label, result in (("a", task), ("b", worse))
    ]
    before, after = (text_losses(result, "pack-1") for result in results)
    assert list(before) == ["book", "book (task)"]
    rise = after["book (task)"].change_from(before["book (task)"])
    assert rise is not None
    assert rise.low > 0


NATS = st.lists(st.floats(0.1, 1e4), min_size=2, max_size=20)


@given(NATS, st.floats(0.5, 2.0))
def test_a_loss_that_rises_by_one_share_everywhere_rises_by_that_share(nats: list[float], factor: float) -> None:
    sizes = tuple(range(1, len(nats) + 1))
    before = TextLoss(1.0, 1.0, None, sum(sizes), tuple(nats), sizes, "x")
    after = TextLoss(1.0, 1.0, None, sum(sizes), tuple(factor * value for value in nats), sizes, "x")
    rise = after.change_from(before)
    assert rise is not None
    assert rise.value == pytest.approx(factor - 1, abs=1e-9)
    assert rise.low == pytest.approx(rise.high, abs=1e-6)
    same = before.change_from(before)
    assert same == (0.0, 0.0, 0.0)
