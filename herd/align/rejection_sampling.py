"""Rejection sampling: many answers to a prompt, of which judges keep the best (4.2.2)."""

from __future__ import annotations

import hashlib
import json
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, product, repeat, takewhile
from pathlib import Path
from typing import Annotated, Literal, Protocol

from herd.align.loading import write_dialogues
from herd.align.results import RejectionSampling
from herd.align.unanswered import ASKS_FOR_TOOLS, LONG_PROMPT, NO_END, NOT_RIGHT, nothing_answered, unanswered_words
from herd.core.artifacts import Checkpoint, Dialogues
from herd.core.errors import DataError
from herd.core.records import Conversation, Message
from herd.core.registry import PluginConfig
from herd.core.settings import AddedLater, NotInKey, PositiveInt, settings
from herd.core.stage import Work, stage
from herd.core.storage import read_conversations
from herd.core.terminal import count_of
from herd.generate.engine import Engine, SamplingParams
from herd.generate.samplers import EndpointSampler, FirstRankSampler
from herd.judge.best_of import best_of_curve
from herd.judge.critic import Critic, with_critique
from herd.judge.reward import RewardJudge
from herd.judge.rubric import ANSWER_RUBRICS, rubric_points
from herd.judge.verifiers import verifiers
from herd.model.collectives import RankGroup
from herd.model.config import read_shape
from herd.model.devices import place_model
from herd.model.weights import load_transformer
from herd.tokens.jinja import chat_template_of
from herd.tokens.tokenizer import TextTokenizer

VerifierChoice = Annotated[PluginConfig, verifiers.choice]

_AT_ONCE = 64  # prompts that are answered before their answers are kept
_RUN = 8  # words that an answer repeats when it says so many in a row twice


class PromptFormat(Protocol):
    """How a model is asked, and what it wrote is read: a chat template, or plain text that a base model continues."""

    def encode_prompt(self, conversation: Conversation) -> list[int]: ...

    def parse_message(self, ids: Sequence[int]) -> Message: ...


@settings
class RubricJudge:
    """A language model that gives points: the address of an endpoint, up to `/v1`, the model's name there, the variable
    that holds the access key, and what it is asked."""

    url: NotInKey[str]
    model: str
    key: str = ""
    rubric: Literal["general", "code"] = "general"


@settings
class RejectionSamplingSettings:
    """num_samples: answers a prompt. system_prompts: system prompts that the samples take in turn, and that no answer
    keeps; none when empty. verifier: only answers it finds right are kept; a prompt whose last message is the
    assistant's has its known answer there. rubric_judge: counts before the reward model, which decides between equal
    points. gold_verifier: measured, and never used to choose. require_answers: where no prompt gets an answer the stage
    ends with a DataError that says why; else with a warning and without dialogues."""

    sampling: SamplingParams
    num_samples: PositiveInt = 10
    system_prompts: tuple[str, ...] = ()
    verifier: VerifierChoice | None = None
    rubric_judge: RubricJudge | None = None
    gold_verifier: VerifierChoice | None = None
    require_answers: AddedLater[bool] = False


@dataclass
class Candidate:
    """An answer and how often it was given. right: by the verifier. points: by the rubric, from 0 to 1."""

    message: Message
    tokens: int
    times: int = 1
    reward: float = 0.0
    right: bool | None = None
    gold: bool | None = None
    points: float | None = None

    @property
    def rank(self) -> tuple[float, float]:
        return (-1.0 if self.points is None else self.points, self.reward)


@dataclass
class PromptCandidates:
    """A prompt, the answer that is known to be right, and what was answered."""

    prompt: Conversation
    reference: Message | None
    answers: list[Candidate] = field(default_factory=list)

    @property
    def answered_prompts(self) -> list[Conversation]:
        """The prompt with each of the answers."""
        return [self.prompt.with_messages(answer.message) for answer in self.answers]

    @property
    def samples(self) -> list[Candidate]:
        """Every answer as often as it was given."""
        return list(chain.from_iterable(repeat(answer, answer.times) for answer in self.answers))


@stage(paper="4.2.2", version=2, gpu=True, data_parallel=True)
def rejection_sample(
    work: Work,
    judge: Checkpoint | None,
    model: Checkpoint,
    prompts: Dialogues,
    critic: Checkpoint | None = None,
    *,
    settings: RejectionSamplingSettings,
) -> Dialogues:
    """Of several answers of `model` to every prompt the one that judges hold best: those a verifier finds right, of
    these the ones with the most points, of these the one `judge` scores highest, which reads the critique of `critic`
    first where there is one.

    Prompts none of whose answers came to an end, or was right, are left out and counted. Answers are kept as they come:
    a run that is stopped asks no prompt twice. Source: Llama 3, 4.2.2 (10 to 30 samples, steered by system prompts).
    """
    tokenizer, ranks = TextTokenizer.load(model.path), RankGroup.of(work)
    chat_template = chat_template_of(tokenizer)
    entries, left_out = answerable_prompts(
        prompts, chat_template, read_shape(model.path).max_seq_len, settings.system_prompts
    )
    answer_all(work, entries, model, tokenizer, chat_template, settings, ranks)
    answered = [entry for entry in entries if entry.answers]
    left_out[NO_END] = len(entries) - len(answered)
    not_criticized = not_scored = None
    if judge is not None:
        not_criticized, not_scored = _score(
            work,
            answered,
            RewardJudge.load(judge, work.device, ranks),
            Critic(critic, work.device, work.dtype, ranks=ranks) if critic is not None else None,
        )
    points_unread = grade_answers(work, answered, settings, ranks)
    best: list[Conversation] = []
    for entry in answered:
        fit = [answer for answer in entry.answers if settings.verifier is None or answer.right]
        if fit:
            best.append(entry.prompt.with_messages(max(fit, key=lambda answer: answer.rank).message))
        else:
            left_out[NOT_RIGHT] += 1
    _check_answers(work, len(best), left_out, settings)
    rows, right = _best_of(answered, settings)
    first = statistics.fmean(entry.answers[0].reward for entry in answered) if answered else 0.0
    tops = [max(entry.answers, key=lambda answer: answer.rank).reward for entry in answered]
    top = statistics.fmean(tops) if tops else 0.0
    work.record(
        RejectionSampling(
            prompts=len(answered),
            different_answers=sum(len(entry.answers) for entry in answered),
            first_reward=first,
            best_reward=top,
            best_of=tuple(rows),
            points_unread=points_unread,
            not_criticized=not_criticized,
            not_scored=not_scored,
        )
    )
    share = "" if right is None else f"{right:.0%} of all answers right, "
    worth = f"{share}reward {first:+.2f} on first try, {top:+.2f} best of {settings.num_samples}{warning(rows)}"
    missing = unanswered_words(left_out)
    answers = f"{count_of(len(best), 'answer')} to {count_of(len(best) + left_out.total(), 'prompt')}"
    headline = f"{answers}{missing and f', {missing}'}, {worth}"
    return write_dialogues(work, best, headline, left_out=+left_out)


def _check_answers(work: Work, kept: int, left_out: Counter[str], settings: RejectionSamplingSettings) -> None:
    """Says why no prompt got an answer, where none did. Raises DataError where one is required."""
    if kept or not left_out.total():
        return
    verifier = settings.verifier.name if settings.verifier else ""
    words = nothing_answered(
        left_out, max_tokens=settings.sampling.max_tokens, num_samples=settings.num_samples, verifier=verifier
    )
    if settings.require_answers:
        raise DataError(words)
    work.warn(words)


def answerable_prompts(
    prompts: Dialogues, chat_template: PromptFormat, context: int, system_prompts: Sequence[str]
) -> tuple[list[PromptCandidates], Counter[str]]:
    """Prompts that can be asked, and why others cannot."""
    entries, left_out = [], Counter[str]()
    for conversation in read_conversations(prompts.path):
        reference = conversation.last if conversation.last.role == "assistant" else None
        prompt = conversation if reference is None else replace(conversation, messages=conversation.messages[:-1])
        if (
            conversation.tools
            or conversation.definitions
            or any(message.tool_calls for message in conversation.messages)
        ):
            left_out[ASKS_FOR_TOOLS] += 1
        elif (
            max(
                len(chat_template.encode_prompt(_with_system_prompt(prompt, words)))
                for words in system_prompts or ("",)
            )
            >= context
        ):
            left_out[LONG_PROMPT] += 1
        else:
            entries.append(PromptCandidates(prompt, reference))
    return entries, left_out


def answer_all(
    work: Work,
    entries: Sequence[PromptCandidates],
    model: Checkpoint,
    tokenizer: TextTokenizer,
    chat_template: PromptFormat,
    settings: RejectionSamplingSettings,
    ranks: RankGroup,
    *,
    keep_truncated: bool = False,
) -> None:
    """Fills in the answers, those of an earlier try first, which the first of the ranks writes down. keep_truncated:
    those that did not come to an end count too, since text that a base model continues often has none."""
    system_prompts = settings.system_prompts or ("",)
    cache_path = work.scratch / "answers.jsonl"
    before = ranks.on_first(lambda: list(_cached_parts(cache_path)))
    engine: Engine | None = None
    for number, start in enumerate(range(0, len(entries), _AT_ONCE)):
        batch = entries[start : start + _AT_ONCE]
        if number < len(before):
            rows = before[number]
        else:
            engine = engine or Engine(
                place_model(load_transformer(model.path), work.device, work.dtype),
                tokenizer.stop_token_ids,
                tokenizer=tokenizer,
                ranks=ranks,
            )
            ids = [
                chat_template.encode_prompt(_with_system_prompt(entry.prompt, system_prompts[n % len(system_prompts)]))
                for entry, n in product(batch, range(settings.num_samples))
            ]
            # A part draws by its own number: what it draws does not depend on what was asked before a stop.
            sampling = replace(settings.sampling, n=1, seed=settings.sampling.seed + 7919 * number)
            offset = start * settings.num_samples

            def report(part: int, total: int, offset: int = offset) -> None:
                work.progress(offset + part, len(entries) * settings.num_samples, "answers")

            outputs = engine.generate(ids, sampling, workers=work.executor.workers, report=report)
            flat = [output.token_ids if output.stopped or keep_truncated else None for output in outputs]
            rows = [flat[n * settings.num_samples : (n + 1) * settings.num_samples] for n in range(len(batch))]
            if ranks.first:
                _cache_part(cache_path, rows)
        for entry, row in zip(batch, rows, strict=True):
            entry.answers = _distinct(row, chat_template.parse_message)


def _cache_part(file: Path, rows: Sequence[Sequence[list[int] | None]]) -> None:
    """Writes a part's answers down, and their hash once they are there."""
    line = json.dumps(rows).encode() + b"\n"
    with file.open("ab") as answers:
        answers.write(line)
    with _hashes_of(file).open("a", encoding="utf-8") as hashes:
        hashes.write(hashlib.sha256(line).hexdigest() + "\n")


def _cached_parts(file: Path) -> Iterator[list[list[list[int] | None]]]:
    """Parts that an earlier try answered, up to a line that is not what was written: it and the rest are taken out."""
    if not file.exists():
        return
    hashes_path = _hashes_of(file)
    hashes = hashes_path.read_text(encoding="ascii", errors="replace").split("\n") if hashes_path.exists() else []
    lines = file.read_bytes().splitlines(keepends=True)
    pairs = zip(lines, hashes, strict=False)
    good = list(takewhile(lambda pair: hashlib.sha256(pair[0]).hexdigest() == pair[1], pairs))
    for path, good_lines in (
        (file, [line for line, _ in good]),
        (hashes_path, [f"{digest}\n".encode() for _, digest in good]),
    ):
        path.write_bytes(b"".join(good_lines))
    yield from (json.loads(line) for line, _ in good)


def _hashes_of(file: Path) -> Path:
    """Where the sha256 of each line of `file` is written, a line each."""
    return file.with_suffix(".sha256")


def _with_system_prompt(prompt: Conversation, system_prompt: str) -> Conversation:
    if not system_prompt:
        return prompt
    first, *following = prompt.messages
    if first.role == "system":
        return replace(prompt, messages=(replace(first, content=f"{first.content}\n\n{system_prompt}"), *following))
    return replace(prompt, messages=(Message("system", system_prompt), *prompt.messages))


def _distinct(rows: Sequence[list[int] | None], read: Callable[[Sequence[int]], Message]) -> list[Candidate]:
    """Answers that count, each once with how often it was given."""
    candidates: dict[tuple[int, ...], Candidate] = {}
    for ids in rows:
        if ids is None:
            continue
        if (key := tuple(ids)) in candidates:
            candidates[key].times += 1
        else:
            candidates[key] = Candidate(read(ids), len(ids))
    return list(candidates.values())


def _score(
    work: Work, entries: Sequence[PromptCandidates], judge: RewardJudge, critic: Critic | None
) -> tuple[int | None, int]:
    """Fills in what the reward model says of every answer; how many were too long for the critic, where there is one,
    and how many for either: these are as bad as the worst."""
    answers = list(chain.from_iterable(entry.answers for entry in entries))
    conversations = list(chain.from_iterable(entry.answered_prompts for entry in entries))

    def report(count: int, total: int) -> None:
        work.progress(count, total, "scores")

    read: list[Conversation | None] = list(conversations)
    not_criticized = None
    if critic is not None:
        critiques = critic.criticize(
            conversations,
            workers=work.executor.workers,
            report=lambda count, total: work.progress(count, total, "critiques"),
        )
        not_criticized = critiques.count(None)
        read = [
            None if words is None else with_critique(conversation, words)
            for conversation, words in zip(conversations, critiques, strict=True)
        ]
    read = [conversation if conversation is not None and judge.fits(conversation) else None for conversation in read]
    scores = judge.score([conversation for conversation in read if conversation is not None], report=report)
    least, in_order = min(scores, default=0.0), iter(scores)
    for answer, conversation in zip(answers, read, strict=True):
        answer.reward = least if conversation is None else next(in_order)
    return not_criticized, read.count(None)


def grade_answers(
    work: Work, entries: Sequence[PromptCandidates], settings: RejectionSamplingSettings, ranks: RankGroup
) -> int:
    """What other judges say of every answer; how often a rubric's judge said nothing of use."""
    graded: list[tuple[Conversation, Candidate, Message | None]] = []
    for entry in entries:
        graded += [(entry.prompt, answer, entry.reference) for answer in entry.answers]
    for name, use in (("right", settings.verifier), ("gold", settings.gold_verifier)):
        if use is not None:
            check = verifiers.make(use)

            def verdict(number: int, check: Callable[..., bool | None] = check) -> bool | None:
                prompt, answer, reference = graded[number]
                work.progress(number, len(graded), "verdicts")
                return check(prompt, answer.message, reference)

            for (_, answer, _), right in zip(graded, ranks.map(range(len(graded)), verdict), strict=True):
                setattr(answer, name, right)
    if settings.rubric_judge is not None:
        sampler = EndpointSampler(
            settings.rubric_judge.url,
            settings.rubric_judge.model,
            settings.rubric_judge.key,
            report=lambda count, total: work.progress(count, total, "points"),
        )
        rubric = ANSWER_RUBRICS[settings.rubric_judge.rubric]
        conversations = list(chain.from_iterable(entry.answered_prompts for entry in entries))
        ratings = rubric_points(conversations, FirstRankSampler(sampler, ranks), rubric)
        for (_, answer, _), points in zip(graded, ratings, strict=True):
            answer.points = points
        return ratings.count(None)
    return 0


def _best_of(
    entries: Sequence[PromptCandidates], settings: RejectionSamplingSettings
) -> tuple[list[dict[str, float]], float | None]:
    """A row for every K about the best of K answers; and the share of all answers that is right, where it is known."""
    samples = [entry.samples for entry in entries]

    def measure(quantity: Callable[[Candidate], float]) -> list[list[float]]:
        """The quantity of every answer, prompt by prompt."""
        return [list(map(quantity, answers)) for answers in samples]

    measured = {
        "tokens": measure(lambda answer: float(answer.tokens)),
        "repeats": measure(lambda answer: _repeats(answer.message.content)),
    }
    if settings.verifier is not None:
        measured["right"] = measure(lambda answer: float(bool(answer.right)))
    if settings.gold_verifier is not None:
        measured["gold"] = measure(lambda answer: float(bool(answer.gold)))
    rewards = measure(lambda answer: answer.reward)
    right = list(chain.from_iterable(measured.get("right", [])))
    return best_of_curve(rewards, measured, settings.num_samples), statistics.fmean(right) if right else None


def _repeats(text: str) -> float:
    """Whether an answer says `_RUN` words in a row twice."""
    words = text.split()
    runs = [tuple(words[n : n + _RUN]) for n in range(len(words) - _RUN + 1)]
    return float(len(set(runs)) < len(runs))


def warning(rows: Sequence[dict[str, float]]) -> str:
    """Says when what the reward model likes is length, repetition, or wrong: all that is known of over-optimised ones
    (Gao et al. 2022, Scaling Laws for Reward Model Overoptimization)."""
    if len(rows) < 2:
        return ""
    first, last = rows[0], rows[-1]
    message = ""
    longer = last["tokens"] / max(1.0, first["tokens"])
    if longer > 1.5:
        message += f"; the best are {longer:.1f} times as long as others: the reward model may count words"
    more = last["repeats"] - first["repeats"]
    if more > 0.05:
        message += f"; {more:.0%} more of the best repeat themselves than of others"
    for name in ("gold", "right"):
        top = max(rows, key=lambda row: row.get(name, 0.0))
        if name in last and last[name] < top[name] - 0.01:
            message += (
                f"; the best of {last['k']:.0f} is right in {last[name]:.0%}, of {top['k']:.0f} in {top[name]:.0%}: "
                "the reward model is over-optimised; take fewer samples, or a verifier"
            )
            break  # the verifier may be what gold is measured by
    return message
