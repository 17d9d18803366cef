"""`herd show --json`: metadata with typed results, for other programs."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from herd.cli import main
from herd.core.artifacts import METADATA_FILE, ArtifactMetadata, Corpus, write_metadata
from herd.core.errors import ArtifactError
from herd.core.results import results
from herd.core.stage import Work, stage
from herd.run.runner import run_stages
from herd.serve.metadata import as_data


@results.add(version=4)
@dataclass(frozen=True)
class LineCountForTests:
    lines: int
    mean: float


@stage(paper="3.1", version=1)
def write_lines_for_tests(work: Work, *, lines: int) -> Corpus:
    """Lines."""
    (work.out / "text").write_text("\n" * lines)
    work.record(LineCountForTests(lines, math.nan))
    work.headline = f"{lines} lines"
    return Corpus(work.out)


def shown(capsys: pytest.CaptureFixture[str], *options: str) -> Any:
    assert main(["show", *options, "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    return json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_a_card_is_printed_with_its_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = run_stages(write_lines_for_tests(lines=3), tmp_path, jobs=0)
    metadata = shown(capsys, str(made.path), "--verify")
    names = "format type key stage version paper code settings inputs results cost module headline files"
    assert list(metadata) == names.split()
    assert metadata["format"] == 1
    assert (metadata["type"], metadata["key"], metadata["headline"]) == ("Corpus", made.key, "3 lines")
    assert metadata["results"] == {"LineCountForTests": {"version": 4, "lines": 3, "mean": None}}
    assert metadata["files"].keys() == {"text"}
    assert made.result(LineCountForTests).lines == 3


def test_a_run_is_a_list_of_cards_and_results_nobody_knows_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = run_stages(write_lines_for_tests(lines=3), tmp_path, jobs=0)
    strange = tmp_path / "artifacts" / "strange-1"
    strange.mkdir()
    write_metadata(
        strange,
        ArtifactMetadata("Corpus", "strange-1", "x", 1, "-", "-", {}, {}, {"FromTheFuture": {"version": 9, "a": [1]}}),
    )
    broken = tmp_path / "artifacts" / "broken-1"
    broken.mkdir()
    data = shown(capsys, str(tmp_path))
    assert {metadata["key"] for metadata in data["artifacts"]} == {made.key, "strange-1"}
    assert data["damaged"] == ["broken-1"]
    assert shown(capsys, str(strange))["results"]["FromTheFuture"] == {"version": 9, "a": [1]}


def test_what_is_none_and_what_is_damaged_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ArtifactError, match="is not an artifact of herd"):
        as_data(tmp_path)
    made = run_stages(write_lines_for_tests(lines=3), tmp_path, jobs=0)
    (made.path / "text").write_text("\n\n!")
    assert main(["show", str(made.path), "--json", "--verify"]) == 1
    assert "is damaged" in capsys.readouterr().err
    assert (made.path / METADATA_FILE).exists()
