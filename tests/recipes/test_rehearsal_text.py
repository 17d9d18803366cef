"""What of a recipe's text a rehearsal reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from herd.core.recipe import load_recipe
from herd.recipes import recipes
from herd.recipes.rehearsal import rehearsal_notes, scale_down
from herd.recipes.rehearsal_text import over_sources, some_files


def test_of_much_text_some_files_are_read_drawn_evenly(tmp_path: Path) -> None:
    for number in range(10):
        (tmp_path / f"{number}.txt").write_text("x" * 100)
    folder = (str(tmp_path),)
    assert some_files("web", folder, 1000) == folder
    drawn = some_files("web", folder, 500)
    assert [Path(path).name for path in drawn] == ["0.txt", "2.txt", "4.txt", "6.txt", "8.txt"]
    assert len(some_files("web", folder, 10)) == 1
    assert some_files("web", ("s3://bucket/*",), 1) == ("s3://bucket/*",)
    (tmp_path / "large").mkdir()
    for number in range(4):
        (tmp_path / "large" / f"{number}.txt").write_text("x" * 3_000_000)
    before = load_recipe("llama3-8b", recipes, [f"files={{general: [{tmp_path}/large]}}"]).settings
    s = scale_down(before, 1e-9)
    assert len(s.files["general"]) == 1
    assert "source general: of its files 1 are read, evenly drawn" in rehearsal_notes(before, s)


def test_mixes_name_only_sources_that_are_there() -> None:
    base = load_recipe("llama3-8b", recipes).settings.base
    assert over_sources(base, {"general", "math"}).mix[0].mixture_weights == pytest.approx(
        {"general": 2 / 3, "math": 1 / 3}
    )
    assert over_sources(base, {"other", "more"}).mix[0].mixture_weights == {"more": 0.5, "other": 0.5}
