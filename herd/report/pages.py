"""What a run left behind, as one page: what stands on top, and the sections below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from herd.align.results import ImportedModel
from herd.core.artifacts import Artifact
from herd.corpus.results import CorpusSize
from herd.report.sections import filled, recorded_results, sections
from herd.report.sections.losses import steps_of
from herd.report.verdicts import Verdict
from herd.tokens.results import TokenizerResult
from herd.train.log import Foretold
from herd.train.results import TrainingResult


def render(title: str, made: Sequence[Artifact], verdicts: Sequence[Verdict], note: str = "") -> str:
    """The page about the artifacts `made`, one self-contained HTML text. Parts nothing was made for stay out. note:
    what its readers have to know first."""
    shown = sections.show(made)
    own = [("verdicts", "What was to be shown", bool(verdicts)), ("stages", "Time and cost", bool(made))]
    links = [(anchor, name) for anchor, name, there in own if there]
    page = filled(
        Path(__file__).with_name("page.html"),
        title=title,
        note=note,
        tiles=tiles(made, verdicts),
        verdicts=[asdict(verdict) for verdict in verdicts],
        stages=stage_rows(made),
        foretold=foretold(made),
        sections=links + [(section.id, section.name) for section in shown],
        shown=shown,
    )
    return str(page)


def tiles(made: Sequence[Artifact], verdicts: Sequence[Verdict]) -> list[dict[str, str]]:
    """The few numbers people look for first."""
    trained = recorded_results(made, TrainingResult)
    documents = [size.documents for size in recorded_results(made, CorpusSize)]
    vocabularies = [result.vocab_size for result in recorded_results(made, TokenizerResult)]
    weights = [result.num_params for result in (*trained, *recorded_results(made, ImportedModel))]
    flops = sum(result.flops for result in trained)
    found = [("bars that hold", f"{sum(one.holds for one in verdicts)} of {len(verdicts)}")] if verdicts else []
    found += [("core-seconds of work", f"{sum(one.card['cost']['cpu_seconds'] for one in made):,.0f}")]
    found += [("largest stage in memory", f"{max(one.card['cost']['peak_bytes'] for one in made) / 1e9:.1f} GB")]
    found += [("documents kept", f"{max(documents):,}")] if documents else []
    found += [("tokens in the vocabulary", f"{max(vocabularies):,}")] if vocabularies else []
    found += [("weights", f"{max(weights):,}")] if weights else []
    found += [("training FLOPs", f"{flops:.2e}")] if flops else []
    return [{"name": name, "value": value} for name, value in found]


def stage_rows(made: Sequence[Artifact]) -> list[dict[str, Any]]:
    longest = max((one.card["cost"]["seconds"] for one in made), default=1.0) or 1.0
    return [
        {
            "key": one.key,
            "paper": one.card["paper"],
            "headline": one.headline,
            "seconds": f"{one.card['cost']['seconds']:.1f}",
            "cpu": f"{one.card['cost']['cpu_seconds']:.1f}",
            "megabytes": f"{one.card['cost']['peak_bytes'] / 1e6:,.0f}",
            "width": round(80 * one.card["cost"]["seconds"] / longest, 1),
        }
        for one in made
    ]


def foretold(made: Sequence[Artifact]) -> dict[str, Any] | None:
    """What `herd plan --rehearse` said of training, and what it was; None where nothing was foretold."""
    rows, steps_took, all_took = [], [0.0, 0.0], [0.0, 0.0]  # foretold and measured
    for one in made:
        steps = steps_of(one)
        found = Foretold.of(one.card["cost"], steps)
        if found is not None:
            for n in (0, 1):
                steps_took[n] += len(steps) * found.core_seconds[n]
                all_took[n] += found.stage_seconds[n]
            rows.append(
                {
                    "key": one.key,
                    "steps": f"{len(steps):,}",
                    "pairs": [
                        [*(f"{scale * value:,.1f}" for value in pair), f"{pair[1] / pair[0] - 1:+.0%}"]
                        for scale, pair in (
                            (1e3, found.core_seconds),
                            (1e-6, found.held_bytes),
                            (1e-6, found.peak_bytes),
                        )
                    ],
                }
            )
    if not rows:
        return None
    words = (
        f"All steps together took {_beside(*steps_took)}; with tests, measuring and writing, the stages took "
        f"{_beside(*all_took)}."
    )
    return {"rows": rows, "words": words}


def _beside(told: float, took: float) -> str:
    return f"{took:,.0f} core-seconds where {told:,.0f} were foretold ({took / told - 1:+.1%})"
