"""Typed handles to what stages made, and folders that are whole or absent.

An artifact is a folder called by its key. It is made under another name and renamed when it is whole, so
a folder with a final name never holds half of something. `artifact.json` inside records what made it, of
what, with which settings and results, and the size and sha256 of every file.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, TypeVar

from herd.core.errors import ArtifactError, CorruptArtifactError
from herd.core.manifests import (
    CHECKSUMS_FILE,
    METADATA_FILE,
    PARTIAL,
    append_checksum,
    atomic_write,
    check_files,
    checksums_match,
    flush,
    manifest,
    read_metadata,
    sha256,
    write_checksums,
)
from herd.core.manifests import verify_folder as verify_folder
from herd.core.results import results

_ResultT = TypeVar("_ResultT")
LABELS_FILE = "labels.json"  # beside the artifacts of a run: the names that its recipe gives them, by key

# Where others have always found these.
__all__ = [
    "CHECKSUMS_FILE",
    "METADATA_FILE",
    "PARTIAL",
    "atomic_write",
    "check_files",
    "checksums_match",
    "flush",
    "manifest",
    "read_metadata",
    "sha256",
    "write_checksums",
]


class PlanLike(Protocol):
    """What will make an artifact: a call of a stage (`herd.core.stage.Plan`)."""

    @property
    def key(self) -> str: ...


class Artifact:
    """What one stage made. While a recipe is planned it has a `plan` and no folder yet.

    Raises ArtifactError from `path` and `metadata` when it is not made.
    """

    types: ClassVar[dict[str, type[Artifact]]] = {}

    def __init_subclass__(cls) -> None:
        Artifact.types[cls.__name__] = cls

    def __init__(self, path: Path | None = None, plan: PlanLike | None = None) -> None:
        self._path = path
        self._plan = plan
        self._results: dict[type[Any], Any] = {}

    @classmethod
    def from_plan(cls, plan: PlanLike) -> Self:
        return cls(plan=plan)

    @classmethod
    def open(cls, path: Path) -> Self:
        """The artifact in the folder `path`, as the type its metadata names.

        Raises ArtifactError when there is none, or one of another type than `cls`.
        """
        metadata = read_metadata(path)
        kind = Artifact.types.get(metadata["type"], Artifact)
        if not issubclass(kind, cls):
            raise ArtifactError(f"{path} is a {metadata['type']}, not a {cls.__name__}; name another folder")
        return kind(path)  # type: ignore[return-value]

    @property
    def plan(self) -> PlanLike:
        if self._plan is None:
            raise ArtifactError(f"{self._path} was opened from disk and has no plan")
        return self._plan

    @property
    def path(self) -> Path:
        if self._path is None:
            raise ArtifactError(f"{type(self).__name__} {self.plan.key} is only planned; run the recipe first")
        return self._path

    @cached_property
    def metadata(self) -> dict[str, Any]:
        """What made this artifact: stage, settings, inputs, results, seconds, files."""
        return read_metadata(self.path)

    @property
    def key(self) -> str:
        return self.metadata["key"] if self._path is not None else self.plan.key

    @property
    def headline(self) -> str:
        """What came of it, in one line."""
        return self.metadata.get("headline", "")

    @property
    def label(self) -> str:
        """The name that the recipe of its run gives it (`herd.core.stage.with_label`); mostly none."""
        return read_run_labels(self.path.parent.parent).get(self.key, "")

    def result(self, kind: type[_ResultT]) -> _ResultT:
        """What its stage recorded as a `kind`. Raises ArtifactError when it recorded none, or another version."""
        found = self.get_result(kind)
        if found is None:
            there = ", ".join(self.metadata.get("results", {})) or "none"
            raise ArtifactError(
                f"{self.path} has no result {kind.__name__} (its results: {there}); name another artifact, or delete "
                "it and run its recipe again"
            )
        return found

    def get_result(self, kind: type[_ResultT]) -> _ResultT | None:
        """As `result`; None when its stage recorded none."""
        if kind not in self._results:
            row = self.metadata.get("results", {}).get(kind.__name__)
            self._results[kind] = None if row is None else results.from_row(kind, row, str(self.path))
        return self._results[kind]

    def verify(self) -> Self:
        """Reads every file, once per process. Raises CorruptArtifactError when one is missing or differs in one bit."""
        check_files(self.path)
        return self

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._path or self.plan.key})"


class Crawl(Artifact):
    """Raw files as they came: WARC, HTML, JSONL, Parquet or text; `files.json` lists them."""


class Corpus(Artifact):
    """Documents as Parquet files in `documents/`, one row a document."""


class Classifier(Artifact):
    """A small model that scores documents: `model.json` and its weights."""


class Tokenizer(Artifact):
    """`tokenizer.json` and its companions, as Hugging Face reads them."""


class Tokens(Artifact):
    """Documents as token ids: per source one file of ids and one of document boundaries."""


class Checkpoint(Artifact):
    """A model as one thing, made here or imported, in the Hugging Face layout: weights (`*.safetensors`), architecture
    (`config.json`), tokenizer and chat template (`tokenizer.json`, `tokenizer_config.json`), endings and sampling
    defaults (`generation_config.json`), and what it is for (`herd.json`: base, chat or reward).

    Every stage that takes a model takes any, packs and chats as its folder says, and writes all of it again.
    """


class Export(Artifact):
    """A model as other programs read it: a Hugging Face folder `model/`, or `model.gguf`."""


class Dialogues(Artifact):
    """Conversations as JSON lines with the column `messages`."""


class Preferences(Artifact):
    """Ranked answers as JSON lines with TRL's columns `prompt`, `chosen`, `rejected`."""


class Law(Artifact):
    """A fitted scaling law: `law.json`."""


class Mix(Artifact):
    """Shares of sources, and how they were found: `mix.json`."""


class Scores(Artifact):
    """What a model was measured to do: `scores.json`."""


class Report(Artifact):
    """A page about a run: `report.html`."""


def read_run_labels(run: Path) -> dict[str, str]:
    """By key, as far as they can be read: names are there to be looked at, and no run ends for want of one."""
    try:
        rows = json.loads((run / LABELS_FILE).read_text(encoding="utf-8"))
        return {key: label for key, label in rows.items() if isinstance(label, str)}
    except (OSError, ValueError, AttributeError):
        return {}


@dataclass
class ArtifactMetadata:
    """The contents of `artifact.json` while the artifact is being made."""

    type: str
    key: str
    stage: str
    version: int
    paper: str
    code: str
    settings: Mapping[str, Any]
    inputs: Mapping[str, str | list[str] | None]
    results: Mapping[str, Any] = field(default_factory=dict)  # rows by the names of their types
    cost: dict[str, Any] = field(default_factory=dict)
    module: str = ""  # of the stage
    headline: str = ""


def open_artifact(path: Path) -> Artifact:
    """The artifact in `path`, of which a run says that it was made.

    Raises CorruptArtifactError when it has lost its metadata, and ArtifactError when the folder is gone."""
    if path.exists() and not (path / METADATA_FILE).exists():
        raise CorruptArtifactError(f"{path / METADATA_FILE} is missing; delete {path} and run the recipe again", path)
    return Artifact.open(path)


def is_complete(path: Path) -> bool:
    """Whether the artifact in `path` has its metadata and every file in its full length.

    Lengths only: bits are compared when an artifact is used, or by `herd show --verify`.
    """
    try:
        metadata = read_metadata(path)
        return all((path / name).stat().st_size == entry["bytes"] for name, entry in metadata["files"].items())
    except (ArtifactError, OSError, KeyError):
        return False


# ---- whole or absent ----


@contextlib.contextmanager
def atomic_folder(final: Path) -> Iterator[Path]:
    """A folder to fill, which gets the name `final` only when the block ends well.

    Everything is on the disk before the name is: a crash at any point leaves `final` absent, or as it was. A block
    that fails, also by Ctrl-C, leaves nothing.
    """
    partial = final.with_name(final.name + PARTIAL)
    shutil.rmtree(partial, ignore_errors=True)
    with cleanup_on_failure(partial):
        partial.mkdir()
        yield partial
        for folder, _, names in os.walk(partial):
            for name in names:
                flush(Path(folder, name))
            flush(Path(folder))
        if final.exists():
            shutil.rmtree(final)
        partial.rename(final)
    flush(final.parent)


@contextlib.contextmanager
def cleanup_on_failure(partial: Path) -> Iterator[None]:
    """Makes the folders above `partial`; a block that fails in any way leaves neither these nor `partial`."""
    absent = [folder for folder in partial.parents if not folder.exists()]
    partial.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # somebody else may have put something there
            for folder in absent:
                folder.rmdir()
        raise


def write_metadata(folder: Path, metadata: ArtifactMetadata) -> None:
    """Writes the metadata of the artifact made in `folder`, with size and sha256 of every file."""
    text = json.dumps({**metadata.__dict__, "files": manifest(folder)}, indent=1, ensure_ascii=False)
    (folder / METADATA_FILE).write_text(append_checksum(text), encoding="utf-8")
