"""The recipe in a run's folder: the one of before is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from herd.commands.recipe_file import write_recipe


def test_another_recipe_keeps_the_one_of_before(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "recipe.yaml"
    write_recipe(file, {"seed": 1}, "# first\nseed: 1\n")
    write_recipe(file, {"seed": 1}, "# second\nseed: 1\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["recipe.yaml"]
    assert not capsys.readouterr().out
    for seed in (2, 3):
        write_recipe(file, {"seed": seed}, f"seed: {seed}\n")
    assert (tmp_path / "recipe.1.yaml").read_text() == "# second\nseed: 1\n"
    assert (tmp_path / "recipe.2.yaml").read_text() == "seed: 2\n"
    said = capsys.readouterr().out
    assert "seed: 1 before, 2 now" in said
    assert f"the recipe of before is {tmp_path / 'recipe.2.yaml'}" in said
