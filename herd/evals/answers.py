"""Every answer of an evaluation on disk, as it is given: what was asked, answered, read out of it, and its score.

DIR/TASK/answers.jsonl    one `AnswerRecord` a line, added to and never changed; of equal ids the last line counts
DIR/TASK/settings.json    the model, the task's settings, and how answers were asked for
DIR/results.json          scores in lm-eval's layout
DIR/index.html            the page
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from herd.core.errors import ArtifactError, BusyError, DataError, SettingsError, to_herd_error
from herd.core.manifests import atomic_write
from herd.core.names import file_name

_ALWAYS = ("task", "id", "sample", "score")
ANSWERS_FILE, SETTINGS_FILE, RESULTS_FILE, PAGE_FILE = "answers.jsonl", "settings.json", "results.json", "index.html"
ANSWERS_FORMAT = 1
AnswerKey = tuple[str, int]


@dataclass(frozen=True)
class AnswerRecord:
    """One answer to one item.

    id, sample: the item, and which of its answers. group: the item's. prompt: all that the model read, as text.
    question: what was asked last, where that is not the prompt. response: the text that was graded. tail: what the
    model wrote after it, from the stop string on. raw: all that it wrote, where control tokens or earlier turns make
    that something else. tokens: that it wrote. token_lengths: of each in order, its characters in response and tail.
    finish_reason: as the engine gives it; empty where nothing was written. stop_string: the one that ended it. earlier:
    of turns before the last, `text` and `finished`. left_truncated: whether the prompt lost its first tokens.
    message: with calls of tools, where there are some. choices, choice_tokens: of a task of likelihoods, with their
    number of tokens. log_likelihoods: of the choices, in nats, or of the text. unconditional: of the choices alone.
    utf8_bytes: of a text whose likelihood is measured. score: 0 to 1; None where it is void. extracted, unparsed,
    reason, parts: as of `Grade`.
    """

    task: str
    id: str
    sample: int = 0
    group: str = ""
    prompt: str = ""
    prompt_sha256: str = ""
    question: str = ""
    target: str = ""
    response: str = ""
    tail: str = ""
    raw: str = ""
    tokens: int = 0
    token_lengths: tuple[int, ...] = ()
    finish_reason: str = ""
    stop_string: str = ""
    earlier: tuple[Mapping[str, Any], ...] = ()
    left_truncated: bool = False
    message: Mapping[str, Any] | None = None
    choices: tuple[str, ...] = ()
    choice_tokens: tuple[int, ...] = ()
    log_likelihoods: tuple[float, ...] = ()
    unconditional: tuple[float, ...] = ()
    utf8_bytes: int = 0
    score: float | None = None
    extracted: str = ""
    unparsed: bool = False
    reason: str = ""
    parts: Mapping[str, float] = field(default_factory=dict)

    @property
    def key(self) -> AnswerKey:
        return self.id, self.sample

    @property
    def asked(self) -> str:
        """What was asked last."""
        return self.question or self.prompt

    def to_row(self) -> dict[str, Any]:
        """As a line holds it: without what is empty, but for a score that is void."""
        row = {name: value for name, value in asdict(self).items() if value or name in _ALWAYS}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in row.items()}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> AnswerRecord:
        """Raises DataError for a row that is none. Fields of later versions are passed over."""
        names = {each.name for each in fields(cls)}
        try:
            values = {name: _frozen(value) for name, value in row.items() if name in names}
            record = cls(**values)
            if not isinstance(record.id, str) or not isinstance(record.response, str):
                raise TypeError("id and response are texts")
            if record.score is not None and not 0 <= record.score <= 1:
                raise TypeError(f"its score is {record.score}")
        except (TypeError, AttributeError) as fault:
            raise DataError(f"this is no stored answer: {fault}") from None
        return record


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def text_sha256(text: str) -> str:
    """The hash by which equal prompts are told, of the text as UTF-8."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True)
class RunSettings:
    """What the answers of a task depend on.

    task: its name. settings: the task's, as `Registry.parse` reads them, under its address. model: `name` and what
    tells it from others (`weights`, or an address). prompt: how it was asked: `chat`, `template` (a hash),
    `system_prompt`, `num_fewshot`. generation: how it wrote: `stop`, `max_tokens`, `temperature`, `num_samples`, `k`;
    of likelihoods, `normalize`. output: `generate`, `likelihood` or `perplexity`.
    """

    task: str
    settings: Mapping[str, Any]
    model: Mapping[str, Any]
    prompt: Mapping[str, Any] = field(default_factory=dict)
    generation: Mapping[str, Any] = field(default_factory=dict)
    output: str = "generate"

    @classmethod
    def from_row(cls, row: Mapping[str, Any], where: str) -> RunSettings:
        names = {each.name for each in fields(cls)}
        try:
            return cls(**{name: value for name, value in row.items() if name in names})
        except TypeError:
            raise ArtifactError(f"{where} holds no settings of an evaluation; name a folder of `herd eval`") from None


class TaskAnswers:
    """The answers of one task in their folder, which one process at a time adds to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def file(self) -> Path:
        return self.folder / ANSWERS_FILE

    def settings(self) -> RunSettings:
        """Raises ArtifactError where there are none."""
        place = self.folder / SETTINGS_FILE
        try:
            row = json.loads(place.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise ArtifactError(f"{self.folder} holds no answers of `herd eval`; make some with --out") from None
        return RunSettings.from_row(row if isinstance(row, dict) else {}, str(place))

    def records(self) -> dict[AnswerKey, AnswerRecord]:
        """The last answer under each key, in the order in which they came first. Lines that are none, as a process
        leaves that was killed while it wrote, are passed over."""
        records: dict[AnswerKey, AnswerRecord] = {}
        if not self.file.exists():
            return records
        with self.file.open("rb") as lines:
            for line in lines:
                with contextlib.suppress(ValueError, DataError):
                    record = AnswerRecord.from_row(json.loads(line))
                    records[record.key] = record
        return records

    def append(self, records: Sequence[AnswerRecord]) -> None:
        """Adds answers, on disk when this returns."""
        lines = "".join(json.dumps(record.to_row(), ensure_ascii=True) + "\n" for record in records)
        try:
            with self.file.open("ab") as file:
                file.write(lines.encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as fault:
            raise to_herd_error(fault, f"answers {self.file}") from None

    def drop_half_line(self) -> None:
        """Takes away what stands after the last line end, so that the next line begins on its own."""
        if not self.file.exists():
            return
        with self.file.open("rb+") as file:
            end = file.seek(0, os.SEEK_END)
            while end:
                start = max(0, end - 65_536)
                file.seek(start)
                at = file.read(end - start).rfind(b"\n")
                if at >= 0:
                    end = start + at + 1
                    break
                end = start
            file.truncate(end)


class AnswerStore:
    """A folder of answers, a folder a task."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextlib.contextmanager
    def sole_writer(self) -> Iterator[None]:
        """Raises BusyError when another process writes here."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = (self.folder / ".lock").open("a")
        except OSError as fault:
            raise ArtifactError(
                f"answers cannot be kept in {self.folder} ({fault.strerror}); name a folder that can be written"
            ) from None
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise BusyError(
                    f"another herd eval writes to {self.folder}; wait for it to end, or name another --out"
                ) from None
            yield

    def open_task(self, settings: RunSettings) -> TaskAnswers:
        """Where the answers of a task go, which may hold some already.

        Raises SettingsError when these are of another model, or were asked for with other settings.
        """
        answers = self._answers_of(settings)
        if (answers.folder / SETTINGS_FILE).exists():
            answers.drop_half_line()
            return answers
        answers.folder.mkdir(parents=True, exist_ok=True)
        row = asdict(settings) | {"format": ANSWERS_FORMAT}
        atomic_write(answers.folder / SETTINGS_FILE, json.dumps(row, indent=1, sort_keys=True))
        return answers

    def check(self, settings: Iterable[RunSettings]) -> None:
        """Raises SettingsError where there are answers to one of the tasks that may not be gone on from."""
        for own in settings:
            self._answers_of(own)

    def _answers_of(self, settings: RunSettings) -> TaskAnswers:
        answers = TaskAnswers(self.folder / file_name(settings.task))
        row = _plain(asdict(settings) | {"format": ANSWERS_FORMAT})
        if (answers.folder / SETTINGS_FILE).exists():
            before = _plain(asdict(answers.settings()) | {"format": ANSWERS_FORMAT})
            if row["model"].get("weights") == before["model"].get("weights") is not None:
                before["model"]["name"] = row["model"].get("name")  # its folder may be called otherwise now
            if difference := _difference(before, row):
                raise SettingsError(
                    f"{answers.folder} holds answers with another {difference}; name another folder with --out, or "
                    "remove this one"
                )
        return answers

    def tasks(self) -> dict[str, TaskAnswers]:
        """By the task's name, in alphabetical order. Raises ArtifactError when the folder holds none."""
        folders = sorted(self.folder.glob(f"*/{SETTINGS_FILE}")) if self.folder.is_dir() else []
        answers = [TaskAnswers(place.parent) for place in folders]
        by_task = {own.settings().task: own for own in answers}
        if not by_task:
            raise ArtifactError(
                f"{self.folder} holds no answers; `herd eval MODEL TASKS --out {self.folder}` writes some"
            )
        return by_task


def _plain(row: Any) -> Any:
    """As JSON gives it back."""
    return json.loads(json.dumps(row))


def _difference(before: Mapping[str, Any], now: Mapping[str, Any], name: str = "") -> str:
    """Words for the first thing that differs; empty where nothing does."""
    for key in sorted({*before, *now}):
        was, setting = before.get(key), now.get(key)
        if was == setting:
            continue
        path = f"{name}.{key}" if name else key
        if isinstance(was, dict) and isinstance(setting, dict):
            return _difference(was, setting, path)
        return f"`{path}` ({_short(was)}, and now {_short(setting)})"
    return ""


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."
