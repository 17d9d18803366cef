"""Settings: what is accepted, what is refused and in which words, and that nothing is lost on the way to disk."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.core import settings as settings_module
from herd.core.errors import SettingsError
from herd.core.file_hashes import _Hashing
from herd.core.settings import (
    AddedLater,
    InputFile,
    MixtureWeights,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Share,
    build,
    check_arguments,
    dump,
    input_place,
    merge_settings,
    parse_yaml,
    read_yaml,
    settings,
    write_yaml,
)


@settings
class Inner:
    share: Share = 0.5
    kind: Literal["a", "b"] = "a"


@settings
class Outer:
    steps: PositiveInt
    rate: PositiveFloat = 1e-3
    inner: Inner = Inner()
    many: tuple[Inner, ...] = ()


def refused(values: object) -> str:
    with pytest.raises(SettingsError) as fault:
        build(Outer, values, where="file.yaml", lines={"inner.share": 7})
    return str(fault.value)


def test_defaults_are_filled_in_and_settings_are_frozen() -> None:
    made = build(Outer, {"steps": 3}, where="x")
    assert (made.steps, made.rate, made.inner.share) == (3, 1e-3, 0.5)
    with pytest.raises(Exception, match="frozen|cannot assign"):
        made.steps = 4


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"steps": 1, "rat": 2}, "rat is not a setting; did you mean 'rate'?"),
        ({"steps": 1, "inner": {"shar": 2}}, "inner.shar is not a setting; did you mean 'share'?"),
        ({"steps": 1, "inner": {"share": 2}}, "file.yaml, line 7: inner.share is 2"),
        ({"steps": "4"}, 'steps is "4"'),
        ({"steps": True}, "steps is true"),
        ({"steps": 0}, "greater than 0"),
        ({"steps": 2.5}, "steps is 2.5"),
        ({}, "steps is missing"),
        ({"steps": 1, "inner": {"kind": "c"}}, "'a' or 'b'"),
        ({"steps": 1, "many": [{"share": -1}]}, "many.0.share is -1"),
    ],
)
def test_wrong_values_are_refused_with_place_and_mend(values: object, words: str) -> None:
    assert words in refused(values)


def test_every_mistake_is_told_at_once() -> None:
    assert len(refused({"steps": 0, "rate": -1}).splitlines()) == 2


@given(st.integers(1, 10**9), st.floats(1e-9, 1e9), st.floats(0, 1), st.lists(st.floats(0, 1), max_size=3))
def test_settings_survive_json_and_yaml(steps: int, rate: float, share: float, shares: list[float]) -> None:
    made = Outer(steps=steps, rate=rate, inner=Inner(share=share), many=tuple(Inner(share=s) for s in shares))
    assert build(Outer, dump(made), where="x") == made
    assert build(Outer, parse_yaml(write_yaml(dump(made)), where="x"), where="x") == made


def test_yaml_reads_numbers_as_people_write_them() -> None:
    assert parse_yaml("a: 1e-3\nb: 2_000\nc: 1.5e+6\nd: 2024-03-01", where="x") == {
        "a": 1e-3,
        "b": 2000,
        "c": 1.5e6,
        "d": "2024-03-01",
    }


def test_lines_of_fields_are_known(tmp_path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("a: 1\nb:\n  c: 2\n  d: [3, {e: 4}]\n")
    values, lines = read_yaml(file)
    assert values == {"a": 1, "b": {"c": 2, "d": [3, {"e": 4}]}}
    assert (lines["a"], lines["b.c"], lines["b.d.1.e"]) == (1, 3, 4)


def test_merge_lays_dicts_over_each_other_and_replaces_the_rest() -> None:
    below = {"a": {"b": 1, "c": [1, 2]}, "d": 1}
    assert merge_settings(below, {"a": {"c": [3]}, "d": {"e": 1}}) == {"a": {"b": 1, "c": [3]}, "d": {"e": 1}}
    assert below == {"a": {"b": 1, "c": [1, 2]}, "d": 1}


def test_arguments_of_functions_are_checked_like_settings() -> None:
    def rule(stats: object, *, at_least: NonNegativeInt = 3) -> None: ...

    assert check_arguments(rule, {}, where="rule") == {"at_least": 3}
    with pytest.raises(SettingsError, match="did you mean 'at_least'"):
        check_arguments(rule, {"at_lest": 3}, where="rule")


@settings
class LaterShares:
    shares: AddedLater[MixtureWeights | None] = None


def test_shares_that_came_later_are_replaced_as_a_whole_too() -> None:
    assert merge_settings({"shares": {"a": 1.0}}, {"shares": {"b": 1.0}}, LaterShares) == {"shares": {"b": 1.0}}


# ---- files of others ----


@settings
class Reading:
    file: InputFile


def test_what_a_file_folder_or_pattern_holds_is_part_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "b.txt").write_text("b")
    for place in ("a.txt", "", "*.txt", "[ab].txt"):
        before = Reading(file=str(tmp_path / place)).file
        assert input_place(before) == str(tmp_path / place)
        assert Reading(file=before).file == before
        (tmp_path / "a.txt").write_text("changed")
        assert Reading(file=str(tmp_path / place)).file != before
        (tmp_path / "a.txt").write_text("a")
        assert Reading(file=str(tmp_path / place)).file == before
    for place in ("none.txt", "*.none"):
        with pytest.raises(SettingsError, match="cannot be read"):
            Reading(file=str(tmp_path / place))


def test_a_large_file_is_hashed_once_and_again_when_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(settings_module, "_REMEMBERED_BYTES", 4)
    hashed: list[Path] = []
    plain = _Hashing._hash
    monkeypatch.setattr(_Hashing, "_hash", lambda self, path, buffer: hashed.append(path) or plain(self, path, buffer))
    model = tmp_path / "model"
    model.mkdir()
    (model / "weights").write_text("long enough")
    (model / "config").write_text("cfg")
    first = Reading(file=str(model)).file
    assert Reading(file=str(model)).file == first
    assert sorted(file.name for file in hashed[:2]) == ["config", "weights"]
    assert [file.name for file in hashed[2:]] == ["config"]
    (model / "weights").write_text("others than those")
    assert Reading(file=str(model)).file != first
    monkeypatch.setenv("HERD_CACHE", str(model / "config"))  # a cache that cannot be made
    assert Reading(file=str(model)).file != first


def test_an_address_counts_by_what_the_service_says_of_it() -> None:
    fsspec = pytest.importorskip("fsspec", reason="the package for addresses is not installed")
    system = fsspec.filesystem("memory")
    system.pipe_file("/settings/a.jsonl", b"{}")
    named = Reading(file="memory://settings/a.jsonl").file
    assert input_place(named) == "memory://settings/a.jsonl"
    assert named == Reading(file="memory://settings/a.jsonl").file
    system.pipe_file("/settings/a.jsonl", b"{1}")
    assert named != Reading(file="memory://settings/a.jsonl").file
    with pytest.raises(SettingsError, match="there is no such file"):
        Reading(file="memory://settings/none.jsonl")
