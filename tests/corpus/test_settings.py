"""What decides what stays: found by name or file, laid over by `--set`, and told where it is wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from herd.core.errors import SettingsError
from herd.core.settings import build
from herd.corpus.filters import filters
from herd.corpus.judging import parse_rule
from herd.corpus.pages import PAGE_BYTES
from herd.corpus.settings import CurateSettings, load_rules, packaged_rules, read_phrases


def test_a_wrong_rule_is_told_with_file_and_nearest_name(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("rules:\n  default:\n    - wordcount\n")
    with pytest.raises(SettingsError, match="mine.yaml, line 3.*did you mean 'word_count'"):
        load_rules(str(file))
    with pytest.raises(SettingsError, match="neither a .yaml file nor one of"):
        load_rules("finewb")


def test_a_source_has_its_own_rules_or_those_of_all() -> None:
    own, all_others = (filters.configure("word_count", at_least=least) for least in (1, 2))
    settings = CurateSettings(rules={"web": (own,), "default": (all_others,)})
    assert (settings.rules_for("web"), settings.rules_for("books")) == ((own,), (all_others,))
    assert (settings.rules_key("web"), settings.rules_key("books")) == ("web", "default")
    assert CurateSettings(rules={"web": (own,)}).rules_for("books") == ()


def test_values_that_are_set_lie_over_the_packaged_ones() -> None:
    plain = load_rules("c4")
    changed = load_rules("c4", ["keep_stats=true", "rules.default=[word_count: {at_least: 7}]", "max_text_bytes=1000"])
    assert (plain.keep_stats, plain.max_text_bytes) == (False, PAGE_BYTES)
    assert (changed.keep_stats, changed.max_text_bytes) == (True, 1000)
    assert changed.rules == {"default": (parse_rule({"word_count": {"at_least": 7}}),)}
    assert replace(changed, keep_stats=False, max_text_bytes=PAGE_BYTES, rules=plain.rules) == plain


@pytest.mark.parametrize("name", packaged_rules())
def test_packaged_rules_are_those_of_their_file(name: str) -> None:
    import herd.corpus.settings as room

    assert load_rules(name) == load_rules(str(Path(room.__file__).parent / "rules" / f"{name}.yaml"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("keep_stat=true", "did you mean 'keep_stats'"),
        ("shard_bytes=0", "shard_bytes"),
        ("broken_files=perhaps", "broken_files"),
        ("dedup=[minhahs]", "did you mean 'minhash'"),
        ("languages.de=[c4_lines]", "'c4_lines' is not one of the filters"),
    ],
)
def test_a_value_that_cannot_be_is_told_by_its_name(change: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        load_rules("c4", [change])


def test_rules_are_written_down_as_they_are_read() -> None:
    settings = build(CurateSettings, {"rules": {"default": ["word_count", {"c4_lines": {"min_words": 5}}]}}, where="x")
    assert [use.to_row() for use in settings.rules["default"]] == [
        {"word_count": {"at_least": 50, "at_most": 100_000}},
        {"c4_lines": {**parse_rule("c4_lines").settings, "min_words": 5}},
    ]


def test_words_are_read_a_line_each_from_all_files(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("rude\n\n  very bad \r\n", encoding="utf-8")
    (tmp_path / "b.txt").write_text("grün", encoding="utf-8")
    assert read_phrases((str(tmp_path / "a.txt"), str(tmp_path / "b.txt"))) == ("rude", "very bad", "grün")
