"""What pre-training would take on every device, tried on this machine where that is asked for, and what it took."""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from herd.core.artifacts import Artifact, is_whole, read_card, write_whole
from herd.core.settings import build, input_path
from herd.core.stage import Plan, plan_of, walk
from herd.model.config import shape_in
from herd.model.sizes import Shape
from herd.pretrain.anneal import AnnealSettings
from herd.pretrain.initial import PretrainSettings
from herd.pretrain.long_context import LengthSettings
from herd.pretrain.rehearsal import Pace, Rehearsal, rehearse
from herd.run.runner import distance_to_end
from herd.tokens.results import PackingResult, SplitSize
from herd.tokens.tokenizer import CONTROL_TOKENS
from herd.train.layout import Layout, bubble, memory
from herd.train.log import METRICS, Foretold, read_steps
from herd.train.saving import SHORTEST


@dataclass(frozen=True)
class Training:
    """A stage of pre-training that is planned. before: the one whose model it goes on from. imported: whether it goes
    on from a model that no run makes, and so cannot be rehearsed."""

    plan: Plan
    settings: PretrainSettings | LengthSettings | AnnealSettings
    shape: Shape
    before: Training | None = None
    imported: bool = False

    @property
    def tried(self) -> Rehearsal:
        """What is rehearsed of it."""
        return Rehearsal(self.settings, self.shape, self.before.tried if self.before else None)

    @property
    def batches(self) -> dict[int, int]:
        """The rows of a step, and how many steps have so many; of a stage that may end early, all it may take."""
        return self.tried.batches

    @property
    def steps(self) -> int:
        return sum(self.batches.values())

    @property
    def alone(self) -> bool:
        """Whether it is for one device, and all it goes on from, which a run makes."""
        here = self.settings.layout.devices == 1 and not self.imported
        return here and (self.before is None or self.before.alone)


def trainings(plans: Sequence[Plan]) -> list[Training]:
    """The stages of pre-training among `plans`, in order; none where neither a vocabulary nor a model is known yet."""
    pairs = [plan.settings["pairs"] for plan in plans if plan.stage.name == "train_tokenizer"]
    vocabulary = pairs[0] + len(CONTROL_TOKENS) if pairs else 0
    found: dict[str, Training] = {}
    for plan in plans:
        given = plan.settings.get("settings")
        if plan.stage.name == "pretrain":
            s = build(PretrainSettings, given, where=plan.key)
            start = plan.inputs["init_from"]
            if s.size is not None and vocabulary:
                found[plan.key] = Training(plan, s, s.size.shape(vocabulary=vocabulary, context=s.length))
            elif isinstance(start, Artifact) and start.key in found:
                found[plan.key] = Training(plan, s, found[start.key].shape, found[start.key])
            elif isinstance(start, Artifact) and plan_of(start).stage.name == "bring_model":
                folder = input_path(plan_of(start).settings["folder"])
                found[plan.key] = Training(plan, s, shape_in(folder), imported=True)
        elif plan.stage.name in ("extend_context", "anneal"):
            model = plan.inputs["model"]
            before = found.get(model.key) if isinstance(model, Artifact) else None
            if before is None:
                continue
            if plan.stage.name == "anneal":
                found[plan.key] = Training(plan, build(AnnealSettings, given, where=plan.key), before.shape, before)
            else:
                later = build(LengthSettings, given, where=plan.key)
                found[plan.key] = Training(plan, later, replace(before.shape, context=later.length), before)
    return list(found.values())


# ---- tried here ----


@dataclass(frozen=True)
class Expected:
    """What a stage will take. core_seconds: of a step. besides: core-seconds of all that is no step, such as tests on
    the way. peak_bytes: the most its whole process will have. began, ended: seconds after the first stage of
    pre-training begins."""

    steps: int
    core_seconds: float
    besides: float
    held_bytes: float
    peak_bytes: float
    began: float
    ended: float


def foretell(plans: Sequence[Plan], jobs: int) -> dict[str, Expected]:
    """By key what every pre-training on one device will take: each is tried here, cut short, on one thread and on as
    many as a stage may get."""
    own = [one for one in trainings(plans) if one.alone]
    different = {one.tried.key: one.tried for one in own}
    paces: dict[str, list[Pace]] = {one.plan.key: [] for one in own}
    with tempfile.TemporaryDirectory() as folder:
        for threads, at_once in [(1, jobs), (jobs, 1)][: 1 + (jobs > 1)]:
            done = rehearse(list(different.values()), Path(folder), threads=threads, at_once=at_once)
            found = dict(zip(different, done, strict=True))
            for one in own:
                paces[one.plan.key].append(found[one.tried.key].whole(one.tried))
    return played_through(own, paces, distance_to_end(list(plans)), jobs)


def played_through(
    own: Sequence[Training], paces: Mapping[str, Sequence[Pace]], distance: Mapping[str, int], jobs: int
) -> dict[str, Expected]:
    """The stages as the runner will take them: the longest way to the end first, and cores that no stage waits for
    shared out. paces: of a step on one thread, and on as many as may be where that was tried."""
    before = {one.plan.key: {plan.key for plan in walk(Artifact.planned(one.plan))} - {one.plan.key} for one in own}
    # What is no step is played as so many steps more.
    more = {key: some[0].besides / some[0].core_seconds for key, some in paces.items()}
    left = {one.plan.key: one.steps + more[one.plan.key] for one in own}
    clock, began, ended = 0.0, dict[str, float](), dict[str, float]()
    worked, held, peak = (dict.fromkeys(left, 0.0) for _ in range(3))
    while left:
        ready = [key for key in left if not before[key] & left.keys()]
        busy = sorted(ready, key=lambda key: (key not in began, -distance[key]))[:jobs]
        busy.sort(key=lambda key: -distance[key])
        pace = {
            key: paces[key][-1 if jobs // len(busy) + (rank < jobs % len(busy)) > 1 else 0]
            for rank, key in enumerate(busy)
        }
        until = min(left[key] * pace[key].seconds for key in busy)
        for key in busy:
            began.setdefault(key, clock)
            done = min(left[key], until / pace[key].seconds)
            left[key] -= done
            worked[key] += done * pace[key].core_seconds
            held[key] = max(held[key], pace[key].held_bytes)
            peak[key] = max(peak[key], pace[key].peak_bytes)
        clock += until
        for key in [key for key in busy if left[key] < 1e-6]:
            ended[key] = clock
            del left[key]
    found: dict[str, Expected] = {}
    for one in own:
        key = one.plan.key
        copied = _copied(paces[key], ended[key] - began[key])
        bytes_ = held[key] + copied, peak[key] + copied
        each = worked[key] / (one.steps + more[key])
        found[key] = Expected(one.steps, each, more[key] * each, *bytes_, began[key], ended[key])
    return found


def _copied(paces: Sequence[Pace], seconds: float) -> float:
    """What checkpoints hold while they are written, of a stage that is long enough to have one."""
    return max(pace.copied_bytes for pace in paces) if seconds > SHORTEST else 0.0


def write_foretold(found: Mapping[str, Expected], file: Path) -> None:
    """For the cards of the stages, and so for the report."""
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, json.dumps({key: asdict(one) for key, one in found.items()}, indent=1))


def foretold_lines(found: Mapping[str, Expected], jobs: int) -> Iterator[str]:
    """What `foretell` found, in words."""
    for key, one in found.items():
        yield (
            f"{key}: {one.steps:,} steps of {1e3 * one.core_seconds:,.1f} core-ms, "
            f"{one.steps * one.core_seconds:,.0f} core-s in all, and {one.besides:,.0f} besides; holds "
            f"{_bytes(one.held_bytes)}, "
            f"its process {_bytes(one.peak_bytes)} at most"
        )
    if not found:
        yield "nothing to rehearse: no stage of pre-training on one device is planned"
        return
    total = sum(one.steps * one.core_seconds for one in found.values())
    besides = sum(one.besides for one in found.values())
    last = max(one.ended for one in found.values())
    yield (
        f"pre-training takes {total + besides:,.0f} core-seconds here, {besides:,.0f} of them for tests on the way, "
        f"measuring and writing; {last / 60:.1f} min with {jobs} jobs; alignment and the corpus come on top"
    )


# ---- the text it takes ----


def text_lines(plans: Sequence[Plan], artifacts: Path) -> Iterator[str]:
    """Of the largest run: the tokens it takes of every source and, once they are there, how often each is read."""
    runs = [(one.settings, one.plan) for one in trainings(plans) if isinstance(one.settings, PretrainSettings)]
    if not runs:
        return
    largest, plan = max(runs, key=lambda run: run[0].tokens)
    wanted, start = {}, 0.0
    for phase in largest.mix:
        part, whole = phase.until - start, sum(phase.shares.values())
        for name, share in phase.shares.items():
            wanted[name] = wanted.get(name, 0.0) + part * share / whole * largest.tokens
        start = phase.until
    tokens = plan.inputs["tokens"]
    there: Mapping[str, Mapping[str, SplitSize]] = {}
    if isinstance(tokens, Artifact) and is_whole(artifacts / tokens.key):
        there = Artifact.open(artifacts / tokens.key).result(PackingResult).sources
    told = [
        f"{name} {count:,.0f}"
        + (f" ({count / max(1, there[name]['train'].tokens):.1f} times)" if name in there else "")
        for name, count in sorted(wanted.items(), key=lambda pair: -pair[1])
    ]
    yield f"{plan.key} reads {largest.tokens:,} tokens: {', '.join(told)}"


# ---- layouts, and what was measured ----


def layout_lines(plans: Sequence[Plan], artifacts: Path) -> Iterator[str]:
    """For every pre-training among `plans`: layout, memory of a device by part, and beside it what was measured."""
    for one in trainings(plans):
        yield f"{one.plan.key}: {_planned(one)}{_measured(artifacts / one.plan.key)}"


def _planned(one: Training) -> str:
    layout, length = one.settings.layout, one.settings.length
    layout.check(one.shape, length=length)
    rows = max(1, max(one.batches) // layout.data)
    at_once = one.settings.micro_batch or (1 if layout.pipeline > 1 else rows)
    micro_batches = -(-rows // at_once)
    held = memory(one.shape, layout, length=length, micro_batches=micro_batches, rows=at_once)
    parts = {
        "weights": held.weights,
        "gradients": held.gradients,
        "optimizer": held.optimizer,
        "activations": held.activations,
        "logits": held.logits,
    }
    listed = ", ".join(f"{name} {_bytes(value)}" for name, value in parts.items())
    idle = f", pipeline idle {bubble(layout, micro_batches):.0%} of its work" if layout.pipeline > 1 else ""
    return f"{_words(layout)}; in bf16 {_bytes(held.total)} a device ({listed}){idle}"


def _words(layout: Layout) -> str:
    names = ("tensor", "context", "pipeline", "data")
    divided = [f"{name} {getattr(layout, name)}" for name in names if getattr(layout, name) > 1]
    return f"{layout.devices} device{'s' * (layout.devices > 1)}" + (f" ({' x '.join(divided)})" if divided else "")


def _measured(folder: Path) -> str:
    if not is_whole(folder):
        return ""
    steps = read_steps(folder / METRICS)
    seconds = statistics.median(step.seconds for step in steps)
    rate = statistics.median(step.weight / step.seconds for step in steps)
    cost = read_card(folder)["cost"]
    skipped = sum(bool(step.skipped) for step in steps)
    told = f", {skipped} steps skipped" if skipped else ""
    return (
        f"; measured: {seconds:.3f} s a step, {rate:,.0f} tokens/s, process at most {_bytes(cost['peak_bytes'])}{told}"
        f"{_beside(Foretold.of(cost, steps))}"
    )


def _beside(found: Foretold | None) -> str:
    if found is None:
        return ""
    (told, took), (said, held), (whole, most) = found.core_seconds, found.held_bytes, found.peak_bytes
    time = f"{1e3 * took:,.1f} core-ms a step ({1e3 * told:,.1f} foretold)"
    process = f"its process {_bytes(most)} ({_bytes(whole)} foretold)"
    return f"; {time}, holds {_bytes(held)} ({_bytes(said)} foretold), {process}"


def _bytes(value: float) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if value >= size:
            return f"{value / size:,.1f} {unit}"
    return f"{value / 1e3:,.0f} kB"
