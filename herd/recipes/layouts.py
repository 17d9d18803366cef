"""Layouts of a recipe's trainings for a number of devices, chosen while planning and written into its numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

from herd.core.recipe import Recipe
from herd.core.stage import walk
from herd.corpus.sources import planned_text_tokens
from herd.pretrain.planning import PlannedTraining, planned_trainings
from herd.recipes.costing import training_jobs
from herd.train.cost import best_layout
from herd.train.layout import ParallelLayout
from herd.train.machines import Machine
from herd.train.settings import FinetuneSettings, TrainingSettings


def choose_layouts(recipe: Recipe, devices: int, machine: Machine) -> tuple[Recipe, list[str]]:
    """The recipe with every training spread over `devices`, and what was chosen in words.

    Pre-training takes the layout with the most use of its devices among those that fit into memory. Fine-tuning keeps a
    layout of its own that these devices hold; else as many of them as may be divide its batch, each, or each group that
    holds a model, with equally many rows. The layout counts for an artifact's key: another number of devices is another
    run. Raises SettingsError where a training fits into none.
    """
    # Only those that the recipe's own numbers name: runs of a ladder are made of others, and stay on one device.
    trainings: dict[str, PlannedTraining] = {}
    for training in planned_trainings(walk(recipe.plan()), planned_text_tokens):
        trainings.setdefault(_identity(training.stated_settings), training)
    words: list[str] = []

    def place(s: TrainingSettings, path: str) -> TrainingSettings:
        training = trainings.get(_identity(s))
        layout = None if training is None else _best(training, devices, machine)
        if layout is None and isinstance(s, FinetuneSettings):
            layout, why = _finetuning_layout(s, devices)
            if why:
                words.append(f"{path} {why}")
        if layout is None or layout == s.layout:
            return s
        parts = [f"{field.name}: {getattr(layout, field.name)}" for field in fields(layout)]
        words.append(f"{path}.layout={{{', '.join(parts)}}} for {devices:,} devices, which is part of what a run is")
        return replace(s, layout=layout)

    return replace(recipe, settings=over_trainings(recipe.settings, place, "")), words


def _finetuning_layout(s: FinetuneSettings, devices: int) -> tuple[ParallelLayout, str]:
    """The layout of a fine-tuning, whose rows may be too long for one device, and what there is to say about it."""
    own = s.layout
    if 1 < own.devices <= devices:
        return own, f"keeps its layout of {own.devices:,} of {devices:,} devices" if own.devices < devices else ""
    model_ranks = own.devices // own.data
    if model_ranks > devices:
        return own, f"keeps its own layout, of which one model wants {model_ranks:,} devices and there are {devices:,}"
    data = max(n for n in range(1, devices // model_ranks + 1) if s.batch_size % n == 0)
    layout = replace(own, data=data)
    if layout.devices == devices:
        return layout, ""
    takes = f"takes {layout.devices:,} of {devices:,} devices" if layout.devices > 1 else "stays on one device"
    return layout, f"{takes}: {devices // model_ranks:,} do not share a batch of {s.batch_size}"


def _best(training: PlannedTraining, devices: int, machine: Machine) -> ParallelLayout:
    jobs = training_jobs(training)
    largest = max(jobs, key=lambda job: job.tokens)
    layout = best_layout(largest, devices, machine)
    if all(job.batch_tokens // job.length % layout.data == 0 for job in jobs):
        return layout
    return best_layout(min(jobs, key=lambda job: job.batch_tokens), devices, machine)


def _identity(s: TrainingSettings) -> str:
    """What stays as it is between a recipe's numbers and the stage that is planned of them."""
    return repr((type(s), replace(s, seed=0, layout=ParallelLayout())))


def over_trainings(value: Any, place: Callable[[TrainingSettings, str], TrainingSettings], path: str) -> Any:
    """`value` with all settings of training in it as `place` gives them. path: where they stand, for `--set`."""
    if isinstance(value, TrainingSettings):
        return place(value, path)
    if isinstance(value, tuple):
        return tuple(over_trainings(part, place, f"{path}.{number}") for number, part in enumerate(value))
    if isinstance(value, Mapping):
        return {name: over_trainings(part, place, f"{path}.{name}") for name, part in value.items()}
    if not is_dataclass(value) or isinstance(value, type):
        return value
    parts = {field.name: getattr(value, field.name) for field in fields(value)}
    placed = {name: over_trainings(part, place, f"{path}.{name}" if path else name) for name, part in parts.items()}
    changed = {name: part for name, part in placed.items() if part is not parts[name] and part != parts[name]}
    return replace(value, **changed) if changed else value
