"""How often a planned run reads its text, by the bytes of the files, and whether that, or its steps, make sense."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from herd.core.artifacts import Artifact, is_complete
from herd.corpus.sources import planned_tokens_by_source
from herd.pretrain.mix import ProportionalMix, tokens_of_phases
from herd.pretrain.pretrain import PretrainSettings
from herd.recipes.costing import StageForecast

_MANY_TIMES = 16.0  # Muennighoff et al. 2023: of text read so often hardly anything more is learnt
_FEW_STEPS = 100


def doubtful_lines(forecasts: Sequence[StageForecast], artifacts: Path) -> Iterator[str]:
    """Of the largest new training a line for text that it reads more than sixteen times, before the text is packed and
    counted, and one for fewer than a hundred steps.

    Source: Muennighoff et al. 2023 (Scaling Data-Constrained Language Models), 5: four epochs are nearly as good as new
    text, after 16 the returns are gone.
    """
    runs = [forecast for forecast in forecasts if forecast.training.plan.stage.name == "pretrain"]
    if not runs:
        return
    largest = max(runs, key=lambda forecast: forecast.tokens)
    s, text = largest.training.settings, largest.training.plan.inputs["tokens"]
    if isinstance(s, PretrainSettings) and isinstance(text, Artifact) and not is_complete(artifacts / text.key):
        held = planned_tokens_by_source(text) or {}
        often = {name: times for name, times in _readings(s, held, largest.tokens).items() if times > _MANY_TIMES}
        if often:
            named = ", ".join(f"{name} {times:,.0f} times" for name, times in often.items())
            yield (
                f"{largest.key} reads by the bytes of the files {named}: after sixteen times hardly anything is learnt "
                "by it; take fewer tokens, or bring more text"
            )
    if largest.steps < _FEW_STEPS:
        steps = f"{largest.steps:,} step" + ("s are" if largest.steps != 1 else " is")
        yield f"{largest.key}: {steps} few to learn in; smaller batches make more of them"


def _readings(s: PretrainSettings, held: Mapping[str, float], tokens: float) -> dict[str, float]:
    """How often each source is read, the most first; all as one where the shares are those of the text, or sought."""
    if not sum(held.values()):
        return {}
    if isinstance(s.mix, ProportionalMix):
        return {"the text": tokens / sum(held.values())}
    read = tokens_of_phases(s.mix, tokens)
    times = {name: count / held[name] for name, count in read.items() if held.get(name)}
    return dict(sorted(times.items(), key=lambda pair: -pair[1]))
