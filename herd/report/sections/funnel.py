"""Where every document of a corpus went."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from herd.core.artifacts import Artifact
from herd.corpus.results import CorpusSize, Count, CurationResult, DedupSample, DedupStats, FilterCount
from herd.report.sections import Section, artifacts_with, fill_template, sections

_SHOWN = 10  # samples of a step


@sections.add(CurationResult, order=10)
def funnel_section(artifacts: Sequence[Artifact]) -> Section | None:
    """A funnel for every corpus that was curated."""
    funnels = [
        _funnel(corpus.result(CorpusSize), result) for corpus, result in artifacts_with(artifacts, CurationResult)
    ]
    html = fill_template(Path(__file__).with_suffix(".html"), funnels=funnels)
    return Section("funnel", "Funnel", html, title="From raw text to a corpus")


def _funnel(size: CorpusSize, result: CurationResult) -> dict[str, Any]:
    languages = ", ".join(f"{name or 'unknown'} {count:,}" for name, count in result.languages.items())
    words = f"{size.documents:,} of {size.pages:,} documents were kept. Languages: {languages}."
    if result.broken_files:
        words += f" Files that broke off: {'; '.join(result.broken_files)}."
    rows = [_row(count, max(1, size.pages)) for count in result.funnel]
    return {"words": words, "rows": rows, "steps": list(dedup_steps(result.dedup))}


def _row(count: FilterCount, pages: int) -> dict[str, Any]:
    remaining = count.total - count.dropped
    return {
        "step": count.step,
        "total": f"{count.total:,}",
        "dropped": f"{count.dropped:,}",
        "alone": "" if count.alone is None else f"{count.alone:,}",
        "remaining": f"{remaining:,}",
        "width": round(90 * remaining / pages, 1),
        "examples": count.examples,
    }


def dedup_steps(dedup: Mapping[str, DedupStats]) -> Iterator[dict[str, Any]]:
    """What steps over all documents counted: numbers in a sentence, and samples such as the largest clusters."""
    for step, stats in dedup.items():
        sentences = [_count_text(name, value) for name, value in stats.counts.items()]
        samples = [_sample_text(sample) for sample in stats.samples[:_SHOWN]]
        if sentences:
            yield {"step": step, "sentence": "; ".join(sentences), "samples": samples}


def _count_text(name: str, value: Count) -> str:
    if isinstance(value, Mapping):
        return f"{name}: " + ", ".join(f"{key}: {count:,}" for key, count in value.items() if count)
    return f"{name} {value:,}"


def _sample_text(sample: DedupSample) -> str:
    return ", ".join(f"{key} {_text(value)}" for key, value in sample.items())


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
