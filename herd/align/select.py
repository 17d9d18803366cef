"""Rejection sampling: many answers to a prompt, of which judges keep the best (4.2.2)."""

from __future__ import annotations

import hashlib
import itertools
import json
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

from herd.align.given import written
from herd.align.results import RejectionSampling
from herd.core.artifacts import Checkpoint, Dialogues
from herd.core.records import Conversation, Message
from herd.core.registry import Use
from herd.core.settings import Positive, Uncounted, settings
from herd.core.stage import Work, stage
from herd.core.storage import read_conversations
from herd.generate.engine import Engine, SamplingParams
from herd.generate.samplers import Endpoint
from herd.judge.best_of import curve
from herd.judge.critic import Critic, then_criticized
from herd.judge.reward import RewardJudge
from herd.judge.rubric import RUBRICS, judged
from herd.judge.verifiers import verifiers
from herd.model.config import shape_in
from herd.model.devices import place_model
from herd.model.weights import load_transformer
from herd.tokens.jinja import Chat, chat_format
from herd.tokens.tokenizer import TextTokenizer

Verifier = Annotated[Use, verifiers.choice]

_AT_ONCE = 64  # prompts that are answered before their answers are kept
_RUN = 8  # words that an answer repeats when it says so many in a row twice


@settings
class Graded:
    """A language model that gives points: the address of an endpoint, up to `/v1`, the model's name there, the variable
    that holds the access key, and what it is asked."""

    url: Uncounted[str]
    model: str
    key: str = ""
    rubric: Literal["general", "code"] = "general"


@settings
class SelectSettings:
    """tries: answers a prompt. steer: system prompts that the tries take in turn, and that no answer keeps; none when
    empty. verify: only answers it finds right are kept; a prompt whose last message is the assistant's has its known
    answer there. graded: counts before the reward model, which decides between equal points. gold: measured, and never
    used to choose."""

    sampling: SamplingParams
    tries: Positive = 10
    steer: tuple[str, ...] = ()
    verify: Verifier | None = None
    graded: Graded | None = None
    gold: Verifier | None = None


@dataclass
class Answer:
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
class Asked:
    """A prompt, the answer that is known to be right, and what was answered."""

    prompt: Conversation
    known: Message | None
    answers: list[Answer] = field(default_factory=list)


@stage(paper="4.2.2", version=2, gpu=True)
def select(
    work: Work,
    judge: Checkpoint | None,
    model: Checkpoint,
    prompts: Dialogues,
    critic: Checkpoint | None = None,
    *,
    settings: SelectSettings,
) -> Dialogues:
    """Of several answers of `model` to every prompt the one that judges hold best: those a verifier finds right, of
    these the ones with the most points, of these the one `judge` scores highest, which reads the critique of `critic`
    first where there is one.

    Prompts none of whose answers came to an end, or was right, are left out and counted. Answers are kept as they come:
    a run that is stopped asks no prompt twice. Source: Llama 3, 4.2.2 (10 to 30 tries, steered by system prompts).
    """
    text = TextTokenizer.load(model.path)
    form = chat_format(text)
    asked, left_out = askable(prompts, form, shape_in(model.path).context, settings.steer)
    answer_all(work, asked, model, text, form, settings)
    some = [one for one in asked if one.answers]
    left_out["no answer came to an end"] = len(asked) - len(some)
    not_criticized = not_scored = None
    if judge is not None:
        not_criticized, not_scored = _score(
            work,
            some,
            RewardJudge.load(judge, work.device),
            Critic(critic, work.device, work.dtype) if critic is not None else None,
        )
    points_unread = _mark(some, settings)
    best: list[Conversation] = []
    for one in some:
        fit = [answer for answer in one.answers if settings.verify is None or answer.right]
        if fit:
            best.append(one.prompt.then(max(fit, key=lambda answer: answer.rank).message))
        else:
            left_out["no answer was right"] += 1
    rows, right = _best_of(some, settings)
    every = [[answer.reward for answer in one.answers for _ in range(answer.times)] for one in some]
    first = statistics.fmean(rewards[0] for rewards in every) if every else 0.0
    tops = [max(one.answers, key=lambda answer: answer.rank).reward for one in some]
    top = statistics.fmean(tops) if tops else 0.0
    work.record(
        RejectionSampling(
            prompts=len(some),
            different_answers=sum(len(one.answers) for one in some),
            first_reward=first,
            best_reward=top,
            best_of=tuple(rows),
            points_unread=points_unread,
            not_criticized=not_criticized,
            not_scored=not_scored,
        )
    )
    share = "" if right is None else f"{right:.0%} of all answers right, "
    worth = f"{share}reward {first:+.2f} on first try, {top:+.2f} best of {settings.tries}{warning(rows)}"
    return written(work, best, f"{len(best):,} answers, {worth}", left_out=+left_out)


def askable(prompts: Dialogues, form: Chat, context: int, steer: Sequence[str]) -> tuple[list[Asked], Counter[str]]:
    """Prompts that can be asked, and why others cannot."""
    found, left_out = [], Counter[str]()
    for one in read_conversations(prompts.path):
        known = one.last if one.last.role == "assistant" else None
        prompt = one if known is None else replace(one, messages=one.messages[:-1])
        if one.tools or one.definitions or any(message.calls for message in one.messages):
            left_out["it asks for tools"] += 1
        elif max(len(form.prompt(_steered(prompt, words))) for words in steer or ("",)) >= context:
            left_out["it is longer than the model reads"] += 1
        else:
            found.append(Asked(prompt, known))
    return found, left_out


def answer_all(
    work: Work, asked: Sequence[Asked], model: Checkpoint, text: TextTokenizer, form: Chat, settings: SelectSettings
) -> None:
    """Fills in the answers, those of an earlier try first."""
    steer = settings.steer or ("",)
    kept = work.scratch / "answers.jsonl"
    before = list(_kept(kept))
    engine: Engine | None = None
    with kept.open("ab") as file, _hashes_of(kept).open("a", encoding="utf-8") as hashes:
        for number, start in enumerate(range(0, len(asked), _AT_ONCE)):
            some = asked[start : start + _AT_ONCE]
            if number < len(before):
                rows = before[number]
            else:
                engine = engine or Engine(
                    place_model(load_transformer(model.path), work.device, work.dtype), text.stops, tokenizer=text
                )
                ids = [
                    form.prompt(_steered(one.prompt, steer[n % len(steer)]))
                    for one in some
                    for n in range(settings.tries)
                ]
                # A part draws by its own number: what it draws does not depend on what was asked before a stop.
                sampling = replace(settings.sampling, n=1, seed=settings.sampling.seed + 7919 * number)
                done = start * settings.tries

                def report(part: int, total: int, done: int = done) -> None:
                    work.progress(done + part, len(asked) * settings.tries, "answers")

                made = engine.generate(ids, sampling, workers=work.place.workers, report=report)
                flat = [one.token_ids if one.stopped else None for one in made]
                rows = [flat[n * settings.tries : (n + 1) * settings.tries] for n in range(len(some))]
                line = json.dumps(rows).encode() + b"\n"
                file.write(line)
                file.flush()
                hashes.write(hashlib.sha256(line).hexdigest() + "\n")
                hashes.flush()
            for one, row in zip(some, rows, strict=True):
                one.answers = _different(row, form.read)


def _kept(file: Path) -> Iterator[list[list[list[int] | None]]]:
    """Parts that an earlier try answered, up to a line that is not what was written: it and the rest are taken out."""
    if not file.exists():
        return
    written = _hashes_of(file)
    hashes = written.read_text(encoding="ascii", errors="replace").split("\n") if written.exists() else []
    lines = file.read_bytes().splitlines(keepends=True)
    pairs = zip(lines, hashes, strict=False)
    good = list(itertools.takewhile(lambda pair: hashlib.sha256(pair[0]).hexdigest() == pair[1], pairs))
    for path, left in ((file, [line for line, _ in good]), (written, [f"{one}\n".encode() for _, one in good])):
        path.write_bytes(b"".join(left))
    yield from (json.loads(line) for line, _ in good)


def _hashes_of(file: Path) -> Path:
    """Where the sha256 of each line of `file` is written, a line each."""
    return file.with_suffix(".sha256")


def _steered(prompt: Conversation, words: str) -> Conversation:
    if not words:
        return prompt
    first, *rest = prompt.messages
    if first.role == "system":
        return replace(prompt, messages=(replace(first, content=f"{first.content}\n\n{words}"), *rest))
    return replace(prompt, messages=(Message("system", words), *prompt.messages))


def _different(rows: Sequence[list[int] | None], read: Callable[[Sequence[int]], Message]) -> list[Answer]:
    """Answers that came to an end, each once with how often it was given."""
    found: dict[tuple[int, ...], Answer] = {}
    for ids in rows:
        if ids is None:
            continue
        if (key := tuple(ids)) in found:
            found[key].times += 1
        else:
            found[key] = Answer(read(ids), len(ids))
    return list(found.values())


def _score(work: Work, asked: Sequence[Asked], judge: RewardJudge, critic: Critic | None) -> tuple[int | None, int]:
    """Fills in what the reward model says of every answer; how many were too long for the critic, where there is one,
    and how many for either: these are as bad as the worst."""
    pairs = [(one, answer) for one in asked for answer in one.answers]
    said = [one.prompt.then(answer.message) for one, answer in pairs]

    def report(done: int, total: int) -> None:
        work.progress(done, total, "scores")

    read: list[Conversation | None] = list(said)
    not_criticized = None
    if critic is not None:
        heard = critic.read(
            said, workers=work.place.workers, report=lambda done, total: work.progress(done, total, "critiques")
        )
        not_criticized = heard.count(None)
        read = [None if words is None else then_criticized(one, words) for one, words in zip(said, heard, strict=True)]
    read = [one if one is not None and judge.fits(one) else None for one in read]
    scores = judge.score([one for one in read if one is not None], report=report)
    least, in_order = min(scores, default=0.0), iter(scores)
    for (_, answer), one in zip(pairs, read, strict=True):
        answer.reward = least if one is None else next(in_order)
    return not_criticized, read.count(None)


def _mark(asked: Sequence[Asked], settings: SelectSettings) -> int:
    """What other judges say of every answer; how often a rubric's judge said nothing of use."""
    pairs = [(one, answer) for one in asked for answer in one.answers]
    said = [one.prompt.then(answer.message) for one, answer in pairs]
    for name, use in (("right", settings.verify), ("gold", settings.gold)):
        if use is not None:
            check = verifiers.make(use)
            for one, answer in pairs:
                setattr(answer, name, check(one.prompt, answer.message, one.known))
    if settings.graded is not None:
        sampler = Endpoint(settings.graded.url, settings.graded.model, settings.graded.key)
        given = judged(said, sampler, RUBRICS[settings.graded.rubric])
        for (_, answer), points in zip(pairs, given, strict=True):
            answer.points = points
        return given.count(None)
    return 0


def _best_of(asked: Sequence[Asked], settings: SelectSettings) -> tuple[list[dict[str, float]], float | None]:
    """A row for every K about the best of K answers; and the share of all answers that is right, where it is known."""
    every = [[answer for answer in one.answers for _ in range(answer.times)] for one in asked]
    measured: dict[str, list[list[float]]] = {
        "tokens": [[float(answer.tokens) for answer in answers] for answers in every],
        "repeats": [[_repeats(answer.message.content) for answer in answers] for answers in every],
    }
    for name, use in (("right", settings.verify), ("gold", settings.gold)):
        if use is not None:
            measured[name] = [[float(bool(getattr(answer, name))) for answer in answers] for answers in every]
    scored = [[answer.reward for answer in answers] for answers in every]
    right = [one for answers in measured.get("right", []) for one in answers]
    return curve(scored, measured, settings.tries), statistics.fmean(right) if right else None


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
    found = ""
    longer = last["tokens"] / max(1.0, first["tokens"])
    if longer > 1.5:
        found += f"; the best are {longer:.1f} times as long as others: the reward model may count words"
    more = last["repeats"] - first["repeats"]
    if more > 0.05:
        found += f"; {more:.0%} more of the best repeat themselves than of others"
    for name in ("gold", "right"):
        top = max(rows, key=lambda row: row.get(name, 0.0))
        if name in last and last[name] < top[name] - 0.01:
            found += (
                f"; the best of {last['k']:.0f} is right in {last[name]:.0%}, of {top['k']:.0f} in {top[name]:.0%}: "
                "the reward model is over-optimised; take fewer tries, or a verifier"
            )
            break  # the verifier may be what gold is measured by
    return found
