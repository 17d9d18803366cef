"""Row 35: a context grows only when the model finds every needle, and does not forget short rows."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from herd.core.recipe import load_recipe
from herd.core.seeds import rng
from herd.evals.haystack import DEPTHS
from herd.model.config import read_shape
from herd.pretrain.gate import lengths_up_to
from herd.pretrain.results import ContextExtension
from herd.recipes import recipes
from herd.serve.folders import artifacts_in
from herd.world.pages import WorldPages

RECIPE = Path(__file__).parent.parent / "needles.yaml"
LENGTHS = [256, 512, 1024]


def write_middle(file: Path) -> None:
    """Pages as long as 512 tokens: the recipe's own are of three lengths, and four are learnt."""
    numbers = load_recipe(str(RECIPE), recipes).settings
    pages = WorldPages(numbers.world, replace(numbers.pages, long_characters=1900))
    rows = ({"text": pages.writers["long"](rng(number, "middle"))} for number in range(1000))
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.mark.slow
@pytest.mark.row(35, "needles")
@pytest.mark.row(35, "short")
def test_every_needle_is_found_before_each_switch(tmp_path: Path, figure: Callable[..., None]) -> None:
    """Four lengths: 128 learnt from nothing, then 256, 512 and 1,024, each switch behind a gate of all needles in
    every cell."""
    write_middle(tmp_path / "middle.jsonl")
    out = tmp_path / "run"
    command = [sys.executable, "-m", "herd", "run", str(RECIPE), "--out", str(out), "--until", "extend_context"]
    subprocess.run([*command, "--set", f"files.middle=[{tmp_path}/middle.jsonl]"], check=True, capture_output=True)
    grown = [(one, found) for one in artifacts_in(out) if (found := one.get_result(ContextExtension))]
    grown.sort(key=lambda pair: pair[1].target)
    assert [found.length for _, found in grown] == LENGTHS
    words = []
    for one, found in grown:
        length = found.length
        assert found.switched
        assert read_shape(one.path).max_seq_len == length
        for grid, most in ((found.needle_before, length // 2), (found.needle, length)):
            cells = {(cell.length, cell.depth) for cell in grid}
            assert cells == {(at, depth) for at in lengths_up_to(most) for depth in DEPTHS}
            assert all(cell.hits == cell.total == 20 for cell in grid)
        before, after = found.short_baseline, found.short_after
        change = after.mean / before.mean - 1
        assert change <= 0.01
        for source, was in before.losses.items():
            assert after.losses[source].value <= max(1.01 * was.value, was.high)
        asked = sum(cell.total for cell in found.needle_before)
        words.append(f"{asked} of {asked} needles before {length}, short loss {change:+.1%} after")
    figure("; ".join(words), seeds=load_recipe(str(RECIPE), recipes).settings.longer[0].seed)
