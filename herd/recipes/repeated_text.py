"""How often a planned run reads its text, by the bytes of the files, and whether that, or its steps, make sense."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from herd.core.artifacts import Artifact, is_complete
from herd.corpus.sources import planned_tokens_by_source
from herd.pretrain.mix import ProportionalMix, resolve_mix, tokens_of_phases
from herd.pretrain.pretrain import PretrainSettings
from herd.recipes.costing import StageForecast

_MANY_TIMES = 16.0  # Muennighoff et al. 2023: of text read so often hardly anything more is learnt
_FEW_STEPS = 100


def estimated_text_lines(forecasts: Sequence[StageForecast], artifacts: Path) -> Iterator[str]:
    """Of the largest new training, before its text is packed and counted: by the bytes of the files the tokens that it
    takes of every source, and how often each is read. Nothing where the shares are still to be found."""
    largest = _largest(forecasts)
    if largest is None or not isinstance(s := largest.training.settings, PretrainSettings):
        return
    held = {name: round(tokens) for name, tokens in _unpacked_tokens(largest, artifacts).items()}
    if isinstance(s.mix, ProportionalMix):
        named_sources = set(s.mix.replay_sources)
    else:
        named_sources = {name for phase in s.mix for name in phase.sources}
    is_sought = isinstance(largest.training.plan.inputs.get("mix"), Artifact)
    if not sum(held.values()) or not named_sources <= held.keys() or is_sought:  # rows may name sources, too
        return
    mix = resolve_mix(held, s.mix, tokens=s.tokens, epochs=s.epochs)
    read = sorted(tokens_of_phases(mix.phases, mix.tokens).items(), key=lambda pair: -pair[1])
    named = ", ".join(f"{name} {count:,.0f} ({count / max(1, held[name]):.1f} times)" for name, count in read)
    yield f"{largest.key} reads, by the bytes of the files, about {mix.tokens:,} tokens: {named}"


def doubtful_lines(forecasts: Sequence[StageForecast], artifacts: Path) -> Iterator[str]:
    """Of the largest new training a line for text that it reads more than sixteen times, before the text is packed and
    counted, and one for fewer than a hundred steps.

    Source: Muennighoff et al. 2023 (Scaling Data-Constrained Language Models), 5: four epochs are nearly as good as new
    text, after 16 the returns are gone.
    """
    largest = _largest(forecasts)
    if largest is None:
        return
    if isinstance(s := largest.training.settings, PretrainSettings):
        held = _unpacked_tokens(largest, artifacts)
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


def _largest(forecasts: Sequence[StageForecast]) -> StageForecast | None:
    """The new training that reads most."""
    runs = [forecast for forecast in forecasts if forecast.training.plan.stage.name == "pretrain"]
    return max(runs, key=lambda forecast: forecast.tokens, default=None)


def _unpacked_tokens(forecast: StageForecast, artifacts: Path) -> Mapping[str, float]:
    """By source about how many tokens there are of text that nobody has packed; empty where it is, or nothing says."""
    text = forecast.training.plan.inputs["tokens"]
    if not isinstance(text, Artifact) or is_complete(artifacts / text.key):
        return {}
    return planned_tokens_by_source(text) or {}


def _readings(s: PretrainSettings, held: Mapping[str, float], tokens: float) -> dict[str, float]:
    """How often each source is read, the most first; all as one where the shares are those of the text, or sought."""
    if not sum(held.values()):
        return {}
    if isinstance(s.mix, ProportionalMix):
        return {"the text": tokens / sum(held.values())}
    read = tokens_of_phases(s.mix, tokens)
    times = {name: count / held[name] for name, count in read.items() if held.get(name)}
    return dict(sorted(times.items(), key=lambda pair: -pair[1]))
