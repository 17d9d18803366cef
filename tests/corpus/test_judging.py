"""Rules on a batch: each sees all documents, the first that drops one keeps it, and thresholds can be tried later."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from herd.core.artifacts import Artifact
from herd.core.errors import ArtifactError, SettingsError
from herd.core.registry import PluginConfig
from herd.corpus.columns import TextColumns
from herd.corpus.filters import filters
from herd.corpus.judging import apply_rules, parse_rule, sweep_thresholds
from herd.corpus.rewrites import rewrites
from herd.corpus.settings import CurateSettings
from herd.corpus.sources import files
from herd.corpus.stages import curate
from herd.corpus.stats import EDIT_STATS, compute_stats
from herd.run.runner import run_stages

TEXTS = [
    "The cat sat with the dog and that was good to see. " * 6,
    "BUY NOW " * 3,
    "too short",
    "",
    "if (x) { return y; }\n" * 9,
    "a line\na line\na line\na line",
    "Der Hund und die Katze sind nicht zu Hause, weil sie mit uns in die Stadt gegangen sind. " * 3,
    "Lorem ipsum dolor sit amet, consectetur and so on with words that follow.",
]
NAMES = ("word_count", "uppercase_words", "curly_braces", "repeated_lines", "lorem_ipsum", "stop_words")


def column(texts: list[str]) -> pa.LargeStringArray:
    return pa.array(texts, pa.large_string())


@settings(max_examples=30)
@given(st.lists(st.sampled_from(TEXTS), max_size=8), st.permutations(NAMES), st.integers(0, len(NAMES)))
def test_a_document_stays_under_the_first_rule_that_drops_it(texts: list[str], names: list[str], count: int) -> None:
    rules = [filters.configure(name) for name in names[:count]]
    found = apply_rules(column(texts), rules)
    drops = {use.name: filters.make(use)(compute_stats(texts)) for use in rules}
    assert found.step.tolist() == [
        next((use.name for use in rules if drops[use.name][row]), "") for row in range(len(texts))
    ]
    assert dict(found.alone) == {name: int(dropped.sum()) for name, dropped in drops.items()}
    assert found.texts.to_pylist() == texts


def test_edits_are_counted_and_judged() -> None:
    found = apply_rules(
        pa.array(["one two three four five. Ends.\nthis line has no end and goes"], pa.large_string()),
        (
            parse_rule("c4_lines"),
            parse_rule({"removed_words": {"at_most": 0.5}}),
            parse_rule({"word_count": {"at_least": 3}}),
        ),
    )
    stats = found.stats[-1]
    assert (stats.lines_in[0], stats.words_in[0], stats.words_out[0], stats.unpunctuated[0]) == (2, 13, 6, 1)
    assert found.step.tolist() == ["removed_words"]
    assert dict(found.alone) == {"removed_words": 1, "word_count": 0}


def test_of_two_rules_that_take_out_the_first_says_what_came_and_the_second_what_is_left() -> None:
    text = "Long enough it is.\nBUY IT NOW OR NEVER.\nThis goes on here.\nno end"
    found = apply_rules(column([text]), (parse_rule("c4_lines"), parse_rule("refinedweb_lines")))
    first, last = found.stats
    assert (first.lines_in[0], last.lines_in[0]) == (0, 4)
    assert found.texts.to_pylist() == ["Long enough it is.\nThis goes on here."]
    assert (last.words_in[0], last.words_out[0]) == (len(text.split()), 8)
    assert (last.unpunctuated[0], last.capitals[0]) == (1, 1)
    assert len(found.stats) == 2  # a state that no rule judges is not measured


def test_a_text_that_the_first_rule_did_not_look_at_comes_into_the_second() -> None:
    found = apply_rules(column(["", "One two three four."]), (parse_rule("c4_lines"), parse_rule("refinedweb_lines")))
    assert found.stats[-1].lines_in.tolist() == [0, 1]
    assert set(EDIT_STATS) <= set(found.stats[-1].columns())


def test_what_rewriting_counts_is_added_up() -> None:
    found = apply_rules(column(["a@b.org and c@d.org", "8.8.8.8"]), (parse_rule("mask_pii"),))
    assert {kind: count for kind, count in found.metrics.items() if count} == {"emails": 2, "ips": 1}


def test_a_language_with_settings_of_its_own_is_judged_by_those() -> None:
    rules = (parse_rule({"word_count": {"at_least": 10}}),)
    by_language = {
        "de": (parse_rule({"word_count": {"at_least": 1000}}), parse_rule({"uppercase_words": {"at_most": 0.0}}))
    }
    english, german = TEXTS[0], TEXTS[6]
    assert apply_rules(column([english, german]), rules, by_language).step.tolist() == ["", "word_count"]
    loose = {"de": (parse_rule({"word_count": {"at_least": 1}}),)}
    short = "Der Hund und die Katze sind zu Hause."
    assert apply_rules(column([short, "The dog is here."]), rules, loose).step.tolist() == ["", "word_count"]


def test_a_rule_is_known_by_its_name_be_it_a_filter_or_not() -> None:
    assert parse_rule("word_count").kind == filters.kind
    assert parse_rule({"c4_lines": {"min_words": 5}}) == rewrites.configure("c4_lines", min_words=5)
    use = filters.configure("symbols")
    assert parse_rule(use) is use
    for wrong, words in (("c4_line", "'c4_line' is not one of the"), ({"a": {}, "b": {}}, "names none of the")):
        with pytest.raises(SettingsError, match=words):
            parse_rule(wrong)


def test_a_name_of_both_kinds_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(filters._plugins, "c4_lines", filters.get("word_count"))
    with pytest.raises(SettingsError, match="a filter and a rewriting rule are both called 'c4_lines'; rename one"):
        parse_rule("c4_lines")


# ---- thresholds tried later ----


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Artifact:
    monkeypatch.setenv("HERD_CACHE", str(tmp_path / "cache"))
    texts = [
        "One two three.\nfour five six",
        "One two three.",
        "no end at all of it",
        "Now this is a longer one, and good.",
    ]
    rows = [{"text": text, "id": str(n), "source": "b" if n == 3 else "a"} for n, text in enumerate(texts)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    rules = tuple(
        map(parse_rule, ({"word_count": {"at_least": 1}}, "c4_lines", {"mean_word_length": {"at_least": 0.0}}))
    )
    plan = curate(
        (files(str(tmp_path / "a.jsonl"), source="a", columns=TextColumns(source="source")),),
        settings=CurateSettings(rules={"default": rules}, keep_stats=True),
    )
    return run_stages(plan, tmp_path / "run", jobs=0)


def tried(made: Artifact, rules: dict[str, tuple[PluginConfig, ...]]) -> list[tuple[str, tuple[int, int, int]]]:
    return [(name, (row["in"], row["dropped"], row["alone"])) for name, row in sweep_thresholds(made.path, rules)]


def test_rules_behind_a_rewriting_rule_judge_what_it_left(made: Artifact) -> None:
    before, after = parse_rule({"word_count": {"at_least": 4}}), parse_rule({"mean_word_length": {"at_least": 3.9}})
    lines = parse_rule("c4_lines")
    # Plain words: 6, 3, 5 and 8 as they came; 3, 3, 0 and 8 behind C4's lines.
    assert tried(made, {"default": (before,)}) == [("word_count", (4, 1, 1))]
    assert tried(made, {"default": (lines, before)}) == [("word_count", (4, 3, 3))]
    assert tried(made, {"default": (before, lines, after)})[0] == ("word_count", (4, 1, 1))
    (_, (_, first, alone)), (_, (left, second, every)) = tried(made, {"default": (before, lines, after)})
    assert (first, left) == (alone, 4 - first)
    assert second <= every


def test_sources_are_judged_by_rules_of_their_own(made: Artifact) -> None:
    strict, loose = (parse_rule({"word_count": {"at_least": least}}) for least in (100, 1))
    assert tried(made, {"default": (loose,), "b": (strict,)}) == [("word_count", (4, 1, 1))]
    assert tried(made, {"default": (strict,), "b": (loose,)}) == [("word_count", (4, 3, 3))]


def test_what_rules_found_at_first_is_found_again(made: Artifact) -> None:
    rules = tuple(
        map(parse_rule, ({"word_count": {"at_least": 1}}, "c4_lines", {"mean_word_length": {"at_least": 0.0}}))
    )
    assert tried(made, {"default": rules}) == [("word_count", (4, 0, 0)), ("mean_word_length", (4, 0, 0))]


def test_without_statistics_nothing_can_be_tried(tmp_path: Path, made: Artifact) -> None:
    plain = CurateSettings(rules={"default": (parse_rule("word_count"),)})
    other = run_stages(
        curate((files(str(tmp_path / "a.jsonl"), source="a"),), settings=CurateSettings(rules={})), tmp_path / "run"
    )
    with pytest.raises(ArtifactError, match="keeps no statistics; curate it again with --set keep_stats=true"):
        list(sweep_thresholds(other.path, plain.rules))
