"""Measuring a model: every task, needles at every length, losses on text it never saw."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

from herd.core.artifacts import Checkpoint, Scores, Tokens
from herd.core.errors import SettingsError
from herd.core.registry import PluginConfig
from herd.core.settings import AddedLater, PositiveInt, settings
from herd.core.stage import Work, stage
from herd.evals.answers import AnswerStore, RunSettings
from herd.evals.harness import Score, TaskScore, evaluate, gold_nll, no_progress
from herd.evals.haystack import haystacks
from herd.evals.losses import DEFAULT_LOSS_TOKENS, held_out_losses
from herd.evals.needle import NeedleGrid, held_out_texts, needle_test
from herd.evals.results import EvaluationResult, NeedleCell, TaskResult, TextResult
from herd.evals.results_file import write_results
from herd.evals.resumable import evaluate_into, limit_examples, model_identity, run_settings
from herd.evals.sized import PromptReader, task_for
from herd.evals.task import Task
from herd.evals.tasks import tasks
from herd.generate.engine import Engine, ProgressCallback
from herd.model.collectives import SINGLE_RANK, RankGroup
from herd.model.config import read_shape
from herd.model.devices import place_model
from herd.model.transformer import Transformer
from herd.model.weights import load_transformer
from herd.tokens.shards import TokenShards
from herd.tokens.tokenizer import TextTokenizer
from herd.train.checkpoint import kind_of
from herd.train.results import HeldOutLoss

TaskChoice = Annotated[PluginConfig, tasks.choice]
SCORES_FILE = "scores.json"
CHOICES = "choices"  # in that file: by task a `ChoiceLikelihoods` of every example, of tasks whose answers are choices
_NEEDLE_ROWS = 16  # the masks of long haystacks are large


@settings
class EvaluationSettings:
    """tasks: by name, each with its settings. needle_lengths: in tokens; longer ones than the model reads are left out.
    needle_sources: held-out text of these hides the needles. loss_length: tokens in a row for losses; without it no
    losses are measured. loss_tokens: of held-out text that losses are measured on, at most about so many a source; four
    times as many halve the interval. gold_nll: whether it is measured, too, how likely the model holds the right
    answers, which falls long before a small model gives them and which forecasts of scores start from."""

    tasks: tuple[TaskChoice, ...]
    needle_lengths: tuple[PositiveInt, ...] = ()
    needle_seeds: PositiveInt = 8
    needle_sources: tuple[str, ...] = ()
    loss_length: PositiveInt | None = None
    loss_tokens: AddedLater[PositiveInt] = DEFAULT_LOSS_TOKENS
    gold_nll: AddedLater[bool] = False


@stage(paper="5", version=5, gpu=True, data_parallel=True)
def evaluate_model(
    work: Work, model: Checkpoint, tokens: Tokens | None = None, *, label: str, settings: EvaluationSettings
) -> Scores:
    """What `model` can do, every share with its interval. tokens: whose held-out text needles are hidden in and losses
    are measured on. label: what the report calls the model.

    A model that was taught to chat is asked in the chat format; one that was not continues plain text. Raises
    SettingsError when needles or losses are wanted and there is no text.
    """
    if tokens is None and (settings.needle_lengths or settings.loss_length):
        raise SettingsError(
            "needles and losses are measured on held-out text; give `evaluate_model` tokens, or take them out"
        )
    tokenizer, ranks = TextTokenizer.load(model.path), RankGroup.of(work)
    network = place_model(load_transformer(model.path), work.device, work.dtype)
    chat = kind_of(model.path) == "chat"
    parts = len(settings.tasks) + 2
    scores: dict[str, TaskResult | TextResult] = {}
    choices: dict[str, list[dict[str, Any]]] = {}
    needle: tuple[NeedleCell, ...] = ()
    held_out: dict[str, HeldOutLoss] = {}
    for index, use in enumerate(settings.tasks):
        report = work.progress_of_part(index, parts, use.name)
        report(0, 1)
        score = run_task(network, tokenizer, use, chat=chat, workers=work.executor.workers, report=report, ranks=ranks)
        measured = score.result()
        if isinstance(measured, TaskResult) and settings.gold_nll:
            measured = replace(measured, gold_nll=_gold_nll(network, tokenizer, use, chat, ranks))
        scores[use.name] = measured
        if isinstance(score, TaskScore) and score.choices:
            choices[use.name] = [asdict(example) for example in score.choices]
    if tokens is not None:
        report = work.progress_of_part(parts - 2, parts, "needles")
        report(0, 1)
        shards = TokenShards(tokens.path)
        shards.check_packed_for(tokenizer, network.shape.vocab_size)
        if settings.needle_lengths:
            grid = run_needle_test(network, tokenizer, shards, settings, chat=chat, report=report, ranks=ranks)
            needle = grid.result()
        if settings.loss_length:
            length = min(settings.loss_length, network.shape.max_seq_len)
            held_out = held_out_losses(
                network,
                shards,
                length=length,
                tokens=settings.loss_tokens,
                workers=work.executor.workers,
                ranks=ranks,
            )
    result = EvaluationResult(label, chat, scores, needle, held_out)
    # Of every question, which is too much for metadata that is read whenever a run is looked at.
    row = asdict(result) | ({CHOICES: choices} if choices else {})
    (work.out / SCORES_FILE).write_text(json.dumps(row, indent=1, ensure_ascii=False), encoding="utf-8")
    work.record(result)
    words = ", ".join(f"{name} {in_words(row)}" for name, row in (scores or held_out).items())
    work.headline = f"{label}: {words or ('needles' if needle else 'nothing was measured')}"
    return Scores(work.out)


def _gold_nll(
    model: Transformer, tokenizer: TextTokenizer, use: PluginConfig, chat: bool, ranks: RankGroup
) -> float | None:
    """Nats of the right answer a character; None for a task without answers in text."""
    task = task_for(tasks.make(use)(), PromptReader(tokenizer, chat, model.shape.max_seq_len))
    if not any(example.target for example in task.examples):
        return None
    return gold_nll(Engine(model, tokenizer.stop_token_ids, ranks=ranks), tokenizer, task)


def in_words(result: TaskResult | TextResult | HeldOutLoss) -> str:
    """A task's result, or the loss on a source's held-out text, short."""
    return f"{result.share:.0%}" if isinstance(result, TaskResult) else f"{result.bits_per_byte:.3f} bits a byte"


def run_task(
    model: Transformer,
    tokenizer: TextTokenizer,
    use: PluginConfig,
    *,
    chat: bool,
    workers: int = 1,
    report: ProgressCallback = no_progress,
    ranks: RankGroup = SINGLE_RANK,
) -> Score:
    """One task put to one model. workers: threads, ranks: that have the model too; they change no result. report:
    called with how many are answered."""
    engine = Engine(model, tokenizer.stop_token_ids, tokenizer=tokenizer, ranks=ranks)
    return evaluate(engine, tokenizer, tasks.make(use)(), chat=chat, workers=workers, report=report)


def run_needle_test(
    model: Transformer, tokenizer: TextTokenizer, shards: TokenShards, settings: EvaluationSettings, *, chat: bool,
    report: ProgressCallback = no_progress, ranks: RankGroup = SINGLE_RANK,
) -> NeedleGrid:  # fmt: skip
    lengths = [length for length in settings.needle_lengths if length <= model.shape.max_seq_len]
    stacks = haystacks(
        held_out_texts(shards, tokenizer, settings.needle_sources),
        lambda words: len(tokenizer.encode(words)),
        lengths=lengths,
        seeds=settings.needle_seeds,
    )
    engine = Engine(model, tokenizer.stop_token_ids, max_num_seqs=_NEEDLE_ROWS, ranks=ranks)
    return needle_test(engine, tokenizer, list(stacks), chat=chat, report=report)


def evaluate_folder(
    folder: Path,
    uses: Sequence[PluginConfig],
    report: Callable[[str, Score], None],
    *,
    device: str = "auto",
    dtype: str = "fp32",
    progress: Callable[[str], ProgressCallback] = lambda name: no_progress,
    store: AnswerStore | None = None,
    limit: int = 0,
    apply_chat_template: bool | None = None,
    truncate_left: bool = False,
) -> None:
    """Puts tasks to the model in any folder, one that herd did not make among them; prints each result. progress: by
    the name of a task, what is called with how many of its examples are answered. store: where every answer is kept,
    and gone on from; the model is only read for answers that are not there. limit: as of `limit_examples`.
    apply_chat_template: whether they are put in the chat format; when absent, to a model that was taught one.
    truncate_left: whether prompts that the context does not hold lose their first tokens.

    Raises SettingsError for a chat format that the model has not.
    """
    tokenizer = TextTokenizer.load(folder)
    chat = kind_of(folder) == "chat" if apply_chat_template is None else apply_chat_template
    if chat and not tokenizer.template:
        raise SettingsError(
            f"{folder} has no chat template; leave --apply-chat-template at auto, or import it with one"
        )

    @functools.cache
    def engine() -> Engine:
        network = place_model(load_transformer(folder), device, dtype)
        return Engine(network, tokenizer.stop_token_ids, tokenizer=tokenizer)

    identity = model_identity(folder, dtype) if store is not None else {}
    reader = PromptReader(tokenizer, chat, read_shape(folder).max_seq_len)
    made = [
        tasks.make(use)() for use in uses
    ]  # all before the first is asked, so that a fault in the last costs nothing

    def settings_of(use: PluginConfig, task: Task) -> RunSettings:
        template = tokenizer.template or ""
        return run_settings(use, task, identity, chat=chat, template=template, truncate_left=truncate_left)

    if store is not None:
        pairs = zip(uses, made, strict=True)
        store.check(settings_of(use, task) for use, task in pairs if isinstance(task, Task))
    for use, own in zip(uses, made, strict=True):
        task = limit_examples(task_for(own, reader), use, limit)
        ask = progress(use.name)
        if store is None:
            report(use.name, evaluate(engine(), tokenizer, task, chat=chat, report=ask, truncate_left=truncate_left))
            continue

        def score_part(part: Task, first: int, tell: ProgressCallback) -> Score:
            return evaluate(
                engine(),
                tokenizer,
                part,
                chat=chat,
                report=tell,
                first_example=first,
                truncate_left=truncate_left,
            )

        settings = settings_of(use, task)
        answers = store.open_task(settings)
        score = evaluate_into(answers, use.name, task, score_part, tokenizer=tokenizer, report=ask)
        write_results(store.folder, settings, score)
        report(use.name, score)
