"""Conversations and preferences from a user's own files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from herd.align.columns import Given, read_rows
from herd.core.artifacts import Dialogues, Preferences
from herd.core.errors import DataError
from herd.core.records import Conversation
from herd.core.settings import InputFile, input_path
from herd.core.stage import Work, stage
from herd.core.storage import write_conversations, write_preferences


@stage(paper="4.2.2", version=1)
def bring_dialogues(work: Work, *, files: tuple[InputFile, ...], source: str = "") -> Dialogues:
    """Conversations in any columns that `herd show --mask` reads. source: what theirs is called; as rows say when
    absent. Raises DataError when there is none."""
    given = _read(work, files)
    if not given.conversations:
        raise DataError(f"{_named(files)}: no conversations, only preferences; bring those as preferences")
    found = [replace(one, source=source or one.source) for one in given.conversations]
    return written(work, found, f"{len(found):,} dialogues")


def written(work: Work, dialogues: Sequence[Conversation], headline: str) -> Dialogues:
    """The dialogues as what a stage makes, with how many there are of which source."""
    write_conversations(work.out, dialogues)
    work.figure("dialogues", len(dialogues))
    work.figure("sources", dict(Counter(one.source for one in dialogues)))
    work.figure("headline", headline)
    return Dialogues(work.out)


@stage(paper="4.2.1", version=1)
def bring_preferences(work: Work, *, files: tuple[InputFile, ...]) -> Preferences:
    """Ranked answers in any columns that `herd show --mask` reads, `herd compare`'s among them. Raises DataError when
    there is none."""
    given = _read(work, files)
    if not given.preferences:
        raise DataError(f"{_named(files)}: no preferences, only conversations; bring those as dialogues")
    write_preferences(work.out, given.preferences)
    work.figure("pairs", len(given.preferences))
    work.figure("strengths", dict(Counter(one.strength for one in given.preferences)))
    work.figure("headline", f"{len(given.preferences):,} preferences")
    return Preferences(work.out)


def _read(work: Work, files: Sequence[InputFile]) -> Given:
    """The rows of all files together; what is left out is counted by reason."""
    whole = Given()
    for file in files:
        given = read_rows(input_path(file))
        whole.conversations += given.conversations
        whole.preferences += given.preferences
        whole.rejected += given.rejected
    work.figure("left_out", dict(whole.rejected))
    return whole


def _named(files: Sequence[InputFile]) -> str:
    return ", ".join(input_path(file).name for file in files)
