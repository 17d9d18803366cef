"""What benchmarks have in common: their settings, shots before a question, and choices that are compared or named.

A benchmark is a file in `herd/evals/tasks`: its data, how a question is put, and what is right. The functional words of
a prompt stand there; shots, which are others' texts, always come from the data.
"""

from __future__ import annotations

import dataclasses
import inspect
import random
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any, Literal, TypeVar

from herd.core.errors import DataError
from herd.core.records import Conversation, Message
from herd.core.settings import InputFile, NonNegativeInt, PositiveInt, Share, settings
from herd.evals.aggregates import majority_of
from herd.evals.datasets import BenchmarkData, BenchmarkRows, DatasetRow, benchmark_rows, has_split
from herd.evals.task import Example, Generate, Grade, Metric, Prompt, Task, join_text
from herd.evals.tasks import tasks
from herd.judge.verdict import AnswerVerdict

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
PromptStyle = Literal["classic", "llama3"]
SettingsT = TypeVar("SettingsT", bound="BenchmarkSettings")
SOURCES: dict[str, BenchmarkData] = {}  # of every benchmark, by the name of its task


@settings
class BenchmarkSettings:
    """data: a file, folder or address of the benchmark's rows; without it they are fetched from the Hub. split: which
    rows are asked; the benchmark's own when empty. limit: so many at most, as many of each group as can be. subsets:
    only these groups. num_fewshot: shots before each question; as the prompt style has it when absent. fewshot_seed:
    draws the shots of benchmarks that have no fixed ones. prompt_style: `classic` is lm-eval's own task, `llama3` what
    Llama 3 was measured by. system_prompt: before everything."""

    data: InputFile | None = None
    split: str = ""
    limit: NonNegativeInt = 0
    subsets: tuple[str, ...] = ()
    num_fewshot: NonNegativeInt | None = None
    fewshot_seed: NonNegativeInt = 1234
    prompt_style: PromptStyle = "classic"
    system_prompt: str = ""

    def shots(self, classic: int, llama3: int) -> int:
        """How many are shown, of which each style has its own number."""
        return self.style(classic, llama3) if self.num_fewshot is None else self.num_fewshot

    def style(self, classic: Any, llama3: Any) -> Any:
        """What the prompt style has."""
        return llama3 if self.prompt_style == "llama3" else classic


@settings
class GenerationSettings(BenchmarkSettings):
    """As all benchmarks have them; and of what is written: num_samples answers to each question, drawn at `temperature`
    and `top_p`; k: the score is that of the best of k; max_tokens, stop: of an answer, as the style has them when
    absent. exemplars: a file of rows that are shown before every question, in place of the data's own."""

    num_samples: PositiveInt = 1
    temperature: float = 0.0
    top_p: Share = 1.0
    k: PositiveInt = 1
    max_tokens: PositiveInt | None = None
    stop: tuple[str, ...] | None = None
    exemplars: InputFile | None = None

    def generation(
        self, max_tokens: int, stop: Sequence[str] = (), *, chat_stop: Sequence[str] | None = None
    ) -> Generate:
        """How answers are written, with the benchmark's own where the settings say nothing. chat_stop: strings that end
        an answer in a chat; as in text where absent."""
        ending = tuple(stop) if self.stop is None else self.stop
        in_chat = ending if chat_stop is None or self.stop is not None else tuple(chat_stop)
        return Generate(
            self.max_tokens or max_tokens,
            ending,
            self.num_samples,
            self.temperature,
            self.top_p,
            self.k,
            chat_stop=in_chat,
        )

    def votes(self, normalize: Callable[[str], str] = str.strip) -> dict[str, Metric]:
        """maj@k, where there are several samples. normalize: by which answers that say the same are told."""
        return {f"maj@{self.num_samples}": majority_of(normalize)} if self.num_samples > 1 else {}


def benchmark(
    kind: type[SettingsT], source: BenchmarkData, **defaults: Any
) -> Callable[[Callable[[SettingsT], Task]], Callable[..., Task]]:
    """Registers a benchmark under its function's name. Its settings are the fields of `kind`, written flat, as those of
    any task. defaults: of this benchmark, where they are not the class's."""
    hints = typing.get_type_hints(kind, include_extras=True)
    parameters = []
    for setting in dataclasses.fields(kind):  # type: ignore[arg-type]
        default = defaults.get(setting.name, setting.default)
        hint = hints[setting.name]
        parameters.append(
            inspect.Parameter(setting.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)
        )

    def register(make: Callable[[SettingsT], Task]) -> Callable[..., Task]:
        def task(**values: Any) -> Task:
            return make(kind(**(defaults | values)))

        task.__name__, task.__qualname__ = make.__name__, make.__qualname__
        task.__doc__, task.__module__ = make.__doc__, make.__module__
        task.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters} | {"return": Task}
        task.__wrapped__ = make  # type: ignore[attr-defined]
        task.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        SOURCES[make.__name__] = source
        tasks.add(task)
        return task

    return register


# ---- rows and shots ----


@dataclass(frozen=True)
class BenchmarkQuestions:
    """What is asked. shots: the rows shown before each, by its id. notes: on the data."""

    rows: tuple[DatasetRow, ...]
    shots: Mapping[str, tuple[DatasetRow, ...]]
    notes: tuple[str, ...]


def load_questions(
    own: BenchmarkSettings,
    source: BenchmarkData,
    *,
    split: str,
    fewshot_split: str = "",
    num_fewshot: int = 0,
    first_shots: bool = False,
    group: Callable[[DatasetRow], str] | None = None,
) -> BenchmarkQuestions:
    """The rows that are asked, and those shown before each.

    split: the benchmark's own. fewshot_split: where shots come from; where the data has none of it, from the others
    that are asked. first_shots: whether the same first ones are always shown; else they are drawn for each question.
    group: of which rows are shown their own only.

    Raises DataError when there are not so many shots. Source: lm-evaluation-harness, `ContextSampler`: with its seed
    the same shots are drawn, since the draws of a group go on from row to row.
    """
    question_rows = benchmark_rows(own.data, own.split or split, source)
    group_of = group or (lambda row: "")
    rows = choose_rows(question_rows.rows, own, group_of)
    notes = list(question_rows.notes)
    if len(rows) < len(question_rows.rows):
        notes.append(f"{len(rows):,} of {len(question_rows.rows):,} were asked")
    if not num_fewshot:
        return BenchmarkQuestions(rows, {}, tuple(notes))
    exemplars = own.exemplars if isinstance(own, GenerationSettings) else None
    if exemplars is not None:
        shot_question = benchmark_rows(exemplars, "", source).rows[:num_fewshot]
        if len(shot_question) < num_fewshot:
            raise DataError(
                f"{num_fewshot} shots are wanted and the exemplars are {len(shot_question)}; set num_fewshot lower"
            )
        return BenchmarkQuestions(rows, {row["id"]: shot_question for row in rows}, tuple(notes))
    pool = question_rows
    if fewshot_split and fewshot_split != (own.split or split) and has_split(own.data, fewshot_split, source):
        pool = benchmark_rows(own.data, fewshot_split, source)
    else:
        notes.append("shots are other rows of those that are asked, for want of a split of their own")
    shots = _draw_shots(question_rows, rows, pool, num_fewshot, own.fewshot_seed, first_shots, group_of)
    return BenchmarkQuestions(rows, shots, tuple(notes))


def choose_rows(
    rows: Sequence[DatasetRow], own: BenchmarkSettings, group_of: Callable[[DatasetRow], str]
) -> tuple[DatasetRow, ...]:
    """The rows of the subsets asked for; where fewer are asked, evenly of all groups, in the order of the file."""
    groups: dict[str, list[int]] = {}
    for number, row in enumerate(rows):
        groups.setdefault(group_of(row), []).append(number)
    if unknown := set(own.subsets) - groups.keys():
        raise DataError(f"there is no subset {min(unknown)!r}; there are {', '.join(sorted(groups))[:400]}")
    numbers = [own_numbers for name, own_numbers in groups.items() if not own.subsets or name in own.subsets]
    in_turn = [number for number in chain.from_iterable(zip_longest(*numbers)) if number is not None]
    return tuple(rows[number] for number in sorted(in_turn[: own.limit or None]))


def _draw_shots(
    question_rows: BenchmarkRows,
    rows: Sequence[DatasetRow],
    pool: BenchmarkRows,
    count: int,
    seed: int,
    first: bool,
    group_of: Callable[[DatasetRow], str],
) -> dict[str, tuple[DatasetRow, ...]]:
    pools: dict[str, list[DatasetRow]] = {}
    for row in pool.rows:
        pools.setdefault(group_of(row), []).append(row)
    question_ids = {row["id"] for row in rows}
    itself = pool is question_rows  # then no question may be shown before itself
    draws: dict[str, random.Random] = {}
    shots: dict[str, tuple[DatasetRow, ...]] = {}
    for row in question_rows.rows:  # of all, so that a part of the questions has the shots it has among all
        name = group_of(row)
        own = pools.get(name, [])
        if len(own) < count + itself:
            where = f" of {name!r}" if name else ""
            raise DataError(f"{count} shots are wanted and there are {len(own)}{where}; set num_fewshot lower")
        rng = draws.setdefault(name, random.Random(seed))
        candidates = own if first else rng.sample(own, count + itself)
        if row["id"] in question_ids:
            shots[row["id"]] = tuple([shot for shot in candidates if not (itself and shot["id"] == row["id"])][:count])
    return shots


# ---- prompts ----


def no_words(row: DatasetRow) -> str:
    """Nothing, of any row."""
    return ""


@dataclass(frozen=True)
class Layout:
    """How questions are put. question: of a row; answer: of a row that is shown, as the model should write it.
    description: before everything; the system's message in a chat. response_prefix: what answers begin with, also those
    shown. delimiter: between a question and its answer in text; separator: after a shot. shown: how the question of a
    shot is put, where it is put otherwise."""

    question: Callable[[DatasetRow], str]
    answer: Callable[[DatasetRow], str]
    description: Callable[[DatasetRow], str] = no_words
    response_prefix: str = ""
    delimiter: str = " "
    separator: str = "\n\n"
    shot_question: Callable[[DatasetRow], str] | None = None

    def prompt(self, row: DatasetRow, shots: Sequence[DatasetRow], system_prompt: str = "") -> Prompt:
        """The question after its shots: turns of a chat, or one text."""
        description = self.description(row)
        system = join_text(system_prompt, description, self.separator)
        messages = [Message("system", system)] if system else []
        text = system if description or not system else system + self.separator
        for shot in shots:
            question_rows, answer = (
                (self.shot_question or self.question)(shot),
                join_text(self.response_prefix, self.answer(shot)),
            )
            messages += [Message("user", question_rows), Message("assistant", answer)]
            text += f"{question_rows}{self.delimiter}{answer}{self.separator}"
        question = self.question(row)
        chat = Conversation((*messages, Message("user", question)), str(row["id"]))
        return Prompt(chat, text + question, (), self.response_prefix)


def with_examples(questions: BenchmarkQuestions, target: Callable[[DatasetRow], str]) -> list[Example]:
    """An example of every row that is asked."""
    return [Example(str(row["id"]), row, target(row)) for row in questions.rows]


def prompt_of(layout: Layout, questions: BenchmarkQuestions, own: BenchmarkSettings) -> Callable[[Example], Prompt]:
    """How an example is put."""

    def prompt(example: Example) -> Prompt:
        return layout.prompt(example.row, questions.shots.get(example.id, ()), own.system_prompt)

    return prompt


def as_grade(verdict: AnswerVerdict, parts: Mapping[str, float] | None = None) -> Grade:
    """A grader's verdict as a task's grade. parts: beside its own."""
    return Grade(verdict.score, verdict.extracted, verdict.reason, verdict.unparsed, {**verdict.parts, **(parts or {})})
