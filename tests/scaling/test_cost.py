"""What a run costs, against what the report says of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from herd.core.errors import SettingsError
from herd.model.sizes import LLAMA_VOCAB_SIZE, model_size
from herd.scaling.cost import (
    TrainingJob,
    best_layout,
    cost,
    cost_lines,
    cost_row,
    load_machine,
    stated_days_line,
    step_traffic,
    utilization,
    wait_share,
    work_seconds,
)
from herd.train.layout import ParallelLayout

GIANT = model_size("405b").shape(vocab_size=LLAMA_VOCAB_SIZE)
H100 = load_machine("h100")


def job(length: int = 8_192, tokens: float = 15.6e12) -> TrainingJob:
    return TrainingJob(GIANT, tokens, length, 2**24)


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


@pytest.mark.row(7, "days")
def test_the_reports_run(figure) -> None:
    """67.1 days by 6 N D at 400 TFLOP/s on 16,384 devices, 69.5 with attention; 120 days go with neither."""
    found = cost(
        job(), 16_384, H100, layout=ParallelLayout(tensor=8, pipeline=16, data=128, chunks=8), flops_per_second=400e12
    )
    assert found.job.rough_flops == pytest.approx(3.8e25, rel=0.005)
    assert found.rough_days == pytest.approx(67.1, abs=0.2)
    assert found.days == pytest.approx(69.5, abs=0.1)
    assert found.days / found.rough_days == pytest.approx(found.job.flops / found.job.rough_flops)
    said = "\n".join(cost_lines(found, H100))
    assert f"{found.days:.1f} days ({found.rough_days:.1f} by 6 N D)" in said
    assert cost_row(found)["rough_days"] == found.rough_days
    notes = stated_days_line(found, 120)
    assert "120 days would be 224 TFLOP/s a device by 6 N D" in notes
    assert "which is not the 400 it is said to be" in notes
    assert "which is what is estimated" in stated_days_line(found, 67)
    assert "which is what is estimated" in stated_days_line(found, 69.5)
    figure(
        f"{found.rough_days:.1f} days by 6 N D, {found.days:.1f} with attention; {notes.removeprefix('told').strip()}"
    )
    # 419 in 54 days is 7.8 a day.
    assert found.failures / found.days == pytest.approx(7.76, abs=0.01)
    assert found.useful > 0.9
    assert found.memory.total < H100.memory_bytes


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
    with pytest.raises(SettingsError, match="no machine 'h10'.*h100"):
        load_machine("h10")


def test_a_slow_speed_is_remarked_on_and_own_machines_are_read(tmp_path: Path) -> None:
    slow = cost(
        job(), 16_384, H100, layout=ParallelLayout(tensor=8, pipeline=16, data=128, chunks=8), flops_per_second=60e12
    )
    text = "\n".join(cost_lines(slow, H100))
    assert "In fp32 it has 67" in text
    assert "dollars" in text
    own = tmp_path / "mine.yaml"
    own.write_text(
        "mine: {peak_flops: 1.0e12, fp32_flops: 1.0e11, memory_bytes: 1.0e9, link: 1.0e9, network: 1.0e9, "
        "server: 2, price_per_hour: 0.1}"
    )
    assert load_machine("mine", own).server == 2


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
    assert "it waits" in "\n".join(cost_lines(cost(small, 64, H100, layout=spread), H100))
