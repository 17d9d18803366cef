"""YAML is bounded: what a few bytes expand to, how deep it goes, and how large its numbers are."""

from __future__ import annotations

from pathlib import Path

import pytest

from herd.core.errors import SettingsError
from herd.core.recipe import parse_override
from herd.core.settings import parse_yaml, read_yaml
from herd.core.yaml_loader import MAX_VALUES


def bomb(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    for n in range(1, levels):
        lines.append(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]")
    return "\n".join(lines)


MERGED = "a0: &a0 {k: 1}\n" + "\n".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 9))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (bomb(9), "line 6, column 10: it holds more than 100,000 values with this alias"),
        (bomb(60), "line 6, column 10: it holds more than 100,000 values with this alias"),
        (MERGED, r"line \d, column \d+: it holds more than 100,000 values with this alias"),
        ("a: &a [*a]", "line 1, column 8: an alias stands inside what it names"),
        ("a: &a {b: &b [*a]}", "line 1, column 15: an alias stands inside what it names"),
        ("a: " + "[" * 5000, "lie more than 64 deep"),
        ("a: " + "{b: " * 5000, "lie more than 64 deep"),
        ("\n".join(f"{' ' * n}a:" for n in range(500)), "line 64, column 64: lists and mappings lie more than 64 deep"),
        ("a: 1\nb: " + "9" * 5000, "line 2, column 4: .* is no number"),
        ("a: 1\nb: " + "9" * 40, "line 2, column 4: 9+ is no number a setting can be"),
        ("b: 1e999", "is no number a setting can be"),
        ("b: .nan", "is no number a setting can be"),
        ("b: -.inf", "is no number a setting can be"),
        ("a: 1\nb: 2\na: 3", "line 3, column 1: 'a' is given twice"),
    ],
)
def test_yaml_beyond_bounds_is_refused_with_its_line(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=words):
        parse_yaml(text, where="x")
    file = tmp_path / "x.yaml"
    file.write_text(f"{text}\n", encoding="utf-8")
    with pytest.raises(SettingsError, match=words):
        read_yaml(file)


def test_the_same_bounds_hold_for_what_is_set_on_the_command_line() -> None:
    levels = ", ".join(["a: &a [x, x, x, x, x, x, x, x, x, x]"] + [
        f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]" for old, new in zip("abcdef", "bcdefg", strict=True)
    ])  # fmt: skip
    with pytest.raises(SettingsError, match="--set files, line 1, column .* with this alias"):
        parse_override(f"files={{{levels}}}")
    with pytest.raises(SettingsError, match="no setting lies so deep"):
        parse_override(".".join("a" * 5000) + "=1")


def test_aliases_within_bounds_stand_for_what_they_name() -> None:
    text = "a: &a {x: 1, y: [1, 2]}\nb: *a\nc: {<<: *a, x: 2}"
    assert parse_yaml(text, where="x") == {
        "a": {"x": 1, "y": [1, 2]},
        "b": {"x": 1, "y": [1, 2]},
        "c": {"x": 2, "y": [1, 2]},
    }
    plain = MAX_VALUES // 100
    assert len(parse_yaml(str(list(range(plain))), where="x")) == plain
