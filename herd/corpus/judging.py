"""Rules applied to a batch of documents: measured, judged, rewritten, measured again where that is needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from herd.core.errors import ArtifactError, SettingsError
from herd.core.manifests import check_files
from herd.core.registry import Use
from herd.corpus.filters import Drops, filters
from herd.corpus.kernels import pack
from herd.corpus.language import READ_CHARACTERS, Languages, recognise
from herd.corpus.rewrites import rewrites
from herd.corpus.stats import EDITED, NUMBERS, Stats, measure

if TYPE_CHECKING:
    import pyarrow as arrow


@dataclass
class Judged:
    """What rules found about a batch. texts: as the last rewriting left them. step: of each document the first
    rule that dropped it, empty for those kept. stats: of every state of the texts, the first one first.
    alone: how many documents each rule drops when it is the only one. figures: what rewriting counted."""

    texts: arrow.LargeStringArray
    step: NDArray[np.object_]
    stats: list[Stats]
    languages: Languages
    alone: Counter[str] = field(default_factory=Counter)
    figures: Counter[str] = field(default_factory=Counter)


def parse_rule(value: object) -> Use:
    """A rule by its name, be it one that drops or one that rewrites."""
    if isinstance(value, Use):
        return value
    name = next(iter(value)) if isinstance(value, dict) and len(value) == 1 else value
    rewriting = isinstance(name, str) and name in rewrites.all()
    if rewriting and name in filters.all():
        raise SettingsError(f"a filter and a rewriting rule are both called {name!r}; rename one of them")
    return (rewrites if rewriting else filters).parse(value)


ByLanguage = Mapping[str, Sequence[Use]]
NO_LANGUAGE: ByLanguage = {}


def drops_of(rule: Use, stats: Stats, by_language: ByLanguage) -> Drops:
    """What a rule drops, with other settings for documents in languages that name it."""
    drops = filters.make(rule)(stats)
    for language, others in by_language.items():
        for other in others:
            if other.name == rule.name:
                drops = np.where(stats.language == language, filters.make(other)(stats), drops)
    return drops


def judge(texts: arrow.LargeStringArray, rules: Sequence[Use], by_language: ByLanguage = NO_LANGUAGE) -> Judged:
    """Every rule on every document, in order. A document stays under the first rule that drops it.

    Documents that one rule has dropped are still seen by the others: so the funnel can say what each rule
    would do alone, and thresholds can be tried without reading the text again.
    """
    packed = pack(texts)
    languages = recognise(packed.heads(4 * READ_CHARACTERS))
    stats = [measure(packed, languages)]
    found = Judged(texts, np.full(len(texts), "", dtype=object), stats, languages)
    edits = np.zeros((len(texts), len(EDITED)))
    stale = False
    for rule in rules:
        if rule.kind == rewrites.kind:
            rewritten = rewrites.make(rule)(packed)
            found.texts, packed = rewritten.texts, pack(rewritten.texts)
            edits = edits if rewritten.edits is None else _together(edits, rewritten.edits)
            found.figures.update(rewritten.figures or {})
            stale = True
            continue
        if stale:
            stats.append(measure(packed, languages, edits))
            stale = False
        drops = drops_of(rule, stats[-1], by_language)
        found.alone[rule.name] += int(drops.sum())
        found.step[drops & (found.step == "")] = rule.name
    if stale:
        stats.append(measure(packed, languages, edits))
    return found


def _together(before: NDArray[np.float64], after: NDArray[np.float64]) -> NDArray[np.float64]:
    """What two rules took out: sums, but for what came into the first and what the second left."""
    both = before + after
    came, left = EDITED.index("words_in"), [EDITED.index("words_out"), EDITED.index("line_sentences")]
    was = before[:, came] > 0
    both[was, came] = before[was, came]
    both[:, EDITED.index("lines_in")] = np.where(was, before[:, EDITED.index("lines_in")], after[:, 0])
    both[:, left] = after[:, left]
    return both


def retune(
    corpus: Path, rules: Mapping[str, Sequence[Use]], by_language: ByLanguage = NO_LANGUAGE
) -> Iterator[tuple[str, dict[str, int]]]:
    """What other thresholds would drop, by rule: documents that come to it, those it drops, and those it would
    drop alone. No text is read: `corpus` was made with keep_stats, and its rewriting rules stay what they were.

    Rules before the first rewriting rule judge the first state of the texts, those after it the second, and so
    on. Raises ArtifactError when no statistics were kept.
    """
    states: dict[str, list[tuple[int, Use]]] = {}
    for source, listed in rules.items():
        state = 0
        for rule in listed:
            if rule.kind == rewrites.kind:
                state += 1
            else:
                states.setdefault(source, []).append((state, rule))
    order = list(dict.fromkeys(rule.name for listed in states.values() for _, rule in listed))
    dropped, alone, total = Counter[str](), Counter[str](), 0
    for source, stats in _kept_stats(corpus, states):
        total += len(stats[0])
        gone = np.zeros(len(stats[0]), np.bool_)
        for state, rule in states.get(source, states.get("default", [])):
            drops = drops_of(rule, stats[min(state, len(stats) - 1)], by_language)
            alone[rule.name] += int(drops.sum())
            dropped[rule.name] += int((drops & ~gone).sum())
            gone |= drops
    left = total
    for name in order:
        yield name, {"in": left, "dropped": dropped[name], "alone": alone[name]}
        left -= dropped[name]


def _kept_stats(corpus: Path, named: Collection[str]) -> Iterator[tuple[str, list[Stats]]]:
    """Source and statistics, state by state, of groups of documents; sources not `named` are `default` together."""
    import pyarrow.parquet as parquet

    # `herd curate` leaves links to the artifact's folders.
    check_files((corpus / "stats").resolve().parent, "stats/*.parquet")
    files = sorted((corpus / "stats").glob("*.parquet"))
    if not files:
        raise ArtifactError(f"{corpus} keeps no statistics; curate it again with --set keep_stats=true")
    for file in files:
        for batch in parquet.ParquetFile(file).iter_batches(8192):
            listed = [source if source in named else "default" for source in batch.column("source").to_pylist()]
            sources, counts = np.array(listed), batch.column("states").to_numpy()
            values = batch.column("stats").values.flatten()
            numbers = {
                name: column.to_numpy(zero_copy_only=False).astype(np.float64)
                for name, column in zip(NUMBERS, values, strict=True)
            }
            starts = np.concatenate([[0], np.cumsum(counts)])[:-1]
            language = np.array(batch.column("language").to_pylist(), dtype=np.str_)
            for source in np.unique(sources).tolist():
                own = np.flatnonzero(sources == source)
                states = [
                    Stats.of({name: column[starts[own] + k] for name, column in numbers.items()}, language[own])
                    for k in range(int(counts[own].min()))
                ]
                yield source, states
