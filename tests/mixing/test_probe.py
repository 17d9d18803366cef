"""Annealing tells text like the targets from neutral text and from noise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from herd.core.errors import DataError
from herd.core.stage import Work
from herd.evals.intervals import Interval
from herd.mixing.probe import (
    NEW,
    CombinedShards,
    ProbeSettings,
    _annealed,
    _combine_mixes,
    _judged,
    probe_gain,
    verdict,
)
from herd.mixing.problem import MixProblem
from herd.mixing.proxies import stratified_batches, train_proxy
from herd.run.executors import LocalExecutor
from tests.mixing.planted import PAD, field, language, noise, planted, run

TARGETS = {"target": 0.5, "other": 0.5}


@pytest.fixture(scope="module")
def half_trained(tmp_path_factory: pytest.TempPathFactory):
    """A default mix, and a model half-way through it."""
    from herd.core.artifacts import Checkpoint

    folder = tmp_path_factory.mktemp("probe")
    # The target is seldom in the default mix, so more of it helps; another language teaches nothing about it.
    shards = planted(folder / "default", {"target": language(1), "other": language(2)}, documents=40)
    given: MixProblem = field(shards)
    model, _ = train_proxy(given, run(tokens=80 * 512), stratified_batches(given, run(), {"target": 0.2, "other": 0.8}))
    return shards, model, folder, Checkpoint


def annealed(half, new, seed: int, monkeypatch: pytest.MonkeyPatch, share: float = 0.3):
    shards, model, _, kind = half
    import herd.mixing.probe as probe

    def copy(path: Path):
        from copy import deepcopy

        return deepcopy(model)

    monkeypatch.setattr(probe, "load_transformer", copy)
    monkeypatch.setattr(probe, "open_moments", lambda path: None)
    chosen = ProbeSettings(tokens=30 * 512, length=64, batch_tokens=512)
    default = {"target": 0.2, "other": 0.8}
    mix = _combine_mixes(default, {f"{NEW}/{name}": 1.0 for name in new.sources}, share) if share else default
    work = Work(Path(), Path(), LocalExecutor(lambda: 1))
    return _annealed(work, kind(Path()), CombinedShards(shards, new), mix, 5e-3, replace(chosen, seed=seed))


@pytest.mark.row(26)
def test_sets_are_ranked_as_planted_in_nine_of_ten_seeds(half_trained, monkeypatch, figure) -> None:
    folder = half_trained[2]
    # Neutral: the default mix's common language, of which it holds enough.
    sets = {
        name: planted(folder / name, {name: draw}, documents=60, seed=9)
        for name, draw in {"in-domain": language(1), "neutral": language(2), "noise": noise}.items()
    }
    right, values = 0, {name: [] for name in sets}
    for seed in range(10):
        control = annealed(half_trained, sets["neutral"], seed, monkeypatch, share=0.0)
        for name, new in sets.items():
            values[name].append(probe_gain([control], [annealed(half_trained, new, seed, monkeypatch)], TARGETS).value)
        found = [values[name][-1] for name in ("in-domain", "neutral", "noise")]
        right += found == sorted(found, reverse=True) and found[0] > 0
    middle = {name: f"{sorted(some)[5]:+.3f}" for name, some in values.items()}
    figure(f"ranked right in {right} of 10 seeds; gains {middle}")
    assert right >= 9


def test_gains_are_paired_and_weighed() -> None:
    control = [{"a": 2.0, "b": 1.0}, {"a": 2.2, "b": 1.0}, {"a": 1.8, "b": 1.0}]
    new = [{"a": 1.9, "b": 1.1}, {"a": 2.1, "b": 1.1}, {"a": 1.7, "b": 1.1}]
    assert probe_gain(control, new, {"a": 1.0}).value == pytest.approx(0.1)
    assert probe_gain(control, new, {"a": 1.0}).low == pytest.approx(0.1)
    assert probe_gain(control, new, {"a": 0.5, "b": 0.5}).value == pytest.approx(0.0)
    assert verdict(Interval(0.1, 0.05, 0.15)).endswith("helps")
    assert verdict(Interval(-0.1, -0.2, -0.05)).endswith("harms")
    assert "no effect" in verdict(Interval(0.1, -0.1, 0.3))


def test_sets_of_two_vocabularies_are_not_mixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = planted(tmp_path / "a", {"x": noise}, documents=10)
    other = planted(tmp_path / "b", {"x": noise}, documents=10)
    both = CombinedShards(one, other)
    assert both.sources == ["new/x", "x"]
    assert both.pad_id == PAD
    assert len(both.read("new/x")) == 10
    monkeypatch.setitem(other.index, "vocab_size", 99)
    with pytest.raises(DataError, match="packed with a vocabulary of 99"):
        CombinedShards(one, other)


def test_nothing_is_trained_for_losses_that_nothing_is_held_out_for() -> None:
    sources = {"books": {"heldout": {"documents": 3}}, "web": {"heldout": {"documents": 0}}}
    assert _judged(Path("text"), sources, None, {"books": 0.4, "web": 0.6}) == {"books": 0.4}
    with pytest.raises(DataError, match="text: no text of news, web is held out to judge by; pack it with"):
        _judged(Path("text"), sources, {"web": 1.0, "books": 1.0, "news": 1.0}, {})
    with pytest.raises(DataError, match="text: no text is held out"):
        _judged(Path("text"), {"web": sources["web"]}, {}, {"web": 1.0})
