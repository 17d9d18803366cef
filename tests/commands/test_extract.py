"""`herd extract`: a line of JSON for every page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from herd.cli import main


def test_extract_prints_a_line_for_every_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.html").write_text("<title>T</title><body><h1>Head</h1><p>Some text, to be read by all of you.</p>")
    (tmp_path / "b.html").write_bytes(bytes(range(9)) * 99)
    assert main(["extract", str(tmp_path), "--markdown"]) == 0
    good, bad = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert good["text"] == "# Head\n\nSome text, to be read by all of you."
    assert (good["title"], good["language"]) == ("T", "en")
    assert good["seconds"] >= 0
    assert "encoding" in bad["fault"]


def test_the_main_text_or_all_that_a_page_shows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "a.html"
    story = "".join(f"<p>The story of day {n} goes on for a while, and that is all there is.</p>" for n in range(9))
    aside = "<div class='sidebar'><p>Imprint: a house on a hill, and who lives there.</p></div>"
    page.write_text(f"<body><main>{story}</main>{aside}</body>")
    texts = []
    for words in ((), ("--all-text",)):
        assert main(["extract", str(page), *words]) == 0
        (row,) = map(json.loads, capsys.readouterr().out.splitlines())
        texts.append(row["text"])
    assert texts[0].startswith("The story of day 0")
    assert ["Imprint" in text for text in texts] == [False, True]
