"""What pre-training would take on every device, tried on this machine where that is asked for, and what it took."""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from herd.core.artifacts import Artifact, Checkpoint, Mix, atomic_write, is_complete, read_metadata
from herd.core.settings import build, input_path
from herd.core.stage import Input, Plan, plan_of, walk
from herd.model.config import read_shape
from herd.model.sizes import Shape
from herd.pretrain.anneal import AnnealSettings
from herd.pretrain.long_context import LongContextSettings
from herd.pretrain.mix import ProportionalMix, mix_shares, resolve_mix, tokens_of_phases
from herd.pretrain.pretrain import PretrainSettings
from herd.pretrain.profiling import ProfileJob, StageCost, profile_stages
from herd.pretrain.vocabulary import planned_vocab_size
from herd.run.runner import distance_to_end
from herd.tokens.results import PackingResult
from herd.train.log import METRICS_FILE, CostComparison, read_steps
from herd.train.saving import MIN_INTERVAL_SECONDS


@dataclass(frozen=True)
class PlannedTraining:
    """A stage of pre-training that is planned. before: the one whose model it goes on from. imported: whether it goes
    on from a model that no run makes, and so cannot be tried. epochs: how often it reads a
    text whose tokens are only guessed, from the bytes of its files; in `settings` the guess stands in their place."""

    plan: Plan
    settings: PretrainSettings | LongContextSettings | AnnealSettings
    shape: Shape
    before: PlannedTraining | None = None
    imported: bool = False
    epochs: float | None = None

    @property
    def stated_settings(self) -> PretrainSettings | LongContextSettings | AnnealSettings:
        """As the recipe has them."""
        s = self.settings
        guessed = isinstance(s, PretrainSettings) and self.epochs is not None
        return replace(s, tokens=None, epochs=self.epochs) if guessed else s

    @property
    def profile_job(self) -> ProfileJob:
        """What is tried of it."""
        return ProfileJob(self.settings, self.shape, self.before.profile_job if self.before else None)

    @property
    def batches(self) -> dict[int, int]:
        """The rows of a step, and how many steps have so many; of a stage that may end early, all it may take."""
        return self.profile_job.batches

    @property
    def is_new_model(self) -> bool:
        """Whether it begins with weights that know nothing."""
        return self.before is None and not self.imported

    @property
    def steps(self) -> int:
        return sum(self.batches.values())

    @property
    def single_device(self) -> bool:
        """Whether it is for one device, and all it goes on from, which a run makes."""
        here = self.settings.layout.devices == 1 and not self.imported
        return here and (self.before is None or self.before.single_device)


TextTokens = Callable[[Artifact], float | None]


def _unknown(text: Artifact) -> None:
    """Of a text that nobody guesses the tokens of."""


def planned_trainings(plans: Sequence[Plan], text_tokens: TextTokens = _unknown) -> list[PlannedTraining]:
    """The stages of pre-training among `plans`, in order, of those for which it is known how much they train on; none
    where neither a vocabulary nor a model is known yet. text_tokens: guesses how many tokens a planned text holds that
    is read so many times."""
    planned: dict[str, PlannedTraining] = {}
    for plan in plans:
        if plan.stage.name == "pretrain":
            training = _planned_pretraining(plan, planned, text_tokens)
        elif plan.stage.name in ("extend_context", "anneal"):
            training = _planned_later(plan, planned)
        else:
            continue
        if training is not None:
            planned[plan.key] = training
    return list(planned.values())


def _planned_pretraining(
    plan: Plan, planned: Mapping[str, PlannedTraining], text_tokens: TextTokens
) -> PlannedTraining | None:
    """A new model, or one that goes on."""
    s = build(PretrainSettings, plan.settings["settings"], where=plan.key)
    start, text = plan.inputs["init_from"], plan.inputs["tokens"]
    assert isinstance(start, Artifact)
    assert isinstance(text, Artifact)
    epochs = s.epochs
    if epochs is not None:  # of a text that is not counted yet
        available = text_tokens(text)
        if available is None:
            return None
        s = replace(s, tokens=max(1, round(epochs * available)), epochs=None)
    vocab_size = planned_vocab_size(plan_of(start))
    if s.size is not None and vocab_size is not None:
        shape = s.size.shape(vocab_size=vocab_size, max_seq_len=s.length)
        return PlannedTraining(plan, s, shape, epochs=epochs)
    if start.key in planned:
        return PlannedTraining(plan, s, planned[start.key].shape, planned[start.key], epochs=epochs)
    if plan_of(start).stage.name == "load_pretrained":
        shape = read_shape(input_path(plan_of(start).settings["folder"]))
        return PlannedTraining(plan, s, shape, imported=True, epochs=epochs)
    return None


def _planned_later(plan: Plan, planned: Mapping[str, PlannedTraining]) -> PlannedTraining | None:
    """A stage with longer rows, or annealing."""
    model = plan.inputs["model"]
    before = planned.get(model.key) if isinstance(model, Artifact) else None
    if before is None:
        return None
    row = plan.settings["settings"]
    if plan.stage.name == "anneal":
        return PlannedTraining(plan, build(AnnealSettings, row, where=plan.key), before.shape, before)
    longer = build(LongContextSettings, row, where=plan.key)
    return PlannedTraining(plan, longer, replace(before.shape, max_seq_len=longer.length), before)


def shape_of(plan: Plan, shapes: Mapping[str, Shape]) -> Shape | None:
    """Of the model that a stage reads or makes, followed back to a training in `shapes` or to an imported one; None
    where there is none."""
    if plan.key in shapes:
        return shapes[plan.key]
    if plan.stage.name == "load_pretrained":
        return read_shape(input_path(plan.settings["folder"]))
    for value in plan.inputs.values():
        for model in value if isinstance(value, tuple) else (value,):
            if isinstance(model, Checkpoint):
                return shape_of(plan_of(model), shapes)
    return None


# ---- tried here ----


@dataclass(frozen=True)
class StageEstimate:
    """What a stage will take. core_seconds: of a step. overhead_seconds: core-seconds of all that is no step, such as
    tests on the way. peak_bytes: the most its whole process will have. start_seconds, end_seconds: seconds after the
    first stage of pre-training begins."""

    steps: int
    core_seconds: float
    overhead_seconds: float
    held_bytes: float
    peak_bytes: float
    start_seconds: float
    end_seconds: float


def estimate_costs(plans: Sequence[Plan], jobs: int, text_tokens: TextTokens = _unknown) -> dict[str, StageEstimate]:
    """By key what every pre-training on one device will take: each is tried here, cut short, on one thread and on as
    many as a stage may get. text_tokens: as in `planned_trainings`."""
    own_trainings = [training for training in planned_trainings(plans, text_tokens) if training.single_device]
    different = {training.profile_job.key: training.profile_job for training in own_trainings}
    costs: dict[str, list[StageCost]] = {training.plan.key: [] for training in own_trainings}
    with tempfile.TemporaryDirectory() as folder:
        for threads, at_once in [(1, jobs), (jobs, 1)][: 1 + (jobs > 1)]:
            results = profile_stages(list(different.values()), Path(folder), threads=threads, at_once=at_once)
            by_key = dict(zip(different, results, strict=True))
            for training in own_trainings:
                costs[training.plan.key].append(by_key[training.profile_job.key].full_cost(training.profile_job))
    return simulate_schedule(own_trainings, costs, distance_to_end(list(plans)), jobs)


def _ancestors(plan: Plan) -> set[str]:
    """Keys of all plans that `plan` waits for."""
    return {ancestor.key for ancestor in walk(Artifact.from_plan(plan))} - {plan.key}


def simulate_schedule(
    own_trainings: Sequence[PlannedTraining],
    costs: Mapping[str, Sequence[StageCost]],
    distance: Mapping[str, int],
    jobs: int,
) -> dict[str, StageEstimate]:
    """The stages as the runner will take them: the longest way to the end first, and cores that no stage waits for
    shared out. costs: of a step on one thread, and on as many as may be where that was tried."""
    before = {training.plan.key: _ancestors(training.plan) for training in own_trainings}
    # What is no step is played as so many steps more.
    overhead_steps = {
        key: stage_costs[0].overhead_seconds / stage_costs[0].core_seconds for key, stage_costs in costs.items()
    }
    remaining = {training.plan.key: training.steps + overhead_steps[training.plan.key] for training in own_trainings}
    clock, start_times, end_times = 0.0, dict[str, float](), dict[str, float]()
    worked, held_bytes, peak_bytes = (dict.fromkeys(remaining, 0.0) for _ in range(3))
    while remaining:
        ready = [key for key in remaining if not before[key] & remaining.keys()]
        busy = sorted(ready, key=lambda key: (key not in start_times, -distance[key]))[:jobs]
        busy.sort(key=lambda key: -distance[key])
        cost = {
            key: costs[key][-1 if jobs // len(busy) + (rank < jobs % len(busy)) > 1 else 0]
            for rank, key in enumerate(busy)
        }
        until = min(remaining[key] * cost[key].seconds for key in busy)
        for key in busy:
            start_times.setdefault(key, clock)
            steps_done = min(remaining[key], until / cost[key].seconds)
            remaining[key] -= steps_done
            worked[key] += steps_done * cost[key].core_seconds
            held_bytes[key] = max(held_bytes[key], cost[key].held_bytes)
            peak_bytes[key] = max(peak_bytes[key], cost[key].peak_bytes)
        clock += until
        for key in [key for key in busy if remaining[key] < 1e-6]:
            end_times[key] = clock
            del remaining[key]
    estimates: dict[str, StageEstimate] = {}
    for training in own_trainings:
        key = training.plan.key
        copied_bytes = _checkpoint_bytes(costs[key], end_times[key] - start_times[key])
        bytes_ = held_bytes[key] + copied_bytes, peak_bytes[key] + copied_bytes
        step_seconds = worked[key] / (training.steps + overhead_steps[key])
        estimates[key] = StageEstimate(
            training.steps, step_seconds, overhead_steps[key] * step_seconds, *bytes_, start_times[key], end_times[key]
        )
    return estimates


def _checkpoint_bytes(costs: Sequence[StageCost], seconds: float) -> float:
    """What checkpoints hold while they are written, of a stage that is long enough to have one."""
    return max(cost.copied_bytes for cost in costs) if seconds > MIN_INTERVAL_SECONDS else 0.0


def write_estimates(estimates: Mapping[str, StageEstimate], file: Path) -> None:
    """For the metadata of the stages, and so for the report."""
    file.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(file, json.dumps({key: asdict(estimate) for key, estimate in estimates.items()}, indent=1))


def estimate_lines(estimates: Mapping[str, StageEstimate], jobs: int) -> Iterator[str]:
    """What `estimate_costs` found, in words."""
    for key, estimate in estimates.items():
        yield (
            f"{key}: {estimate.steps:,} steps of {1e3 * estimate.core_seconds:,.1f} core-ms, "
            f"{estimate.steps * estimate.core_seconds:,.0f} core-s in all, and {estimate.overhead_seconds:,.0f} "
            "besides; holds "
            f"{bytes_words(estimate.held_bytes)}, "
            f"its process {bytes_words(estimate.peak_bytes)} at most"
        )
    if not estimates:
        yield "nothing to estimate: no stage of pre-training on one device is planned"
        return
    total = sum(estimate.steps * estimate.core_seconds for estimate in estimates.values())
    overhead = sum(estimate.overhead_seconds for estimate in estimates.values())
    last = max(estimate.end_seconds for estimate in estimates.values())
    yield (
        f"pre-training takes {total + overhead:,.0f} core-seconds here, {overhead:,.0f} of them for tests on the way, "
        f"measuring and writing; {last / 60:.1f} min with {jobs} jobs; alignment and the corpus come on top"
    )


# ---- the text it takes ----


def text_lines(plans: Sequence[Plan], artifacts: Path) -> Iterator[str]:
    """Of the largest run: the tokens it takes of every source and, once they are there, how often each is read."""
    runs = [
        (build(PretrainSettings, plan.settings["settings"], where=plan.key), plan)
        for plan in plans
        if plan.stage.name == "pretrain"
    ]
    if not runs:
        return
    largest, plan = max(runs, key=lambda run: run[0].tokens or 0)
    times = f"{largest.epochs:g} time{'s' * (largest.epochs != 1)}" if largest.epochs else ""
    asked = f"{largest.tokens:,} tokens" if largest.tokens else f"the text {times}"
    available = _packed_tokens(plan.inputs["tokens"], artifacts)
    found = plan.inputs.get("mix")
    if isinstance(found, Artifact) and not is_complete(artifacts / found.key):
        yield f"{plan.key} reads {asked}, in the shares that {found.key} will find"
        return
    if not available and (largest.tokens is None or isinstance(largest.mix, ProportionalMix)):
        yield f"{plan.key} reads {asked}; how much of every source is known once the text is packed"
        return
    shares = mix_shares(Mix(artifacts / found.key)) if isinstance(found, Artifact) else None
    mix = resolve_mix(available, largest.mix, tokens=largest.tokens, epochs=largest.epochs, found=shares)
    parts = [
        f"{name} {count:,.0f}" + (f" ({count / max(1, available[name]):.1f} times)" if name in available else "")
        for name, count in sorted(tokens_of_phases(mix.phases, mix.tokens).items(), key=lambda pair: -pair[1])
    ]
    yield f"{plan.key} reads {mix.tokens:,} tokens: {', '.join(parts)}"
    yield from mix.warnings


def _packed_tokens(tokens: Input, artifacts: Path) -> dict[str, int]:
    """By source what may be learnt from, of packed text that is made."""
    if not isinstance(tokens, Artifact) or not is_complete(artifacts / tokens.key):
        return {}
    sources = Artifact.open(artifacts / tokens.key).result(PackingResult).sources
    return {name: splits["train"].tokens for name, splits in sources.items()}


# ---- what was measured ----


def measured_words(folder: Path) -> str:
    """What a training in `folder` took; nothing where it is not made."""
    if not is_complete(folder):
        return ""
    steps = read_steps(folder / METRICS_FILE)
    seconds = statistics.median(step.seconds for step in steps)
    tokens_per_second = statistics.median(step.loss_denominator / step.seconds for step in steps)
    cost = read_metadata(folder)["cost"]
    skipped = sum(bool(step.skipped) for step in steps)
    skipped_note = f", {skipped} steps skipped" if skipped else ""
    return (
        f"; measured: {seconds:.3f} s a step, {tokens_per_second:,.0f} tokens/s, process at most "
        f"{bytes_words(cost['peak_bytes'])}{skipped_note}{_beside(CostComparison.of(cost, steps))}"
    )


def _beside(comparison: CostComparison | None) -> str:
    if comparison is None:
        return ""
    (estimated_seconds, measured_seconds), (estimated_held, measured_held), (estimated_peak, measured_peak) = (
        comparison.core_seconds,
        comparison.held_bytes,
        comparison.peak_bytes,
    )
    time = f"{1e3 * measured_seconds:,.1f} core-ms a step ({1e3 * estimated_seconds:,.1f} estimated)"
    process = f"its process {bytes_words(measured_peak)} ({bytes_words(estimated_peak)} estimated)"
    return f"; {time}, holds {bytes_words(measured_held)} ({bytes_words(estimated_held)} estimated), {process}"


def bytes_words(value: float) -> str:
    """Bytes in GB, MB or kB."""
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if value >= size:
            return f"{value / size:,.1f} {unit}"
    return f"{value / 1e3:,.0f} kB"
