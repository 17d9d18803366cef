"""The page of answers: scores, tags, and texts of models that stay texts."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from herd.core.errors import ArtifactError
from herd.evals.answers import AnswerRecord, AnswerStore, RunSettings
from herd.evals.intervals import Interval
from herd.evals.needle_grid import cell_name
from herd.report.answers import answer_blocks, bar_of, one_line, shorten, verdict_tags, write_answers_page

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7 * 7 }}\ud800"


def store(folder: Path, name: str = "gsm8k") -> AnswerStore:
    kept = AnswerStore(folder)
    settings = RunSettings(name, {}, {"name": EVIL}, {}, {"stop": [], "max_tokens": 9})
    rows = [
        AnswerRecord(name, f"{EVIL}{n}", group=f"<b>{n % 2}", prompt=EVIL, response=EVIL, score=score, extracted=EVIL)
        for n, score in enumerate((1.0, 0.0, None, 0.5))
    ]
    rows.append(replace(rows[1], id="q", unparsed=True, finish_reason="length", tokens=9))
    kept.open_task(settings).append(rows)
    return kept


def data_of(page: str) -> list[dict]:
    match = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert match
    return json.loads(match[1])


def test_what_models_write_never_becomes_markup(tmp_path: Path) -> None:
    page = write_answers_page(store(tmp_path, "<i>task</i>").folder).read_text()
    assert "alert(1)</script>" not in page
    assert "<img" not in page
    assert "<i>task" not in page
    assert "<b>0" not in page
    assert "49" not in page.split("<body>")[1]
    assert page.count("<script") == 2
    assert "default-src 'none'" in page
    assert "innerHTML" not in page
    assert not re.search(r"(src|href)=.?(http|//)", page)
    items = data_of(page)
    assert len(items) == 5
    assert items[0]["blocks"][0] == ["asked", EVIL]


def test_items_are_told_by_verdict_and_scores_by_group(tmp_path: Path) -> None:
    page = write_answers_page(store(tmp_path).folder).read_text()
    assert [item["tags"] for item in data_of(page)] == [
        ["right"], ["wrong"], ["void"], ["partly right"], ["wrong", "unparsed", "cut off"],
    ]  # fmt: skip
    body = page.split("<body>")[1]
    assert "built-in" not in body
    assert "0.375" in body
    assert "&lt;b&gt;0" in body
    assert body.count('class="group"') == 3
    assert body.index("mean of groups") < body.index("&lt;b&gt;0")


def needles(folder: Path) -> AnswerStore:
    """Two lengths and two depths, a cell of them void and one not asked."""
    kept = AnswerStore(folder)
    rows = [
        AnswerRecord("niah", f"{length}-{depth}-{n}", group=cell_name(length, depth), prompt="Where?", score=score,
                     response=f"It is {n}.", unparsed=score == 0.0)
        for length, depth, scores in ((1000, 0.0, (1.0, 1.0)), (1000, 1.0, (1.0, 0.0)), (2000, 0.0, (None, 0.0)))
        for n, score in enumerate(scores)
    ]  # fmt: skip
    kept.open_task(RunSettings("niah", {}, {"name": "m"}, {}, {"stop": [], "max_tokens": 9})).append(rows)
    return kept


def test_needles_have_a_heat_map_of_lengths_and_depths(tmp_path: Path) -> None:
    page = write_answers_page(needles(tmp_path).folder).read_text()
    table = page[page.index('<h2 id="needles">') : page.index('<h2 id="items">')]
    assert re.findall(r'<th class="n">([^<]*)', table) == ["length", "0.00", "1.00", "all depths"]
    assert re.findall(r'<td class="cell" style="background:([^"]*)">([^<]*)', table) == [
        ("hsl(120 55% 80%)", "100%"), ("hsl(60 55% 80%)", "50%"), ("hsl(0 55% 80%)", "0%"), ("transparent", ""),
    ]  # fmt: skip
    tags = [item["tags"] for item in data_of(page)]
    assert tags == [["right"]] * 3 + [["wrong", "unparsed"], ["void"], ["wrong", "unparsed"]]
    assert 'id="needles"' not in write_answers_page(store(tmp_path / "other").folder).read_text()


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium here")
@pytest.mark.parametrize(("tag", "count"), [("void", 1), ("unparsed", 2)])
def test_a_browser_shows_the_items_of_a_verdict(tag: str, count: int, tmp_path: Path) -> None:
    page = write_answers_page(needles(tmp_path).folder)
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'browser'}"]
    body = subprocess.run(
        [*command, "--dump-dom", f"{page.as_uri()}#tag={tag}"], capture_output=True, text=True, timeout=300
    ).stdout
    assert f"{count} of 6 answers" in body
    assert body.count("<details") == count


def test_a_folder_without_answers_has_no_page(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="holds no answers"):
        write_answers_page(tmp_path)


def test_texts_have_scores_in_bits(tmp_path: Path) -> None:
    kept = AnswerStore(tmp_path)
    settings = RunSettings("wiki", {}, {"name": "m"}, output="perplexity")
    rows = [AnswerRecord("wiki", f"{n}", log_likelihoods=(-10.0 * n,), utf8_bytes=8, tokens=3) for n in (1, 2)]
    kept.open_task(settings).append(rows)
    page = write_answers_page(tmp_path).read_text()
    assert "bits a byte" in page
    assert [item["tags"] for item in data_of(page)] == [[], []]


def test_long_texts_are_cut_where_the_question_stands_last() -> None:
    assert shorten("abcdef", 3) == "abc\n[3 more characters]"
    assert shorten("abcdef", 3, keep_end=True) == "[3 more characters]\ndef"
    assert one_line("first\n" * 100 + "the question?").endswith("the question?")
    assert len(one_line("word " * 1000)) < 150
    blocks = dict(answer_blocks(AnswerRecord("t", "1", choices=(" A", " B"), log_likelihoods=(-1.0, -2.5))))
    assert blocks == {"choices, with log-likelihoods in nats": "   -1.0000   A\n   -2.5000   B"}
    assert verdict_tags(AnswerRecord("t", "1", score=0.25)) == ["partly right"]


def test_bars_lie_on_their_axis() -> None:
    assert bar_of(Interval(0.5, 0.25, 0.75), 0.0, 1.0) == (25.0, 50.0, 50.0)
    assert bar_of(Interval(0.5, -float("inf"), float("inf")), 0.0, 1.0) == (50.0, 0.0, 50.0)
    assert bar_of(Interval(-5.0, -6.0, -4.0), -10.0, 0.0) == (40.0, 20.0, 50.0)
