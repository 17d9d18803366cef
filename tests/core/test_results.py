"""Results: typed, registered by name and version, and read back or refused in one sentence."""

from __future__ import annotations

import importlib
import json
import math
import pkgutil
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import herd
from herd.core.artifacts import Artifact, ArtifactMetadata, Corpus, write_metadata
from herd.core.errors import ArtifactError, SettingsError
from herd.core.results import ResultTypes, fields_added, results
from herd.core.stage import Work
from herd.run.executors import LocalExecutor
from tests.results import is_read_back


@results.add(version=2)
@dataclass(frozen=True)
class WordCountForTests:
    words: int
    shares: dict[str, float] = field(default_factory=dict)


@pytest.fixture
def made(tmp_path: Path) -> Corpus:
    work = Work(tmp_path, tmp_path, LocalExecutor())
    work.record(WordCountForTests(3, {"a": math.inf}))
    rows = results.to_rows(work.results.values())
    write_metadata(tmp_path, ArtifactMetadata("Corpus", "c-1", "count", 1, "-", "-", {}, {}, rows, headline="3 words"))
    return Corpus.open(tmp_path)


def rewritten(folder: Path, change: dict[str, Any]) -> Artifact:
    card = json.loads((folder / "artifact.json").read_text())
    files = card.pop("files")
    del card["sha256"]
    card["results"]["WordCountForTests"] |= change
    (folder / "artifact.json").write_text(json.dumps({**card, "files": files}))
    return Artifact.open(folder)


def test_a_result_is_asked_for_by_its_type(made: Corpus) -> None:
    assert made.result(WordCountForTests) == WordCountForTests(3, {"a": math.inf})
    assert made.metadata["results"] == {"WordCountForTests": {"version": 2, "words": 3, "shares": {"a": math.inf}}}
    assert made.headline == "3 words"


def test_rows_of_older_versions_are_read_where_upgrades_lead_from_them() -> None:
    types_ = ResultTypes()

    @types_.add(version=3, upgrades={1: fields_added, 2: lambda row: row | {"words": 1000 * row["words"]}})
    @dataclass(frozen=True)
    class Counted:
        words: int
        lines: int = 0

    rows = [{"version": 1, "words": 4}, {"version": 2, "words": 4, "lines": 1}, {"version": 3, "words": 4, "lines": 2}]
    read = [types_.from_row(Counted, row, "x") for row in rows]
    assert read == [Counted(4000), Counted(4000, 1), Counted(4, 2)]
    assert rows[1] == {"version": 2, "words": 4, "lines": 1}
    for version in (0, 4, None, "1"):
        with pytest.raises(ArtifactError, match=f"version {version} and this herd reads version 3"):
            types_.from_row(Counted, {"version": version, "words": 4}, "x")
    with pytest.raises(ArtifactError, match="holds no Counted of version 2: KeyError"):
        types_.from_row(Counted, {"version": 1, "wrds": 4}, "x")
    with pytest.raises(ArtifactError, match=r"as it is declared: .*wrds"):
        types_.from_row(Counted, {"version": 2, "words": 1, "wrds": 4}, "x")


@pytest.mark.parametrize("upgrades", [{1: fields_added}, {2: fields_added, 3: fields_added}, {0: fields_added}])
def test_upgrades_lead_up_to_the_version(upgrades: Any) -> None:
    with pytest.raises(SettingsError, match="upgrades to version 3 say nothing of version|give one for each"):
        ResultTypes().add(version=3, upgrades=upgrades)


def test_what_was_not_recorded_is_told_in_one_sentence(made: Corpus) -> None:
    from herd.train.results import TrainingResult

    assert made.get_result(TrainingResult) is None
    with pytest.raises(ArtifactError, match=r"has no result TrainingResult \(its results: WordCountForTests\)"):
        made.result(TrainingResult)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": 3}, "holds WordCountForTests version 3 and this herd reads version 2"),
        ({"version": None}, "version None"),
        ({"wrds": 4}, "holds no WordCountForTests as it is declared: .*wrds"),
        ({"words": "4"}, 'words is "4"; it should be integer'),
        ({"words": 4, "shares": {"a": "x"}}, "shares.a is"),
    ],
)
def test_another_version_and_other_fields_are_refused(
    made: Corpus, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    with pytest.raises(ArtifactError, match=words) as refused:
        rewritten(tmp_path, change).result(WordCountForTests)
    assert "\n" not in str(refused.value)


def test_a_card_from_before_there_were_results_has_none(made: Corpus, tmp_path: Path) -> None:
    card = json.loads((tmp_path / "artifact.json").read_text())
    files = card.pop("files")
    for name in ("results", "headline", "sha256"):
        del card[name]
    (tmp_path / "artifact.json").write_text(json.dumps({**card, "figures": {"words": 3}, "files": files}))
    old = Corpus.open(tmp_path)
    assert old.headline == ""
    with pytest.raises(ArtifactError, match="its results: none"):
        old.result(WordCountForTests)


@dataclass(frozen=True)
class Unregistered:
    words: int


def test_only_registered_results_of_declared_values_are_recorded_and_each_once(tmp_path: Path) -> None:
    work = Work(tmp_path, tmp_path, LocalExecutor())
    with pytest.raises(ArtifactError, match=r"Unregistered is no registered result; write @results.add"):
        work.record(Unregistered(1))
    wrong: Any = ["x", 1.5, object()]
    for value in wrong:
        with pytest.raises(ArtifactError):
            work.record(WordCountForTests(value))
    work.record(WordCountForTests(1))
    with pytest.raises(ArtifactError, match="recorded twice"):
        work.record(WordCountForTests(2))
    assert work.results == {WordCountForTests: WordCountForTests(1)}


def test_a_name_that_is_taken_and_what_is_no_frozen_dataclass_are_refused() -> None:
    types_ = ResultTypes()
    types_.add(version=1)(Unregistered)
    assert types_.add(version=1)(Unregistered) is Unregistered  # as when a module is imported again
    twin: Any = dataclass(frozen=True)(type("Unregistered", (), {"__annotations__": {}}))
    twin.__module__ = "elsewhere"
    with pytest.raises(SettingsError, match="two results are called 'Unregistered'"):
        types_.add(version=1)(twin)

    @dataclass
    class Loose:
        words: int

    @dataclass(frozen=True)
    class Versioned:
        version: int

    with pytest.raises(SettingsError, match="no frozen dataclass"):
        types_.add(version=1)(Loose)
    with pytest.raises(SettingsError, match="a field `version`"):
        types_.add(version=1)(Versioned)


def test_every_result_of_the_house_is_read_back() -> None:
    for module in pkgutil.walk_packages(herd.__path__, "herd."):
        if "__main__" not in module.name:
            importlib.import_module(module.name)
    kinds = {name: kind for name, kind in results.all().items() if kind.__module__.startswith("herd.")}
    assert len(kinds) > 40
    assert not [name for name, kind in kinds.items() if not is_read_back(kind)]


def test_no_figures_by_key_are_left() -> None:
    """What stages found out has types: no stage keeps a dict for others to read by key."""
    for file in Path(herd.__path__[0]).rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"\bwork\.figure|\.figures\[|\[\"figures\"\]", text), file
    assert not hasattr(Work, "figure")
    assert not hasattr(Artifact, "figures")
