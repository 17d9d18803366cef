"""What a run costs, against what the report says of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from herd.core.errors import SettingsError
from herd.model.sizes import LLAMA_VOCABULARY, size
from herd.scaling.cost import (
    Job,
    best_layout,
    cost,
    implied,
    lines,
    machine,
    traffic,
    utilization,
    waiting,
    work_seconds,
)
from herd.train.layout import Layout

GIANT = size("405b").shape(vocabulary=LLAMA_VOCABULARY)
H100 = machine("h100")


def job(length: int = 8_192, tokens: float = 15.6e12) -> Job:
    return Job(GIANT, tokens, length, 2**24)


@pytest.mark.row(38, "table_4")
def test_the_rows_of_table_4_are_foretold_from_the_first(figure) -> None:
    """Busy speed is taken from the first row; the other two follow from pipeline and context."""
    rows = [
        (Layout(tensor=8, pipeline=16, data=64, chunks=8), 8_192, 43),
        (Layout(tensor=8, pipeline=16, data=128, chunks=8), 8_192, 41),
        (Layout(tensor=8, context=16, pipeline=16, data=8, chunks=8), 131_072, 38),
    ]
    found = [100 * utilization(job(length), layout, H100) for layout, length, _ in rows]
    figure(f"MFU foretold {', '.join(f'{one:.1f}' for one in found)} % where table 4 prints 43, 41, 38")
    for one, (_, _, printed) in zip(found, rows, strict=True):
        assert one == pytest.approx(printed, abs=2)


@pytest.mark.row(7, "days")
def test_the_reports_run(figure) -> None:
    found = cost(job(), 16_384, H100, layout=Layout(tensor=8, pipeline=16, data=128, chunks=8), flops_per_second=400e12)
    rough = 6 * GIANT.weights * 15.6e12
    figure(
        f"{rough:.2e} FLOPs by 6 N D, {found.job.flops:.2e} with attention, {found.days:.1f} days, "
        f"{found.failures:.0f} failures; 120 days would be {implied(job(), 16_384, 120) / 1e12:.0f} TFLOP/s"
    )
    assert rough == pytest.approx(3.8e25, rel=0.005)
    assert found.job.flops == pytest.approx(3.8e25, rel=0.06)
    assert found.days == pytest.approx(67.1, rel=0.06)
    # 419 in 54 days is 7.8 a day.
    assert found.failures / found.days == pytest.approx(7.76, abs=0.01)
    assert found.useful > 0.9
    assert found.memory.total < H100.memory_bytes


def test_a_layout_is_found_that_fits_and_is_as_good_as_the_reports() -> None:
    theirs = Layout(tensor=8, pipeline=16, data=128, chunks=8)
    ours = best_layout(job(), 16_384, H100)
    assert ours.devices == 16_384
    assert job().memory(ours).total < 0.92 * H100.memory_bytes
    assert utilization(job(), ours, H100) >= utilization(job(), theirs, H100)
    small = Job(size("3.2-1b").shape(vocabulary=LLAMA_VOCABULARY), 1e12, 8_192, 2**22)
    assert best_layout(small, 8, H100).data == 8


def test_what_cannot_fit_or_divide_is_told() -> None:
    with pytest.raises(SettingsError, match=r"8 devices of 80 GB cannot hold it: .* take about \d+ devices"):
        best_layout(job(), 8, H100)
    with pytest.raises(SettingsError, match="do not share out"):
        best_layout(Job(size("8b").shape(vocabulary=LLAMA_VOCABULARY), 1e9, 8_192, 8_192), 7 * 11 * 13 * 17, H100)
    with pytest.raises(SettingsError, match="no machine 'h10'.*h100"):
        machine("h10")


def test_a_slow_speed_is_remarked_on_and_own_machines_are_read(tmp_path: Path) -> None:
    slow = cost(job(), 16_384, H100, layout=Layout(tensor=8, pipeline=16, data=128, chunks=8), flops_per_second=60e12)
    text = "\n".join(lines(slow, H100))
    assert "In fp32 it has 67" in text
    assert "dollars" in text
    own = tmp_path / "mine.yaml"
    own.write_text(
        "mine: {peak_flops: 1.0e12, fp32_flops: 1.0e11, memory_bytes: 1.0e9, link: 1.0e9, network: 1.0e9, "
        "server: 2, price_per_hour: 0.1}"
    )
    assert machine("mine", own).server == 2


def test_what_a_device_sends_in_a_step() -> None:
    layout = Layout(tensor=8, context=16, pipeline=16, data=8, chunks=8)
    found = traffic(job(131_072), layout, H100)
    # 2 bytes a number of 16,384 tokens x 16,384 numbers, eight times a layer, to seven of eight ranks; 126 / 16 layers.
    tokens = 2**24 / (8 * 16)
    assert found.bytes["tensor"] == pytest.approx(8 * 2 * tokens * 16_384 * 126 / 16 * 7 / 8)
    # Weights of a device once in bf16, gradients once in fp32.
    assert found.bytes["data"] == pytest.approx(6 * GIANT.weights / 128 * 127 / 128)
    assert found.seconds["tensor"] == pytest.approx(found.bytes["tensor"] / 450e9)
    assert found.seconds["data"] == pytest.approx(found.bytes["data"] / 50e9)
    assert set(traffic(job(), Layout(), H100).bytes.values()) == {0.0}


def test_weights_that_little_work_hides_are_waited_for() -> None:
    small = Job(size("8b").shape(vocabulary=LLAMA_VOCABULARY), 1e12, 8_192, 2**19)
    spread = Layout(data=64)
    work = work_seconds(small, spread, H100)
    assert waiting(small, spread, H100) == pytest.approx(traffic(small, spread, H100).seconds["data"] / work - 1)
    assert waiting(job(), Layout(tensor=8, pipeline=16, data=128, chunks=8), H100) == 0.0
    assert "it waits" in "\n".join(lines(cost(small, 64, H100, layout=spread), H100))
