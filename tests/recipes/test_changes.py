"""What differs between the numbers of two recipes."""

from __future__ import annotations

from dataclasses import replace

from herd.core.recipe import load_recipe
from herd.recipes import recipes
from herd.recipes.changes import change_lines
from herd.recipes.rehearsal import scale_down

BEFORE = load_recipe("llama3-8b", recipes).settings


def test_what_changed_is_told_number_by_number() -> None:
    lines = list(change_lines(BEFORE, scale_down(BEFORE, 3e-7)))
    assert "base.tokens: 15,600,000,000,000 -> 4,681,728" in lines
    assert "longer.5.length: 131,072 -> 1,440" in lines
    assert "alignment: {...} -> none" in lines
    assert "title: Llama 3 8B -> Llama 3 8B, rehearsed at a scale of 3e-07" in lines
    assert not any(line.startswith("seed") for line in lines)


def test_parts_of_lists_are_told_one_by_one_where_there_are_as_many() -> None:
    fewer = replace(BEFORE, longer=BEFORE.longer[:1])
    assert list(change_lines(BEFORE, fewer)) == ["longer: 6 parts -> 1 part"]
    other = replace(BEFORE, longer=(replace(BEFORE.longer[0], lr=1.0), *BEFORE.longer[1:]))
    assert list(change_lines(BEFORE, other)) == ["longer.0.lr: 8e-06 -> 1"]
    assert not list(change_lines(BEFORE, BEFORE))
