"""Evaluations whose answers are kept as they come, and that go on from them."""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from herd.core.errors import DataError
from herd.core.manifests import cached_sha256, read_manifest
from herd.core.records import Message
from herd.core.registry import PluginConfig
from herd.evals.answers import AnswerKey, AnswerRecord, RunSettings, TaskAnswers, text_sha256
from herd.evals.scores import ChoiceLikelihoods, GradedAnswer, Score, TaskScore, TextScore, best_of_k
from herd.evals.task import Example, Generate, Grade, LogLikelihood, ModelAnswer, Perplexity, Task
from herd.evals.tasks import tasks
from herd.generate.engine import ProgressCallback
from herd.tokens.tokenizer import TextTokenizer

# Of tasks, which say how an example is put and nothing of how an answer is graded.
PROMPT_SETTINGS = (
    "num_fewshot", "fewshot_seed", "exemplars", "prompt_style", "prompt_suffix", "system_prompt", "scoring",
)  # fmt: skip
PART_ANSWERS = 128
ScorePart = Callable[[Task, int, ProgressCallback], Score]  # of a part of the examples, from the place of its first


def evaluate_into(
    answers: TaskAnswers,
    name: str,
    task: Task,
    score_part: ScorePart,
    *,
    part_answers: int = PART_ANSWERS,
    tokenizer: TextTokenizer | None = None,
    report: ProgressCallback = lambda count, total: None,
) -> Score:
    """What a model scores on `task`, whose answers are added to `answers` part by part, `part_answers` at a time.

    A part of which every answer is there already is not asked again; of another all examples are, so that whatever was
    lost, each is asked beside the same others, and what was not there or was void is added. The score is that of all
    answers as they are stored. report: called with how many examples are answered. Raises DataError when two examples
    have one id.
    """
    examples = list(task.examples)
    _check_ids(examples)
    samples = task.output_type.num_samples if isinstance(task.output_type, Generate) else 1
    size = max(1, part_answers // samples)
    records = answers.records()
    for start in range(0, len(examples), size):
        part = examples[start : start + size]
        keys = itertools.product((example.id for example in part), range(samples))
        missing = {key for key in keys if key not in records or is_void(task, records[key])}
        if missing:
            score = score_part(replace(task, examples=part), start, _within(report, start, len(part), len(examples)))
            rows = [record for record in records_of(name, part, score, tokenizer) if record.key in missing]
            answers.append(rows)
            records |= {record.key: record for record in rows}
        report(start + len(part), len(examples))
    return stored_score(task, records)


def _within(report: ProgressCallback, start: int, size: int, total: int) -> ProgressCallback:
    """Tells of the whole what is told of a part."""

    def tell(count: int, part_total: int) -> None:
        report(start + (size * count // part_total if part_total else 0), total)

    return tell


def _check_ids(examples: Sequence[Example]) -> None:
    seen: set[str] = set()
    for example in examples:
        if example.id in seen:
            raise DataError(f"two examples have the id {example.id!r}, so that answers cannot be told apart; mend one")
        seen.add(example.id)


def is_void(task: Task, record: AnswerRecord) -> bool:
    """Whether the answer has no score, though it should have one."""
    return record.score is None and not isinstance(task.output_type, Perplexity)


def records_of(
    name: str, examples: Sequence[Example], score: Score, tokenizer: TextTokenizer | None = None
) -> Iterator[AnswerRecord]:
    """What is stored of a score's answers. tokenizer: the model's, which tells how long its tokens are."""
    if isinstance(score, TextScore):
        for example, nats, tokens, size in zip(examples, score.nats, score.tokens, score.utf8_bytes, strict=True):
            yield AnswerRecord(name, example.id, tokens=tokens, log_likelihoods=(-nats,), utf8_bytes=size)
        return
    for answer in score.answers:
        yield record_of(name, answer, tokenizer)


def record_of(name: str, answer: GradedAnswer, tokenizer: TextTokenizer | None = None) -> AnswerRecord:
    """What is stored of an answer."""
    tail, lengths = _token_lengths(answer, tokenizer) if tokenizer is not None else ("", ())
    model_answer = answer.model_answer
    calls = model_answer is not None and model_answer.message.tool_calls
    text = answer.text or (model_answer.text if model_answer else "")
    prompt = answer.full_prompt or answer.prompt
    return AnswerRecord(
        name,
        answer.example,
        answer.sample,
        answer.group,
        prompt,
        text_sha256(prompt),
        answer.prompt if answer.prompt != prompt else "",
        answer.target,
        text,
        tail,
        answer.answer if answer.answer not in (text, text + tail) else "",
        answer.tokens,
        lengths,
        answer.finish_reason,
        answer.stop_string,
        tuple({"text": turn.text, "finished": turn.finished} for turn in model_answer.earlier) if model_answer else (),
        answer.left_truncated,
        model_answer.message.to_row() if model_answer is not None and calls else None,
        answer.choices,
        answer.choice_tokens,
        answer.log_likelihoods,
        answer.unconditional,
        score=answer.grade.score,
        extracted=answer.grade.extracted,
        unparsed=answer.grade.unparsed,
        reason=answer.grade.reason,
        parts=dict(answer.grade.parts),
    )


def _token_lengths(answer: GradedAnswer, tokenizer: TextTokenizer) -> tuple[str, tuple[int, ...]]:
    """What was written after the text that was graded, and how many characters every token has, of the text and of
    that. No lengths where they cannot be told, as of a text that a chat template reads something out of."""
    ids = list(answer.token_ids)
    written = tokenizer.decode(ids)
    start = written.find(answer.text)
    if not ids or start < 0:
        return "", ()
    lengths = [len(_decode_one(tokenizer, token)) for token in ids]
    if sum(lengths) != len(written):  # letters of several tokens, or spaces that depend on what stands before
        ends = [len(tokenizer.decode(ids[: count + 1])) for count in range(len(ids))]
        lengths = [max(0, end - before) for before, end in zip([0, *ends], ends, strict=False)]
    for place, length in enumerate(lengths):  # what stands before the text is none of it
        lengths[place] = max(0, length - start)
        start = max(0, start - length)
    return written[written.find(answer.text) + len(answer.text) :], tuple(lengths)


@functools.lru_cache(maxsize=200_000)
def _decode_one(tokenizer: TextTokenizer, token: int) -> str:
    return tokenizer.decode([token])


def stored_score(task: Task, records: Mapping[AnswerKey, AnswerRecord]) -> Score:
    """The score of stored answers, as it was when they were given; of examples without one it is void."""
    if isinstance(task.output_type, Perplexity):
        rows = [records[example.id, 0] for example in task.examples]
        nats = tuple(-row.log_likelihoods[0] for row in rows)
        return TextScore(nats, tuple(row.tokens for row in rows), tuple(row.utf8_bytes for row in rows))
    generation = task.output_type if isinstance(task.output_type, Generate) else Generate()
    samples = range(generation.num_samples)
    keys = list(itertools.product((example.id for example in task.examples), samples))
    nothing = Grade(None, reason="not answered")
    verdicts = [grade_of(records[key]) if key in records else nothing for key in keys]
    grades = [verdicts[start : start + len(samples)] for start in range(0, len(verdicts), len(samples))]
    own_records = [records[key] for key in keys if key in records]
    turns = sum(1 + len(record.earlier) for record in own_records)
    score = TaskScore(
        tuple(best_of_k(own, generation.k) for own in grades),
        tuple(_graded(record) for record in own_records),
        metrics={metric: function(grades) for metric, function in task.metrics.items()},
        left_truncated=sum(record.left_truncated for record in own_records if record.sample == 0),
        notes=task.notes,
        groups=tuple(task.group(example) for example in task.examples) if task.group else (),
    )
    if isinstance(task.output_type, LogLikelihood):
        return replace(score, choices=() if task.output_type.greedy else tuple(map(_likelihoods, own_records)))
    return replace(
        score,
        truncated_share=sum(map(_unfinished_turns, own_records)) / turns if turns else 0.0,
        tokens=sum(record.tokens for record in own_records) / turns if turns else 0.0,
    )


def _unfinished_turns(record: AnswerRecord) -> int:
    return (record.finish_reason != "stop") + sum(not turn["finished"] for turn in record.earlier)


def grade_of(record: AnswerRecord) -> Grade:
    """What the answer was worth when it was given."""
    return Grade(record.score, record.extracted, record.reason, record.unparsed, dict(record.parts))


def answer_of(record: AnswerRecord, *, chat: bool = False) -> ModelAnswer:
    """The answer as a grader reads it."""
    message = Message.from_row(record.message) if record.message else Message("assistant", record.response)
    return ModelAnswer(
        record.response,
        message,
        chat,
        record.finish_reason == "stop" or not record.finish_reason,
        _index_in(record.choices, record.response),
        record.log_likelihoods,
        tuple(
            ModelAnswer(turn["text"], Message("assistant", turn["text"]), chat, turn["finished"])
            for turn in record.earlier
        ),
    )


def _index_in(choices: Sequence[str], text: str) -> int | None:
    return choices.index(text) if text in choices else None


def _likelihoods(record: AnswerRecord) -> ChoiceLikelihoods:
    return ChoiceLikelihoods(record.log_likelihoods, _index_in(record.choices, record.target))


def _graded(record: AnswerRecord) -> GradedAnswer:
    return GradedAnswer(
        record.id,
        record.asked,
        record.raw or record.response,
        grade_of(record),
        record.group,
        record.target,
        record.sample,
        record.response,
        record.prompt,
        record.tokens,
        record.finish_reason,
        record.log_likelihoods,
    )


def run_settings(
    use: PluginConfig, task: Task, model: Mapping[str, Any], *, chat: bool, template: str, truncate_left: bool = False
) -> RunSettings:
    """What answers to `task` depend on. model: as of `RunSettings`. template: of chats."""
    given = dict(use.settings)
    prompt = {"chat": chat, "template": text_sha256(template)[:16] if chat else "", "truncate_left": truncate_left}
    prompt |= {name: given[name] for name in PROMPT_SETTINGS if name in given}
    if prompt.get("num_fewshot", 0) is None:  # as the style of prompts has it
        asked = task.prompt_for(task.examples[0]).chat.messages
        prompt["num_fewshot"] = sum(message.role == "assistant" for message in asked)
    output = task.output_type
    if isinstance(output, Generate):
        names = ("max_tokens", "temperature", "top_p", "num_samples", "k")
        generation = {name: getattr(output, name) for name in names}
        generation["stop"] = list(output.chat_stop if chat else output.stop)
        kind = "generate"
    elif isinstance(output, LogLikelihood):
        generation, kind = {"normalize": output.normalize, "greedy": output.greedy}, "likelihood"
    else:
        generation, kind = {}, "perplexity"
    # Fewer or more of its examples are the same answers.
    rows = {address: {name: own[name] for name in own if name != "limit"} for address, own in tasks.dump(use).items()}
    return RunSettings(use.name, rows, model, prompt, generation, kind)


def limit_examples(task: Task, use: PluginConfig, limit: int) -> Task:
    """The task with the first `limit` of its examples, all when 0; a task with such a setting of its own knows best."""
    return replace(task, examples=task.examples[:limit]) if limit and "limit" not in use.settings else task


def model_identity(folder: Path, dtype: str) -> dict[str, Any]:
    """A model's name and what tells it from others: a hash of its weights, configuration and tokenizer."""
    manifest = read_manifest(folder) or {}
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*")):
        if file.suffix in (".safetensors", ".gguf") or file.name in ("config.json", "tokenizer.json"):
            entry = manifest.get(file.name)
            digest.update(f"{file.name} {entry['sha256'] if entry else cached_sha256(file)}\n".encode())
    return {"name": folder.name, "weights": digest.hexdigest()[:16], "dtype": dtype}


def count_missing(task: Task, records: Iterable[AnswerKey]) -> int:
    """How many answers there are not yet."""
    samples = task.output_type.num_samples if isinstance(task.output_type, Generate) else 1
    return len(set(itertools.product((example.id for example in task.examples), range(samples))) - set(records))
