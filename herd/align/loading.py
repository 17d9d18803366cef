"""Models, conversations and preferences of a user's own."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Literal

from herd.align.columns import ParsedRows, RowKind, RowSplit, load_rows, parse_row, split_files
from herd.align.contamination import HeldOutQuestions, drop_contaminated
from herd.align.results import DialogueCount, ImportedModel, PreferenceCount
from herd.core.addresses import is_address
from herd.core.artifacts import Checkpoint, Dialogues, Preferences
from herd.core.errors import ArtifactError, DataError, SettingsError, did_you_mean
from herd.core.manifests import check_files
from herd.core.model_files import TEXT_FILES, TOKENIZER_FILES, WEIGHT_FILES, files_in
from herd.core.records import Conversation, Preference
from herd.core.rowfiles import RowError, iter_rows
from herd.core.settings import AddedLater, InputFile, NonNegativeInt, input_path, input_place
from herd.core.stage import Work, stage
from herd.core.storage import read_conversations, read_preferences, write_conversations, write_preferences
from herd.core.terminal import count_of
from herd.model.adapters import copy_adapters, is_adapter
from herd.model.config import read_shape
from herd.tokens.jinja import with_chat_template
from herd.tokens.tokenizer import TextTokenizer
from herd.train.checkpoint import ABOUT, OPTIMIZER, TRAINING, write_token_ids, write_tokenizer_files
from herd.train.log import METRICS_FILE

_FIRST_ROWS = 1_000  # of a file in which one that can be used is looked for before anything runs


@stage(paper="4.1", version=2)
def load_pretrained(
    work: Work, *, folder: InputFile, chat_template: Literal["", "llama3", "chatml"] | InputFile = ""
) -> Checkpoint:
    """A model in Hugging Face's layout, as `herd import` writes it, for stages to go on from.

    chat_template: for a model that brings none; a packaged one or a Jinja file. Raises ArtifactError where it is no
    model, or is not whole, or has not the template's control tokens.
    """
    place = input_path(folder)
    if not place.is_dir():
        raise ArtifactError(f"{place} is no folder; name one in Hugging Face's layout, or `herd import` the file first")
    shape, tokenizer = read_shape(place), TextTokenizer.load(place)
    copy_model_files(place, work.out)
    if chat_template:
        tokenizer = with_chat_template(tokenizer, str(input_path(chat_template)))
        for file in files_in(work.out, *TOKENIZER_FILES):  # those of the old template would be read before ours
            file.unlink()
        write_token_ids(work.out, tokenizer)
        write_tokenizer_files(work.out, tokenizer, context=shape.max_seq_len, kind="base")
    work.record(ImportedModel(shape.num_params, vocab_size=tokenizer.vocab_size, context=shape.max_seq_len))
    work.headline = (
        f"{shape.num_params:,} weights, {tokenizer.vocab_size:,} tokens, reads {shape.max_seq_len:,} at once"
    )
    return Checkpoint(work.out)


def copy_model_files(model: Path, folder: Path) -> None:
    """A model's files in `folder`, those that the format has and what training further needs.

    Raises ArtifactError where one is damaged, or a link that leads out of the folder.
    """
    patterns = (*TEXT_FILES, *WEIGHT_FILES, ABOUT, OPTIMIZER, f"{TRAINING}/*", METRICS_FILE)
    check_files(model, *patterns)
    if is_adapter(model):
        copy_adapters(model, folder)
    for file in files_in(model, *patterns):
        target = folder / file.relative_to(model)
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(file, target)


@stage(paper="4.2.2", version=4)
def load_dialogues(
    work: Work,
    tests: Dialogues | None = None,
    *,
    files: tuple[InputFile, ...],
    source: str = "",
    max_samples: NonNegativeInt = 0,
    prompt_suffix: str = "",
    split: AddedLater[RowSplit] = "train",
    kind: AddedLater[Literal["dialogues", "prompts"]] = "dialogues",
    sources: AddedLater[tuple[str, ...]] = (),
    row_sources: AddedLater[bool] = False,
) -> Dialogues:
    """Conversations in any columns that `herd show --mask` reads. files: paths, folders, patterns or addresses. split:
    of a folder with splits; `test` reads all but those of `train`. kind: each of `prompts` is kept up to what the
    user says last; rows need no answer, and what they have of one is left out. source: what theirs is called; as rows
    say when absent. max_samples: how many of the first are kept, with a warning where there are more; all when 0.
    sources: in its place one for each of `files`; with `row_sources` only of rows that say none. prompt_suffix: to the
    last thing the user says, such as the form an answer shall have. tests: what rows must not
    hold; those that do are left out and counted. Raises DataError when there is none, SettingsError for another number
    of sources than files."""
    parsed = _read(files, tests, split, kind, sources, row_sources)
    _check_kind(parsed, kind, files)
    conversations = parsed.conversations[: max_samples or None]
    number = _kept_words(work, files, len(conversations), len(parsed.conversations), kind.removesuffix("s"))
    dialogues = [
        replace(_with_suffix(conversation, prompt_suffix), source=source or conversation.source)
        for conversation in conversations
    ]
    return write_dialogues(work, dialogues, number, left_out=parsed.rejected)


def read_dialogues(artifacts: Sequence[Dialogues]) -> list[Conversation]:
    """The conversations of all `artifacts`, those of each after those of the one before."""
    return list(chain.from_iterable(read_conversations(artifact.path) for artifact in artifacts))


def read_rankings(artifacts: Sequence[Preferences], balanced_sources: Sequence[str] = ()) -> list[Preference]:
    """The ranked answers of all `artifacts`, those of each after those of the one before. Raises DataError where none
    is of one of `balanced_sources`: balanced with nothing, the others would all be left out."""
    rankings = list(chain.from_iterable(read_preferences(artifact.path) for artifact in artifacts))
    sources = {ranking.prompt.source for ranking in rankings}
    for name in balanced_sources:
        if name not in sources:
            raise DataError(
                f"balanced_sources names {name!r}, of which there is no preference{did_you_mean(name, sources)}"
            )
    return rankings


def write_dialogues(
    work: Work, dialogues: Sequence[Conversation], headline: str, *, left_out: Mapping[str, int] | None = None
) -> Dialogues:
    """The dialogues as what a stage makes, with how many there are of which source. left_out: those that are not, by
    reason."""
    write_conversations(work.out, dialogues)
    sources = Counter(dialogue.source for dialogue in dialogues)
    work.record(DialogueCount(len(dialogues), dict(sources), dict(left_out or {})))
    work.headline = headline
    return Dialogues(work.out)


@stage(paper="4.2.1", version=4)
def load_preferences(
    work: Work,
    tests: Dialogues | None = None,
    *,
    files: tuple[InputFile, ...],
    max_samples: NonNegativeInt = 0,
    split: AddedLater[RowSplit] = "train",
    sources: AddedLater[tuple[str, ...]] = (),
    row_sources: AddedLater[bool] = False,
) -> Preferences:
    """Ranked answers in any columns that `herd show --mask` reads, `herd compare`'s among them. max_samples: how many
    of the first are kept, with a warning where there are more; all when 0. split, sources, row_sources: as of
    dialogues. tests: what rows must not hold; those that do are left out and counted. Raises as `load_dialogues`."""
    parsed = _read(files, tests, split, "preferences", sources, row_sources)
    _check_kind(parsed, "preferences", files)
    preferences = parsed.preferences[: max_samples or None]
    write_preferences(work.out, preferences)
    strengths: Counter[str] = Counter(preference.strength for preference in preferences)
    left_out = dict(parsed.rejected + parsed.unpaired)
    work.record(PreferenceCount(len(preferences), left_out=left_out, strengths=dict(strengths)))
    work.headline = _kept_words(work, files, len(preferences), len(parsed.preferences), "preference")
    return Preferences(work.out)


def _with_suffix(conversation: Conversation, suffix: str) -> Conversation:
    last = max((number for number, message in enumerate(conversation.messages) if message.role == "user"), default=None)
    if not suffix or last is None:
        return conversation
    question = replace(conversation.messages[last], content=conversation.messages[last].content + suffix)
    return replace(conversation, messages=(*conversation.messages[:last], question, *conversation.messages[last + 1 :]))


def check_first_rows(places: Sequence[str], kind: RowKind, split: RowSplit = "train") -> None:
    """Raises DataError where files hold no row that can be used as `kind`, as reading them would, and before anything
    runs: reads each up to its first row that can be. Addresses are left to the run."""
    parsed, found = ParsedRows(), not places
    for place in map(input_place, places):
        if is_address(place):
            found = True
            continue
        files = [] if _is_artifact(place) else split_files(place, split)
        if any(_has_row(file, kind) for file in files):
            found = True
        else:
            parsed.add(load_rows(place, split, kind))
    if not found:
        _check_kind(parsed, kind, places)


def _is_artifact(place: str) -> bool:
    return any((Path(place) / name).exists() for name in ("dialogues.jsonl", "preferences.jsonl"))


def _has_row(file: str, kind: RowKind) -> bool:
    """Whether one of the first thousand rows can be used as `kind`."""
    for number, row in islice(iter_rows(file), _FIRST_ROWS):
        try:
            if isinstance(row, RowError):
                continue
            read = parse_row(row, str(number), kind)
        except RowError:
            continue
        # Of two rated answers a pair is made only when all rows are read.
        if kind == "rows" or isinstance(read, Preference) == (kind == "preferences") or "helpfulness" in row:
            return True
    return False


def _check_kind(parsed: ParsedRows, kind: RowKind, files: Sequence[InputFile]) -> None:
    """Raises DataError where there is no row of the kind."""
    if kind == "preferences" and not parsed.preferences:
        raise DataError(f"{_file_names(files)}: no preferences, only conversations; bring those as dialogues")
    if kind == "dialogues" and not parsed.conversations:
        raise DataError(f"{_file_names(files)}: no conversations, only preferences; bring those as preferences")


def load_named_rows(
    places: Sequence[str], sources: Sequence[str] = (), *, row_sources: bool = False, split: RowSplit = "train",
    kind: RowKind = "rows",
) -> ParsedRows:  # fmt: skip
    """The rows of all places together. sources: what those of each are called, in the place of what they say; with
    `row_sources` only of those that say nothing. split, kind: as of `load_rows`. Raises SettingsError for another
    number of sources than places."""
    if sources and len(sources) != len(places):
        raise SettingsError(f"sources names {len(sources)} for {len(places)} files; name one for each, or none")
    merged = ParsedRows()
    for place, source in zip(places, sources or [""] * len(places), strict=True):
        merged.add(load_rows(place, split, kind).with_source(source, row_sources=row_sources))
    return merged


def _read(
    files: Sequence[InputFile], tests: Dialogues | None, split: RowSplit, kind: RowKind, sources: Sequence[str],
    row_sources: bool,
) -> ParsedRows:  # fmt: skip
    """The rows of all files together; what is left out is counted by reason."""
    merged = load_named_rows(list(map(input_place, files)), sources, row_sources=row_sources, split=split, kind=kind)
    if tests is not None:
        drop_contaminated(merged, HeldOutQuestions(list(read_conversations(tests.path))))
        if not merged.conversations and not merged.preferences:
            raise DataError(f"{_file_names(files)}: every row holds a question of the tests; bring rows that are apart")
    return merged


def _kept_words(work: Work, files: Sequence[InputFile], kept: int, total: int, noun: str) -> str:
    """How many rows are kept, for a headline; warns where these are not all."""
    if kept == total:
        return count_of(kept, noun)
    work.warn(f"{_file_names(files)}: max_samples keeps the first {kept:,} of {total:,} rows; 0 keeps all")
    return f"{kept:,} of {count_of(total, noun)}"


def _file_names(files: Sequence[InputFile]) -> str:
    return ", ".join(input_place(file).rstrip("/").rpartition("/")[2] for file in files)
