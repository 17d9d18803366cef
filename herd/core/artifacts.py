"""Typed handles to what stages made, and folders that are whole or absent.

An artifact is a folder called by its key. It is made under another name and renamed when it is whole, so
a folder with a final name never holds half of something. `artifact.json` inside tells what made it, of
what, with which settings and figures, and the size and sha256 of every file.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from herd.core.errors import ArtifactError

if TYPE_CHECKING:
    from herd.core.stage import Plan

CARD = "artifact.json"
SEAL = "seal.json"
PARTIAL = ".partial"


class Artifact:
    """What one stage made. While a recipe is planned it has a `plan` and no folder yet.

    Raises ArtifactError from `path` and `card` when it is not made.
    """

    kinds: ClassVar[dict[str, type[Artifact]]] = {}

    def __init_subclass__(cls) -> None:
        Artifact.kinds[cls.__name__] = cls

    def __init__(self, path: Path | None = None, plan: Plan | None = None) -> None:
        self._path = path
        self._plan = plan

    @classmethod
    def planned(cls, plan: Plan) -> Self:
        return cls(plan=plan)

    @classmethod
    def open(cls, path: Path) -> Self:
        """The artifact in the folder `path`, as the type its card names.

        Raises ArtifactError when there is none, or one of another type than `cls`.
        """
        card = read_card(path)
        kind = Artifact.kinds.get(card["type"], Artifact)
        if not issubclass(kind, cls):
            raise ArtifactError(f"{path} is a {card['type']}, not a {cls.__name__}; name another folder")
        return kind(path)  # type: ignore[return-value]

    @property
    def plan(self) -> Plan:
        if self._plan is None:
            raise ArtifactError(f"{self._path} was opened from disk and has no plan")
        return self._plan

    @property
    def path(self) -> Path:
        if self._path is None:
            raise ArtifactError(f"{type(self).__name__} {self.plan.key} is only planned; run the recipe first")
        return self._path

    @cached_property
    def card(self) -> dict[str, Any]:
        """What made this artifact: stage, settings, inputs, figures, seconds, files."""
        return read_card(self.path)

    @property
    def key(self) -> str:
        return self.card["key"] if self._path is not None else self.plan.key

    @property
    def figures(self) -> dict[str, Any]:
        return self.card["figures"]

    def verify(self) -> Self:
        """Reads every file again. Raises ArtifactError when one is missing or differs in one bit."""
        check_files(self.path, "*")
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
    """A model in the Hugging Face layout, with its tokenizer; `kind` in the card says what it is for."""


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


@dataclass
class Card:
    """The contents of `artifact.json` while the artifact is being made."""

    type: str
    key: str
    stage: str
    version: int
    paper: str
    code: str
    settings: Mapping[str, Any]
    inputs: Mapping[str, str | list[str] | None]
    figures: dict[str, Any] = field(default_factory=dict)
    cost: dict[str, Any] = field(default_factory=dict)


def read_card(path: Path) -> dict[str, Any]:
    """The card of the artifact in `path`. Raises ArtifactError when there is none or it is no card."""
    file = path / CARD
    try:
        card = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        hint = "" if path.exists() else " (there is no such folder)"
        raise ArtifactError(f"{path} is not an artifact of herd{hint}; `herd show` lists what a run made") from None
    except (ValueError, OSError) as fault:
        raise ArtifactError(f"{file} cannot be read ({fault}); delete {path} and run the recipe again") from None
    if not isinstance(card, dict) or "type" not in card:
        raise ArtifactError(f"{file} is not an artifact's card; delete {path} and run the recipe again")
    return card


def is_whole(path: Path) -> bool:
    """Whether the artifact in `path` has its card and every file in its full length.

    Lengths only: bits are compared when an artifact is used, or by `herd show --verify`.
    """
    try:
        card = read_card(path)
        return all((path / name).stat().st_size == entry["bytes"] for name, entry in card["files"].items())
    except (ArtifactError, OSError, KeyError):
        return False


def sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


# ---- whole or absent ----


@contextlib.contextmanager
def whole_folder(final: Path) -> Iterator[Path]:
    """A folder to fill, which gets the name `final` only when the block ends well.

    Everything is on the disk before the name is: a crash at any point leaves `final` absent, or as it was.
    """
    partial = final.with_name(final.name + PARTIAL)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    yield partial
    for folder, _, names in os.walk(partial):
        for name in names:
            flush(Path(folder, name))
        flush(Path(folder))
    if final.exists():
        shutil.rmtree(final)
    partial.rename(final)
    flush(final.parent)


def write_whole(file: Path, text: str) -> None:
    """`text` as the contents of `file`, or `file` as it was."""
    partial = file.with_name(file.name + PARTIAL)
    partial.write_text(text, encoding="utf-8")
    flush(partial)
    partial.rename(file)
    flush(file.parent)


def finish(folder: Path, card: Card) -> None:
    """Writes the card of the artifact made in `folder`, with size and sha256 of every file."""
    text = json.dumps({**card.__dict__, "files": manifest(folder)}, indent=1, ensure_ascii=False)
    (folder / CARD).write_text(text + "\n", encoding="utf-8")


def manifest(folder: Path) -> dict[str, dict[str, Any]]:
    """Size and sha256 of every file in `folder`, by relative name."""
    return {
        str(file.relative_to(folder)): {"bytes": file.stat().st_size, "sha256": sha256(file)}
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name not in (CARD, SEAL)
    }


def seal(folder: Path) -> None:
    """Writes down what `folder` holds, for folders that are no artifacts, such as checkpoints."""
    (folder / SEAL).write_text(json.dumps(manifest(folder)), encoding="utf-8")


def is_sealed(folder: Path) -> bool:
    """Whether `folder` holds, bit for bit, what it held when it was sealed."""
    try:
        return json.loads((folder / SEAL).read_text(encoding="utf-8")) == manifest(folder)
    except (OSError, ValueError):
        return False


def check_files(folder: Path, pattern: str) -> None:
    """Reads every file that matches `pattern` and of which a card or a seal in `folder` keeps a hash.

    Raises ArtifactError when one is missing or differs in one bit.
    """
    if (folder / CARD).exists():
        kept = read_card(folder)["files"]
    elif (folder / SEAL).exists():
        kept = json.loads((folder / SEAL).read_text(encoding="utf-8"))
    else:
        return
    for name, entry in kept.items():
        file = folder / name
        if not file.match(pattern):
            continue
        if not file.exists():
            raise ArtifactError(f"{file} is missing; delete {folder} and make it again")
        if file.stat().st_size != entry["bytes"] or sha256(file) != entry["sha256"]:
            raise ArtifactError(f"{file} is damaged: it is not what was written; delete {folder} and make it again")


def flush(path: Path) -> None:
    """Returns when what `path` holds is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
