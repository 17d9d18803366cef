"""What a recipe plans with until its files are named: text, a vocabulary and rows of which only the size is known."""

from __future__ import annotations

import re
from collections.abc import Sequence

from herd.core.artifacts import Crawl, Dialogues, Preferences, Tokenizer
from herd.core.errors import DataError, SettingsError
from herd.core.settings import PositiveInt
from herd.core.stage import Plan, Work, stage

_NUMBERED = re.compile(r"\.\d+\..*")


@stage(paper="3.1", version=1, stand_in=True)
def declared_text(work: Work, *, source: str, tokens: PositiveInt) -> Crawl:
    """Text of a source of which only the tokens are known. Raises DataError: it can be planned with, and not read."""
    raise _missing(f"files.{source}")


@stage(paper="3.2", version=1, stand_in=True)
def declared_tokenizer(work: Work, *, vocab_size: PositiveInt, file: str) -> Tokenizer:
    """A vocabulary of so many base tokens, the result of a file that is not there. Raises DataError."""
    raise _missing(f"tokenizer.file {file}")


@stage(paper="4.2", version=1, stand_in=True)
def declared_dialogues(work: Work, *, setting: str) -> Dialogues:
    """Rows of dialogues that nobody named. setting: which would name them. Raises DataError."""
    raise _missing(setting)


@stage(paper="4.2.1", version=1, stand_in=True)
def declared_preferences(work: Work, *, setting: str) -> Preferences:
    """Ranked answers that nobody named. setting: which would name them. Raises DataError."""
    raise _missing(setting)


def _missing(setting: str) -> DataError:
    return DataError(f"{setting} is only declared and not there; name a file")


def declared_settings(plans: Sequence[Plan]) -> list[str]:
    """The settings that would name what plans stand in for, each once; a list's as a whole."""
    names = []
    for plan in plans:
        if plan.stage.stand_in:
            row = plan.settings
            name = row.get("setting") or (f"files.{row['source']}" if "source" in row else "tokenizer.file")
            names.append(_NUMBERED.sub("", name))
    return list(dict.fromkeys(names))


def check_declared(plans: Sequence[Plan]) -> None:
    """Raises SettingsError, which names what is missing, where some of it only stands in for files."""
    missing = declared_settings(plans)
    if missing:
        raise SettingsError(
            f"{', '.join(missing)}: only declared, so that this recipe can be planned and not run; name your files in "
            "a YAML file with its name as `recipe:`, or by --set, such as --set 'files={general: [pages.warc.gz]}'"
        )
