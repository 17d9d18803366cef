"""Held-out examples, measured while a model is fine-tuned, and the best of the models that were measured."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from herd.core.artifacts import atomic_write
from herd.core.stage import Work
from herd.core.terminal import count_of, visible
from herd.evals.intervals import Interval, paired_share_gain, ratio_mean, wilson
from herd.evals.results import SourceFigures, ValidationCurve, ValidationPoint
from herd.model.collectives import RankGroup
from herd.train.checkpoint import Saver, checkpoints, restore_weights
from herd.train.log import Step
from herd.train.session import TrainingSession
from herd.train.settings import FinetuneSettings

VALIDATION_FILE, _BEST = "validation.jsonl", "best"
_MOST_SOURCES = 4  # that a headline names
_MAX_EPOCHS = 100  # after which is measured
METRIC = "loss"  # by which the best model is told; lower is better
_SHARES = ("accuracy",)  # figures whose examples are right or wrong
_NATS = (METRIC, "nll")  # figures that are below 0 in no example of most losses, and then nowhere


class Epochs(Protocol):
    """What is trained on, read several times. epoch_ends: the numbers of the steps with which a pass is over."""

    @property
    def epoch_ends(self) -> tuple[int, ...]: ...
    def epoch_of(self, step: int) -> float: ...


@dataclass(frozen=True)
class ExampleFigures:
    """One figure of every held-out example, in their order: its sum over the parts of the example, such as the nats of
    its tokens, and how many parts these are."""

    sums: Sequence[float]
    counts: Sequence[float]

    @classmethod
    def of_values(cls, values: Sequence[float]) -> ExampleFigures:
        """Of examples that have one value each."""
        return cls(values, [1.0] * len(values))

    def select(self, numbers: Sequence[int]) -> ExampleFigures:
        """Those of some examples."""
        return ExampleFigures([self.sums[n] for n in numbers], [self.counts[n] for n in numbers])

    @property
    def mean(self) -> float:
        return sum(self.sums) / sum(self.counts)

    def interval(self, name: str) -> Interval:
        """The mean with its 95 % interval over examples: Wilson's of shares, else Student's; unbounded of one."""
        if name in _SHARES:
            return wilson(sum(self.sums), sum(self.counts))  # halves, such as ties are, among them
        return ratio_mean(self.sums, self.counts, least=self._least(name))

    def change_to(self, other: ExampleFigures, name: str) -> Interval:
        """By how much the mean differs in `other`, with an interval of the pairs: both are of the same examples. Of
        shares Newcombe's, else Student's; unbounded of one example."""
        if name in _SHARES:
            return paired_share_gain(self.sums, other.sums, self.counts)
        rises = [after - before for before, after in zip(self.sums, other.sums, strict=True)]
        return ratio_mean(rises, self.counts, least=other._least(name) - self.mean)

    def _least(self, name: str) -> float:
        """What the mean cannot be below."""
        return 0.0 if name in _NATS and min(self.sums) >= 0 else -math.inf


@dataclass(frozen=True)
class _Record:
    """What was measured after so many steps."""

    step: int
    epoch: float
    figures: Mapping[str, ExampleFigures]

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> _Record:
        figures = {name: ExampleFigures(**figure) for name, figure in row["figures"].items()}
        return cls(row["step"], row["epoch"], figures)


class Validation:
    """Held-out figures before training, after every epoch and every `eval_steps`, and with `early_stop` the weights of
    the lowest loss. Of more epochs than 100 those are measured that part training into a hundred equal pieces: a set
    that is smaller than a batch is read to its end with every step.

    measure: figures of the held-out examples by name, METRIC among them, of the model it is given; the same examples in
    one order each time, and on every rank the same. sources: of the examples, in that order, where figures are wanted
    by source. What is decided follows from steps and weights alone, so that a run
    that was killed goes on to the same curve and the same weights. The model before training is measured and never
    counts as the best: a reward model, for one, knows nothing then.
    """

    def __init__(
        self,
        work: Work,
        session: TrainingSession,
        epochs: Epochs,
        measure: Callable[[Any], Mapping[str, ExampleFigures]],
        settings: FinetuneSettings,
        sources: Sequence[str] = (),
    ) -> None:
        self._work, self._session, self._epochs, self._measure = work, session, epochs, measure
        self._sources = sources
        self._early_stop, self._patience = settings.early_stop, settings.patience
        ends, every = epochs.epoch_ends, settings.eval_steps
        self._steps = {*_spread(ends), *(range(every, ends[-1], every) if every else ())}
        self._file, self._best_folder = work.scratch / VALIDATION_FILE, work.scratch / _BEST
        self._records = [_Record.from_row(row) for row in RankGroup.joined().on_first(self._read)]
        # All are kept that training may go back to before: `_remove_old` takes the others away.
        self._saver = Saver(self._best_folder, keep_every=1) if self._early_stop else None

    def before(self) -> None:
        """Measures the model before its first step, where that has not been done."""
        if not any(record.step == 0 for record in self._records):
            self._add(0)

    def after(self, step: Step) -> bool:
        """Measures the model where it is time, keeps its weights where they are the best so far, and says whether
        training shall end: for `train(stop_when=...)`."""
        if step.number not in self._steps:
            return False
        self._add(step.number)
        if not self._early_stop:
            return False
        best = self._best.step
        if best == step.number:
            self._save_best()
        worse = sum(record.step > best for record in self._records)
        return self._session.strategy.broadcast(worse >= self._patience)

    def finish(self) -> None:
        """With `early_stop` gives the model the best weights, and records the curve."""
        last = self._session.state.step
        if last not in (record.step for record in self._records):  # steps were passed over, so that it ended early
            self._add(last)
            if self._early_stop and self._best.step == last:
                self._save_best()
        best = self._best.step
        if self._early_stop and best != last:
            restore_weights(self._checkpoint(best), self._session.state)
        self._work.record(self.curve)

    @property
    def curve(self) -> ValidationCurve:
        """All that was measured, and what it says of the model that is kept."""
        best, last, first = self._best, self._records[-1], self._records[0]
        kept = best if self._early_stop else last
        points = [
            ValidationPoint(
                record.step, record.epoch, {name: figure.interval(name) for name, figure in record.figures.items()}
            )
            for record in self._records
        ]
        return ValidationCurve(
            points=tuple(points),
            metric=METRIC,
            examples=len(first.figures[METRIC].sums),
            best=best.step,
            kept=kept.step,
            stopped_early=self._early_stop and last.step < self._epochs.epoch_ends[-1],
            changes={name: figure.change_to(kept.figures[name], name) for name, figure in first.figures.items()},
            sources=figures_by_source(self._sources, first.figures, kept.figures),
        )

    @property
    def _best(self) -> _Record:
        return min((record for record in self._records if record.step), key=lambda record: record.figures[METRIC].mean)

    def _add(self, step: int) -> None:
        """Measures, and forgets what was measured at or after `step`: before training was killed, or went back."""
        session = self._session
        self._work.progress(step, self._epochs.epoch_ends[-1], "measuring held-out rows")
        if session.layout.devices == session.layout.data:
            with session.strategy.evaluating() as model:
                figures = self._measure(model)
        else:
            figures = self._measure(session.full_model(on_all=True, dtype=self._work.dtype))
        session.state.model.train()
        record = _Record(step, self._epochs.epoch_of(step), figures)
        self._records = [*(earlier for earlier in self._records if earlier.step < step), record]
        if session.first:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            atomic_write(self._file, "".join(json.dumps(asdict(record)) + "\n" for record in self._records))
            words = ", ".join(f"{name} {figure.interval(name)}" for name, figure in figures.items())
            print(f"held out, epoch {record.epoch:.3g} (step {step}): {words}", flush=True)

    def _read(self) -> list[dict[str, Any]]:
        if not self._file.exists():
            return []
        return [json.loads(line) for line in self._file.read_text(encoding="utf-8").splitlines()]

    def _save_best(self) -> None:
        """Weights alone, and whole before training goes on: its own checkpoints must never be ahead of them."""
        assert self._saver is not None
        self._saver.save(replace(self._session.state, log={}), moments=False)
        self._saver.wait()
        if self._session.first:
            self._remove_old()

    def _remove_old(self) -> None:
        """Best weights that no way leads back to: of those before the oldest checkpoint only the last may be needed."""
        oldest = min(map(_step_of, checkpoints(self._work.scratch)), default=0)
        early = [folder for folder in checkpoints(self._best_folder) if _step_of(folder) <= oldest]
        for folder in early[:-1]:
            shutil.rmtree(folder)

    def _checkpoint(self, step: int) -> Path:
        return next(folder for folder in checkpoints(self._best_folder) if _step_of(folder) == step)


def figures_by_source(
    sources: Sequence[str], before: Mapping[str, ExampleFigures], kept: Mapping[str, ExampleFigures]
) -> dict[str, SourceFigures]:
    """Figures of the examples of each source, in the order of their first; nothing where all are of one."""
    numbers: dict[str, list[int]] = {}
    for number, source in enumerate(sources):
        numbers.setdefault(source, []).append(number)
    if len(numbers) < 2:
        return {}
    by_source: dict[str, SourceFigures] = {}
    for source, own in numbers.items():
        first = {name: figure.select(own) for name, figure in before.items()}
        last = {name: figure.select(own) for name, figure in kept.items()}
        by_source[source] = SourceFigures(
            len(own),
            {name: figure.interval(name) for name, figure in first.items()},
            {name: figure.interval(name) for name, figure in last.items()},
            {name: figure.change_to(last[name], name) for name, figure in first.items()},
        )
    return by_source


def _spread(ends: Sequence[int]) -> list[int]:
    """At most so many of the ends of epochs, evenly apart, the last among them."""
    count = min(len(ends), _MAX_EPOCHS)
    return [ends[-(-number * len(ends) // count) - 1] for number in range(1, count + 1)]


def _step_of(folder: Path) -> int:
    return int(folder.name.removeprefix("step-"))


def validation_words(curve: ValidationCurve) -> str:
    """The held-out loss before and after, and which model is kept, for a headline."""
    first, kept, change = curve.points[0], curve.point(curve.kept), curve.changes[curve.metric]
    told = f"{change.value:+.3f}, one example, no interval"
    if change.is_bounded:
        told = f"{change.words('+.3f')}, {count_of(curve.examples, 'example')}"
    words = (
        f"; held-out {curve.metric} {first.figures[curve.metric].value:.3f} to {kept.figures[curve.metric].value:.3f} "
        f"({told})"
    )
    if curve.kept != curve.points[-1].step:
        words += f", epoch {kept.epoch:.3g} of {curve.points[-1].epoch:.3g} kept"
    elif curve.best != curve.kept:
        words += f", lowest after epoch {curve.point(curve.best).epoch:.3g}: early_stop would keep that"
    words += "" if change.value < 0 else "; training did not lower it"
    rises = {name: own.changes[curve.metric] for name, own in curve.sources.items()}
    worse = [
        f"{visible(name) or 'no source named'} {rise.words('+.3f')}" for name, rise in rises.items() if rise.low > 0
    ]
    if worse and len(curve.sources) > 1:
        words += f"; it rose on {', '.join(worse[:_MOST_SOURCES])}"
    return words
