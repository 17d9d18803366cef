"""What a run takes, against what the report says of its own; and micro-batches that fit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.core.errors import SettingsError
from herd.model.sizes import LLAMA_VOCAB_SIZE, model_size
from herd.train.cost import (
    BUSY_UTILIZATION,
    TrainingJob,
    best_layout,
    cost,
    fitting_micro_batch,
    step_traffic,
    usable_bytes,
    utilization,
    wait_share,
    work_seconds,
)
from herd.train.layout import ParallelLayout
from herd.train.machines import load_machine

GIANT = model_size("405b").shape(vocab_size=LLAMA_VOCAB_SIZE)
H100 = load_machine("h100")


def job(length: int = 8_192, tokens: float = 15.6e12, **more: Any) -> TrainingJob:
    return TrainingJob(GIANT, tokens, length, 2**24, **more)


@pytest.mark.row(38, "table_4")
def test_the_rows_of_table_4_are_foretold_from_the_first(figure) -> None:
    """Busy speed is taken from the first row; the other two follow from pipeline and context."""
    rows = [
        (ParallelLayout(tensor=8, pipeline=16, data=64, chunks=8), 8_192, 43),
        (ParallelLayout(tensor=8, pipeline=16, data=128, chunks=8), 8_192, 41),
        (ParallelLayout(tensor=8, context=16, pipeline=16, data=8, chunks=8), 131_072, 38),
    ]
    first, *found = [100 * utilization(job(length), layout, H100) for layout, length, _ in rows]
    figure(
        f"MFU predicted {' and '.join(f'{one:.1f}' for one in found)} % where table 4's rows 2 and 3 print 41 and 38; "
        f"row 1, {first:.1f} %, is what the speed is taken from"
    )
    for one, (_, _, printed) in zip(found, rows[1:], strict=True):
        assert one == pytest.approx(printed, abs=2)


@pytest.mark.row(38, "inconsistency")
def test_the_third_row_as_printed_contradicts_itself(figure) -> None:
    """16,384 devices, 16 sequences a data rank and 16M tokens a batch, with 4 data ranks."""
    printed = ParallelLayout(tensor=8, context=16, pipeline=16, data=4, chunks=8)
    with pytest.raises(SettingsError, match=r"is 8,192 devices and not 16,384; data has to be 8") as told:
        cost(job(131_072), 16_384, H100, layout=printed)
    with pytest.raises(SettingsError, match=r"a batch of 8,388,608 tokens and not 16,777,216; data has to be 8"):
        printed.check_devices(8_192, rows=16, length=131_072, batch_tokens=2**24)
    right = replace(printed, data=8)
    right.check_devices(16_384, rows=16, length=131_072, batch_tokens=2**24)
    assert cost(job(131_072), 16_384, H100, layout=right).devices == 16_384
    with pytest.raises(SettingsError, match="they do not share out so"):
        replace(printed, context=3).check_devices(16_384, rows=16, length=131_072, batch_tokens=2**24)
    figure(f"table 4's third row: {told.value}")


def test_a_layout_is_found_that_fits_and_is_as_good_as_the_reports() -> None:
    theirs = ParallelLayout(tensor=8, pipeline=16, data=128, chunks=8)
    ours = best_layout(job(), 16_384, H100)
    assert ours.devices == 16_384
    assert job().memory(ours).total < 0.92 * H100.memory_bytes
    assert utilization(job(), ours, H100) >= utilization(job(), theirs, H100)
    small = TrainingJob(model_size("3.2-1b").shape(vocab_size=LLAMA_VOCAB_SIZE), 1e12, 8_192, 2**22)
    assert best_layout(small, 8, H100).data == 8


def test_what_cannot_fit_or_divide_is_told() -> None:
    with pytest.raises(SettingsError, match=r"8 devices of 80 GB cannot hold it: .* take about \d+ devices"):
        best_layout(job(), 8, H100)
    with pytest.raises(SettingsError, match="do not share out"):
        best_layout(
            TrainingJob(model_size("8b").shape(vocab_size=LLAMA_VOCAB_SIZE), 1e9, 8_192, 8_192), 7 * 11 * 13 * 17, H100
        )


def test_what_a_device_sends_in_a_step() -> None:
    layout = ParallelLayout(tensor=8, context=16, pipeline=16, data=8, chunks=8)
    found = step_traffic(job(131_072), layout, H100)
    # 2 bytes a number of 16,384 tokens x 16,384 numbers, eight times a layer, to seven of eight ranks; 126 / 16 layers.
    tokens = 2**24 / (8 * 16)
    assert found.bytes["tensor"] == pytest.approx(8 * 2 * tokens * 16_384 * 126 / 16 * 7 / 8)
    # Weights of a device once in bf16, gradients once in fp32.
    assert found.bytes["data"] == pytest.approx(6 * GIANT.num_params / 128 * 127 / 128)
    assert found.seconds["tensor"] == pytest.approx(found.bytes["tensor"] / 450e9)
    assert found.seconds["data"] == pytest.approx(found.bytes["data"] / 50e9)
    assert set(step_traffic(job(), ParallelLayout(), H100).bytes.values()) == {0.0}


def test_weights_that_little_work_hides_are_waited_for() -> None:
    small = TrainingJob(model_size("8b").shape(vocab_size=LLAMA_VOCAB_SIZE), 1e12, 8_192, 2**19)
    spread = ParallelLayout(data=64)
    work = work_seconds(small, spread, H100)
    assert wait_share(small, spread, H100) == pytest.approx(
        step_traffic(small, spread, H100).seconds["data"] / work - 1
    )
    assert wait_share(job(), ParallelLayout(tensor=8, pipeline=16, data=128, chunks=8), H100) == 0.0


@given(
    st.sampled_from(["tiny", "10m", "3.2-1b", "8b", "70b"]),
    st.sampled_from([256, 2_048, 8_192]),
    st.integers(1, 96),
    st.sampled_from([1, 2, 8]),
    st.sampled_from([1, 2, 4]),
    st.floats(1e8, 2e11),
    st.sampled_from([False, "selective", True]),
    st.booleans(),
)
def test_a_chosen_micro_batch_never_takes_more_than_there_is(
    size: str, length: int, rows: int, data: int, pipeline: int, memory: float, recompute: Any, compiled: bool
) -> None:
    shape = model_size(size).shape(vocab_size=4_096, max_seq_len=length)
    shape = replace(shape, tied_output=False, rope_scaling=None)
    layout = ParallelLayout(data=data, pipeline=pipeline)
    asked = TrainingJob(shape, 1e9, length, rows * data * length, recompute=recompute, compiled=compiled)
    found = fitting_micro_batch(asked, layout, memory)
    if found is None:
        assert asked.memory(layout).total > usable_bytes(memory)
        return
    assert 1 <= found <= rows
    assert asked.memory(layout, found).total <= usable_bytes(memory) < memory
    if pipeline == 1 and found < rows:
        # A row more, where it needs fewer parts, would not have fitted.
        larger = -(-rows // (asked.micro_batches(layout, found) - 1))
        assert asked.memory(layout, larger).total > usable_bytes(memory)


def test_computing_all_again_costs_a_third_and_fp32_is_slow() -> None:
    layout = ParallelLayout(data=8)
    small = TrainingJob(model_size("3.2-1b").shape(vocab_size=LLAMA_VOCAB_SIZE), 1e12, 8_192, 2**22)
    assert utilization(replace(small, recompute=True), layout, H100) == pytest.approx(0.75 * BUSY_UTILIZATION)
    assert utilization(replace(small, recompute="selective"), layout, H100) == pytest.approx(BUSY_UTILIZATION)
    plain, slow = cost(small, 8, H100, layout=layout), cost(replace(small, dtype="fp32"), 8, H100, layout=layout)
    assert slow.days / plain.days == pytest.approx(989 / 67)
    assert plain.fits
    assert plain.micro_batch > 1
    assert "table 4" in plain.speed_from
