"""What was written is told from what was changed later, and a run makes the damaged anew."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from herd.core import manifests
from herd.core.artifacts import ArtifactMetadata, Corpus, atomic_folder, is_complete, open_artifact, write_metadata
from herd.core.errors import ArtifactError, CorruptArtifactError
from herd.core.lineage import tree
from herd.core.manifests import atomic_write, cached_sha256, check_files, read_metadata, verify_folder, write_checksums
from herd.run.runner import run_stages
from tests.core.stages_for_tests import join, write
from tests.run.test_runner import Told


def made(folder: Path, text: str = "hello") -> Path:
    with atomic_folder(folder) as out:
        (out / "data.txt").write_text(text)
        write_metadata(out, ArtifactMetadata("Corpus", "key", "stage", 1, "3.1", "code", {"a": 1}, {}, headline="b"))
    return folder


def flip(file: Path, bit: int) -> None:
    data = bytearray(file.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    file.write_bytes(data)


def each_bit_flipped(file: Path) -> Iterator[bytes]:
    """`file` with one bit flipped, one after another, and what it then holds. Flipped in place: a file that is emptied
    and written anew waits for the disk."""
    whole = file.read_bytes()
    with file.open("r+b", buffering=0) as stream:
        for at, byte in enumerate(whole):
            for bit in range(8):
                os.pwrite(stream.fileno(), bytes([byte ^ 1 << bit]), at)
                yield file.read_bytes()
            os.pwrite(stream.fileno(), bytes([byte]), at)
    assert file.read_bytes() == whole


def test_every_bit_of_a_card_counts(tmp_path: Path) -> None:
    card = made(tmp_path / "a") / "artifact.json"
    whole = card.read_bytes()
    flipped = 0
    for content in each_bit_flipped(card):
        flipped += content != whole
        with pytest.raises(CorruptArtifactError):
            read_metadata(card.parent)
    assert flipped == 8 * len(whole)
    for size in reversed(range(len(whole))):
        os.truncate(card, size)
        with pytest.raises(CorruptArtifactError):
            read_metadata(card.parent)


def test_a_card_that_was_not_signed_yet_is_read(tmp_path: Path) -> None:
    folder = made(tmp_path / "a")
    card = json.loads((folder / "artifact.json").read_text())
    del card["sha256"]
    (folder / "artifact.json").write_text(json.dumps(card, indent=1) + "\n")
    assert Corpus.open(folder).verify().headline == "b"


def test_every_bit_of_a_seal_is_noticed_or_means_the_same(tmp_path: Path) -> None:
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text(name)
    write_checksums(tmp_path)
    file = tmp_path / "checksums.json"
    whole = file.read_bytes()
    for content in each_bit_flipped(file):
        assert content != whole
        try:
            same = json.loads(content) == json.loads(whole)
        except ValueError:
            same = False
        if not same:
            with pytest.raises(CorruptArtifactError):
                check_files(tmp_path, "*.json")


@pytest.mark.parametrize("way", ["empty card", "empty seal", "none", "more"])
def test_a_folder_that_its_list_does_not_cover_is_not_as_written(way: str, tmp_path: Path) -> None:
    folder = tmp_path / "a"
    if way == "empty card":
        folder.mkdir()
        write_metadata(folder, ArtifactMetadata("Corpus", "key", "stage", 1, "3.1", "code", {}, {}))
        (folder / "data.txt").write_text("x")
    else:
        made(folder)
        if way != "more":
            (folder / "artifact.json").unlink()
    if way == "empty seal":
        (folder / "checksums.json").write_text("{}")
    if way == "more":
        verify_folder(folder)
        (folder / "other.txt").write_text("x")
    with pytest.raises(CorruptArtifactError, match="not among the files|no list of hashes"):
        verify_folder(folder)


def test_a_file_is_hashed_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    monkeypatch.setattr(manifests, "sha256", lambda file: read.append(file) or file.read_text())
    file = tmp_path / "a"
    file.write_text("1")
    # Written long ago: what was written this very moment may change again within a tick of the clock.
    later = time.time_ns() + 10**10
    monkeypatch.setattr(manifests.time, "time_ns", lambda: later)
    assert [cached_sha256(file) for _ in range(3)] == ["1"] * 3
    assert len(read) == 1
    file.write_text("2")
    times = file.stat()
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns + 1))
    assert [cached_sha256(file) for _ in range(3)] == ["2"] * 3
    assert len(read) == 2
    monkeypatch.setattr(manifests.time, "time_ns", lambda: file.stat().st_mtime_ns + 1)
    file.write_text("3")
    assert [cached_sha256(file) for _ in range(2)] == ["3"] * 2
    assert len(read) == 4


@pytest.mark.parametrize("jobs", [0, 1, 2])
@pytest.mark.parametrize("way", ["flip", "card", "lost card"])
def test_a_damaged_input_is_made_again(jobs: int, way: str, tmp_path: Path) -> None:
    a, b = write(text="a"), write(text="b")
    target = join((a, b), write(text="c"))
    made = run_stages(target, tmp_path, jobs=jobs)
    damaged = tmp_path / "artifacts" / b.key
    if way == "lost card":
        (damaged / "artifact.json").unlink()
    else:
        flip(damaged / ("text" if way == "flip" else "artifact.json"), 8 * 20 if way == "card" else 1)
    shutil.rmtree(made.path)
    heard = Told()
    assert (run_stages(target, tmp_path, jobs=jobs, display=heard).path / "text").read_text() == "abc"
    assert sorted(heard.made) == ["join", "write"]
    assert len(heard.warnings) == 1
    assert b.key in heard.warnings[0]
    assert "is made again" in heard.warnings[0]
    assert (tmp_path / "damaged" / b.key / "text").exists()
    assert not list((tmp_path / "artifacts").glob("*.partial"))


def test_what_was_asked_for_is_verified_though_all_is_made(tmp_path: Path) -> None:
    made = run_stages(write(text="abc"), tmp_path)
    flip(made.path / "text", 0)
    heard = Told()
    assert (run_stages(write(text="abc"), tmp_path, display=heard).path / "text").read_text() == "abc"
    assert heard.made == ["write"]


def test_an_input_that_lost_its_card_is_not_a_folder_of_something_else(tmp_path: Path) -> None:
    folder = made(tmp_path / "a")
    (folder / "artifact.json").unlink()
    assert not is_complete(folder)
    with pytest.raises(CorruptArtifactError, match="artifact.json is missing"):
        open_artifact(folder)
    with pytest.raises(ArtifactError, match="no such folder"):
        open_artifact(tmp_path / "b")


def test_inputs_that_are_not_beside_a_copy_are_named(tmp_path: Path) -> None:
    a, b = write(text="a"), write(text="b")
    whole = run_stages(join((a, b)), tmp_path / "run")
    copy = shutil.copytree(whole.path, tmp_path / "copy")
    shutil.copytree(tmp_path / "run" / "artifacts" / b.key, tmp_path / b.key)
    found = [(one.key, one.artifact is None) for one in tree(type(whole).open(copy))]
    assert found == [(whole.key, False), (a.key, True), (b.key, False)]


@pytest.mark.parametrize("fault", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_folder_that_was_not_finished_leaves_nothing(fault: type[BaseException], tmp_path: Path) -> None:
    with pytest.raises(fault), atomic_folder(tmp_path / "new" / "deep" / "a") as out:
        (out / "inside").mkdir()
        (out / "inside" / "half").write_text("x")
        raise fault
    assert not list(tmp_path.iterdir())


WRITER = """
import sys
from pathlib import Path
from herd.core.manifests import atomic_write
for number in range(int(sys.argv[3])):
    atomic_write(Path(sys.argv[1]), f"{sys.argv[2]} {number}\\n" + sys.argv[2] * 5_000)
"""


def test_several_processes_write_one_file_and_it_is_whole_at_every_moment(tmp_path: Path) -> None:
    file, times = tmp_path / "recipe.yaml", 60
    atomic_write(file, "0 0\n" + "0" * 5_000)
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(file), str(n), str(times)]) for n in range(4)]
    while any(writer.poll() is None for writer in writers):
        head, _, body = file.read_text().partition("\n")
        assert body == head[0] * 5_000
    assert [writer.returncode for writer in writers] == [0] * 4
    assert file.read_text().startswith(tuple(f"{n} {times - 1}\n" for n in range(4)))
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.yaml"]


def test_a_write_that_fails_leaves_the_file_as_it_was_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "a"
    atomic_write(file, "before")
    with pytest.raises(UnicodeEncodeError):
        atomic_write(file, "\ud800")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a", "before")]
