"""Models, conversations and preferences of a user's own."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from herd.align.columns import Given, read_rows
from herd.align.contamination import HeldOut, without
from herd.align.results import DialogueCount, ImportedModel, PreferenceCount
from herd.core.artifacts import Checkpoint, Dialogues, Preferences
from herd.core.errors import ArtifactError, DataError
from herd.core.layout import TEXT_FILES, TOKENIZER_FILES, WEIGHT_FILES, files_in
from herd.core.manifests import check_files
from herd.core.records import Conversation
from herd.core.settings import Count, InputFile, input_path
from herd.core.stage import Work, stage
from herd.core.storage import read_conversations, write_conversations, write_preferences
from herd.model.adapters import copy_adapters, is_adapter
from herd.model.config import shape_in
from herd.tokens.jinja import with_chat_template
from herd.tokens.tokenizer import TextTokenizer
from herd.train.checkpoint import ABOUT, OPTIMIZER, TRAINING, write_text_side, write_token_ids
from herd.train.log import METRICS


@stage(paper="4.1", version=2)
def bring_model(
    work: Work, *, folder: InputFile, chat_template: Literal["", "llama3", "chatml"] | InputFile = ""
) -> Checkpoint:
    """A model in Hugging Face's layout, as `herd import` writes it, for stages to go on from.

    chat_template: for a model that brings none; a packaged one or a Jinja file. Raises ArtifactError where it is no
    model, or is not whole, or has not the template's control tokens.
    """
    place = input_path(folder)
    if not place.is_dir():
        raise ArtifactError(f"{place} is no folder; name one in Hugging Face's layout, or `herd import` the file first")
    shape, text = shape_in(place), TextTokenizer.load(place)
    copied(place, work.out)
    if chat_template:
        text = with_chat_template(text, str(input_path(chat_template)))
        for file in files_in(work.out, *TOKENIZER_FILES):  # those of the old template would be read before ours
            file.unlink()
        write_token_ids(work.out, text)
        write_text_side(work.out, text, context=shape.context, kind="base")
    work.record(ImportedModel(shape.weights, vocab_size=text.size, context=shape.context))
    work.headline = f"{shape.weights:,} weights, {text.size:,} tokens, reads {shape.context:,} at once"
    return Checkpoint(work.out)


def copied(model: Path, folder: Path) -> None:
    """A model's files in `folder`, those that the format has and what training further needs.

    Raises ArtifactError where one is damaged, or a link that leads out of the folder.
    """
    wanted = (*TEXT_FILES, *WEIGHT_FILES, ABOUT, OPTIMIZER, f"{TRAINING}/*", METRICS)
    check_files(model, *wanted)
    if is_adapter(model):
        copy_adapters(model, folder)
    for file in files_in(model, *wanted):
        target = folder / file.relative_to(model)
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(file, target)


@stage(paper="4.2.2", version=3)
def bring_dialogues(
    work: Work,
    tests: Dialogues | None = None,
    *,
    files: tuple[InputFile, ...],
    source: str = "",
    most: Count = 0,
    added: str = "",
) -> Dialogues:
    """Conversations in any columns that `herd show --mask` reads. source: what theirs is called; as rows say when
    absent. most: how many of the first are kept; all when 0. added: to the last thing the user says, such as the form
    an answer shall have. tests: what rows must not hold; those that do are left out and counted. Raises DataError when
    there is none."""
    given = _read(files, tests)
    if not given.conversations:
        raise DataError(f"{_named(files)}: no conversations, only preferences; bring those as preferences")
    kept = given.conversations[: most or None]
    found = [replace(_asking(one, added), source=source or one.source) for one in kept]
    return written(work, found, f"{len(found):,} dialogues", left_out=given.rejected)


def written(
    work: Work, dialogues: Sequence[Conversation], headline: str, *, left_out: Mapping[str, int] | None = None
) -> Dialogues:
    """The dialogues as what a stage makes, with how many there are of which source. left_out: those that are not, by
    reason."""
    write_conversations(work.out, dialogues)
    sources = Counter(one.source for one in dialogues)
    work.record(DialogueCount(len(dialogues), dict(sources), dict(left_out or {})))
    work.headline = headline
    return Dialogues(work.out)


@stage(paper="4.2.1", version=3)
def bring_preferences(
    work: Work, tests: Dialogues | None = None, *, files: tuple[InputFile, ...], most: Count = 0
) -> Preferences:
    """Ranked answers in any columns that `herd show --mask` reads, `herd compare`'s among them. most: how many of the
    first are kept; all when 0. tests: what rows must not hold; those that do are left out and counted. Raises
    DataError when there is none."""
    given = _read(files, tests)
    if not given.preferences:
        raise DataError(f"{_named(files)}: no preferences, only conversations; bring those as dialogues")
    kept = given.preferences[: most or None]
    write_preferences(work.out, kept)
    strengths: Counter[str] = Counter(one.strength for one in kept)
    work.record(PreferenceCount(len(kept), left_out=dict(given.rejected), strengths=dict(strengths)))
    work.headline = f"{len(kept):,} preferences"
    return Preferences(work.out)


def _asking(one: Conversation, added: str) -> Conversation:
    last = max((number for number, message in enumerate(one.messages) if message.role == "user"), default=None)
    if not added or last is None:
        return one
    asked = replace(one.messages[last], content=one.messages[last].content + added)
    return replace(one, messages=(*one.messages[:last], asked, *one.messages[last + 1 :]))


def _read(files: Sequence[InputFile], tests: Dialogues | None) -> Given:
    """The rows of all files together; what is left out is counted by reason."""
    whole = Given()
    for file in files:
        given = read_rows(input_path(file))
        whole.conversations += given.conversations
        whole.preferences += given.preferences
        whole.rejected += given.rejected
    if tests is not None:
        without(whole, HeldOut(list(read_conversations(tests.path))))
        if not whole.conversations and not whole.preferences:
            raise DataError(f"{_named(files)}: every row holds a question of the tests; bring rows that are apart")
    return whole


def _named(files: Sequence[InputFile]) -> str:
    return ", ".join(input_path(file).name for file in files)
