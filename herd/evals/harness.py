"""Puts the examples of a task to a model and grades what it answers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from herd.core.errors import ArtifactError, DataError
from herd.core.records import Message
from herd.evals.results import Sample, TaskResult, TextResult
from herd.evals.spread import Interval, bootstrap_mean, ratio_mean, wilson
from herd.evals.task import Answer, Example, Generate, Grade, LogLikelihood, Prompt, Task
from herd.generate.engine import CompletionOutput, Engine, SamplingParams
from herd.judge.best_of import mean_of_best
from herd.tokens.jinja import chat_format
from herd.tokens.tokenizer import TextTokenizer

Report = Callable[[int, int], None]
_SAMPLES = 6
_SAMPLE_CHARACTERS = 400


def silent(done: int, total: int) -> None:
    """Reports nothing."""


@dataclass(frozen=True)
class Graded:
    """One answer to one example and what it is worth."""

    example: str
    asked: str
    answer: str
    grade: Grade

    def sample(self) -> Sample:
        """The answer to look at, cut to a length that fits a page."""
        return Sample(
            self.asked[-_SAMPLE_CHARACTERS:],
            self.answer[:_SAMPLE_CHARACTERS],
            self.grade.score == 1,
            self.grade.score,
            self.grade.extracted[:_SAMPLE_CHARACTERS],
            self.grade.why[:_SAMPLE_CHARACTERS],
        )


@dataclass(frozen=True)
class TaskScore:
    """What a model scores on a task. scores: of every example, in order, from 0 to 1; None where it is void. answers:
    every answer, example by example. run_on: the share of answers that did not come to an end. tokens: of an answer,
    the mean."""

    scores: tuple[float | None, ...]
    answers: tuple[Graded, ...] = ()
    run_on: float = 0.0
    tokens: float = 0.0

    @property
    def counted(self) -> list[float]:
        """The scores that are not void."""
        return [one for one in self.scores if one is not None]

    @property
    def interval(self) -> Interval:
        """The mean with its 95 % interval: Wilson's where every example is right or wrong, else by bootstrap."""
        counted = self.counted
        if all(one in (0, 1) for one in counted):
            return wilson(round(sum(counted)), len(counted))
        return bootstrap_mean(counted)

    def __str__(self) -> str:
        void = len(self.scores) - len(self.counted)
        return f"{self.interval}  {len(self.scores)} questions" + (f", {void} of them void" if void else "")

    def result(self) -> TaskResult:
        """What is recorded of it."""
        return TaskResult(
            *self.interval,
            questions=len(self.scores),
            void=len(self.scores) - len(self.counted),
            right=tuple(None if one is None else int(one) if one in (0, 1) else one for one in self.scores),
            run_on=self.run_on,
            tokens=self.tokens,
            samples=tuple(one.sample() for one in self.answers[:_SAMPLES]),
        )


@dataclass(frozen=True)
class TextScore:
    """How well a model predicts the texts of a task. nats, tokens, utf8_bytes: of every text."""

    nats: tuple[float, ...]
    tokens: tuple[int, ...]
    utf8_bytes: tuple[int, ...]

    @property
    def interval(self) -> Interval:
        """Bits a byte with a 95 % interval over texts, which no tokenizer changes the meaning of."""
        return ratio_mean([nats / math.log(2) for nats in self.nats], self.utf8_bytes)

    def __str__(self) -> str:
        return f"{self.interval} bits a byte  {len(self.nats)} texts"

    def result(self) -> TextResult:
        """What is recorded of it."""
        per_token = sum(self.nats) / sum(self.tokens)
        return TextResult(
            *self.interval,
            questions=len(self.nats),
            nats_per_token=per_token,
            token_perplexity=math.exp(min(per_token, 700.0)),
        )


Score = TaskScore | TextScore


def evaluate(
    engine: Engine, tokenizer: TextTokenizer, task: Task, *, chat: bool, workers: int = 1, report: Report = silent
) -> Score:
    """What the model of `engine` scores on `task`. chat: whether it is asked in its chat format; one that was not
    taught one continues plain text. workers: threads; they change no result.

    Raises DataError for an example that does not fit the model's context.
    """
    prompts = [task.put(example) for example in task.examples]
    if isinstance(task.answers, Generate):
        return _generated(engine, tokenizer, task, task.answers, prompts, chat, workers, report)
    if isinstance(task.answers, LogLikelihood):
        return _chosen(engine, tokenizer, task, task.answers, prompts, chat, report)
    return _predicted(engine, tokenizer, prompts, report)


# ---- the model writes ----


def _generated(
    engine: Engine, tokenizer: TextTokenizer, task: Task, how: Generate, prompts: Sequence[Prompt], chat: bool,
    workers: int, report: Report,
) -> TaskScore:  # fmt: skip
    sampling = SamplingParams(max_tokens=how.max_tokens, temperature=how.temperature, top_p=how.top_p)
    ids = _prompt_ids(tokenizer, prompts, chat)
    repeated = [row for row in ids for _ in range(how.samples)]
    completions = engine.generate(repeated, sampling, workers=workers, report=report)
    read = _reader(tokenizer, how.stop, chat)
    said = [read(one) for one in completions]
    scores: list[float | None] = []
    answers: list[Graded] = []
    for number, (example, prompt) in enumerate(zip(task.examples, prompts, strict=True)):
        own = slice(number * how.samples, (number + 1) * how.samples)
        grades = [task.judge(example, one) for one in said[own]]
        asked = prompt.chat.last.content if chat else prompt.plain
        shown = [tokenizer.show(one.token_ids) for one in completions[own]]
        answers += [Graded(example.id, asked, text, grade) for text, grade in zip(shown, grades, strict=True)]
        scores.append(_worth(grades, how.k))
    run_on = sum(not one.finished for one in said) / len(said)
    tokens = sum(len(one.token_ids) for one in completions) / len(completions)
    return TaskScore(tuple(scores), tuple(answers), run_on, tokens)


def _prompt_ids(tokenizer: TextTokenizer, prompts: Sequence[Prompt], chat: bool) -> list[list[int]]:
    if not chat:
        return [[*tokenizer.opening, *tokenizer.encode(one.plain)] for one in prompts]
    form, asked = chat_format(tokenizer), [one.chat for one in prompts]
    if not form.built_in_tools:
        asked = [replace(one, tools=()) for one in asked]
    return [form.prompt(one) for one in asked]


def _reader(tokenizer: TextTokenizer, stop: Sequence[str], chat: bool) -> Callable[[CompletionOutput], Answer]:
    """Reads what was written: a turn of a chat, or text up to the first stop string."""
    form = chat_format(tokenizer) if chat else None

    def read(completion: CompletionOutput) -> Answer:
        if form is not None:
            message = form.read(completion.token_ids)
            return Answer(message.content, message, True, completion.stopped)
        text = tokenizer.decode(completion.token_ids)
        cut = min((at for at in (text.find(one) for one in stop) if at >= 0), default=None)
        return Answer(text[:cut], Message("assistant", text[:cut]), False, completion.stopped or cut is not None)

    return read


def _worth(grades: Sequence[Grade], k: int) -> float | None:
    """What the best of `k` answers is worth, over every way to draw `k` of these; None where fewer are not void."""
    scores = [one.score for one in grades if one.score is not None]
    return mean_of_best(scores, scores, k) if len(scores) >= k else None


# ---- the likeliest of several texts ----


def _chosen(
    engine: Engine, tokenizer: TextTokenizer, task: Task, how: LogLikelihood, prompts: Sequence[Prompt], chat: bool,
    report: Report,
) -> TaskScore:  # fmt: skip
    texts = [list(how.choices(example)) for example in task.examples]
    opened = _prompt_ids(tokenizer, prompts, True) if chat else None
    pairs: list[tuple[list[int], list[int]]] = []
    for number, (prompt, choices) in enumerate(zip(prompts, texts, strict=True)):
        if len(choices) < 2 or not all(choices):
            raise DataError(f"example {task.examples[number].id!r} has no two choices, or an empty one; mend its row")
        for choice in choices:
            pairs.append(
                _continuation(tokenizer, prompt.plain, choice)
                if opened is None
                else (opened[number], tokenizer.encode(choice.strip()))
            )
    _check_fits(engine, [len(prompt) + len(answer) for prompt, answer in pairs])
    report(0, len(pairs))
    found = _log_probs(engine, [prompt for prompt, _ in pairs], [answer for _, answer in pairs], report)
    scores: list[float | None] = []
    answers: list[Graded] = []
    start = 0
    for example, prompt, choices in zip(task.examples, prompts, texts, strict=True):
        own = slice(start, start + len(choices))
        start += len(choices)
        nats = found[own]
        lengths = {"none": [1] * len(choices), "characters": [len(one.strip()) for one in choices]}
        lengths["tokens"] = [len(answer) for _, answer in pairs[own]]
        weighed = [one / max(1, size) for one, size in zip(nats, lengths[how.normalize], strict=True)]
        best = max(range(len(choices)), key=lambda n: (weighed[n], -n))
        message = Message("assistant", choices[best])
        grade = task.judge(example, Answer(choices[best], message, chat, True, best, tuple(nats)))
        asked = prompt.chat.last.content if chat else prompt.plain
        answers.append(Graded(example.id, asked, choices[best], grade))
        scores.append(grade.score)
    return TaskScore(tuple(scores), tuple(answers))


def _continuation(tokenizer: TextTokenizer, prompt: str, choice: str) -> tuple[list[int], list[int]]:
    """Ids of a prompt and of what follows it, encoded together; spaces at the prompt's end go to what follows.

    Source: lm-evaluation-harness, `TemplateLM._encode_pair`.
    """
    kept = prompt.rstrip()
    first = tokenizer.opening or ([] if kept else [tokenizer.end])
    before = [*first, *tokenizer.encode(kept)]
    whole = [*first, *tokenizer.encode(prompt + choice)]
    return before, whole[len(before) :]


# ---- how likely a text is ----


def _predicted(engine: Engine, tokenizer: TextTokenizer, prompts: Sequence[Prompt], report: Report) -> TextScore:
    first = tokenizer.opening or [tokenizer.end]
    length = engine.model.shape.context - 1
    nats, tokens = [], []
    for number, prompt in enumerate(prompts):
        report(number, len(prompts))
        windows = list(rolling_windows([*first, *tokenizer.encode(prompt.plain)], length))
        if not windows:
            raise DataError(f"text {number + 1} of the task is empty; leave it out")
        nats.append(-sum(_log_probs(engine, [before for before, _ in windows], [after for _, after in windows])))
        tokens.append(sum(len(after) for _, after in windows))
    return TextScore(tuple(nats), tuple(tokens), tuple(len(one.plain.encode()) for one in prompts))


def rolling_windows(ids: Sequence[int], length: int) -> list[tuple[list[int], list[int]]]:
    """(what is read, what is predicted) such that every id but the first is predicted once: windows of `length` ids
    one after another; the last one reads further back, so that it is as long as the others.

    Source: lm-evaluation-harness, `get_rolling_token_windows` with a context of 1.
    """
    windows = []
    done = 1
    while done < len(ids):
        end = min(done + length, len(ids))
        start = max(0, end - length - 1)
        windows.append((list(ids[start:done]), list(ids[done:end])))
        done = end
    return windows


def _log_probs(
    engine: Engine, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]], report: Report = silent
) -> list[float]:
    """Of every answer after its prompt, in nats. Raises ArtifactError for a model whose numbers are none."""
    found = engine.score(prompts, answers, report)
    if any(math.isnan(one) for one in found):
        raise ArtifactError("the model's numbers are not finite, so it can say nothing; take another checkpoint")
    return found


def _check_fits(engine: Engine, lengths: Sequence[int]) -> None:
    context = engine.model.shape.context
    if max(lengths) > context:
        raise DataError(f"an example takes {max(lengths):,} tokens; the model reads {context:,}: take fewer shots")


def gold_nll(engine: Engine, tokenizer: TextTokenizer, task: Task) -> float:
    """Nats of the right answer a character, the mean over the examples that have a target.

    It falls long before a small model gets a question right. Raises DataError when no example has a right answer in
    text, or one does not fit the model's context. Source: Llama 3, 3.2.1 (normalised by characters).
    """
    asked: list[Example] = [example for example in task.examples if example.target]
    if not asked:
        raise DataError("no question of this task has an answer that plain text could go on with; take another task")
    prompts = [[*tokenizer.opening, *tokenizer.encode(task.put(example).plain)] for example in asked]
    answers = [tokenizer.encode(example.target) for example in asked]
    longest = max(len(prompt) + len(answer) for prompt, answer in zip(prompts, answers, strict=True))
    if longest > engine.model.shape.context:
        raise DataError(
            f"a question takes {longest} tokens; the model reads {engine.model.shape.context}: train on longer rows"
        )
    nats = [-one for one in _log_probs(engine, prompts, answers)]
    return sum(one / len(example.target) for one, example in zip(nats, asked, strict=True)) / len(asked)
