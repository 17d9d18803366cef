"""What decides what stays: the settings of curation, written down in YAML, and those that come along."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from herd.core.errors import SettingsError, did_you_mean
from herd.core.recipe import parse_override
from herd.core.registry import PluginConfig
from herd.core.settings import (
    InputFile,
    PluginSchema,
    PositiveInt,
    build,
    input_path,
    merge_settings,
    or_name,
    read_yaml,
    settings,
)
from herd.corpus.dedup import dedups
from herd.corpus.extract import ExtractSettings
from herd.corpus.filters import filters
from herd.corpus.judging import parse_rule
from herd.corpus.pages import PAGE_BYTES
from herd.corpus.urls import UrlRules

_RULES_FOLDER = Path(__file__).parent / "rules"

Rule = Annotated[PluginConfig, PluginSchema(parse_rule, PluginConfig.to_row)]
Filter = Annotated[PluginConfig, filters.choice]
Dedup = Annotated[PluginConfig, dedups.choice]


@settings
class CurateSettings:
    """Which rules judge which source, and how copies are found.

    rules: filters and rewriting rules in order, by source; `default` is for sources not named. languages: filters
    with other settings for documents in a language, in the place of those of the same name among the rules. dedup:
    steps over all sources together, in order. dirty_words: files with a word or phrase a line, for the rule of that
    name. broken_files: whether a table or stream that breaks off stops the run or counts up to the break;
    archives are always read on at their next record. keep_stats: whether the statistics of all documents, the
    dropped ones too, are kept, so that thresholds can be tried without reading text again. max_text_bytes: a longer
    text is a reject; every step's work grows with the length and with nothing else, so that this bounds the time of
    all. shard_bytes: of input that one worker takes at once.
    """

    rules: dict[str, tuple[Rule, ...]]
    languages: dict[str, tuple[Filter, ...]] = field(default_factory=dict)
    dedup: tuple[Dedup, ...] = ()
    extract: ExtractSettings = ExtractSettings()
    urls: UrlRules = UrlRules()
    dirty_words: tuple[InputFile, ...] = ()
    broken_files: Literal["stop", "keep"] = "keep"
    keep_stats: bool = False
    max_text_bytes: PositiveInt = PAGE_BYTES
    shard_bytes: PositiveInt = 16_000_000

    def rules_for(self, source: str) -> tuple[PluginConfig, ...]:
        return self.rules.get(self.rules_key(source), ())

    def rules_key(self, source: str) -> str:
        """Under which name the rules for a source stand."""
        return source if source in self.rules else "default"


@cache
def read_phrases(files: tuple[str, ...]) -> tuple[str, ...]:
    """The words and phrases of these files, one a line."""
    texts = [input_path(file).read_text(encoding="utf-8") for file in files]
    lines = [line.strip() for line in "\n".join(texts).splitlines()]
    return tuple(line for line in lines if line)


def packaged_rules() -> list[str]:
    """The packaged rules."""
    return sorted(file.stem for file in _RULES_FOLDER.glob("*.yaml"))


def load_rules(reference: str, overrides: Sequence[str] = ()) -> CurateSettings:
    """The settings of a packaged name or a YAML file, with `--set` values laid over them.

    Raises SettingsError with file, line and the nearest valid name.
    """
    path = Path(reference)
    if path.suffix not in (".yaml", ".yml"):
        if reference not in packaged_rules():
            available = ", ".join(packaged_rules())
            hint = did_you_mean(reference, packaged_rules())
            raise SettingsError(f"rules {reference!r}: neither a .yaml file nor one of {available}{hint}")
        path = _RULES_FOLDER / f"{reference}.yaml"
    values, lines = read_yaml(path)
    for text in overrides:
        values = merge_settings(values, parse_override(text), CurateSettings)
    return build(CurateSettings, values, where=f"{path} with --set" if overrides else str(path), lines=lines)


# Settings of curation in a recipe: their numbers, or packaged rules or a YAML file by name.
CurateOrName = Annotated[CurateSettings, or_name(load_rules)]
