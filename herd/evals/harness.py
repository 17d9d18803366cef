"""Puts the examples of a task to a model and grades what it answers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, repeat

from herd.core.errors import ArtifactError, DataError, SettingsError
from herd.core.records import Message
from herd.core.terminal import count_of
from herd.evals.intervals import Interval, bootstrap_mean, ratio_mean, wilson
from herd.evals.results import Sample, TaskResult, TextResult
from herd.evals.task import Example, Generate, Grade, LogLikelihood, ModelAnswer, Prompt, Task
from herd.generate.engine import CompletionOutput, Engine, ProgressCallback, SamplingParams
from herd.judge.best_of import mean_of_best
from herd.tokens.jinja import chat_template_of
from herd.tokens.tokenizer import TextTokenizer

_SAMPLES = 6
_SCORED_TOKENS = 8_192  # of texts, at once
_SAMPLE_CHARACTERS = 400


def no_progress(count: int, total: int) -> None:
    """Reports nothing."""


@dataclass(frozen=True)
class GradedAnswer:
    """One answer to one example and what it is worth."""

    example: str
    prompt: str
    answer: str
    grade: Grade

    def sample(self) -> Sample:
        """The answer to look at, cut to a length that fits a page."""
        return Sample(
            self.prompt[-_SAMPLE_CHARACTERS:],
            self.answer[:_SAMPLE_CHARACTERS],
            self.grade.score == 1,
            self.grade.score,
            self.grade.extracted[:_SAMPLE_CHARACTERS],
            self.grade.reason[:_SAMPLE_CHARACTERS],
        )


@dataclass(frozen=True)
class ChoiceLikelihoods:
    """How likely a model held every choice of an example, in nats, not normalised, and which is right; None where the
    example names none of them."""

    log_likelihoods: tuple[float, ...]
    right: int | None


@dataclass(frozen=True)
class TaskScore:
    """What a model scores on a task. scores: of every example, in order, from 0 to 1; None where it is void. answers:
    every answer, example by example. truncated_share: the share of answers that did not come to an end. tokens: of an
    answer, the mean. choices: of every example with choices, in order."""

    scores: tuple[float | None, ...]
    answers: tuple[GradedAnswer, ...] = ()
    truncated_share: float = 0.0
    tokens: float = 0.0
    choices: tuple[ChoiceLikelihoods, ...] = ()

    @property
    def valid_scores(self) -> list[float]:
        """The scores that are not void."""
        return [score for score in self.scores if score is not None]

    @property
    def interval(self) -> Interval:
        """The mean with its 95 % interval: Wilson's where every example is right or wrong, or there is one, else by
        bootstrap."""
        scores = self.valid_scores
        if len(scores) == 1 or all(score in (0, 1) for score in scores):
            return wilson(sum(scores), len(scores))
        return bootstrap_mean(scores)

    def __str__(self) -> str:
        void = len(self.scores) - len(self.valid_scores)
        return f"{self.interval}  {count_of(len(self.scores), 'question')}" + (f", {void} of them void" if void else "")

    def result(self) -> TaskResult:
        """What is recorded of it."""
        return TaskResult(
            *self.interval,
            questions=len(self.scores),
            void=len(self.scores) - len(self.valid_scores),
            right=tuple(None if score is None else int(score) if score in (0, 1) else score for score in self.scores),
            truncated_share=self.truncated_share,
            tokens=self.tokens,
            samples=tuple(answer.sample() for answer in self.answers[:_SAMPLES]),
            chance=sum(1 / len(row.log_likelihoods) for row in self.choices) / len(self.choices)
            if self.choices
            else None,
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
        return ratio_mean([nats / math.log(2) for nats in self.nats], self.utf8_bytes, least=0.0)

    def __str__(self) -> str:
        return f"{self.interval.words('.3f', 'text')} bits a byte  {count_of(len(self.nats), 'text')}"

    def result(self) -> TextResult:
        """What is recorded of it."""
        per_token = sum(self.nats) / sum(self.tokens)
        return TextResult(
            *self.interval,
            questions=len(self.nats),
            nats_per_token=per_token,
            token_perplexity=math.exp(min(per_token, 700.0)),
            text_nats=self.nats,
            text_bytes=self.utf8_bytes,
        )


Score = TaskScore | TextScore


def evaluate(
    engine: Engine,
    tokenizer: TextTokenizer,
    task: Task,
    *,
    chat: bool,
    workers: int = 1,
    report: ProgressCallback = no_progress,
) -> Score:
    """What the model of `engine` scores on `task`. chat: whether it is asked in its chat format; one that was not
    taught one continues plain text. workers: threads; they change no result.

    Raises DataError for an example that does not fit the model's context, SettingsError for turns of a task in which
    nothing is written.
    """
    prompts = [task.prompt_for(example) for example in task.examples]
    if isinstance(task.output_type, Generate):
        return _score_generated(engine, tokenizer, task, task.output_type, prompts, chat, workers, report)
    if any(prompt.turns for prompt in prompts):
        raise SettingsError("a prompt of the task has several turns and its model writes nothing; let it `Generate`")
    if isinstance(task.output_type, LogLikelihood):
        return _score_choices(engine, tokenizer, task, task.output_type, prompts, chat, report)
    return _score_texts(engine, tokenizer, prompts, report)


# ---- the model writes ----


def _score_generated(
    engine: Engine, tokenizer: TextTokenizer, task: Task, generation: Generate, prompts: Sequence[Prompt], chat: bool,
    workers: int, report: ProgressCallback,
) -> TaskScore:  # fmt: skip
    sampling = SamplingParams(
        max_tokens=generation.max_tokens,
        temperature=generation.temperature,
        top_p=generation.top_p,
        stop=() if chat else generation.stop,
    )
    turns = _generate_turns(engine, tokenizer, prompts, generation, sampling, chat, workers, report)
    responses = [answer_turns[-1].answer for answer_turns in turns]
    scores: list[float | None] = []
    answers: list[GradedAnswer] = []

    def grade(number: int) -> Grade:
        verdict = task.judge(task.examples[number // generation.num_samples], responses[number])
        report(len(responses), len(responses))
        return verdict

    all_grades = engine.ranks.map(range(len(responses)), grade)
    for number, (example, prompt) in enumerate(zip(task.examples, prompts, strict=True)):
        own = slice(number * generation.num_samples, (number + 1) * generation.num_samples)
        grades = all_grades[own]
        prompt_text = "\n".join((prompt.chat.last.content if chat else prompt.plain, *prompt.turns))
        texts = [
            "\n".join(tokenizer.show(turn.completion.token_ids) for turn in answer_turns) for answer_turns in turns[own]
        ]
        answers += [
            GradedAnswer(example.id, prompt_text, text, grade) for text, grade in zip(texts, grades, strict=True)
        ]
        scores.append(_best_of_k(grades, generation.k))
    all_turns = list(chain.from_iterable(turns))
    truncated_share = sum(not turn.answer.finished for turn in all_turns) / len(all_turns)
    tokens = sum(len(turn.completion.token_ids) for turn in all_turns) / len(all_turns)
    return TaskScore(tuple(scores), tuple(answers), truncated_share, tokens)


@dataclass(frozen=True)
class _Turn:
    """What a model wrote in one turn, and how it reads."""

    completion: CompletionOutput
    answer: ModelAnswer


def _generate_turns(
    engine: Engine, tokenizer: TextTokenizer, prompts: Sequence[Prompt], generation: Generate, sampling: SamplingParams,
    chat: bool, workers: int, report: ProgressCallback,
) -> list[list[_Turn]]:  # fmt: skip
    """`num_samples` times of every prompt, all that the model answers, turn by turn, its own answers in between.

    A first turn has to fit the model's context, unless the task says that it may be `unanswered`. A later one that does
    not, because the model's answers filled it, is answered with nothing.
    """
    num_samples = generation.num_samples
    read = _reader(tokenizer, chat)
    current = list(chain.from_iterable(repeat(prompt, num_samples) for prompt in prompts))
    rows = list(chain.from_iterable(repeat(row, num_samples) for row in _prompt_ids(tokenizer, prompts, chat)))
    turns: list[list[_Turn]] = [[] for _ in current]
    places, must_fit = list(range(len(current))), generation.long_prompts == "refuse"
    while places:
        fits = [must_fit or len(row) < engine.model.shape.max_seq_len for row in rows]
        ids = [row for row, fit in zip(rows, fits, strict=True) if fit]
        completions = iter(engine.generate(ids, sampling, workers=workers, report=report))
        for place, fit in zip(places, fits, strict=True):
            completion = next(completions) if fit else CompletionOutput(finish_reason="length")
            earlier = tuple(turn.answer for turn in turns[place])
            turns[place].append(_Turn(completion, replace(read(completion), earlier=earlier)))
        places, must_fit = [place for place in places if current[place].turns], False
        for place in places:
            current[place] = current[place].after(turns[place][-1].answer)
        rows = _prompt_ids(tokenizer, [current[place] for place in places], chat)
    return turns


def _prompt_ids(tokenizer: TextTokenizer, prompts: Sequence[Prompt], chat: bool) -> list[list[int]]:
    if not chat:
        return [[*tokenizer.opening, *tokenizer.encode(prompt.plain)] for prompt in prompts]
    chat_template, conversations = chat_template_of(tokenizer), [prompt.chat for prompt in prompts]
    if not chat_template.built_in_tools:
        conversations = [replace(conversation, tools=()) for conversation in conversations]
    return [chat_template.encode_prompt(conversation) for conversation in conversations]


def _reader(tokenizer: TextTokenizer, chat: bool) -> Callable[[CompletionOutput], ModelAnswer]:
    """Reads what was written: a turn of a chat, or text, which the engine ended before a stop string."""
    chat_template = chat_template_of(tokenizer) if chat else None

    def read(completion: CompletionOutput) -> ModelAnswer:
        if chat_template is not None:
            message = chat_template.parse_message(completion.token_ids)
            return ModelAnswer(message.content, message, True, completion.stopped)
        at_stop_string = isinstance(completion.stop_reason, str)
        text = completion.text if at_stop_string else tokenizer.decode(completion.token_ids)
        return ModelAnswer(text, Message("assistant", text), False, completion.stopped)

    return read


def _best_of_k(grades: Sequence[Grade], k: int) -> float | None:
    """What the best of `k` answers is worth, over every way to draw `k` of these; None where fewer are not void."""
    scores = [grade.score for grade in grades if grade.score is not None]
    return mean_of_best(scores, scores, k) if len(scores) >= k else None


# ---- the likeliest of several texts ----


def _score_choices(
    engine: Engine, tokenizer: TextTokenizer, task: Task, likelihood: LogLikelihood, prompts: Sequence[Prompt],
    chat: bool,
    report: ProgressCallback,
) -> TaskScore:  # fmt: skip
    texts = [list(likelihood.choices(example)) for example in task.examples]
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
    logps = _log_probs(engine, [prompt for prompt, _ in pairs], [answer for _, answer in pairs], report)
    scores: list[float | None] = []
    answers: list[GradedAnswer] = []
    likelihoods: list[ChoiceLikelihoods] = []
    start = 0
    for example, prompt, choices in zip(task.examples, prompts, texts, strict=True):
        own = slice(start, start + len(choices))
        start += len(choices)
        nats = logps[own]
        lengths = {"none": [1] * len(choices), "characters": [len(choice.strip()) for choice in choices]}
        lengths["tokens"] = [len(answer) for _, answer in pairs[own]]
        weighed = [logp / max(1, size) for logp, size in zip(nats, lengths[likelihood.normalize], strict=True)]
        best = max(range(len(choices)), key=lambda n: (weighed[n], -n))
        message = Message("assistant", choices[best])
        grade = task.judge(example, ModelAnswer(choices[best], message, chat, True, best, tuple(nats)))
        prompt_text = prompt.chat.last.content if chat else prompt.plain
        answers.append(GradedAnswer(example.id, prompt_text, choices[best], grade))
        scores.append(grade.score)
        likelihoods.append(ChoiceLikelihoods(tuple(nats), _index_in(choices, example.target)))
    return TaskScore(tuple(scores), tuple(answers), choices=tuple(likelihoods))


def _index_in(choices: Sequence[str], target: str) -> int | None:
    return choices.index(target) if target in choices else None


def _continuation(tokenizer: TextTokenizer, prompt: str, choice: str) -> tuple[list[int], list[int]]:
    """Ids of a prompt and of what follows it, encoded together; spaces at the prompt's end go to what follows.

    Source: lm-evaluation-harness, `TemplateLM._encode_pair`.
    """
    trimmed = prompt.rstrip()
    first = tokenizer.opening or ([] if trimmed else [tokenizer.eos_id])
    before = [*first, *tokenizer.encode(trimmed)]
    ids = [*first, *tokenizer.encode(prompt + choice)]
    return before, ids[len(before) :]


# ---- how likely a text is ----


def _score_texts(
    engine: Engine, tokenizer: TextTokenizer, prompts: Sequence[Prompt], report: ProgressCallback
) -> TextScore:
    first = tokenizer.opening or [tokenizer.eos_id]
    length = engine.model.shape.max_seq_len - 1
    batches: list[Sequence[tuple[Sequence[int], Sequence[int]]]] = []
    texts: list[int] = []  # the text of each batch
    tokens: list[int] = []
    for number, prompt in enumerate(prompts):
        windows = list(rolling_windows([*first, *tokenizer.encode(prompt.plain)], length))
        if not windows:
            raise DataError(f"text {number + 1} of the task is empty; leave it out")
        tokens.append(sum(len(after) for _, after in windows))
        # Few at once, so that what is left can be told of a long text too.
        at_once = max(1, min(engine.max_num_seqs, _SCORED_TOKENS // length))
        own = [windows[start : start + at_once] for start in range(0, len(windows), at_once)]
        batches += own
        texts += [number] * len(own)

    def score(number: int) -> list[float]:
        report(number, len(batches))
        return engine.score_batch(batches[number])

    log_probs: list[list[float]] = [[] for _ in prompts]
    for number, values in zip(texts, engine.ranks.map(range(len(batches)), score), strict=True):
        log_probs[number] += _check_finite(values)
    nats = [-sum(values) for values in log_probs]
    return TextScore(tuple(nats), tuple(tokens), tuple(len(prompt.plain.encode()) for prompt in prompts))


def rolling_windows(ids: Sequence[int], length: int) -> list[tuple[list[int], list[int]]]:
    """(what is read, what is predicted) such that every id but the first is predicted once: windows of `length` ids
    one after another; the last one reads further back, so that it is as long as the others.

    Source: lm-evaluation-harness, `get_rolling_token_windows` with a context of 1.
    """
    windows = []
    position = 1
    while position < len(ids):
        end = min(position + length, len(ids))
        start = max(0, end - length - 1)
        windows.append((list(ids[start:position]), list(ids[position:end])))
        position = end
    return windows


def _log_probs(
    engine: Engine,
    prompts: Sequence[Sequence[int]],
    answers: Sequence[Sequence[int]],
    report: ProgressCallback = no_progress,
) -> list[float]:
    """Of every answer after its prompt, in nats. Raises ArtifactError for a model whose numbers are none."""
    return _check_finite(engine.score(prompts, answers, report))


def _check_finite(logps: list[float]) -> list[float]:
    if any(math.isnan(logp) for logp in logps):
        raise ArtifactError("the model's numbers are not finite, so it can say nothing; take another checkpoint")
    return logps


def _check_fits(engine: Engine, lengths: Sequence[int]) -> None:
    context = engine.model.shape.max_seq_len
    if max(lengths) > context:
        raise DataError(f"an example takes {max(lengths):,} tokens; the model reads {context:,}: take fewer shots")


def gold_nll(engine: Engine, tokenizer: TextTokenizer, task: Task) -> float:
    """Nats of the right answer a character, the mean over the examples that have a target.

    It falls long before a small model gets a question right. Raises DataError when no example has a right answer in
    text, or one does not fit the model's context. Source: Llama 3, 3.2.1 (normalised by characters).
    """
    examples: list[Example] = [example for example in task.examples if example.target]
    if not examples:
        raise DataError("no question of this task has an answer that plain text could go on with; take another task")
    prompts = [[*tokenizer.opening, *tokenizer.encode(task.prompt_for(example).plain)] for example in examples]
    answers = [tokenizer.encode(example.target) for example in examples]
    longest = max(len(prompt) + len(answer) for prompt, answer in zip(prompts, answers, strict=True))
    if longest > engine.model.shape.max_seq_len:
        raise DataError(
            f"a question takes {longest} tokens; the model reads {engine.model.shape.max_seq_len}: train on longer rows"
        )
    nats = [-logp for logp in _log_probs(engine, prompts, answers)]
    return sum(nll / len(example.target) for nll, example in zip(nats, examples, strict=True)) / len(examples)
