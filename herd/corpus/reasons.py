"""Why a rule dropped a document, with the value that was measured and the limit it had to keep."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from herd.core.registry import PluginConfig
from herd.corpus.filters import Drops, filters
from herd.corpus.stats import StatColumn, Stats

_DOUBLINGS, _HALVINGS = 40, 32  # with so many steps a value is known to some nine digits

_Probe = Callable[[StatColumn], Drops]


def drop_reasons(rule: PluginConfig, stats: Stats, by_language: Mapping[str, Sequence[PluginConfig]]) -> list[str]:
    """Of documents that `rule` drops, each with its own reason, such as `word_count 12, below 50`.

    by_language: other settings for documents in languages that name the rule. What a rule measures it need not say:
    the value is the limit at which it would have kept the document. Where no single number of its settings decides,
    the reason is the rule's name alone.
    """
    reasons = np.full(len(stats), f"rule {rule.name}", dtype=object)
    used = np.full(len(stats), None, dtype=object)
    used[:] = [rule] * len(stats)
    for language, overrides in by_language.items():
        for override in overrides:
            if override.name == rule.name:
                for row in np.flatnonzero(stats.language == language).tolist():
                    used[row] = override
    for config in {id(one): one for one in used.tolist()}.values():
        rows = np.flatnonzero([one is config for one in used.tolist()])
        reasons[rows] = _reasons(config, stats_of_rows(stats, rows))
    return reasons.tolist()


def stats_of_rows(stats: Stats, rows: NDArray[np.int64]) -> Stats:
    """The statistics of some documents. rows: their numbers, or of each whether it is one."""
    return Stats.of({name: column[rows] for name, column in stats.columns().items()}, stats.language[rows])


def _reasons(config: PluginConfig, stats: Stats) -> list[str]:
    reasons = [f"rule {config.name}"] * len(stats)
    kept_languages = config.settings.get("keep")
    if isinstance(kept_languages, tuple):
        for row in np.flatnonzero(~np.isin(stats.language, kept_languages)).tolist():
            reasons[row] = f"{config.name} {stats.language[row]}, not {', '.join(kept_languages)}"
    for name, limit in config.settings.items():
        if not isinstance(limit, int | float) or isinstance(limit, bool):
            continue
        of = "" if name in ("at_least", "at_most") else f" {name}"
        values, decides = _values(config, name, stats)
        for row in np.flatnonzero(decides).tolist():
            words = "below" if values[row] < limit else "above"
            reasons[row] = f"{config.name}{of} {_number(values[row], limit)}, {words} {_number(limit, limit)}"
    return reasons


def _values(config: PluginConfig, name: str, stats: Stats) -> tuple[StatColumn, Drops]:
    """The limit called `name` at which each document would be kept, and for which documents there is one."""
    limit, whole = config.settings[name], isinstance(config.settings[name], int)

    def drops(limits: StatColumn) -> Drops:
        changed = PluginConfig(config.kind, config.name, {**config.settings, name: limits}, config.module)
        return np.asarray(filters.make(changed)(stats), np.bool_)

    dropped = np.full(len(stats), float(limit))
    try:
        with np.errstate(all="ignore"):
            kept = np.zeros(len(stats)) if name != "at_most" else _raised(drops, dropped)
            decides = ~drops(kept)
            for _ in range(_HALVINGS):
                middle = (dropped + kept) / 2
                middle = np.where(kept > dropped, np.floor(middle), np.ceil(middle)) if whole else middle
                lost = drops(middle)
                dropped, kept = np.where(lost, middle, dropped), np.where(lost, kept, middle)
    except (TypeError, ValueError):  # a rule of the user's own that takes no column in the place of a number
        return dropped, np.zeros(len(stats), np.bool_)
    return kept, decides


def _raised(drops: _Probe, limit: StatColumn) -> StatColumn:
    """Limits so high that all documents are kept which any limit keeps."""
    high = np.maximum(1.0, 2 * np.abs(limit))
    for _ in range(_DOUBLINGS):
        lost = drops(high)
        if not lost.any():
            break
        high = np.where(lost, 2 * high, high)
    return high


def _number(value: float, limit: float) -> str:
    """As few digits as tell `value` from `limit`."""
    if isinstance(limit, int):
        return f"{value:,.0f}"
    text = f"{value:g}"
    for digits in range(3, 17):
        text = f"{value:.{digits}g}"
        if value == limit or float(text) != limit:
            break
    return text
