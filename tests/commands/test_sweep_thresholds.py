"""`herd retune`: a table of what other thresholds would drop."""

from __future__ import annotations

from pathlib import Path

import pytest

from herd.cli import main


def test_every_rule_is_a_line_of_what_comes_to_it_what_it_drops_and_what_it_would_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def retune(corpus, rules, languages):
        asked.append((corpus, [(use.name, use.settings["at_least"]) for use in rules["default"]], languages))
        yield "word_count", {"in": 1234567, "dropped": 1200, "alone": 1300}
        yield "shouting", {"in": 1233367, "dropped": 0, "alone": 7}

    monkeypatch.setattr("herd.corpus.judging.sweep_thresholds", retune)
    words = ["--set", "rules={default: [word_count: {at_least: 7}]}", "--set", "languages={}"]
    assert main(["sweep-thresholds", str(tmp_path), *words]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        ["rule", "in", "dropped", "alone"],
        ["word_count", "1,234,567", "1,200", "1,300"],
        ["shouting", "1,233,367", "0", "7"],
    ]
    assert asked == [(tmp_path, [("word_count", 7)], {})]


def test_a_corpus_without_statistics_and_rules_that_nobody_knows_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sweep-thresholds", str(tmp_path)]) == 1
    assert "keep_stats=true" in capsys.readouterr().err
    assert main(["sweep-thresholds", str(tmp_path), "--rules", "finewb"]) == 2
    assert "did you mean 'fineweb'" in capsys.readouterr().err
