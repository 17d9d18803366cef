"""The fingerprint of a stage's code covers what the stage imports of herd, and nothing that does not run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import herd
from herd.core import cache, fingerprint
from herd.core.registry import plugin_modules

ROOT = Path(herd.__file__).parent


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the package that fingerprints are taken of."""
    folder = tmp_path / "herd"
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    monkeypatch.setattr(fingerprint, "_ROOT", folder)
    monkeypatch.setenv("HERD_CACHE", str(tmp_path / "cache"))
    fingerprint._file_of.cache_clear()
    yield folder
    fingerprint._file_of.cache_clear()


def prints(folder: Path, *names: str) -> list[str]:
    return [
        fingerprint.fingerprint(f"herd.{name}", folder.joinpath(*name.split(".")).with_suffix(".py")) for name in names
    ]


STAGES = ("align.dpo", "tokens.stages", "corpus.stages")


@pytest.mark.parametrize(
    ("edited", "changed"),
    [
        ("align/losses/ipo.py", (True, False, False)),  # a plug-in, which nobody imports by name
        ("tokens/bpe.py", (False, True, False)),
        ("corpus/extract.py", (False, False, True)),
        ("corpus/native/{}", (False, False, True)),
        ("core/storage.py", (None, True, None)),
        ("cli.py", (False, False, False)),
        ("align/dpo.py", (True, False, False)),
    ],
)
def test_an_edit_changes_the_prints_of_those_who_import_it(
    edited: str, changed: tuple[bool | None, ...], copied: Path
) -> None:
    before = prints(copied, *STAGES)
    file = copied / edited
    if "{}" in edited:
        file = next(iter(sorted(file.parent.glob("*.cpp"))))
        file.write_text(file.read_text(encoding="utf-8") + "\nint edited;\n", encoding="utf-8")
    else:
        file.write_text(file.read_text(encoding="utf-8") + "\nEDITED = 1\n", encoding="utf-8")
    differ = [a != b for a, b in zip(before, prints(copied, *STAGES), strict=True)]
    assert all(wanted is None or wanted == found for wanted, found in zip(changed, differ, strict=True)), differ


def test_a_new_plugin_counts_and_comments_and_docstrings_do_not(copied: Path) -> None:
    (before,) = prints(copied, "align.dpo")
    file = copied / "align" / "losses" / "ipo.py"
    text = file.read_text(encoding="utf-8").replace('"""', '"""Once more. ', 1)
    file.write_text(f"# A comment.\n{text}", encoding="utf-8")
    assert prints(copied, "align.dpo") == [before]
    (copied / "align" / "losses" / "another.py").write_text("ANOTHER = 1\n", encoding="utf-8")
    assert prints(copied, "align.dpo") != [before]


def as_in_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprint, "_SUMMARIES", {})
    monkeypatch.setattr(cache, "_opened", {})


def test_the_book_is_read_once_and_a_torn_entry_is_none(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprint, "_SUMMARIES", {})
    before = prints(copied, *STAGES)
    book = tmp_path / "cache" / "code.json"
    rows = json.loads(book.read_text())
    book.write_text(json.dumps(dict.fromkeys(rows, 3)))
    as_in_another_process(monkeypatch)
    read: list[Path] = []
    real = cache._read_entries
    monkeypatch.setattr(cache, "_read_entries", lambda file: read.append(file) or real(file))
    assert prints(copied, *STAGES, *STAGES) == before * 2
    assert read == [book]


def test_texts_are_parsed_once_and_what_they_came_to_is_kept(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprint, "_SUMMARIES", {})
    before = prints(copied, *STAGES)
    as_in_another_process(monkeypatch)
    monkeypatch.setattr(fingerprint, "_summarize", lambda *_: pytest.fail("parsed again"))
    assert prints(copied, *STAGES) == before


def test_what_a_process_knows_is_kept_in_another_cache_too(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = prints(copied, *STAGES)
    monkeypatch.setenv("HERD_CACHE", str(tmp_path / "another"))
    assert prints(copied, *STAGES) == before
    as_in_another_process(monkeypatch)
    monkeypatch.setattr(fingerprint, "_summarize", lambda *_: pytest.fail("parsed again"))
    assert prints(copied, *STAGES) == before


def test_a_file_outside_of_the_package_counts_with_what_it_imports(copied: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def body():\n    from herd.align.losses import losses\n    return losses\n", encoding="utf-8")
    before = fingerprint.fingerprint("mine", file)
    edited = copied / "align" / "losses" / "ipo.py"
    edited.write_text(edited.read_text(encoding="utf-8") + "\nEDITED = 1\n", encoding="utf-8")
    assert fingerprint.fingerprint("mine", file) != before
    assert fingerprint.fingerprint("moved", file) == fingerprint.fingerprint("mine", file)


def test_a_plugin_that_nobody_imports_counts_where_settings_name_it(copied: Path) -> None:
    settings = {"settings": {"gold": {"herd.world.verifiers:true_in_world": {"world": {}}}, "num_samples": 3}}
    assert plugin_modules(settings) == {"herd.world.verifiers"}
    file = copied / "align" / "rejection_sampling.py"

    def now() -> tuple[str, str]:
        return tuple(
            fingerprint.fingerprint("herd.align.rejection_sampling", file, some)
            for some in ((), plugin_modules(settings))
        )  # type: ignore[return-value]

    plain, named = now()
    edited = copied / "world" / "questions.py"
    edited.write_text(edited.read_text(encoding="utf-8") + "\nEDITED = 1\n", encoding="utf-8")
    assert now()[0] == plain
    assert now()[1] not in (plain, named)
