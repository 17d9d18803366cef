"""Which source comes next: shares of tokens at any time, whatever rows hold, and no state."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from herd.core.errors import DataError
from herd.tokens.shards import TokenShard
from herd.train.mixture import BLOCK, Mixture, cap_weights
from herd.train.rows import SourceRows
from herd.train.schedule import MixPhase
from tests.train.test_batches import schedule


@settings(max_examples=25, deadline=None)
@given(
    st.dictionaries(st.sampled_from("abcd"), st.floats(0.05, 1), min_size=1),
    st.floats(0.2, 0.8),
    st.lists(st.integers(2, 40), min_size=4, max_size=4),
)
def test_shares_are_met_to_within_a_few_rows_at_any_time(
    weights: dict[str, float], change: float, sizes: list[int]
) -> None:
    sources = {
        name: SourceRows(name, _shard([size, 2 * size]), 16, 0) for name, size in zip("abcd", sizes, strict=True)
    }
    first = {name: weight / sum(weights.values()) for name, weight in weights.items()}
    mix = (
        MixPhase(until=change, mixture_weights=first),
        MixPhase(until=1.0, mixture_weights=dict.fromkeys("abcd", 0.25)),
    )
    rows = 3000
    mixture = Mixture(mix, rows, 16, sources)
    order = [mixture.source_of(row) for row in range(rows)]
    taken = mixture.row_counts(rows)
    for name in sources:  # every source's own rows come in order, none twice
        assert [row for other, row in order if other == name] == list(range(taken[name]))
    total = sum(sources[name].tokens(row) for name, row in taken.items())
    for count in (5, 50, 500, rows):
        tokens = {name: sources[name].tokens(row) for name, row in mixture.row_counts(count).items()}
        done = sum(tokens.values())
        wanted = schedule(mix, done / total)
        for name, number in tokens.items():
            # Half a row of its own, and half a row of every other by which the whole may be ahead or behind.
            assert abs(number - wanted.get(name, 0.0) * total) < 3 * 16


def _shard(sizes: list[int]) -> TokenShard:
    ends = np.cumsum(sizes)
    return TokenShard(np.ones(int(ends[-1]), np.uint16), ends, 0)


def test_the_order_follows_from_the_step_alone() -> None:
    """Asked for a late row first, a mixture says what one says that was asked for all before."""

    def mixture() -> Mixture:
        sizes = {"a": [11] * 400, "b": [17] * 400, "c": [30, 40] * 100}
        sources = {name: SourceRows(name, _shard(own), 16, 0) for name, own in sizes.items()}
        return Mixture((MixPhase(until=1.0, mixture_weights={"a": 0.5, "b": 0.25, "c": 0.25}),), 20_000, 16, sources)

    forward = mixture()
    order = [forward.source_of(row) for row in range(20_000)]
    chance = np.random.default_rng(0)
    other = mixture()
    assert all(other.source_of(row) == order[row] for row in chance.integers(0, 20_000, 300).tolist())
    late, asked = mixture(), []
    late._order = lambda block: asked.append(block) or Mixture._order(late, block)  # type: ignore[method-assign]
    assert late.source_of(19_999) == order[19_999]
    assert len(asked) == 1  # only the stretch it lies in was put in order


class Full:
    """A source whose rows are all full, of so many tokens."""

    def __init__(self, tokens: int = 16) -> None:
        self.tokens = tokens

    def midpoints(self, tokens: float) -> np.ndarray:
        return (np.arange(int(tokens // self.tokens) + 2) + 0.5) * self.tokens


def order(phases: tuple[MixPhase, ...], rows: int, **sources: Full) -> list[str]:
    made = Mixture(phases, rows, 16, sources)
    return [made.source_of(number)[0] for number in range(rows)]


def test_full_rows_of_equal_shares_take_turns() -> None:
    equal = (MixPhase(until=1.0, mixture_weights={"a": 0.5, "b": 0.5}),)
    assert order(equal, 200, b=Full(), a=Full()) == ["a", "b"] * 100  # of the same time, by name
    # A source with rows half as full comes twice as often.
    found = order(equal, 300, a=Full(16), b=Full(8))
    assert found[:6].count("b") == 4
    assert found.count("b") == 200


def test_a_source_without_a_share_waits_for_its_phase() -> None:
    phases = (
        MixPhase(until=0.5, mixture_weights={"a": 1.0}),
        MixPhase(until=0.75, mixture_weights={"b": 1.0}),
        MixPhase(until=1.0, mixture_weights={"a": 0.5, "b": 0.5}),
    )
    found = order(phases, 400, a=Full(), b=Full())
    assert found[:200] == ["a"] * 200
    assert found[200:300] == ["b"] * 100
    assert found[300:].count("a") == 50


def test_what_is_taken_is_counted_and_each_sources_rows_come_in_order() -> None:
    made = Mixture((MixPhase(until=1.0, mixture_weights={"a": 0.7, "b": 0.3}),), 500, 16, {"a": Full(), "b": Full(5)})
    assert made.row_counts(0) == {"a": 0, "b": 0}
    seen = {"a": 0, "b": 0}
    for number in range(3 * BLOCK):
        name, row = made.source_of(number)
        assert row == seen[name]
        seen[name] += 1
        if number % 17 == 0:
            assert made.row_counts(number + 1) == seen
    assert (
        made.source_of(3)[0]
        == order((MixPhase(until=1.0, mixture_weights={"a": 0.7, "b": 0.3}),), 4, a=Full(), b=Full(5))[3]
    )


def test_little_is_read_ahead_of_the_row_asked_for() -> None:
    """What is packed too far is packed in vain."""

    class Counted(Full):
        most = 0.0

        def midpoints(self, tokens: float) -> np.ndarray:
            self.most = max(self.most, tokens)
            return super().midpoints(tokens)

    source = Counted()
    made = Mixture((MixPhase(until=1.0, mixture_weights={"a": 1.0}),), 100_000, 16, {"a": source})
    made.source_of(1000)
    assert source.most < (1000 + 3 * BLOCK) * 16


def test_shares_are_cut_to_what_there_is_and_the_others_fill_their_place() -> None:
    assert cap_weights(np.array([0.8, 0.1, 0.1]), np.array([0.4, 1.0, 1.0])) == pytest.approx([0.4, 0.3, 0.3])
    assert cap_weights(np.array([1.0, 0.0]), np.array([0.4, 1.0])) == pytest.approx([0.4, 0.6])
    with pytest.raises(DataError, match="hold only 90% of the tokens"):
        cap_weights(np.array([0.5, 0.5]), np.array([0.4, 0.5]))


@given(st.lists(st.tuples(st.floats(1e-6, 1.0) | st.just(0.0), st.floats(0.05, 1.0)), min_size=2, max_size=6))
def test_capped_shares_are_a_mix_within_the_caps(pairs: list[tuple[float, float]]) -> None:
    shares, most = (np.array(row) for row in zip(*pairs, strict=True))
    if shares.sum() < 1e-3 or most.sum() < 1:
        return
    found = cap_weights(shares, most)
    assert found.sum() == pytest.approx(1)
    assert (found <= most + 1e-9).all()
    whole = shares / shares.sum()
    if (whole <= most).all():
        assert found == pytest.approx(whole)
    # What is under its cap keeps its proportion to others that are.
    free = (found < most - 1e-9) & (whole > 1e-6)
    assert np.ptp(found[free] / whole[free]) < 1e-6 * (found[free] / whole[free]).max() if free.any() else True
