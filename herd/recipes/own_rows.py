"""What the recipes share that fine-tune a model on rows of a user's own."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Literal, TypeVar

from herd.align.columns import RowKind, RowSplit, split_files
from herd.align.loading import check_first_rows, load_dialogues, load_preferences
from herd.align.splitting import split_dialogues, split_preferences
from herd.core.addresses import is_address
from herd.core.artifacts import Checkpoint, Dialogues, Preferences, Scores, Tokens
from herd.core.errors import SettingsError
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


@settings
class OwnRowsSettings:
    """model: a folder in Hugging Face's layout, as `herd import` makes it, or of a model that herd made. chat_template:
    for a model that brings none. held_out: files of rows that are never learnt; without any `held_out_share` of the
    prompts. tests: files of rows whose questions no row may hold; those that do are left out. Of a folder with splits
    rows to learn from are those of `train`, held-out ones and tests those of the others. measure: what the model can do
    before and after."""

    title: str
    model: str
    chat_template: Literal["", "llama3", "chatml"] | InputFile = ""
    held_out: tuple[str, ...] = ()
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

    def dialogues_of(self, rows: tuple[str, ...]) -> tuple[Dialogues, Dialogues | None]:
        """Dialogues to learn from, and those that are held out, None where none shall be; planned."""
        return self._divided(rows, "dialogues", load_dialogues, split_dialogues)

    def preferences_of(self, rows: tuple[str, ...]) -> tuple[Preferences, Preferences | None]:
        """As `dialogues_of`, of ranked answers."""
        return self._divided(rows, "preferences", load_preferences, split_preferences)

    def _divided(
        self, rows: tuple[str, ...], kind: RowKind, load: Callable[..., _RowsT], split: Callable[..., _RowsT]
    ) -> tuple[_RowsT, _RowsT | None]:
        """load, split: the stages of this kind of rows."""
        tests = self._tests()
        all_rows = load(tests, files=rows)
        check_first_rows(rows, kind)
        if self.held_out:
            apart = load(tests, files=self.held_out, split="test")
            check_first_rows(self.held_out, kind, "test")
            _check_apart(rows, self.held_out)
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


def _check_apart(rows: tuple[str, ...], held_out: tuple[str, ...]) -> None:
    """Raises SettingsError where a file is both learnt and held out: every row of it would be held out, and none
    learnt."""
    apart = {file: place for place in held_out for file in _real_files(place, "test")}
    for place in rows:
        for file in _real_files(place, "train"):
            if file in apart:
                raise SettingsError(
                    f"{place} is named as rows to learn from, and {apart[file]} as held out, and both are of one file; "
                    "name other rows as held_out, or leave it out: then held_out_share of the prompts are held out"
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
