"""What every step did, kept in a file that a crash cannot leave ahead of its checkpoint, and sent to trackers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol, TextIO

from herd.core.errors import SettingsError, did_you_mean
from herd.core.extras import ExtraPackage, import_extra
from herd.run.processes import peak_bytes

METRICS_FILE = "metrics.jsonl"
SETUP_STEPS = 3  # first steps of a process, which also set up what later ones use


@dataclass(frozen=True, slots=True)
class Step:
    """What one step did. number: counted from 1. lr: the learning rate. seconds: clock time it took. skipped: why
    the step was not taken, empty when it was. core_seconds: processor time of all threads. held_bytes: what model,
    optimizer and steps hold, with what a step has used and the process keeps; on a GPU the most allocated there."""

    number: int
    loss: float
    grad_norm: float
    lr: float
    seconds: float
    loss_denominator: float
    metrics: dict[str, float] = field(default_factory=dict)
    skipped: str = ""
    core_seconds: float = 0.0
    held_bytes: int = 0


class Tracker(Protocol):
    """Something that draws curves while training goes on."""

    def log(self, figures: Mapping[str, float], step: int) -> None: ...
    def close(self) -> None: ...


class StepLog:
    """The records of all steps, in a file only: a long training would hold gigabytes of them. trackers: sent each
    step, with more figures than the file has."""

    def __init__(
        self, file: Path, step: int, *, trackers: Sequence[Tracker] = (), flops_per_token: float = 0.0
    ) -> None:
        self.file = file
        self._stream, self._log_hash = _reopen(file, step)
        self._flops = flops_per_token
        self._peak = 0.0
        self._trackers = trackers

    def add(self, step: Step) -> None:
        line = json.dumps(asdict(step)) + "\n"
        self._stream.write(line)
        self._log_hash.add(line)
        for tracker in self._trackers:
            tracker.log(self.figures(step), step.number)

    def figures(self, step: Step) -> dict[str, float]:
        """A step's numbers under the names that trackers show."""
        from herd.model.devices import peak_flops

        tokens_per_second = step.loss_denominator / step.seconds
        values = {
            "train/loss": step.loss,
            "train/grad_norm": step.grad_norm,
            "train/lr": step.lr,
            "train/tokens_per_second": tokens_per_second,
            "train/memory_bytes": float(peak_bytes()),
            "train/skipped": float(bool(step.skipped)),
        }
        if self._flops:
            self._peak = self._peak or peak_flops()
            values["train/mfu"] = tokens_per_second * self._flops / self._peak
        return values | {f"train/{name}": value for name, value in step.metrics.items()}

    def cut(self, step: int) -> None:
        """Forgets what came after `step`."""
        self._stream.close()
        self._stream, self._log_hash = _reopen(self.file, step)

    def flush(self) -> LogPosition:
        """What the file holds now."""
        self._stream.flush()
        return self._log_hash.to_row()

    def close(self) -> None:
        self._stream.close()
        for tracker in self._trackers:
            tracker.close()


def _reopen(file: Path, step: int) -> tuple[TextIO, _LogHash]:
    """The file with the records up to `step`, to be written on."""
    records = [record for record in read_steps(file) if record.number <= step] if step else []
    text = "".join(json.dumps(asdict(record)) + "\n" for record in records)
    file.write_text(text, encoding="utf-8")
    log_hash = _LogHash()
    log_hash.add(text)
    return file.open("a", encoding="utf-8"), log_hash


LogPosition = dict[str, Any]  # length and sha256 of the beginning of a file


class _LogHash:
    """Length and hash of what was written, without reading it again."""

    def __init__(self) -> None:
        self._bytes, self._hash = 0, hashlib.sha256()

    def add(self, text: str) -> None:
        data = text.encode()
        self._bytes += len(data)
        self._hash.update(data)

    def to_row(self) -> LogPosition:
        return {"bytes": self._bytes, "sha256": self._hash.hexdigest()}


def matches_position(file: Path, position: LogPosition) -> bool:
    """Whether `file` begins, bit for bit, with what a log had written when it said so."""
    try:
        with file.open("rb") as stream:
            data = stream.read(position["bytes"])
    except OSError:
        data = b""
    return len(data) == position["bytes"] and hashlib.sha256(data).hexdigest() == position["sha256"]


def read_steps(file: Path) -> list[Step]:
    """The records in `file`, up to a line that a crash cut off."""
    if not file.exists():
        return []
    records = []
    for line in file.read_bytes().splitlines():
        try:
            records.append(Step(**json.loads(line)))
        except (ValueError, TypeError):
            break
    return records


def tokens_by_source(steps: Iterable[Step]) -> dict[str, int]:
    """Of every source the tokens that were trained on; a skipped step's were not."""
    counts: dict[str, int] = {}
    for step in steps:
        for name, value in step.metrics.items():
            kind, _, source = name.partition("/")
            if kind == "tokens" and source and not step.skipped:
                counts[source] = counts.get(source, 0) + int(value)
    return counts


@dataclass(frozen=True)
class CostComparison:
    """A stage as it was estimated and as it was, the pair of each. core_seconds: of a step. held_bytes: for training.
    peak_bytes: the most of the whole process. stage_seconds: core-seconds of all of it, tests on the way included."""

    core_seconds: tuple[float, float]
    held_bytes: tuple[float, float]
    peak_bytes: tuple[float, float]
    stage_seconds: tuple[float, float]

    @classmethod
    def of(cls, cost: Mapping[str, Any], steps: Sequence[Step]) -> CostComparison | None:
        """By the cost in metadata and the records of its steps; None where nothing was estimated or measured."""
        estimate = cost.get("estimate") or {}
        measured_steps = steps[SETUP_STEPS:]
        if "overhead_seconds" not in estimate or not measured_steps or not measured_steps[0].held_bytes:
            return None
        seconds = sum(step.core_seconds for step in measured_steps) / len(measured_steps)
        held_bytes = max(step.held_bytes for step in steps)
        # A stage that ends early is held against as much of what was estimated.
        fraction = len(steps) / estimate["steps"]
        stage = (
            fraction * (estimate["steps"] * estimate["core_seconds"] + estimate["overhead_seconds"]),
            cost["cpu_seconds"],
        )
        peak = estimate["peak_bytes"], cost["peak_bytes"]
        return cls((estimate["core_seconds"], seconds), (estimate["held_bytes"], held_bytes), peak, stage)


# ---- trackers ----


class _TensorBoard:
    """Event files that `tensorboard --logdir` shows."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        import_extra(ExtraPackage("tensorboard", "tensorboard", "tracker tensorboard"))
        from torch.utils.tensorboard.writer import SummaryWriter

        self._writer = SummaryWriter(str(folder))
        # Indented, which TensorBoard's Markdown shows as it stands.
        lines = json.dumps(settings, indent=1).splitlines()
        self._writer.add_text("settings", "\n".join(f"    {line}" for line in lines))

    def log(self, figures: Mapping[str, float], step: int) -> None:
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class _Hosted:
    """W&B, or trackio, which has the same calls. A training that goes on goes on with its curves too: W&B knows it by
    an id that follows from the folder, trackio by its name."""

    def __init__(self, module: Any, folder: Path, settings: Mapping[str, Any]) -> None:
        self._module = module
        run = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
        identity = (
            {"id": run, "name": folder.name} if module.__name__ == "wandb" else {"name": f"{folder.name}-{run[:6]}"}
        )
        module.init(project="herd", config=dict(settings), resume="allow", **identity)

    def log(self, figures: Mapping[str, float], step: int) -> None:
        self._module.log(dict(figures), step=step)

    def close(self) -> None:
        self._module.finish()


TRACKERS = ("tensorboard", "wandb", "trackio")


def open_tracker(name: str, folder: Path, settings: Mapping[str, Any]) -> Tracker:
    """What draws curves in `folder`. settings: shown beside them.

    Raises SettingsError for a name that is none, and when its package is not installed.
    """
    if name not in TRACKERS:
        raise SettingsError(f"{name!r} is no tracker{did_you_mean(name, TRACKERS)}")
    if name == "tensorboard":
        return _TensorBoard(folder, settings)
    return _Hosted(import_extra(ExtraPackage(name, name, f"tracker {name}")), folder, settings)
