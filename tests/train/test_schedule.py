"""Schedules are pure functions with known values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.core.errors import SettingsError
from herd.train.schedule import (
    BatchPhase,
    BatchRamp,
    MixPhase,
    check_phases,
    mix_within,
    warmup_cosine,
    warmup_stable_decay,
)

# Llama 3, 3.4.1: 8e-5 after 8,000 steps of warm-up, then a cosine down to 8e-7 at step 1,200,000.
LLAMA = {"peak": 8e-5, "warmup": 8000, "total": 1_200_000, "floor": 0.01}


@pytest.mark.row(33, "schedule")
@pytest.mark.parametrize(
    ("step", "lr"), [(0, 1e-8), (3999, 4e-5), (7999, 8e-5), (8000, 8e-5), (604_000, 4.04e-5), (1_200_000, 8e-7)]
)
def test_llamas_rates(step: int, lr: float, figure) -> None:
    found = warmup_cosine(step, **LLAMA)
    figure(f"step {step:,}: {found:.3g}")
    assert found == pytest.approx(lr, rel=1e-6)


@given(st.integers(2, 5000), st.floats(0.01, 0.5), st.floats(0, 0.5))
def test_the_cosine_rises_then_falls_and_has_no_jump(total: int, warmup_share: float, floor: float) -> None:
    warmup = max(1, int(total * warmup_share))
    rates = [warmup_cosine(step, peak=1.0, warmup=warmup, total=total, floor=floor) for step in range(total + 1)]
    assert rates[:warmup] == sorted(rates[:warmup])
    assert rates[warmup:] == sorted(rates[warmup:], reverse=True)
    assert max(rates) == pytest.approx(1.0)
    assert rates[-1] == pytest.approx(floor)


def test_held_rates_fall_only_at_the_end() -> None:
    rates = [warmup_stable_decay(step, peak=2.0, warmup=10, total=100, decay_share=0.2) for step in range(101)]
    assert rates[10:80] == [2.0] * 70
    assert rates[90] == 1.0
    assert rates[100] == 0.0


@pytest.mark.row(33, "schedule")
def test_a_ramp_doubles_the_batch_and_reads_every_row_once() -> None:
    phases = (BatchPhase(until=0.25, batch_tokens=64), BatchPhase(until=1.0, batch_tokens=128))
    ramp = BatchRamp(phases, tokens=2048, length=16)
    rows = [row for step in range(ramp.steps) for row in ramp.rows_of(step)]
    assert rows == list(range(ramp.rows))
    assert [len(ramp.rows_of(step)) for step in (0, 7, 8, ramp.steps - 1)] == [4, 4, 8, 8]
    assert ramp.rows * 16 == 2048


@given(st.integers(1, 50), st.integers(1, 4), st.integers(2, 40))
def test_any_ramp_reads_every_row_once(tokens: int, length: int, batch: int) -> None:
    phases = (
        BatchPhase(until=0.5, batch_tokens=batch * length),
        BatchPhase(until=1.0, batch_tokens=2 * batch * length),
    )
    ramp = BatchRamp(phases, tokens * length, length)
    assert [row for step in range(ramp.steps) for row in ramp.rows_of(step)] == list(range(ramp.rows))


# Llama 3, 3.4.1: 4M tokens in rows of 4,096 until 252M, 8M in rows of 8,192 until 2.87T, then 16M; millions are 2^20.
REPORT = BatchRamp(
    (
        BatchPhase(until=1.6153846e-5, batch_tokens=2**22, length=4096),
        BatchPhase(until=0.18397436, batch_tokens=2**23),
        BatchPhase(until=1.0, batch_tokens=2**24),
    ),
    15_600_000_000_000,
    8192,
)


@pytest.mark.parametrize(
    ("tokens", "rows", "length"),
    [(0, 1024, 4096), (251e6, 1024, 4096), (253e6, 1024, 8192), (2.86e12, 1024, 8192), (2.88e12, 2048, 8192)],
)
def test_the_reports_batches_by_tokens(tokens: float, rows: int, length: int) -> None:
    seen = 0
    for phase in REPORT.plan:
        if tokens < seen + phase.tokens:
            step = phase.first_step + int((tokens - seen) // (phase.rows * phase.length))
            assert (len(REPORT.rows_of(step)), REPORT.phase_of(step).length) == (rows, length)
            return
        seen += phase.tokens
    pytest.fail("past the run")


def test_the_reports_steps() -> None:
    assert [phase.steps for phase in REPORT.plan] == [60, 342_101, 758_767]
    assert REPORT.steps == 1_100_928
    assert REPORT.trained_tokens == pytest.approx(15.6e12, rel=1e-6)
    assert REPORT.tokens_by_length == {4096: 60 * 2**22, 8192: REPORT.trained_tokens - 60 * 2**22}
    assert REPORT.batch_shapes == {(1024, 4096): 60, (1024, 8192): 342_101, (2048, 8192): 758_767}
    # In rows of the run's length.
    assert REPORT.batches == {512: 60, 1024: 342_101, 2048: 758_767}


@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(0, 2)), min_size=1, max_size=4),
    st.integers(50, 400),
)
def test_a_ramp_of_several_lengths_reads_every_row_once(parts: list[tuple[int, int, int]], tokens: int) -> None:
    phases = tuple(
        BatchPhase(until=(n + 1) / len(parts), batch_tokens=rows * length, length=length if kind else None)
        for n, (rows, length, kind) in enumerate((rows + 4, length, kind) for rows, length, kind in parts)
    )
    ramp = BatchRamp(phases, tokens, 4)
    assert [row for step in range(ramp.steps) for row in ramp.rows_of(step)] == list(range(ramp.rows))
    assert (
        sum(len(ramp.rows_of(step)) * ramp.phase_of(step).length for step in range(ramp.steps)) == ramp.trained_tokens
    )


def test_a_part_of_a_run_has_its_part_of_the_mix() -> None:
    first, second = ({"a": 1.0}, {"a": 0.5, "b": 0.5})
    mix = (MixPhase(until=0.5, mixture_weights=first), MixPhase(until=1.0, mixture_weights=second))

    def within(start: float, end: float) -> list[tuple[float, dict[str, float]]]:
        return [(phase.until, phase.mixture_weights) for phase in mix_within(mix, start, end)]

    assert mix_within(mix, 0.0, 1.0) == mix
    assert within(0.0, 0.25) == [(1.0, first)]
    assert within(0.25, 0.75) == [(0.5, first), (1.0, second)]
    assert within(0.5, 1.0) == [(1.0, second)]


def test_a_batch_smaller_than_a_row_is_refused() -> None:
    with pytest.raises(SettingsError, match="try batch_tokens 128"):
        _ = BatchRamp((BatchPhase(until=1.0, batch_tokens=100),), 1000, 128).steps


@pytest.mark.parametrize("ends", [(), (0.5,), (0.5, 0.5, 1.0), (1.0, 0.5)])
def test_phases_must_rise_to_one(ends: tuple[float, ...]) -> None:
    with pytest.raises(SettingsError, match=r"must rise and end at 1\.0"):
        check_phases([BatchPhase(until=end, batch_tokens=8) for end in ends], "batch")
