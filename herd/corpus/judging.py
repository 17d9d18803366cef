"""Rules applied to a batch of documents: measured, judged, rewritten, measured again where that is needed."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from herd.core.errors import ArtifactError, SettingsError
from herd.core.manifests import check_files
from herd.core.registry import PluginConfig
from herd.corpus.filters import Drops, filters
from herd.corpus.kernels import pack_texts
from herd.corpus.language import READ_CHARACTERS, Languages, detect_languages
from herd.corpus.reasons import drop_reasons, stats_of_rows
from herd.corpus.rewrites import rewrites
from herd.corpus.stats import EDIT_STATS, STAT_NAMES, Stats, compute_stats

if TYPE_CHECKING:
    import pyarrow as arrow


@dataclass
class RuleResults:
    """What rules found about a batch. texts: as the last rewriting left them. step: of each document the first
    rule that dropped it, empty for those kept; reasons: why, likewise. stats: of every state of the texts, the first
    one first. alone: how many documents each rule drops when it is the only one. metrics: what rewriting counted."""

    texts: arrow.LargeStringArray
    step: NDArray[np.object_]
    stats: list[Stats]
    languages: Languages
    reasons: NDArray[np.object_]
    alone: Counter[str] = field(default_factory=Counter)
    metrics: Counter[str] = field(default_factory=Counter)


def parse_rule(value: object) -> PluginConfig:
    """A rule by its name, be it one that drops or one that rewrites."""
    if isinstance(value, PluginConfig):
        return value
    name = next(iter(value)) if isinstance(value, dict) and len(value) == 1 else value
    rewriting = isinstance(name, str) and name in rewrites.all()
    if rewriting and name in filters.all():
        raise SettingsError(f"a filter and a rewriting rule are both called {name!r}; rename one of them")
    return (rewrites if rewriting else filters).parse(value)


ByLanguage = Mapping[str, Sequence[PluginConfig]]
NO_LANGUAGE: ByLanguage = {}


def drops_of(rule: PluginConfig, stats: Stats, by_language: ByLanguage) -> Drops:
    """What a rule drops, with other settings for documents in languages that name it."""
    drops = filters.make(rule)(stats)
    for language, overrides in by_language.items():
        for override in overrides:
            if override.name == rule.name:
                drops = np.where(stats.language == language, filters.make(override)(stats), drops)
    return drops


def apply_rules(
    texts: arrow.LargeStringArray, rules: Sequence[PluginConfig], by_language: ByLanguage = NO_LANGUAGE
) -> RuleResults:
    """Every rule on every document, in order. A document stays under the first rule that drops it.

    Documents that one rule has dropped are still seen by the others: so the funnel can say what each rule
    would do alone, and thresholds can be tried without reading the text again.
    """
    packed = pack_texts(texts)
    languages = detect_languages(packed.heads(4 * READ_CHARACTERS))
    stats = [compute_stats(packed, languages)]
    step, reasons = (np.full(len(texts), "", dtype=object) for _ in range(2))
    results = RuleResults(texts, step, stats, languages, reasons)
    edits = np.zeros((len(texts), len(EDIT_STATS)))
    stale = False
    for rule in rules:
        if rule.kind == rewrites.kind:
            rewritten = rewrites.make(rule)(packed)
            results.texts, packed = rewritten.texts, pack_texts(rewritten.texts)
            edits = edits if rewritten.edits is None else _combine_edits(edits, rewritten.edits)
            results.metrics.update(rewritten.metrics or {})
            stale = True
            continue
        if stale:
            stats.append(compute_stats(packed, languages, edits))
            stale = False
        drops = drops_of(rule, stats[-1], by_language)
        results.alone[rule.name] += int(drops.sum())
        first = np.flatnonzero(drops & (results.step == ""))
        results.step[first] = rule.name
        if len(first):
            results.reasons[first] = drop_reasons(rule, stats_of_rows(stats[-1], first), by_language)
    if stale:
        stats.append(compute_stats(packed, languages, edits))
    return results


def _combine_edits(before: NDArray[np.float64], after: NDArray[np.float64]) -> NDArray[np.float64]:
    """What two rules took out: sums, but for what came into the first and what the second left."""
    combined = before + after
    words_in, replaced = (
        EDIT_STATS.index("words_in"),
        [EDIT_STATS.index("words_out"), EDIT_STATS.index("line_sentences")],
    )
    had_edits = before[:, words_in] > 0
    combined[had_edits, words_in] = before[had_edits, words_in]
    combined[:, EDIT_STATS.index("lines_in")] = np.where(
        had_edits, before[:, EDIT_STATS.index("lines_in")], after[:, 0]
    )
    combined[:, replaced] = after[:, replaced]
    return combined


def sweep_thresholds(
    corpus: Path, rules: Mapping[str, Sequence[PluginConfig]], by_language: ByLanguage = NO_LANGUAGE
) -> Iterator[tuple[str, dict[str, int]]]:
    """What other thresholds would drop, by rule: documents that come to it, those it drops, and those it would
    drop alone. No text is read: `corpus` was made with keep_stats, and its rewriting rules stay what they were.

    Rules before the first rewriting rule judge the first state of the texts, those after it the second, and so
    on. Raises ArtifactError when no statistics were kept.
    """
    states: dict[str, list[tuple[int, PluginConfig]]] = {}
    for source, source_rules in rules.items():
        state = 0
        for rule in source_rules:
            if rule.kind == rewrites.kind:
                state += 1
            else:
                states.setdefault(source, []).append((state, rule))
    order = list(dict.fromkeys(rule.name for _, rule in itertools.chain.from_iterable(states.values())))
    dropped, alone, total = Counter[str](), Counter[str](), 0
    for source, stats in _read_stats(corpus, states):
        total += len(stats[0])
        already_dropped = np.zeros(len(stats[0]), np.bool_)
        for state, rule in states.get(source, states.get("default", [])):
            drops = drops_of(rule, stats[min(state, len(stats) - 1)], by_language)
            alone[rule.name] += int(drops.sum())
            dropped[rule.name] += int((drops & ~already_dropped).sum())
            already_dropped |= drops
    remaining = total
    for name in order:
        yield name, {"in": remaining, "dropped": dropped[name], "alone": alone[name]}
        remaining -= dropped[name]


def _read_stats(corpus: Path, named_sources: Collection[str]) -> Iterator[tuple[str, list[Stats]]]:
    """Source and statistics, state by state, of groups of documents; sources not `named_sources` are `default`
    together."""
    import pyarrow.parquet as parquet

    # `herd curate` leaves links to the artifact's folders.
    check_files((corpus / "stats").resolve().parent, "stats/*.parquet")
    files = sorted((corpus / "stats").glob("*.parquet"))
    if not files:
        raise ArtifactError(f"{corpus} keeps no statistics; curate it again with --set keep_stats=true")
    for file in files:
        for batch in parquet.ParquetFile(file).iter_batches(8192):
            source_names = [
                source if source in named_sources else "default" for source in batch.column("source").to_pylist()
            ]
            sources, counts = np.array(source_names), batch.column("states").to_numpy()
            values = batch.column("stats").values.flatten()
            numbers = {
                name: column.to_numpy(zero_copy_only=False).astype(np.float64)
                for name, column in zip(STAT_NAMES, values, strict=True)
            }
            starts = np.concatenate([[0], np.cumsum(counts)])[:-1]
            language = np.array(batch.column("language").to_pylist(), dtype=np.str_)
            for source in np.unique(sources).tolist():
                own = np.flatnonzero(sources == source)
                states = []
                for k in range(int(counts[own].min())):
                    rows = starts[own] + k
                    states.append(Stats.of({name: column[rows] for name, column in numbers.items()}, language[own]))
                yield source, states
