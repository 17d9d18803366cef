"""A plan says where a text is read so often, or in so few steps, that little is learnt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from herd.core.stage import walk
from herd.corpus.settings import CurateSettings
from herd.corpus.sources import crawls_of, planned_tokens_by_source
from herd.corpus.stages import curate
from herd.model.sizes import parse_size
from herd.pretrain.mix import ProportionalMix
from herd.pretrain.pretrain import PretrainSettings, pretrain
from herd.recipes.costing import forecast_costs
from herd.recipes.repeated_text import doubtful_lines, estimated_text_lines
from herd.tokens.stages import pack, train_tokenizer
from herd.train.machines import load_machine
from herd.train.schedule import BatchPhase, MixPhase


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERD_CACHE", str(tmp_path / "cache"))


def said(tmp_path: Path, tokens: int, mix: Any, batch_tokens: int = 256, lines: Any = doubtful_lines) -> list[str]:
    """Of books of about 1,000 tokens and code of about 100."""
    for name, size in (("books", 4_000), ("code", 400)):
        (tmp_path / f"{name}.txt").write_text("x" * size)
    crawls = crawls_of({name: [str(tmp_path / f"{name}.txt")] for name in ("books", "code")})
    corpus = curate(crawls, settings=CurateSettings(rules={}))
    assert planned_tokens_by_source(corpus) == {"books": 1000.0, "code": 100.0}
    vocabulary = train_tokenizer(corpus, vocab_size=300)
    settings = PretrainSettings(
        size=parse_size("1m"), length=128, tokens=tokens, batch=(BatchPhase(until=1.0, batch_tokens=batch_tokens),),
        mix=mix, lr=1e-3,
    )  # fmt: skip
    plans = list(walk(pretrain(pack(corpus, vocabulary), vocabulary, settings=settings)))
    forecasts = forecast_costs(plans, load_machine("h100"), artifacts=tmp_path / "artifacts")
    return list(lines(forecasts, tmp_path / "artifacts"))


def test_a_source_that_is_read_too_often_is_named_with_how_often(tmp_path: Path) -> None:
    half = (
        MixPhase(until=0.5, mixture_weights={"books": 1.0}),
        MixPhase(until=1.0, mixture_weights={"books": 0.5, "code": 0.5}),
    )
    (line,) = said(tmp_path, 10_000, half, batch_tokens=128)[:1]
    assert "reads by the bytes of the files code 25 times: after sixteen times hardly anything" in line
    assert "books" not in line
    (line,) = said(tmp_path, 2_560_000, ProportionalMix())
    assert "the text 2,327 times" in line


def test_few_steps_are_told_and_enough_of_both_is_nothing_to_say(tmp_path: Path) -> None:
    assert said(tmp_path, 128 * 100, ProportionalMix(), batch_tokens=128) == []
    (line,) = said(tmp_path, 512, ProportionalMix(), batch_tokens=512)
    assert line.endswith(": 1 step is few to learn in; smaller batches make more of them")


def test_tokens_and_readings_of_every_source_are_told_before_the_text_is_packed(tmp_path: Path) -> None:
    phases = (
        MixPhase(until=0.5, mixture_weights={"books": 1.0}),
        MixPhase(until=1.0, mixture_weights={"books": 0.5, "code": 0.5}),
    )
    (line,) = said(tmp_path, 2_000, phases, lines=estimated_text_lines)
    assert line.endswith("about 2,000 tokens: books 1,500 (1.5 times), code 500 (5.0 times)")
    (line,) = said(tmp_path, 550, ProportionalMix(), lines=estimated_text_lines)
    assert line.endswith("about 550 tokens: books 500 (0.5 times), code 50 (0.5 times)")
    other = (MixPhase(until=1.0, mixture_weights={"books": 0.5, "rows say": 0.5}),)
    assert said(tmp_path, 550, other, lines=estimated_text_lines) == []
    replayed = ProportionalMix(replay_share=0.1, replay_sources=("rows say",))
    assert said(tmp_path, 550, replayed, lines=estimated_text_lines) == []
