"""What the recipes share that fine-tune a model on rows of a user's own."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal, TypeVar

from herd.align.columns import ParsedRows, RowKind, RowSplit, split_files
from herd.align.loading import check_first_rows, load_dialogues, load_named_rows, load_preferences
from herd.align.splitting import split_dialogues, split_preferences
from herd.core.addresses import is_address
from herd.core.artifacts import Checkpoint, Dialogues, Preferences, Scores, Tokens
from herd.core.errors import SettingsError
from herd.core.names import source_name
from herd.core.settings import InputFile, Share, input_place, settings
from herd.core.stage import with_label
from herd.corpus.settings import CurateSettings
from herd.corpus.sources import files
from herd.corpus.stages import curate
from herd.evals.stages import EvaluationSettings, evaluate_model
from herd.tokens.stages import pack
from herd.train.settings import FinetuneSettings

_RowsT = TypeVar("_RowsT", Dialogues, Preferences)
_TRAIN, _HELD_OUT = "rows to learn from", "held-out rows"
AT_LEAST = 8  # prompts that are held out of a small set: fewer say nothing
_MOST_OF_A_FOLDER = 8  # files that are sources of their own
# Files of rows; by the name of a source, which then counts in the place of what rows say.
RowFiles = tuple[str, ...] | dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class NamedFiles:
    """Files of rows, and for each what its rows are called. row_sources: only those that say nothing themselves."""

    files: tuple[str, ...]
    sources: tuple[str, ...]
    row_sources: bool

    @classmethod
    def of(cls, rows: RowFiles) -> NamedFiles:
        """Where no names are said the files': rows of `dolly.jsonl.gz` are `dolly`, and those of more than eight files
        of one folder are called as the folder."""
        if isinstance(rows, dict):
            pairs = [(place, name) for name, places in rows.items() for place in places]
            return cls(tuple(place for place, _ in pairs), tuple(name for _, name in pairs), row_sources=False)
        folders = Counter(str(PurePath(place).parent) for place in rows)
        names = [
            source_name(folder if folders[folder] > _MOST_OF_A_FOLDER and not is_address(place) else place)
            for place, folder in ((place, str(PurePath(place).parent)) for place in rows)
        ]
        return cls(rows, tuple(names), row_sources=True)

    def read(self, kind: RowKind, split: RowSplit = "train") -> ParsedRows:
        """The rows as a run reads them. Raises DataError as `load_rows`."""
        places = list(map(input_place, self.files))
        return load_named_rows(places, self.sources, row_sources=self.row_sources, split=split, kind=kind)


@settings
class OwnRowsSettings:
    """model: a folder in Hugging Face's layout, as `herd import` makes it, or of a model that herd made. chat_template:
    for a model that brings none. held_out: files of rows that are never learnt, as a list or by the name of their
    source; without any `held_out_share` of the prompts. tests: files of rows whose questions no row may hold; those
    that do are left out. Of a folder with splits rows to learn from are those of `train`, held-out ones and tests those
    of the others. measure: what the model can do before and after."""

    title: str
    model: str
    chat_template: Literal["", "llama3", "chatml"] | InputFile = ""
    held_out: RowFiles = ()
    held_out_share: Share = 0.1
    tests: tuple[str, ...] = ()
    measure: EvaluationSettings = EvaluationSettings(tasks=())

    def require(self, recipe: str, *names: str) -> None:
        """Raises SettingsError for what has to be named and is not."""
        for name in names:
            if not getattr(self, name):
                raise SettingsError(f"{name} is not said; write a YAML file with `recipe: {recipe}` and your {name}")

    def check_held_out(self, training: FinetuneSettings) -> None:
        """Raises SettingsError for settings that need held-out rows where there are none."""
        if training.early_stop and not self.held_out and not self.held_out_share:
            raise SettingsError(
                "early_stop keeps the best epoch on held-out rows; set held_out_share above 0, name `held_out`, or "
                "leave early_stop out"
            )

    def dialogues_of(self, rows: RowFiles) -> tuple[Dialogues, Dialogues | None]:
        """Dialogues to learn from, and those that are held out, None where none shall be; planned. rows: by the names
        of their sources, or a list of files, of which rows that name no source are called as their file."""
        return self._divided(rows, "dialogues", load_dialogues, split_dialogues)

    def preferences_of(self, rows: RowFiles) -> tuple[Preferences, Preferences | None]:
        """As `dialogues_of`, of ranked answers."""
        return self._divided(rows, "preferences", load_preferences, split_preferences)

    def _divided(
        self, rows: RowFiles, kind: RowKind, load: Callable[..., _RowsT], split: Callable[..., _RowsT]
    ) -> tuple[_RowsT, _RowsT | None]:
        """load, split: the stages of this kind of rows."""
        tests, named = self._tests(), NamedFiles.of(rows)
        all_rows = _load(load, tests, named)
        check_first_rows(named.files, kind)
        if self.held_out:
            named_held_out = NamedFiles.of(self.held_out)
            apart = _load(load, tests, named_held_out, split="test")
            check_first_rows(named_held_out.files, kind, "test")
            _check_apart(named.files, named_held_out.files)
            train = split(all_rows, apart, part="train")
        elif self.held_out_share:
            train, apart = (
                split(all_rows, part=part, held_out_share=self.held_out_share, at_least=AT_LEAST)
                for part in ("train", "held_out")
            )
        else:
            return all_rows, None
        return with_label(train, _TRAIN), with_label(apart, _HELD_OUT)

    def _tests(self) -> Dialogues | None:
        return load_dialogues(files=self.tests, source="tests", split="test") if self.tests else None

    def before_and_after(self, start: Checkpoint, end: Checkpoint, tokens: Tokens | None = None) -> tuple[Scores, ...]:
        """What both models can do, planned; nothing where nothing is to be measured. tokens: for losses on text."""
        if not self.measure.tasks and tokens is None:
            return ()
        models = {"before": start, "after": end}
        return tuple(
            evaluate_model(model, tokens, label=label, settings=self.measure) for label, model in models.items()
        )


def _load(load: Callable[..., _RowsT], tests: Dialogues | None, named: NamedFiles, split: RowSplit = "train") -> _RowsT:
    return load(tests, files=named.files, sources=named.sources, row_sources=named.row_sources, split=split)


def _check_apart(rows: tuple[str, ...], held_out: tuple[str, ...]) -> None:
    """Raises SettingsError where every file of rows is held out too, so that none would be learnt. Where some are,
    their prompts are left out."""
    apart = {file for place in held_out for file in _real_files(place, "test")}
    if all(file in apart for place in rows for file in _real_files(place, "train")):
        raise SettingsError(
            f"{', '.join(rows)}: the rows to learn from are all named as held_out too, so that none would be learnt; "
            "name other rows as held_out, or none: then held_out_share of the prompts are held out"
        )


def _real_files(place: str, split: RowSplit) -> list[str]:
    """The files of rows at a place, wherever links lead; an address as it is."""
    place = input_place(place)
    return [place] if is_address(place) else [os.path.realpath(file) for file in split_files(place, split)]


def ready_text(texts: dict[str, tuple[str, ...]], model: Checkpoint, *, held_out_share: float) -> Tokens | None:
    """Files of text by the name of their source, as they are, packed for `model`; None where there are none."""
    if not texts:
        return None
    crawls = tuple(files(*patterns, source=source) for source, patterns in texts.items())
    corpus = curate(crawls, settings=CurateSettings(rules={"default": ()}))
    return pack(corpus, model, held_out_share=held_out_share)
