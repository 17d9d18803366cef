"""Conversations and preferences in the columns that others use: TRL, OpenAI, ShareGPT, Alpaca, Anthropic's HH, and
those of well-known sets (column_maps.py)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeVar

from herd.align.column_maps import LABEL_COLUMNS, NO_PAIR, SET_FORMS, LabelledAnswers, RatedAnswers, input_output
from herd.align.prompts import PROMPT_FORMS, asked_part, row_prompt
from herd.align.row_parts import (
    JsonRow,
    Turns,
    answer_turns,
    check_row,
    dialogue_turns,
    history_turns,
    instruction_text,
    message_turns,
    prompt_turns,
    row_conversation,
    row_preference,
)
from herd.align.unknown_columns import Form, unknown_columns
from herd.core.addresses import is_address
from herd.core.errors import DataError
from herd.core.manifests import check_files
from herd.core.records import Conversation, Message, Preference
from herd.core.rowfiles import RowError, iter_rows, row_files

TRAIN = "train"
RowSplit = Literal["train", "test"]
# What rows are for. Of prompts whatever answers them is left out; the others differ only in what is said of columns
# that are of no known form.
RowKind = Literal["rows", "dialogues", "preferences", "prompts"]
_JOBS: dict[RowKind, str] = {
    "rows": "dialogue and no pair",
    "dialogues": "dialogue",
    "preferences": "pair",
    "prompts": "prompt",
}
_RowT = TypeVar("_RowT", Conversation, Preference, Conversation | Preference)
_MOST_FAULT = 600  # letters of what is wrong with a row that are shown


@dataclass
class ParsedRows:
    """What rows of a file became. rejected: how many by reason; examples: an example of each, (line, what was
    wrong). unpaired: prompts whose rated answers make no pair, by reason."""

    conversations: list[Conversation] = field(default_factory=list)
    preferences: list[Preference] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)
    examples: dict[str, tuple[int, str]] = field(default_factory=dict)
    unpaired: Counter[str] = field(default_factory=Counter)

    def add(self, parsed: ParsedRows) -> None:
        """Takes what other rows became in."""
        self.conversations += parsed.conversations
        self.preferences += parsed.preferences
        self.rejected += parsed.rejected
        self.unpaired += parsed.unpaired
        self.examples = parsed.examples | self.examples

    def with_source(self, source: str, *, row_sources: bool = False) -> ParsedRows:
        """The same rows, all of them of `source`. row_sources: only those that say none of their own."""
        if not source:
            return self

        def named(row: Conversation) -> Conversation:
            return row if row_sources and row.source else replace(row, source=source)

        pairs = [replace(pair, prompt=named(pair.prompt)) for pair in self.preferences]
        return replace(self, conversations=[named(row) for row in self.conversations], preferences=pairs)


def read_rows(file: Path | str, kind: RowKind = "rows") -> ParsedRows:
    """Every row of a JSON lines, JSON, CSV, Parquet or Arrow file (packed or not, at a path or an address), each kept
    or counted with why not. Rows whose answers are rated are conversations, and the best and the worst answer to a
    prompt a preference; rows that only say whether an answer is wanted are paired with others of their prompt.

    Raises DataError when the file cannot be read, breaks off, or not one row is kept.
    """
    parsed, rated, labelled = ParsedRows(), RatedAnswers(), LabelledAnswers()
    name = str(file).rpartition("/")[2]
    for number, row in iter_rows(file):
        try:
            if isinstance(row, RowError):
                raise row
            is_learnt = kind != "prompts" and isinstance(row, Mapping) and not _is_left_out(row)
            if is_learnt and labelled.add(row, number, f"{name}-{number}"):
                continue
            read = parse_row(row, f"{name}-{number}", kind)
        except RowError as fault:
            parsed.rejected[fault.reason] += 1
            parsed.examples.setdefault(fault.reason, (number, str(fault)))
            continue
        if isinstance(read, Preference):
            parsed.preferences.append(read)
        else:
            parsed.conversations.append(read)
            rated.add(row, read)
    for pair in rated.pairs():
        if isinstance(pair, RowError):
            parsed.unpaired[pair.reason] += 1
        else:
            parsed.preferences.append(pair)
    for answered in labelled.pairs():
        if isinstance(answered, Preference):
            parsed.preferences.append(answered)
            continue
        number, fault = answered
        parsed.rejected[fault.reason] += 1
        parsed.examples.setdefault(fault.reason, (number, str(fault)))
    if not parsed.conversations and not parsed.preferences:
        why = (
            "; ".join(f"row {number}: {_shortened(problem)}" for number, problem in parsed.examples.values())
            or "it holds no rows"
        )
        raise DataError(f"{file}: no row can be used; {why}")
    return parsed


def _shortened(words: str) -> str:
    """The words, without their end where they are very many: a row may say anything."""
    return words if len(words) <= _MOST_FAULT else words[:_MOST_FAULT].rpartition(" ")[0][:_MOST_FAULT] + " ..."


def load_rows(place: Path | str, split: RowSplit = "train", kind: RowKind = "rows") -> ParsedRows:
    """What a file of rows holds, or all files of a folder, a pattern or an address; or an artifact of dialogues or
    preferences. split: as `split_files` has it. kind: as `parse_row` has it. Raises DataError as `read_rows`, for all
    files together."""
    folder = Path(place)
    for name in ("dialogues.jsonl", "preferences.jsonl") if not is_address(str(place)) and folder.is_dir() else ():
        check_files(folder, name)
        if (folder / name).exists():
            return read_rows(folder / name, kind)
    merged, files = ParsedRows(), split_files(str(place), split)
    faults: list[DataError] = []
    for file in files:
        try:
            merged.add(read_rows(file, kind))
        except DataError as fault:
            faults.append(fault)
            if len(files) == 1 or "no row can be used" not in str(fault):
                raise
    if len(faults) == len(files):
        raise faults[0]
    return merged


def split_files(place: str, split: RowSplit = "train") -> list[str]:
    """The files of rows that `place` names; of a folder with splits only those of the split `train`, so that no test is
    learnt, or with `test` those of all splits but that, so that nothing learnt is tested or measured on. A file or a
    pattern is what it names. Raises DataError when there is none."""
    files = row_files(place)
    if files == [place] or "*" in place:
        return files
    try:
        of_train = row_files(place, TRAIN)
    except DataError:
        return files
    if split == TRAIN:
        return of_train
    if others := [file for file in files if file not in of_train]:
        return others
    raise DataError(
        f"{place} holds only a split to train on, and tests and held-out rows must be others; name a folder with "
        "another split, or files by their names"
    )


def parse_row(row: JsonRow, number: str = "", kind: RowKind = "rows") -> Conversation | Preference:
    """A row as a conversation, or as a preference where it has a better and a worse answer; of the kind `prompts` as
    the conversation up to the user's last word, with or without an answer in the row.

    Raises RowError for columns of no known form, ragged turns, unknown roles, empty answers, and pairs that are alike.
    """
    if not isinstance(row, Mapping):
        raise RowError("no object", f"a row is a {type(row).__name__}, not an object with columns")
    if _is_left_out(row):
        raise RowError("weight 0", "the row says that it is not to be learnt from")
    if kind == "prompts":
        return _parse_prompt(row, number)
    for columns, read in _FORMS.items():
        if all(column in row for column in columns):
            return _checked(columns, lambda read=read: check_row(read(row, number)))
    raise RowError("unknown columns", unknown_columns(row, _JOBS[kind], *_named_forms(kind)))


def _is_left_out(row: JsonRow) -> bool:
    return row.get("train") is False or row.get("weight") == 0


def _parse_prompt(row: JsonRow, number: str) -> Conversation:
    """What stands before the answers where a row has some that can be read, else what the row asks."""
    try:
        read = parse_row(row, number)
    except RowError:
        read = None
    if read is not None:
        return asked_part(read.prompt if isinstance(read, Preference) else read)
    for columns in PROMPT_FORMS:
        if all(column in row for column in columns):
            return _checked(columns, lambda columns=columns: row_prompt(row, number, columns))
    raise RowError("unknown columns", unknown_columns(row, _JOBS["prompts"], list(PROMPT_FORMS)))


def _checked(columns: Form, read: Callable[[], _RowT]) -> _RowT:
    """What `read` makes of a row of these columns. Raises RowError for whatever is wrong there."""
    try:
        return read()
    except RowError:
        raise
    except KeyError as fault:
        raise RowError("broken", f"{' and '.join(columns)}: {fault.args[0]!r} is missing") from None
    # Whatever stands where something else should: the row is reported, and the next one read.
    except (DataError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as fault:
        raise RowError("broken", f"{' and '.join(columns)}: {fault}") from None


def _named_forms(kind: RowKind) -> tuple[list[Form], list[Form]]:
    """The common forms that make sense for what rows are for, and the others."""
    pairs = [form for form in _FORMS if {"chosen", "ranked", "response_2", "response2"} & set(form)]
    pairs.append(("instruction", "completions"))
    dialogues = [form for form in _FORMS if form not in pairs and "label" not in form]
    forms = {"preferences": pairs, "dialogues": dialogues}.get(kind, [*dialogues, *pairs])
    common = [form for form in _COMMON if form in forms]
    return common, [form for form in forms if form not in common]


# ---- forms ----


def _pair(row: JsonRow, number: str) -> Preference:
    """An explicit prompt and two answers, TRL's and its kin's; many sets say the prompt again in both answers."""
    prompt = prompt_turns(row["prompt"] if "prompt" in row else row["conversations"])
    chosen, rejected = answer_turns(row["chosen"]), answer_turns(row["rejected"])
    return row_preference(row, number, *_split_shared(prompt, chosen, rejected))


def _question_pair(row: JsonRow, number: str) -> Preference:
    """Pairs in Alpaca's columns, and pairs below a question."""
    question = row["question"] if "question" in row else instruction_text(row)
    prompt = (*history_turns(row), Message("user", question))
    chosen, rejected = answer_turns(row["chosen"]), answer_turns(row["rejected"])
    return row_preference(row, number, *_split_shared(prompt, chosen, rejected))


def _split_shared(prompt: Turns, chosen: Turns, rejected: Turns) -> tuple[Turns, Turns, Turns]:
    """Prompt and answers, where both answers may begin with the prompt once more, or with turns before it too.

    Raises RowError where they begin with another prompt than the one that is said.
    """
    if chosen[:1] and chosen[0].role == "assistant":
        return prompt, chosen, rejected
    shared = _shared(chosen, rejected)
    prompt_turns = tuple(message for message in prompt if message.role != "system")
    shared_turns = tuple(message for message in chosen[:shared] if message.role != "system")
    if not prompt_turns or prompt_turns not in (shared_turns[-len(prompt_turns) :], shared_turns[: len(prompt_turns)]):
        raise RowError("another prompt", "the answers begin with turns that are not those of the prompt")
    opening = prompt[:1] if prompt[0].role == "system" and chosen[0].role != "system" else ()
    return (*opening, *chosen[:shared]), chosen[shared:], rejected[shared:]


def _shared(chosen: Turns, rejected: Turns) -> int:
    """How many turns both dialogues begin with, up to what the assistant answers to."""
    shared = 0
    while shared < min(len(chosen), len(rejected)) - 1 and chosen[shared] == rejected[shared]:
        shared += 1
    return shared


def _implicit_pair(row: JsonRow, number: str) -> Preference:
    """Whole dialogues of which the beginning is shared: TRL's implicit prompt, and HH's transcripts."""
    chosen, rejected = (dialogue_turns(row[name]) for name in ("chosen", "rejected"))
    shared = _shared(chosen, rejected)
    return row_preference(row, number, chosen[:shared], chosen[shared:], rejected[shared:])


def _ranked(row: JsonRow, number: str) -> Preference:
    """Answers best first: the best two, or the first, second and last as edited, chosen and rejected."""
    answers = [answer_turns(answer) for answer in row["ranked"]]
    if len(answers) < 2:
        raise RowError("one answer", f"{len(answers)} ranked answers make no pair; give two or more")
    edited = answers[0] if len(answers) > 2 else ()
    chosen, rejected = (answers[1], answers[-1]) if edited else (answers[0], answers[1])
    return row_preference(row, number, prompt_turns(row["prompt"]), chosen, rejected, edited)


def _unpaired(row: JsonRow, number: str) -> Conversation:
    raise RowError("a label and no pair", NO_PAIR)


def _stepwise(row: JsonRow, number: str) -> Conversation:
    """TRL's steps with a label each, as one answer where every step is right."""
    steps, labels = row["completions"], row["labels"]
    if len(steps) != len(labels):
        raise RowError("broken", f"{len(steps)} completions have {len(labels)} labels; give one each")
    if not all(labels):
        wrong = list(map(bool, labels)).index(False) + 1
        raise RowError("a wrong step", f"step {wrong} of {len(steps)} is wrong: nothing to learn without what is right")
    return row_conversation(row, number, (*prompt_turns(row["prompt"]), *answer_turns("\n".join(steps))))


def _messages(row: JsonRow, number: str) -> Conversation:
    messages = row["messages"] if "messages" in row else row["conversations"]
    return row_conversation(row, number, message_turns(messages))


def _answered(row: JsonRow, number: str) -> Conversation:
    """GSM8K's problems."""
    return row_conversation(row, number, (*prompt_turns(row["question"]), *answer_turns(row["answer"])))


def _completion(row: JsonRow, number: str) -> Conversation:
    answer = row["completion"] if "completion" in row else row["response"]
    return row_conversation(row, number, (*prompt_turns(row["prompt"]), *answer_turns(answer)))


def _alpaca(row: JsonRow, number: str) -> Conversation:
    answer = row["output"] if "output" in row else row["response"]
    return row_conversation(
        row, number, (*history_turns(row), Message("user", instruction_text(row)), *answer_turns(answer))
    )


# A row is of the first form whose columns it has.
_FORMS: dict[tuple[str, ...], Callable[[JsonRow, str], Conversation | Preference]] = {
    **SET_FORMS,
    ("prompt", "chosen", "rejected"): _pair,
    ("conversations", "chosen", "rejected"): _pair,
    ("instruction", "chosen", "rejected"): _question_pair,
    ("question", "chosen", "rejected"): _question_pair,
    ("chosen", "rejected"): _implicit_pair,
    ("prompt", "ranked"): _ranked,
    ("messages", "label"): _unpaired,
    LABEL_COLUMNS: _unpaired,
    ("prompt", "completions", "labels"): _stepwise,
    ("messages",): _messages,
    ("conversations",): _messages,
    ("prompt", "completion"): _completion,
    ("prompt", "response"): _completion,
    ("question", "answer"): _answered,
    ("instruction", "output"): _alpaca,
    ("instruction", "response"): _alpaca,
    ("input", "output"): input_output,
}
_COMMON: tuple[Form, ...] = (
    ("messages",), ("prompt", "completion"), ("question", "answer"), ("instruction", "output"), ("chosen", "rejected"),
    ("prompt", "chosen", "rejected"),
)  # fmt: skip
