"""Shares that somebody writes: they replace those of the recipe, and have to be a whole mix."""

from __future__ import annotations

from pathlib import Path

import pytest

from herd.core.errors import SettingsError
from herd.core.recipe import load_recipe
from herd.pretrain.anneal import AnnealSettings
from herd.recipes import recipes
from herd.train.schedule import MixPhase


def test_written_shares_replace_those_of_the_recipe(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "recipe: tiny\nanneal: {mixture_weights: {wiki: 0.25, sums: 0.75}}\nladder: {mixture_weights: {facts: 1.0}}\n"
    )
    mine, own = load_recipe(str(file), recipes).settings, load_recipe("tiny", recipes).settings
    assert mine.anneal.mixture_weights == {"wiki": 0.25, "sums": 0.75}
    assert mine.ladder.mixture_weights == {"facts": 1.0}
    # All else is laid over what the recipe says, as before.
    assert (mine.anneal.tokens, mine.ladder.sizes) == (own.anneal.tokens, own.ladder.sizes)


def test_shares_set_on_the_command_line_replace_too() -> None:
    mine = load_recipe("tiny", recipes, ["anneal.mixture_weights={web: 1.0}", "anneal.tokens=5000"]).settings
    assert (mine.anneal.mixture_weights, mine.anneal.tokens) == ({"web": 1.0}, 5000)


@pytest.mark.parametrize(
    ("text", "field", "total"),
    [
        ("anneal: {mixture_weights: {wiki: 0.25, sums: 0.5}}", "anneal.mixture_weights", "0.75"),
        ("ladder: {mixture_weights: {wiki: 0.6, sums: 0.6}}", "ladder.mixture_weights", "1.2"),
        (
            "base: {mix: [{until: 1.0, mixture_weights: {wiki: 0.333, sums: 0.333, web: 0.333}}]}",
            "base.mix.0.mixture_weights",
            "0.999",
        ),
        ("anneal: {mixture_weights: {}}", "anneal.mixture_weights", "0"),
    ],
)
def test_shares_that_are_no_whole_mix_are_refused_with_their_sum(
    text: str, field: str, total: str, tmp_path: Path
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(f"recipe: tiny\n{text}\n")
    with pytest.raises(SettingsError, match=f"{field}: .* sum to {total}; write shares of all sources that sum to 1"):
        load_recipe(str(file), recipes)


def test_shares_made_in_python_are_held_to_the_same() -> None:
    with pytest.raises(SettingsError, match=r"sum to 0\.9;"):
        MixPhase(until=1.0, mixture_weights={"a": 0.5, "b": 0.4})
    with pytest.raises(SettingsError, match=r"sum to 1\.5;"):
        AnnealSettings(tokens=64, length=16, batch_tokens=32, lr=1e-3, mixture_weights={"a": 0.5, "b": 1.0})
    thirds = MixPhase(until=1.0, mixture_weights=dict.fromkeys("abc", 1 / 3))
    assert sum(thirds.mixture_weights.values()) == pytest.approx(1)
