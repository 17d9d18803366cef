"""Prompts that fill a length counted in a tokenizer's tokens, whichever tokenizer it is.

A prompt grows by units of a haystack: sentences, lines, documents. What a unit takes is counted once, so that the size
of a prompt is a sum and its largest size a look-up; whole prompts are counted only to check the sum. What was found is
kept on disk, and a second run counts nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from herd.core.cache import cache_folder
from herd.core.errors import DataError, SettingsError
from herd.core.records import Conversation, Message
from herd.core.seeds import rng
from herd.evals.encoding import prompt_ids
from herd.evals.task import Example, Generate, Grade, ModelAnswer, Prompt, Task
from herd.judge.recall import grade_strings
from herd.tokens.tokenizer import TextTokenizer

_PROBES = 16  # small prompts of each length that are counted whole, to find what all have alike
_SURPLUS = 2  # tokens that a sum may be above the count of the whole prompt
_CACHE_VERSION = 1  # of the form of the files, and of how every prompt is drawn


@dataclass(frozen=True)
class PromptReader:
    """How a model reads prompts. chat: whether in its chat format. max_seq_len: the tokens that it reads at most."""

    tokenizer: TextTokenizer
    chat: bool
    max_seq_len: int

    def count(self, prompt: Prompt) -> int:
        """The tokens of all that it reads before it answers."""
        return len(prompt_ids(self.tokenizer, [prompt], self.chat)[0])

    @cached_property
    def identity(self) -> str:
        """A hash of all that decides how many tokens a prompt takes."""
        rows = [self.tokenizer.backend_json, self.tokenizer.template, self.tokenizer.opening, self.chat]
        return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class SizedTask:
    """A task whose prompts depend on how a model counts tokens. build: gives the task for a model."""

    build: Callable[[PromptReader], Task]


def task_for(task: Task | SizedTask, reader: PromptReader) -> Task:
    """The task as it is put to a model that reads so."""
    return task.build(reader) if isinstance(task, SizedTask) else task


@dataclass(frozen=True)
class SizedPrompt:
    """A prompt and what a right answer to it holds. response_prefix: what the answer begins with."""

    text: str
    answers: tuple[str, ...]
    response_prefix: str = ""

    def put(self, identity: str = "") -> Prompt:
        """How it is put to a model."""
        conversation = Conversation((Message("user", self.text),), identity)
        return Prompt(conversation, self.text, response_prefix=self.response_prefix)


@dataclass
class TokenCounts:
    """How many tokens texts take where they stand. before: what a text follows, since the same letters may be other
    tokens at the start of a text; it is not counted. A text is counted once."""

    tokenizer: TextTokenizer
    _counts: dict[tuple[str, str], int] = field(default_factory=dict)

    def of(self, texts: Sequence[str], before: str = ".") -> np.ndarray:
        """Of each text. [texts], int64."""
        new = [text for text in dict.fromkeys(texts) if (before, text) not in self._counts]
        if new:
            least = len(self.tokenizer.encode(before))
            for text, ids in zip(new, self.tokenizer.encode_batch([before + text for text in new]), strict=True):
                self._counts[before, text] = len(ids) - least
        return np.array([self._counts[before, text] for text in texts], np.int64)

    def total(self, texts: Sequence[str], before: str = ".") -> int:
        """Of all texts together."""
        return int(self.of(texts, before).sum())


@dataclass(frozen=True)
class PromptDraw:
    """One prompt to be drawn: its task, the seed, its length in tokens, and its number of those of that length."""

    task: str
    seed: int
    length: int
    number: int

    def chance(self) -> random.Random:
        """Random numbers of its own, from the first on."""
        return rng(self.seed, self.task, self.length, self.number)


class PromptGenerator(Protocol):
    """Draws prompts of any size; the same draw gives the same prompt. least_units, most_units: between which one can be
    made."""

    least_units: int
    most_units: int

    def fit(self, draw: PromptDraw, budget: int, counts: TokenCounts) -> tuple[int, int]:
        """(units, tokens) of the largest prompt that takes no more than `budget` tokens, without what every prompt has
        alike; `least_units` where none does."""
        ...

    def render(self, draw: PromptDraw, units: int) -> SizedPrompt:
        """The prompt of so many units."""
        ...


@dataclass(frozen=True)
class PromptSize:
    """The size of one prompt. tokens: of all that the model reads, its chat format among it."""

    units: int
    tokens: int


@dataclass(frozen=True)
class PromptPlan:
    """Which prompts a task has: `limit` of each of `lengths` tokens, the answer's `max_tokens` among them. inputs: what
    they depend on beside all else named here, such as files with their hashes."""

    task: str
    lengths: tuple[int, ...]
    limit: int
    seed: int
    max_tokens: int
    inputs: Mapping[str, Any] = field(default_factory=dict)

    def draws(self, length: int) -> list[PromptDraw]:
        return [PromptDraw(self.task, self.seed, length, number) for number in range(self.limit)]

    def cache_file(self, length: int, tokenizer_key: str) -> Path:
        """Where the sizes of prompts of a length are kept."""
        key = [_CACHE_VERSION, tokenizer_key, length, self.limit, self.seed, self.max_tokens, dict(self.inputs)]
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:24]
        return cache_folder() / "prompts" / f"{self.task}-{digest}.json"


def fit_prompts(
    plan: PromptPlan, make: Callable[[int], PromptGenerator], reader: PromptReader
) -> dict[int, list[PromptSize]]:
    """The size of every prompt by length, such that prompt and answer together fill the length as far as whole units
    can. make: gives the generator for a length. What was found is kept on disk.

    Raises DataError for a length that not even the smallest prompt fits, SettingsError for one that the model does not
    read.
    """
    counts = TokenCounts(reader.tokenizer)
    if max(plan.lengths) > reader.max_seq_len:
        raise SettingsError(
            f"{plan.task} asks at {max(plan.lengths):,} tokens and the model reads {reader.max_seq_len:,}; leave that "
            "length out"
        )
    sizes = {}
    for length in plan.lengths:
        file = plan.cache_file(length, reader.identity)
        sizes[length] = _read_sizes(file, plan.limit)
        if not sizes[length]:
            sizes[length] = _fit(plan, make(length), counts, reader, length)
            _write_sizes(file, sizes[length])
    return sizes


def _fit(
    plan: PromptPlan, generator: PromptGenerator, counts: TokenCounts, reader: PromptReader, length: int
) -> list[PromptSize]:
    room, draws = length - plan.max_tokens, plan.draws(length)
    # What every prompt has alike, and at most what a needle at its very start takes more than after a space.
    fixed = max(_fixed(generator, counts, reader, draw) for draw in draws[:_PROBES])
    sizes: list[PromptSize] = []
    for draw in draws:
        units, tokens = generator.fit(draw, room - fixed, counts)
        if draw.number == 0:
            surplus = tokens + fixed - reader.count(generator.render(draw, units).put())
            if not 0 <= surplus <= _SURPLUS:
                return [_fit_whole(plan, generator, counts, reader, draw) for draw in draws]
        if tokens + fixed > room:
            raise _too_short(plan, length, tokens + fixed)
        sizes.append(PromptSize(units, tokens + fixed))
    return sizes


def _fixed(generator: PromptGenerator, counts: TokenCounts, reader: PromptReader, draw: PromptDraw) -> int:
    units, tokens = generator.fit(draw, 0, counts)
    return reader.count(generator.render(draw, units).put()) - tokens


def _fit_whole(
    plan: PromptPlan, generator: PromptGenerator, counts: TokenCounts, reader: PromptReader, draw: PromptDraw
) -> PromptSize:
    """The largest prompt by counting whole ones, for a tokenizer whose counts do not add up. The sum says where to
    look; a wrong one costs counts, and nothing else."""
    room = draw.length - plan.max_tokens
    low, low_tokens = generator.least_units, reader.count(generator.render(draw, generator.least_units).put())
    if low_tokens > room:
        raise _too_short(plan, draw.length, low_tokens)
    high, step = generator.most_units + 1, 1
    middle = min(max(generator.fit(draw, room, counts)[0], low + 1), high - 1)
    while high - low > 1:
        tokens = reader.count(generator.render(draw, middle).put())
        if tokens <= room:
            low, low_tokens = middle, tokens
            middle = low + step
        else:
            high = middle
            middle = high - step
        step *= 2
        if not low < middle < high:
            middle = (low + high) // 2
    return PromptSize(low, low_tokens)


def _too_short(plan: PromptPlan, length: int, tokens: int) -> DataError:
    return DataError(
        f"{plan.task}: the shortest prompt takes {tokens:,} tokens and the answer up to {plan.max_tokens:,}, more than "
        f"the length {length:,}; ask at longer lengths"
    )


def _read_sizes(file: Path, limit: int) -> list[PromptSize]:
    """Those kept; none where nothing is, or it is broken."""
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))
        sizes = [PromptSize(int(units), int(tokens)) for units, tokens in rows]
    except (OSError, ValueError, TypeError):
        return []
    return sizes if len(sizes) == limit else []


def _write_sizes(file: Path, sizes: Sequence[PromptSize]) -> None:
    # A home that cannot be written to costs the next run its time and nothing else.
    with contextlib.suppress(OSError):
        file.parent.mkdir(exist_ok=True)
        partial = file.with_name(f"{file.name}.{os.getpid()}")
        partial.write_text(json.dumps([[size.units, size.tokens] for size in sizes]), encoding="utf-8")
        partial.replace(file)


def most_that_fit(costs: np.ndarray, budget: int) -> int:
    """How many of the first costs add up to no more than `budget`. costs: [units]."""
    return int(np.searchsorted(np.cumsum(costs), budget, side="right"))


def length_group(draw: PromptDraw) -> str:
    """The prompt's length, so written that lengths are in order when sorted as text."""
    return f"{draw.length:06d} tokens"


def sized_task(
    plan: PromptPlan, make: Callable[[int], PromptGenerator], *, match: Literal["all", "part"] = "all",
    group: Callable[[PromptDraw], str] = length_group,
) -> SizedTask:  # fmt: skip
    """Prompts, and the share of what a right answer holds that an answer has; of `part`, whether it has any. make:
    gives the generator for a length. group: the part of the task that a prompt belongs to."""

    def build(reader: PromptReader) -> Task:
        make_once = cache(make)
        sizes = fit_prompts(plan, make_once, reader)
        examples = []
        for length, own in sizes.items():
            for draw, size in zip(plan.draws(length), own, strict=True):
                row = {"draw": draw, "units": size.units, "tokens": size.tokens}
                examples.append(Example(f"{length}/{draw.number}", row))

        def render(example: Example) -> SizedPrompt:
            place: PromptDraw = example.row["draw"]
            return make_once(place.length).render(place, example.row["units"])

        def prompt_for(example: Example) -> Prompt:
            prompt = render(example)
            answers[example.id] = prompt.answers
            return prompt.put(example.id)

        def grade(example: Example, response: ModelAnswer) -> Grade:
            expected = answers.get(example.id) or render(example).answers
            verdict = grade_strings(response.text, expected, match=match)
            reason = f"the answer is {', '.join(expected)}"
            return Grade(verdict.score, response.text.strip(), reason, parts=verdict.parts)

        answers: dict[str, tuple[str, ...]] = {}
        return Task(
            examples,
            prompt_for,
            Generate(plan.max_tokens),
            grade,
            group=lambda example: group(example.row["draw"]),
        )

    return SizedTask(build)
