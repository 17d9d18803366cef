"""What a run costs in words, against what the report says of its own."""

from __future__ import annotations

from typing import Any

import pytest

from herd.model.sizes import LLAMA_VOCAB_SIZE, model_size
from herd.scaling.cost import cost_lines, cost_row, stated_days_line
from herd.train.cost import Speed, TrainingJob, cost
from herd.train.layout import ParallelLayout
from herd.train.machines import load_machine

GIANT = model_size("405b").shape(vocab_size=LLAMA_VOCAB_SIZE)
H100 = load_machine("h100")
THEIRS = ParallelLayout(tensor=8, pipeline=16, data=128, chunks=8)


def job(length: int = 8_192, tokens: float = 15.6e12, **more: Any) -> TrainingJob:
    return TrainingJob(GIANT, tokens, length, 2**24, **more)


@pytest.mark.row(7, "days")
def test_the_reports_run(figure) -> None:
    """67.1 days by 6 N D at 400 TFLOP/s on 16,384 devices, 69.5 with attention; 120 days go with neither."""
    found = cost(job(recompute="selective"), 16_384, H100, layout=THEIRS, speed=Speed(400e12, "given"))
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
    assert found.failures / found.days * 54 == pytest.approx(419)
    assert found.useful > 0.9
    assert found.memory.total < H100.memory_bytes


def test_a_slow_speed_is_remarked_on() -> None:
    slow = cost(
        job(),
        16_384,
        H100,
        layout=ParallelLayout(tensor=8, pipeline=16, data=128, chunks=8),
        speed=Speed(60e12, "given"),
    )
    text = "\n".join(cost_lines(slow, H100))
    assert "In fp32 it has 67" in text
    assert "dollars" in text


def test_what_is_waited_for_is_said() -> None:
    small = TrainingJob(model_size("8b").shape(vocab_size=LLAMA_VOCAB_SIZE), 1e12, 8_192, 2**19)
    assert "it waits" in "\n".join(cost_lines(cost(small, 64, H100, layout=ParallelLayout(data=64)), H100))
