"""Measuring a model: every task, needles at every length, losses on text it never saw."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

from herd.core.artifacts import Checkpoint, Scores, Tokens
from herd.core.registry import Use
from herd.core.settings import Positive, settings
from herd.core.stage import Work, stage
from herd.evals.harness import TaskScore, evaluate
from herd.evals.losses import held_out_losses
from herd.evals.needle import NeedleGrid, haystacks, held_out_texts, needle_test
from herd.evals.tasks import tasks
from herd.generate.engine import Engine
from herd.model.devices import place_model
from herd.model.transformer import Transformer
from herd.model.weights import load_transformer
from herd.tokens.shards import Shards
from herd.tokens.tokenizer import TextTokenizer
from herd.train.checkpoint import kind_of
from herd.world.truth import World

Task = Annotated[Use, tasks.choice]
_NEEDLE_ROWS = 16  # the masks of long haystacks are large


@settings
class MeasureSettings:
    """tasks: by name. needle_lengths: in tokens; longer ones than the model reads are left out.
    needle_sources: held-out text of these hides the needles. loss_length: tokens in a row for losses."""

    tasks: tuple[Task, ...]
    needle_lengths: tuple[Positive, ...]
    needle_seeds: Positive = 8
    needle_sources: tuple[str, ...]
    loss_length: Positive


@stage(paper="5", version=3, gpu=True)
def measure(
    work: Work, model: Checkpoint, tokens: Tokens, *, label: str, world: World, settings: MeasureSettings
) -> Scores:
    """What `model` can do, every share with its interval. label: what the report calls the model.

    A model that was taught to chat is asked in the chat format; one that was not continues plain text.
    """
    text = TextTokenizer.load(model.path)
    network = place_model(load_transformer(model.path), work.device, work.dtype)
    chat = kind_of(model.path) == "chat"
    parts = len(settings.tasks) + 2
    scores: dict[str, dict[str, Any]] = {}
    for done, use in enumerate(settings.tasks):
        work.progress(done, parts, use.name)
        scores[use.name] = run_task(network, text, use, world, chat=chat).to_row()
    work.progress(parts - 2, parts, "needles")
    shards = Shards(tokens.path)
    grid = needles_in(network, text, shards, settings, chat=chat)
    length = min(settings.loss_length, network.shape.context)
    losses = held_out_losses(network, shards, length=length, workers=work.place.workers)
    result = {"label": label, "chat": chat, "tasks": scores, "needle": grid.to_row(), "held_out": losses}
    (work.out / "scores.json").write_text(json.dumps(result, indent=1, ensure_ascii=False), encoding="utf-8")
    work.figure("measured", result)
    work.figure("headline", f"{label}: " + ", ".join(f"{name} {row['share']:.0%}" for name, row in scores.items()))
    return Scores(work.out)


def run_task(model: Transformer, text: TextTokenizer, use: Use, world: World, *, chat: bool) -> TaskScore:
    """One task put to one model."""
    items = tasks.make(use)(world)
    return evaluate(Engine(model, text.stops), text, items, chat=chat)


def needles_in(
    model: Transformer, text: TextTokenizer, shards: Shards, settings: MeasureSettings, *, chat: bool
) -> NeedleGrid:
    lengths = [length for length in settings.needle_lengths if length <= model.shape.context]
    stacks = haystacks(
        held_out_texts(shards, text, settings.needle_sources),
        lambda words: len(text.encode(words)),
        lengths=lengths,
        seeds=settings.needle_seeds,
    )
    return needle_test(Engine(model, text.stops, rows=_NEEDLE_ROWS), text, list(stacks), chat=chat)


def score_folder(
    folder: Path, uses: Sequence[Use], world: World, report: Callable[[str, TaskScore], None], *, device: str = "auto",
    dtype: str = "fp32",
) -> None:  # fmt: skip
    """Puts tasks to the model in any folder, one that herd did not make among them; tells each result."""
    text, network = TextTokenizer.load(folder), place_model(load_transformer(folder), device, dtype)
    for use in uses:
        report(use.name, run_task(network, text, use, world, chat=kind_of(folder) == "chat"))
