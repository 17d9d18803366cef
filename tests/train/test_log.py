"""Records of steps: as far as the checkpoint and no further, and told to trackers."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.core.errors import SettingsError
from herd.train.log import CostComparison, Step, StepLog, matches_position, open_tracker, read_steps, tokens_by_source


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_curves_go_on_after_a_resume_and_show_the_settings(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls: list[dict[str, object]] = []
    module = SimpleNamespace(__name__=name, init=lambda **words: calls.append(words), finish=lambda: None)
    monkeypatch.setitem(sys.modules, name, module)
    for folder in ("pretrain-1", "pretrain-1", "pretrain-2"):
        open_tracker(name, tmp_path / folder, {"settings": {"length": 128}})
    first, again, other = (call.get("id", call["name"]) for call in calls)
    assert first == again != other
    assert all(call["resume"] == "allow" and call["config"] == {"settings": {"length": 128}} for call in calls)


def test_tensorboard_shows_the_settings(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tracker = open_tracker("tensorboard", tmp_path, {"length": 128})
    tracker.close()
    events = EventAccumulator(str(tmp_path)).Reload()
    assert b'"length": 128' in events.Tensors("settings/text_summary")[0].tensor_proto.string_val[0]


def test_a_report_holds_what_was_estimated_against_what_came() -> None:
    steps = [
        Step(n, 1.0, 1.0, 0.1, 2.0, 8.0, core_seconds=9.0 if n < 4 else 3.0, held_bytes=10 * n) for n in range(1, 9)
    ]
    told = {
        "estimate": {"core_seconds": 2.5, "held_bytes": 100, "peak_bytes": 900, "steps": 16, "overhead_seconds": 4.0}
    }
    told |= {"peak_bytes": 1000, "cpu_seconds": 50.0}
    found = CostComparison.of(told, steps)
    assert found is not None
    assert found.core_seconds == (2.5, 3.0)  # a process's first steps set things up and do not count
    assert found.held_bytes == (100, 80)
    assert found.peak_bytes == (900, 1000)
    assert found.stage_seconds == (22.0, 50.0)  # of half the steps estimated
    assert CostComparison.of({}, steps) is None
    assert CostComparison.of(told, steps[:2]) is None


def step(number: int, **other: object) -> Step:
    return Step(number, 1.5, 0.5, 1e-3, 2.0, 64.0, **other)  # type: ignore[arg-type]


class Drawn:
    """A tracker that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[int, dict[str, float]]] = []
        self.closed = False

    def log(self, figures: Mapping[str, float], step: int) -> None:
        self.told.append((step, dict(figures)))

    def close(self) -> None:
        self.closed = True


def test_a_record_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    log = StepLog(tmp_path / "metrics.jsonl", 0)
    written = [step(1, metrics={"loss/a": 2.0, "tokens/a": 10.0}), step(2, skipped="spike", held_bytes=7)]
    for one in written:
        log.add(one)
    log.close()
    assert read_steps(tmp_path / "metrics.jsonl") == written
    assert read_steps(tmp_path / "nothing.jsonl") == []


def test_a_log_goes_on_after_the_steps_it_has_and_forgets_those_after(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    log = StepLog(file, 0)
    for number in range(1, 6):
        log.add(step(number))
    log.cut(3)
    log.add(step(4, skipped="spike"))
    log.close()
    assert [(one.number, one.skipped) for one in read_steps(file)] == [(1, ""), (2, ""), (3, ""), (4, "spike")]
    again = StepLog(file, 2)
    again.close()
    assert [one.number for one in read_steps(file)] == [1, 2]
    StepLog(file, 0).close()  # nothing was done: whatever lay there is of another training
    assert file.read_bytes() == b""


def test_what_a_log_says_it_wrote_is_the_hash_of_its_file(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    log = StepLog(file, 0)
    for number in range(1, 4):
        log.add(step(number))
        written = log.flush()
        data = file.read_bytes()
        assert written == {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    log.cut(1)
    assert log.flush()["bytes"] == len(file.read_bytes())
    log.add(step(2))
    assert log.flush()["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    log.close()


@given(st.binary(min_size=1, max_size=40), st.binary(max_size=10), st.integers(0, 39))
def test_a_file_is_as_written_when_it_begins_bit_for_bit_so(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, more: bytes, at: int
) -> None:
    file = tmp_path_factory.mktemp("log") / "file"
    written = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    assert not matches_position(file, written)
    file.write_bytes(data + more)
    assert matches_position(file, written)
    at %= len(data)
    file.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :] + more)
    assert not matches_position(file, written)
    file.write_bytes(data[:-1])
    assert not matches_position(file, written)


def test_a_line_that_a_crash_cut_off_ends_the_records(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    log = StepLog(file, 0)
    for number in (1, 2, 3):
        log.add(step(number))
    log.close()
    lines = file.read_text().splitlines(keepends=True)
    file.write_text(lines[0] + lines[1][:20])
    assert [one.number for one in read_steps(file)] == [1]
    file.write_text(lines[0] + '{"other": 1}\n' + lines[2])
    assert [one.number for one in read_steps(file)] == [1]


def test_trackers_are_told_of_each_step_in_tokens_a_second_and_mfu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("herd.model.devices.peak_flops", lambda: 6400.0)
    drawn = Drawn()
    log = StepLog(tmp_path / "metrics.jsonl", 0, trackers=[drawn], flops_per_token=100.0)
    log.add(step(3, metrics={"loss/a": 1.25}, skipped="spike"))
    log.close()
    ((number, figures),) = drawn.told
    assert number == 3
    assert drawn.closed
    assert figures["train/tokens_per_second"] == 32.0
    assert figures["train/mfu"] == pytest.approx(0.5)  # 32 tokens a second of 100 FLOPs, of 6,400
    assert (figures["train/loss/a"], figures["train/skipped"], figures["train/lr"]) == (1.25, 1.0, 1e-3)
    plain = StepLog(tmp_path / "other.jsonl", 0)
    assert "train/mfu" not in plain.figures(step(1))
    plain.close()


def test_tokens_of_a_skipped_step_were_not_trained_on() -> None:
    taken = [step(n, metrics={"tokens/a": 10.0, "tokens/b": float(n), "loss/a": 3.0, "tokens": 5.0}) for n in (1, 2)]
    assert tokens_by_source([*taken, step(3, metrics={"tokens/a": 99.0}, skipped="not finite")]) == {"a": 20, "b": 3}
    assert tokens_by_source([]) == {}


def test_a_tracker_that_is_none_is_refused_with_the_nearest() -> None:
    with pytest.raises(SettingsError, match="'wand' is no tracker; did you mean 'wandb'"):
        open_tracker("wand", Path(), {})


def test_records_are_lines_of_plain_json(tmp_path: Path) -> None:
    log = StepLog(tmp_path / "metrics.jsonl", 0)
    log.add(step(1, metrics={"loss/ä": 1.0}))
    log.close()
    (line,) = (tmp_path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    row = json.loads(line)
    assert (row["number"], row["lr"], row["loss_denominator"], row["metrics"]) == (1, 1e-3, 64.0, {"loss/ä": 1.0})
