"""Which of several mixes a run is given."""

from __future__ import annotations

import json
from dataclasses import asdict

from herd.core.artifacts import Mix, Scores
from herd.core.errors import DataError, did_you_mean
from herd.core.stage import Work, stage
from herd.mixing.comparing import label_of
from herd.mixing.results import MixChoice, MixForecast, MixSearch


@stage(paper="3.1.2", version=1)
def choose_mix(work: Work, forecast: Scores, mixes: tuple[Mix, ...]) -> Mix:
    """The mix of which the forecast predicts the least loss, with the shares that it was tried with.

    Others whose intervals reach as low are named: among these chance may have chosen. Raises DataError when a mix that
    was forecast is not among `mixes`. Source: Llama 3, 3.1.2.
    """
    searches = {label_of(search): search for search in (mix.result(MixSearch) for mix in mixes)}
    rows = sorted(forecast.result(MixForecast).rows, key=lambda row: row.loss)
    best = rows[0]
    if best.label not in searches:
        hint = did_you_mean(best.label, searches)
        raise DataError(f"the best mix by the forecast, {best.label!r}, is not among those given{hint}")
    ties = tuple(row.label for row in rows[1:] if row.interval[0] <= best.loss)
    (work.out / "mix.json").write_text(json.dumps(asdict(searches[best.label]), indent=1), encoding="utf-8")
    work.record(searches[best.label])
    work.record(MixChoice(best.label, tuple(rows), ties))
    low, high = best.interval
    lead = f"; {', '.join(ties)} may be as good" if ties else ""
    work.headline = f"{best.label}: mean loss {best.loss:.3f} [{low:.3f}, {high:.3f}] predicted{lead}"
    return Mix(work.out)
