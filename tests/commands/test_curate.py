"""`herd curate`: a corpus where the user looks for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from herd.cli import main


def test_curate_makes_a_corpus_where_the_user_looks_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import pyarrow.parquet as parquet

    monkeypatch.setenv("HERD_CACHE", str(tmp_path / "cache"))
    story = "".join(
        f"<p>The story of day {n} goes on for a while, and that is all there is to it.</p>" for n in range(9)
    )
    for number in range(3):
        (tmp_path / f"{number}.html").write_text(
            f"<html><body><main>{story.replace('day', f'day {number}')}</main></body></html>"
        )
    command = [
        "curate",
        str(tmp_path / "*.html"),
        "--out",
        str(tmp_path / "out"),
        "--set",
        "rules={default: [word_count]}",
    ]
    assert main([*command, "--dry-run"]) == 0
    assert "3 files" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()
    assert main([*command, "--set", "dedup=[]", "--workers", "1"]) == 0
    assert "kept" in capsys.readouterr().out
    (row, *_) = parquet.read_table(tmp_path / "out" / "documents").to_pylist()
    assert row["text"].startswith("The story of day 0 0 goes on")
    assert row["stats"]["plain_words"] > 50
    assert {"id", "text", "source", "url", "added", "language"} <= set(row)
    assert main(["sweep-thresholds", str(tmp_path / "out")]) == 1
    assert "keep_stats=true" in capsys.readouterr().err
    first = (tmp_path / "out" / "documents").resolve().parent
    assert "led to another corpus" not in capsys.readouterr().out
    assert main([*command, "--set", "dedup=[]", "--set", "keep_stats=true", "--workers", "1"]) == 0
    assert f"led to another corpus, which stays in {first};" in capsys.readouterr().out
    assert (first / "documents").is_dir()
    assert main([*command, "--set", "dedup=[]", "--set", "keep_stats=true", "--workers", "1"]) == 0
    assert "led to another corpus" not in capsys.readouterr().out
    assert (
        main(["sweep-thresholds", str(tmp_path / "out"), "--set", "rules={default: [word_count: {at_least: 1000}]}"])
        == 0
    )
    assert capsys.readouterr().out.split()[-4:] == ["word_count", "3", "3", "3"]


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--rules", "finewb"], "did you mean 'fineweb'"),
        (["--set", "dedup=[minhsh]"], "did you mean 'minhash'"),
        (["--set", "urls={domain: []}"], "did you mean 'domains'"),
    ],
)
def test_curate_tells_what_is_wrong(
    more: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HERD_CACHE", str(tmp_path / "cache"))
    (tmp_path / "a.txt").write_text("text")
    assert main(["curate", str(tmp_path / "a.txt"), "--out", str(tmp_path / "out"), *more]) == 2
    assert told in capsys.readouterr().err


def rows(folder: Path) -> list[dict]:
    import pyarrow.parquet as parquet

    return sorted(parquet.read_table(folder / "documents").to_pylist(), key=lambda row: row["text"])


def test_sources_are_named_where_their_files_are_and_tables_by_their_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HERD_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "code.jsonl").write_text('{"content": "one line", "lang": "Python", "license": "MIT"}\n')
    (tmp_path / "web.jsonl").write_text('{"content": "two lines", "source": "what it says"}\n')
    command = ["curate", "python=code.jsonl", "web.jsonl", "--out", "out", "--set", "rules={default: []}"]
    command += ["--set", "dedup=[]", "--workers", "1"]
    assert main([*command, "--text-column", "content", "--dry-run"]) == 0
    assert "source python: 1 file," in capsys.readouterr().out
    assert main([*command, "--text-column", "content"]) == 0
    assert [row["source"] for row in rows(tmp_path / "out")] == ["python", "web"]
    assert json.loads(rows(tmp_path / "out")[0]["notes"]) == {"lang": "Python", "license": "MIT"}
    assert main([*command, "--columns", "the_stack", "--source-column", "lang"]) == 0
    assert [row["source"] for row in rows(tmp_path / "out")] == ["Python", "web"]
    capsys.readouterr()
    assert main([*command, "--text-column", "contents", "--dry-run"]) == 2
    told = capsys.readouterr().err
    assert "no text in the column `contents`; they have content, lang, license" in told
    assert "give --text-column content" in told
    assert main([*command, "--columns", "the_stak"]) == 2
    assert "did you mean 'the_stack'" in capsys.readouterr().err
    assert main([*command, "--source", "web"]) == 2
    assert (
        capsys.readouterr()
        .err.strip()
        .endswith("--source is gone; name the source where its files are, such as web=crawl/")
    )
