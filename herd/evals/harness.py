"""Puts the examples of a task to a model and grades what it answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, repeat

from herd.core.errors import DataError, SettingsError
from herd.core.records import Message
from herd.evals.encoding import (
    chat_continuation,
    check_fits,
    continuation,
    opened_chats,
    prompt_ids,
    truncate_pairs,
    truncate_prompts,
)
from herd.evals.intervals import Interval
from herd.evals.scores import ChoiceLikelihoods, GradedAnswer, Score, TaskScore, TextScore, best_of_k
from herd.evals.sized import PromptReader, SizedTask, task_for
from herd.evals.task import Example, Generate, Grade, LogLikelihood, ModelAnswer, Normalization, Prompt, Task
from herd.evals.text_scoring import check_finite, score_texts
from herd.generate.engine import CompletionOutput, Engine, ProgressCallback, SamplingParams, score_greedy
from herd.generate.shared_prompts import can_share_prompts, score_shared
from herd.tokens.jinja import chat_template_of
from herd.tokens.tokenizer import TextTokenizer

__all__ = ["Score", "TaskScore", "TextScore", "evaluate", "gold_nll", "no_progress"]


def no_progress(count: int, total: int) -> None:
    """Reports nothing."""


def evaluate(
    engine: Engine,
    tokenizer: TextTokenizer,
    task: Task | SizedTask,
    *,
    chat: bool,
    workers: int = 1,
    report: ProgressCallback = no_progress,
    truncate_left: bool = False,
    first_example: int = 0,
) -> Score:
    """What the model of `engine` scores on `task`. chat: whether it is asked in its chat format; one that was not
    taught one continues plain text. workers: threads; they change no result. truncate_left: whether prompts that the
    context does not hold lose their first tokens, whatever the task says of them. first_example: the place of the first
    of these examples in a whole that is asked part by part, so that draws are those of the whole.

    Raises DataError for an example that does not fit the model's context, SettingsError for turns of a task in which
    nothing is written.
    """
    task = task_for(task, PromptReader(tokenizer, chat, engine.model.shape.max_seq_len))
    prompts = [task.prompt_for(example) for example in task.examples]
    output_type = task.output_type
    if truncate_left and isinstance(output_type, Generate | LogLikelihood):
        output_type = replace(output_type, long_prompts="truncate_left")
    if isinstance(output_type, Generate):
        score = _score_generated(engine, tokenizer, task, output_type, prompts, chat, workers, report, first_example)
    elif any(prompt.turns for prompt in prompts):
        raise SettingsError("a prompt of the task has several turns and its model writes nothing; let it `Generate`")
    elif isinstance(output_type, LogLikelihood):
        score = _score_choices(engine, tokenizer, task, output_type, prompts, chat, report)
    else:
        return score_texts(engine, tokenizer, prompts, output_type, report)
    return replace(score, groups=tuple(task.group(example) for example in task.examples) if task.group else ())


def _measure(task: Task, grades: Sequence[Sequence[Grade]]) -> dict[str, Interval]:
    return {name: metric(grades) for name, metric in task.metrics.items()}


def _group_of(task: Task, example: Example) -> str:
    return task.group(example) if task.group else ""


# ---- the model writes ----


def _score_generated(
    engine: Engine, tokenizer: TextTokenizer, task: Task, generation: Generate, prompts: Sequence[Prompt], chat: bool,
    workers: int, report: ProgressCallback, first_example: int,
) -> TaskScore:  # fmt: skip
    sampling = SamplingParams(
        max_tokens=generation.max_tokens,
        temperature=generation.temperature,
        top_p=generation.top_p,
        stop=generation.chat_stop if chat else generation.stop,
    )
    whole_rows = rows = prompt_ids(tokenizer, prompts, chat)
    if generation.long_prompts == "truncate_left":
        rows, _ = truncate_prompts(rows, engine.model.shape.max_seq_len, generation.max_tokens)
    cut = [len(row) < len(whole) for row, whole in zip(rows, whole_rows, strict=True)]
    generate = partial(
        engine.generate,
        params=sampling,
        workers=workers,
        report=report,
        first_number=first_example * generation.num_samples,
    )
    turns = _generate_turns(tokenizer, prompts, rows, generation, generate, engine.model.shape.max_seq_len, chat)
    responses = [answer_turns[-1].answer for answer_turns in turns]
    samples = generation.num_samples

    def grade(number: int) -> Grade:
        verdict = task.judge(task.examples[number // samples], responses[number])
        report(len(responses), len(responses))
        return verdict

    grades = engine.ranks.map(range(len(responses)), grade)
    answers: list[GradedAnswer] = []
    for number, (answer_turns, verdict) in enumerate(zip(turns, grades, strict=True)):
        example, prompt = task.examples[number // samples], prompts[number // samples]
        completion = answer_turns[-1].completion
        answers.append(
            GradedAnswer(
                example.id,
                "\n".join((prompt.chat.last.content if chat else prompt.text, *prompt.turns)),
                "\n".join(tokenizer.show(turn.completion.token_ids) for turn in answer_turns),
                verdict,
                group=_group_of(task, example),
                target=example.target,
                sample=number % samples,
                text=answer_turns[-1].answer.text,
                full_prompt=tokenizer.show(rows[number // samples]),
                tokens=sum(len(turn.completion.token_ids) for turn in answer_turns),
                finish_reason=completion.finish_reason or "",
                model_answer=answer_turns[-1].answer,
                token_ids=completion.token_ids,
                stop_string=completion.stop_reason if isinstance(completion.stop_reason, str) else "",
                left_truncated=cut[number // samples],
            )
        )
    by_example = [grades[start : start + samples] for start in range(0, len(grades), samples)]
    all_turns = list(chain.from_iterable(turns))
    return TaskScore(
        tuple(best_of_k(own, generation.k) for own in by_example),
        tuple(answers),
        sum(not turn.answer.finished for turn in all_turns) / len(all_turns),
        sum(len(turn.completion.token_ids) for turn in all_turns) / len(all_turns),
        metrics=_measure(task, by_example),
        left_truncated=sum(cut),
        notes=task.notes,
    )


@dataclass(frozen=True)
class _Turn:
    """What a model wrote in one turn, and how it reads."""

    completion: CompletionOutput
    answer: ModelAnswer


def _generate_turns(
    tokenizer: TextTokenizer, prompts: Sequence[Prompt], first_rows: Sequence[list[int]], generation: Generate,
    generate: Callable[[Sequence[Sequence[int]]], list[CompletionOutput]], context: int, chat: bool,
) -> list[list[_Turn]]:  # fmt: skip
    """`num_samples` times of every prompt, all that the model answers, turn by turn, its own answers in between.
    first_rows: the ids of every prompt. context: in tokens.

    A first turn has to fit the model's context, unless the task says that it may be `unanswered`. A later one that does
    not, because the model's answers filled it, is answered with nothing.
    """
    num_samples = generation.num_samples
    read = _reader(tokenizer, chat)
    current = list(chain.from_iterable(repeat(prompt, num_samples) for prompt in prompts))
    rows = list(chain.from_iterable(repeat(row, num_samples) for row in first_rows))
    turns: list[list[_Turn]] = [[] for _ in current]
    places, must_fit = list(range(len(current))), generation.long_prompts != "unanswered"
    while places:
        fits = [must_fit or len(row) < context for row in rows]
        ids = [row for row, fit in zip(rows, fits, strict=True) if fit]
        completions = iter(generate(ids))
        for place, fit in zip(places, fits, strict=True):
            completion = next(completions) if fit else CompletionOutput(finish_reason="length")
            earlier = tuple(turn.answer for turn in turns[place])
            turns[place].append(_Turn(completion, replace(read(completion), earlier=earlier)))
        places, must_fit = [place for place in places if current[place].turns], False
        for place in places:
            current[place] = current[place].after(turns[place][-1].answer)
        rows = prompt_ids(tokenizer, [current[place] for place in places], chat)
    return turns


def _reader(tokenizer: TextTokenizer, chat: bool) -> Callable[[CompletionOutput], ModelAnswer]:
    """Reads what was written: a turn of a chat, or text, which the engine ended before a stop string."""
    chat_template = chat_template_of(tokenizer) if chat else None

    def read(completion: CompletionOutput) -> ModelAnswer:
        at_stop_string = isinstance(completion.stop_reason, str)
        if chat_template is not None and not at_stop_string:
            message = chat_template.parse_message(completion.token_ids)
            return ModelAnswer(message.content, message, True, completion.stopped)
        text = completion.text if at_stop_string else tokenizer.decode(completion.token_ids)
        return ModelAnswer(text, Message("assistant", text), chat, completion.stopped)

    return read


# ---- the likeliest of several texts ----


@dataclass(frozen=True)
class _Options:
    """The choices of an example. prompts: of each. after: what follows it. texts: what a choice is called."""

    prompts: tuple[Prompt, ...]
    after: tuple[str, ...]
    texts: tuple[str, ...]


def _options(likelihood: LogLikelihood, example: Example, prompt: Prompt) -> _Options:
    after = tuple(likelihood.choices(example))
    if len(after) < (1 if likelihood.greedy else 2) or not all(after):
        raise DataError(f"example {example.id!r} has no two choices, or an empty one; mend its row")
    if likelihood.contexts is None:
        return _Options((prompt,) * len(after), after, after)
    contexts = [Prompt.of(text) if isinstance(text, str) else text for text in likelihood.contexts(example)]
    if len(contexts) != len(after):
        raise DataError(f"example {example.id!r} has {len(contexts)} contexts of {len(after)} choices; mend its task")
    texts = [context.text + choice for context, choice in zip(contexts, after, strict=True)]
    return _Options(tuple(contexts), after, tuple(texts))


def _pairs(tokenizer: TextTokenizer, options: _Options, chat: bool) -> list[tuple[list[int], list[int]]]:
    """Ids of what is read and of what follows it, of every choice."""
    rows = list(zip(options.prompts, options.after, strict=True))
    if not chat:
        return [continuation(tokenizer, prompt.text, choice) for prompt, choice in rows]
    opened = {id(prompt): prompt for prompt in options.prompts}
    ids = dict(zip(opened, opened_chats(tokenizer, list(opened.values())), strict=True))
    return [chat_continuation(tokenizer, ids[id(prompt)], prompt.response_prefix, choice) for prompt, choice in rows]


def _score_choices(
    engine: Engine, tokenizer: TextTokenizer, task: Task, likelihood: LogLikelihood, prompts: Sequence[Prompt],
    chat: bool,
    report: ProgressCallback,
) -> TaskScore:  # fmt: skip
    options = [_options(likelihood, *row) for row in zip(task.examples, prompts, strict=True)]
    pairs = list(chain.from_iterable(_pairs(tokenizer, own, chat) for own in options))
    cut: list[bool] = []
    if likelihood.long_prompts == "truncate_left":
        pairs, cut = truncate_pairs(pairs, engine.model.shape.max_seq_len)
    check_fits(engine.model.shape.max_seq_len, [len(prompt) + len(answer) for prompt, answer in pairs])
    scored = list(pairs)
    if likelihood.normalize == "pmi":
        texts = chain.from_iterable(own.after for own in options)
        scored += [continuation(tokenizer, likelihood.unconditional, text) for text in texts]
    report(0, len(scored))
    scores = _score_pairs(engine, likelihood, scored, report)
    logps = check_finite([logp for logp, _ in scores])
    answers: list[GradedAnswer] = []
    likelihoods: list[ChoiceLikelihoods] = []
    start = 0
    for example, own in zip(task.examples, options, strict=True):
        rows = range(start, start + len(own.after))
        start = rows.stop
        nats = [logps[row] for row in rows]
        lengths = tuple(len(pairs[row][1]) for row in rows)
        unconditional = tuple(logps[len(pairs) + row] for row in rows) if len(scored) > len(pairs) else ()
        weighed = weigh_choices(likelihood.normalize, own.after, nats, lengths, unconditional)
        best = max(range(len(nats)), key=lambda n: (weighed[n], -n))
        text = own.texts[best] if not likelihood.greedy or scores[rows[best]][1] else ""
        answer = ModelAnswer(text, Message("assistant", text), chat, True, best, tuple(nats))
        prompt, ids = own.prompts[best], pairs[rows[best]]
        answers.append(
            GradedAnswer(
                example.id,
                prompt.chat.last.content if chat else prompt.text,
                text,
                task.judge(example, answer),
                group=_group_of(task, example),
                target=example.target,
                text=text,
                full_prompt=tokenizer.show(ids[0]),
                tokens=len(ids[1]),
                log_likelihoods=tuple(nats),
                model_answer=answer,
                choices=own.texts,
                choice_tokens=lengths,
                unconditional=unconditional,
                left_truncated=any(cut[rows.start : rows.stop]),
            )
        )
        likelihoods.append(ChoiceLikelihoods(tuple(nats), _index_in(own.texts, example.target)))
    return TaskScore(
        tuple(answer.grade.score for answer in answers),
        tuple(answers),
        choices=() if likelihood.greedy else tuple(likelihoods),
        metrics=_measure(task, [[answer.grade] for answer in answers]),
        left_truncated=sum(answer.left_truncated for answer in answers),
        notes=task.notes,
    )


def weigh_choices(
    normalize: Normalization, choices: Sequence[str], nats: Sequence[float], num_tokens: Sequence[int],
    unconditional: Sequence[float],
) -> list[float]:  # fmt: skip
    """The log-probabilities by which the likeliest choice is told. nats: of the choices. num_tokens: of each.
    unconditional: of each alone."""
    if normalize == "pmi":
        return [logp - alone for logp, alone in zip(nats, unconditional, strict=True)]
    lengths = {"none": [1] * len(choices), "characters": [len(choice.strip()) for choice in choices]}
    lengths["bytes"] = [len(choice.strip().encode()) for choice in choices]
    lengths["tokens"] = list(num_tokens)
    return [logp / max(1, size) for logp, size in zip(nats, lengths[normalize], strict=True)]


def _score_pairs(
    engine: Engine, likelihood: LogLikelihood, pairs: Sequence[tuple[list[int], list[int]]], report: ProgressCallback
) -> list[tuple[float, bool]]:
    """How likely every text is, and where it is asked for whether the model would have written it."""
    if likelihood.share_prompts and can_share_prompts(engine.model):
        return score_shared(engine, pairs, report)
    if likelihood.greedy:
        return score_greedy(engine, *_columns(pairs), report)
    return [(logp, False) for logp in engine.score(*_columns(pairs), report)]


def _columns(pairs: Sequence[tuple[list[int], list[int]]]) -> tuple[list[list[int]], list[list[int]]]:
    return [prompt for prompt, _ in pairs], [answer for _, answer in pairs]


def _index_in(choices: Sequence[str], target: str) -> int | None:
    return choices.index(target) if target in choices else None


# ---- how likely texts are ----


def _log_probs(
    engine: Engine,
    prompts: Sequence[Sequence[int]],
    answers: Sequence[Sequence[int]],
    report: ProgressCallback = no_progress,
) -> list[float]:
    """Of every answer after its prompt, in nats. Raises ArtifactError for a model whose numbers are none."""
    return check_finite(engine.score(prompts, answers, report))


def gold_nll(engine: Engine, tokenizer: TextTokenizer, task: Task | SizedTask) -> float:
    """Nats of the right answer a character, the mean over the examples that have a target.

    It falls long before a small model gets a question right. Raises DataError when no example has a right answer in
    text, or one does not fit the model's context. Source: Llama 3, 3.2.1 (normalised by characters).
    """
    task = task_for(task, PromptReader(tokenizer, False, engine.model.shape.max_seq_len))
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
