"""Artifacts are whole or absent, and know when they are damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from herd.core.artifacts import (
    ArtifactMetadata,
    Checkpoint,
    Corpus,
    Tokens,
    atomic_folder,
    atomic_write,
    checksums_match,
    is_complete,
    write_checksums,
    write_metadata,
)
from herd.core.errors import ArtifactError


def made(folder: Path, text: str = "hello") -> Path:
    with atomic_folder(folder) as out:
        (out / "data.txt").write_text(text)
        write_metadata(out, ArtifactMetadata("Corpus", "key", "stage", 1, "3.1", "code", {}, {}))
    return folder


def test_a_folder_gets_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    final = tmp_path / "a"
    with pytest.raises(RuntimeError, match="stop"), atomic_folder(final) as out:
        (out / "half").write_text("x")
        raise RuntimeError("stop")
    assert not final.exists()
    made(final)
    assert is_complete(final)
    assert not (tmp_path / "a.partial").exists()


def test_a_failed_second_writing_leaves_the_first(tmp_path: Path) -> None:
    final = made(tmp_path / "a", "first")
    with pytest.raises(RuntimeError, match="stop"), atomic_folder(final) as out:
        (out / "data.txt").write_text("second")
        raise RuntimeError("stop")
    assert (final / "data.txt").read_text() == "first"


def test_open_gives_the_type_the_card_names(tmp_path: Path) -> None:
    folder = made(tmp_path / "a")
    assert type(Corpus.open(folder)) is Corpus
    with pytest.raises(ArtifactError, match="is a Corpus, not a Tokens"):
        Tokens.open(folder)


@pytest.mark.parametrize("damage", ["missing", "shorter", "one bit"])
def test_damage_is_found(damage: str, tmp_path: Path) -> None:
    folder = made(tmp_path / "a")
    file = folder / "data.txt"
    assert Corpus.open(folder).verify().path == folder
    if damage == "missing":
        file.unlink()
    else:
        file.write_text("hell" if damage == "shorter" else "hellp")
    assert is_complete(folder) == (damage == "one bit")  # lengths are looked at in passing, bits on demand
    with pytest.raises(ArtifactError, match="missing|damaged"):
        Corpus.open(folder).verify()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"key": 1}'])
def test_a_card_that_is_none_is_told(text: str, tmp_path: Path) -> None:
    (tmp_path / "artifact.json").write_text(text)
    with pytest.raises(ArtifactError, match="run the recipe again"):
        Corpus.open(tmp_path)
    assert not is_complete(tmp_path)


def test_seals_notice_any_change(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    assert not checksums_match(tmp_path)
    write_checksums(tmp_path)
    assert checksums_match(tmp_path)
    (tmp_path / "a").write_text("2")
    assert not checksums_match(tmp_path)


def test_write_whole_replaces_a_file(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    for value in (1, 2):
        atomic_write(file, json.dumps(value))
        assert json.loads(file.read_text()) == value
    assert list(tmp_path.iterdir()) == [file]


def test_a_planned_artifact_has_no_path_and_one_from_disk_no_plan(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="has no plan"):
        _ = Checkpoint(tmp_path).plan
