"""What a run left behind, as one page: what stands on top, and the sections below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from herd.align.results import FinetuningResult, ImportedModel
from herd.core.artifacts import Artifact
from herd.core.titles import artifact_titles
from herd.corpus.results import CorpusSize
from herd.report.sections import fill_template, results_of, sections
from herd.report.sections.losses import steps_of
from herd.report.sections.steps import STORY, what_went_in
from herd.report.verdicts import Verdict
from herd.tokens.results import TokenizerResult
from herd.train.log import CostComparison
from herd.train.results import TrainingResult


def render(title: str, artifacts: Sequence[Artifact], verdicts: Sequence[Verdict], note: str = "") -> str:
    """The page about the artifacts `artifacts`, one self-contained HTML text. Parts nothing was made for stay out.
    note: what its readers have to know first."""
    shown = sections.show(artifacts)
    headings = [("verdicts", "What was to be shown", bool(verdicts)), ("stages", "Time and cost", bool(artifacts))]
    top, below = [section for section in shown if section.top], [section for section in shown if not section.top]
    links = [(section.id, section.name) for section in top]
    links += [(anchor, name) for anchor, name, present in headings if present]
    page = fill_template(
        Path(__file__).with_name("page.html"),
        title=title,
        note=note,
        about="" if any(section.id == STORY for section in shown) else what_went_in(artifacts),
        tiles=tiles(artifacts, verdicts),
        verdicts=[asdict(verdict) for verdict in verdicts],
        stages=stage_rows(artifacts),
        estimates=cost_estimates(artifacts),
        links=links + [(section.id, section.name) for section in below],
        top=top,
        sections=below,
    )
    return str(page)


def tiles(artifacts: Sequence[Artifact], verdicts: Sequence[Verdict]) -> list[dict[str, str]]:
    """The few numbers people look for first."""
    trained = results_of(artifacts, TrainingResult)
    documents = [size.documents for size in results_of(artifacts, CorpusSize)]
    vocabularies = [result.vocab_size for result in results_of(artifacts, TokenizerResult)]
    weights = [result.num_params for result in (*trained, *results_of(artifacts, ImportedModel))]
    flops = sum(result.flops for result in (*trained, *results_of(artifacts, FinetuningResult)))
    entries = (
        [("bars that hold", f"{sum(verdict.holds for verdict in verdicts)} of {len(verdicts)}")] if verdicts else []
    )
    entries += [
        ("core-seconds of work", f"{sum(artifact.metadata['cost']['cpu_seconds'] for artifact in artifacts):,.0f}")
    ]
    entries += [
        (
            "largest stage in memory",
            f"{max(artifact.metadata['cost']['peak_bytes'] for artifact in artifacts) / 1e9:.1f} GB",
        )
    ]
    entries += [("documents kept", f"{max(documents):,}")] if documents else []
    entries += [("tokens in the vocabulary", f"{max(vocabularies):,}")] if vocabularies else []
    entries += [("weights", f"{max(weights):,}")] if weights else []
    entries += [("training FLOPs", f"{flops:.2e}")] if flops else []
    return [{"name": name, "value": value} for name, value in entries]


def stage_rows(artifacts: Sequence[Artifact]) -> list[dict[str, Any]]:
    """Every stage by the name that people know it by, with its key beside."""
    titles = artifact_titles(artifacts)
    longest = max((artifact.metadata["cost"]["seconds"] for artifact in artifacts), default=1.0) or 1.0
    return [
        {
            "key": artifact.key,
            "title": titles[artifact.key],
            "stage": "" if titles[artifact.key].startswith(artifact.metadata["stage"]) else artifact.metadata["stage"],
            "paper": artifact.metadata["paper"],
            "headline": artifact.headline,
            "seconds": f"{artifact.metadata['cost']['seconds']:.1f}",
            "cpu": f"{artifact.metadata['cost']['cpu_seconds']:.1f}",
            "megabytes": f"{artifact.metadata['cost']['peak_bytes'] / 1e6:,.0f}",
            "width": round(80 * artifact.metadata["cost"]["seconds"] / longest, 1),
        }
        for artifact in artifacts
    ]


def cost_estimates(artifacts: Sequence[Artifact]) -> dict[str, Any] | None:
    """What `herd plan --estimate` said of training, and what it was; None where nothing was estimated."""
    rows, steps_took, all_took = [], [0.0, 0.0], [0.0, 0.0]  # estimated and measured
    titles = artifact_titles(artifacts)
    for artifact in artifacts:
        steps = steps_of(artifact)
        estimate = CostComparison.of(artifact.metadata["cost"], steps)
        if estimate is not None:
            for n in (0, 1):
                steps_took[n] += len(steps) * estimate.core_seconds[n]
                all_took[n] += estimate.stage_seconds[n]
            rows.append(
                {
                    "key": artifact.key,
                    "title": titles[artifact.key],
                    "steps": f"{len(steps):,}",
                    "pairs": [
                        _estimate_cells(estimate.core_seconds, scale=1e3),
                        _estimate_cells(estimate.held_bytes, scale=1e-6),
                        _estimate_cells(estimate.peak_bytes, scale=1e-6),
                    ],
                }
            )
    if not rows:
        return None
    words = (
        f"All steps together took {_compare(*steps_took)}; with tests, measuring and writing, the stages took "
        f"{_compare(*all_took)}."
    )
    return {"rows": rows, "words": words}


def _estimate_cells(pair: tuple[float, float], *, scale: float) -> list[str]:
    estimate, measured = pair
    return [f"{scale * estimate:,.1f}", f"{scale * measured:,.1f}", f"{measured / estimate - 1:+.0%}"]


def _compare(expected: float, actual: float) -> str:
    return f"{actual:,.0f} core-seconds where {expected:,.0f} were estimated ({actual / expected - 1:+.1%})"
