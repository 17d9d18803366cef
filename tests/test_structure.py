"""The source keeps to the figures of docs/style.md."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def structure(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("structure")


def test_the_source_keeps_to_the_figures_of_its_style(structure: ModuleType) -> None:
    figures, places = structure.measure(ROOT / "herd", ROOT / "tests")
    assert figures["placeholder_share"] < 0.01, places["placeholder_share"][:10]
    assert not places["public_names_in_two_rooms"]
    assert not places["public_participles_and_pronouns"]
    assert figures["nested_comprehensions_per_1000_lines"] < 1, places["nested_comprehensions_per_1000_lines"][:10]
    assert figures["function_lines_p90"] < 25
    assert not places["import_circles"]


def test_what_the_figures_count_is_found(structure: ModuleType, tmp_path: Path) -> None:
    room, other = tmp_path / "herd" / "room", tmp_path / "herd" / "other"
    for folder in (room, other):
        folder.mkdir(parents=True)
    (room / "first.py").write_text(
        "from herd.other import second\n\ndef weigh():\n    thing = [x for row in [[1]] for x in row]\n    return 1\n"
    )
    (other / "second.py").write_text("from herd.room import first\n\ndef weigh():\n    return [[y] for y in [1]]\n")
    (other / "third.py").write_text("def told():\n    return {k: [v for v in k] for k in ['a']}\n")
    figures, places = structure.measure(tmp_path / "herd", tmp_path / "tests")
    assert places["placeholder_share"] == ["told 1", "thing 1"]
    assert places["public_names_in_two_rooms"] == ["weigh: herd.other.second, herd.room.first"]
    assert places["public_participles_and_pronouns"] == ["herd.other.third.told"]
    assert places["nested_comprehensions_per_1000_lines"] == ["herd.other.third:2", "herd.room.first:4"]
    assert figures["import_circles"] == 1
