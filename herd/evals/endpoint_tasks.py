"""What the model behind an address scores on a task."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from herd.core.errors import HerdError, SettingsError
from herd.core.records import Message
from herd.core.registry import PluginConfig
from herd.core.terminal import json_line
from herd.evals.answers import AnswerStore, RunSettings
from herd.evals.endpoint import Endpoint, Reply, ServerAwayError
from herd.evals.harness import no_progress, weigh_choices
from herd.evals.results_file import write_results
from herd.evals.resumable import evaluate_into, limit_examples, run_settings
from herd.evals.scores import GradedAnswer, Score, TaskScore, TextScore, best_of_k
from herd.evals.sized import SizedTask
from herd.evals.task import Example, Generate, Grade, LogLikelihood, ModelAnswer, Prompt, Task
from herd.evals.tasks import tasks
from herd.generate.engine import ProgressCallback

PART_REQUESTS = 32  # after so many answers they are on disk
_ResultT = TypeVar("_ResultT")


def evaluate_endpoint(endpoint: Endpoint, task: Task, *, chat: bool, report: ProgressCallback = no_progress) -> Score:
    """What the model of `endpoint` scores on `task`. chat: whether what is written is asked for as a chat; likelihoods
    are always those of plain text.

    An answer that the server gave none to is void. Raises HerdError when it gives none at all, or refuses.
    """
    if isinstance(task.output_type, Generate):
        return _generated(endpoint, task, task.output_type, chat, report)
    if isinstance(task.output_type, LogLikelihood):
        return _chosen(endpoint, task, task.output_type, report)
    texts = [task.prompt_for(example).plain for example in task.examples]

    def measure(place: int) -> tuple[float, int]:
        values = [value for value in endpoint.score(texts[place]).log_probs if value is not None]
        return -sum(values), len(values)

    measured = _each(endpoint, len(texts), measure, report)
    return TextScore(
        tuple(nats for nats, _ in measured),
        tuple(count for _, count in measured),
        tuple(len(t.encode()) for t in texts),
    )


def _each(
    endpoint: Endpoint, count: int, function: Callable[[int], _ResultT], report: ProgressCallback
) -> list[_ResultT]:
    """Of every number below `count`, several at once, in order."""
    lock, completed = threading.Lock(), [0]

    def call(place: int) -> _ResultT:
        result = function(place)
        with lock:
            completed[0] += 1
            report(completed[0], count)
        return result

    with ThreadPoolExecutor(endpoint.max_concurrency) as pool:
        futures = [pool.submit(call, place) for place in range(count)]
        try:
            return [future.result() for future in futures]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _check_up(answers: Sequence[GradedAnswer], problems: Sequence[str]) -> None:
    """Raises HerdError when no answer came at all, which is no property of the items."""
    if problems and len(problems) == len(answers):
        raise HerdError(f"{problems[0]}; check that the server is up, then run the same command again")


# ---- the model writes ----


def _generated(endpoint: Endpoint, task: Task, generation: Generate, chat: bool, report: ProgressCallback) -> TaskScore:
    samples, problems = generation.num_samples, []

    def answer(number: int) -> GradedAnswer:
        example, sample = task.examples[number // samples], number % samples
        prompt = task.prompt_for(example)
        try:
            turns = _turns(endpoint, prompt, generation, chat, sample)
        except ServerAwayError as fault:
            problems.append(str(fault))
            return _answer_of(task, example, prompt, chat, sample, [], Grade(None, reason=str(fault)))
        return _answer_of(task, example, prompt, chat, sample, turns, None)

    answers = _each(endpoint, len(task.examples) * samples, answer, report)
    _check_up(answers, problems)
    verdicts = [answer.grade for answer in answers]
    grades = [verdicts[start : start + samples] for start in range(0, len(verdicts), samples)]
    return TaskScore(
        tuple(best_of_k(own, generation.k) for own in grades),
        tuple(answers),
        sum(each.finish_reason == "length" for each in answers) / len(answers),
        sum(each.tokens for each in answers) / len(answers),
        groups=tuple(task.group(example) for example in task.examples) if task.group else (),
        metrics={name: metric(grades) for name, metric in task.metrics.items()},
        notes=task.notes,
    )


def _turns(
    endpoint: Endpoint, prompt: Prompt, generation: Generate, chat: bool, sample: int
) -> list[tuple[Reply, ModelAnswer]]:
    """What the model answers, turn by turn."""
    sampling = {"max_tokens": generation.max_tokens, "temperature": generation.temperature}
    if generation.temperature:
        sampling |= {"top_p": generation.top_p, "seed": sample}
    stop = generation.chat_stop if chat else generation.stop
    turns: list[tuple[Reply, ModelAnswer]] = []
    while True:
        options = sampling | ({"stop": list(stop)} if stop else {})
        if chat:
            reply = endpoint.chat(prompt.chat, prompt.response_prefix, **options)
        else:
            reply = endpoint.complete(prompt.text, **options)
        earlier = tuple(answer for _, answer in turns)
        finished = reply.finish_reason == "stop"
        answer = ModelAnswer(reply.message.content, reply.message, chat, finished, earlier=earlier)
        turns.append((reply, answer))
        if not prompt.turns:
            return turns
        prompt = prompt.after(answer)


def _answer_of(
    task: Task, example: Example, prompt: Prompt, chat: bool, sample: int,
    turns: Sequence[tuple[Reply, ModelAnswer]], void: Grade | None,
) -> GradedAnswer:  # fmt: skip
    reply, answer = turns[-1] if turns else (None, ModelAnswer("", Message("assistant", ""), chat))
    full = json_line([message.to_row() for message in prompt.chat.messages]) if chat else prompt.text
    return GradedAnswer(
        example.id,
        "\n".join((prompt.chat.last.content if chat else prompt.text, *prompt.turns)),
        answer.text,
        void if void is not None else task.judge(example, answer),
        group=task.group(example) if task.group else "",
        target=example.target,
        sample=sample,
        text=answer.text,
        full_prompt=full + (prompt.response_prefix if chat else ""),
        tokens=sum(turn.tokens for turn, _ in turns),
        finish_reason=reply.finish_reason if reply is not None else "",
        model_answer=answer,
    )


# ---- the likeliest of several texts ----


def _chosen(endpoint: Endpoint, task: Task, likelihood: LogLikelihood, report: ProgressCallback) -> TaskScore:
    problems: list[str] = []

    def answer(number: int) -> GradedAnswer:
        example = task.examples[number]
        prompt = task.prompt_for(example)
        if prompt.turns:
            raise SettingsError(
                "a prompt of the task has several turns and its model writes nothing; let it `Generate`"
            )
        try:
            return _choice(endpoint, task, likelihood, example, prompt)
        except ServerAwayError as fault:
            problems.append(str(fault))
            return _answer_of(task, example, prompt, False, 0, [], Grade(None, reason=str(fault)))

    answers = _each(endpoint, len(task.examples), answer, report)
    _check_up(answers, problems)
    grades = [[answer.grade] for answer in answers]
    return TaskScore(
        tuple(grade.score for (grade,) in grades),
        tuple(answers),
        groups=tuple(task.group(example) for example in task.examples) if task.group else (),
        metrics={name: metric(grades) for name, metric in task.metrics.items()},
        notes=task.notes,
    )


def _choice(
    endpoint: Endpoint, task: Task, likelihood: LogLikelihood, example: Example, prompt: Prompt
) -> GradedAnswer:
    after = tuple(likelihood.choices(example))
    contexts = [prompt.text] * len(after)
    if likelihood.contexts is not None:
        contexts = [each if isinstance(each, str) else each.text for each in likelihood.contexts(example)]
    texts = tuple(map(str.__add__, contexts, after)) if likelihood.contexts is not None else after
    scored = [_continued(endpoint, context, choice) for context, choice in zip(contexts, after, strict=True)]
    nats, lengths = tuple(row[0] for row in scored), tuple(row[2] for row in scored)
    alone: tuple[float, ...] = ()
    if likelihood.normalize == "pmi":
        alone = tuple(_continued(endpoint, likelihood.unconditional, choice)[0] for choice in after)
    weighed = weigh_choices(likelihood.normalize, after, nats, lengths, alone)
    best = max(range(len(after)), key=lambda place: (weighed[place], -place))
    text = texts[best] if not likelihood.greedy or scored[best][1] else ""
    answer = ModelAnswer(text, Message("assistant", text), False, True, best, nats)
    return GradedAnswer(
        example.id,
        contexts[best],
        text,
        task.judge(example, answer),
        group=task.group(example) if task.group else "",
        target=example.target,
        text=text,
        full_prompt=contexts[best],
        tokens=lengths[best],
        log_likelihoods=nats,
        model_answer=answer,
        choices=texts,
        choice_tokens=lengths,
        unconditional=alone,
    )


def _continued(endpoint: Endpoint, context: str, choice: str) -> tuple[float, bool, int]:
    """The log-probability of a choice after its context, whether the model would write it, and its tokens; spaces at
    the context's end go to the choice."""
    return endpoint.score(context + choice).after(len(context.rstrip()))


def _made(use: PluginConfig, limit: int) -> Task:
    task: Task | SizedTask = tasks.make(use)()
    if isinstance(task, SizedTask):
        raise SettingsError(f"{use.name} is made for a tokenizer, which an address has not; ask the model's folder")
    return limit_examples(task, use, limit)


def evaluate_address(
    endpoint: Endpoint,
    uses: Sequence[PluginConfig],
    report: Callable[[str, Score], None],
    *,
    chat: bool,
    progress: Callable[[str], ProgressCallback] = lambda name: no_progress,
    store: AnswerStore | None = None,
    limit: int = 0,
) -> None:
    """Puts tasks to the model behind an address; prints each result. What the parameters are: `evaluate_folder`."""
    made = [_made(use, limit) for use in uses]

    def settings_of(use: PluginConfig, task: Task) -> RunSettings:
        return run_settings(
            use, task, endpoint.identity(), chat=chat and isinstance(task.output_type, Generate), template=""
        )

    if store is not None:
        store.check(map(settings_of, uses, made))
    for use, task in zip(uses, made, strict=True):
        ask = progress(use.name)
        if store is None:
            report(use.name, evaluate_endpoint(endpoint, task, chat=chat, report=ask))
            continue
        settings = settings_of(use, task)
        score = evaluate_into(
            store.open_task(settings),
            use.name,
            task,
            lambda part, first, tell: evaluate_endpoint(endpoint, part, chat=chat, report=tell),
            part_answers=PART_REQUESTS,
            report=ask,
        )
        write_results(store.folder, settings, score)
        report(use.name, score)
