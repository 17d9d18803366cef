"""Finding, showing and giving away what lies in folders: runs, artifacts, models."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from herd.core.artifacts import CARD, Artifact, Checkpoint, is_whole, whole_folder
from herd.core.errors import ArtifactError, SettingsError
from herd.core.lineage import find_setting, tree
from herd.core.progress import summary
from herd.core.settings import build
from herd.core.worker import RunFolder
from herd.world.truth import World

_LONGEST_VALUE = 160
_MODEL_FILES = ("*.safetensors", "*.safetensors.index.json", "*.json", "*.jinja")
_NOT_FOR_OTHERS = {CARD, "herd.json", "optimizer.safetensors"}


def made_in(run: Path) -> list[Artifact]:
    """Every whole artifact of a run, oldest first."""
    folders = [path for path in RunFolder(run).artifacts.glob("*") if is_whole(path)]
    return [Artifact.open(path) for path in sorted(folders, key=lambda path: (path / CARD).stat().st_mtime)]


def newest_model(run: Path) -> Path | None:
    """The folder of the model a run made last that answers or continues text; one that chats goes first."""
    found = [one.path for one in made_in(run) if isinstance(one, Checkpoint)]
    kinds = {path: json.loads((path / "herd.json").read_text(encoding="utf-8"))["kind"] for path in found}
    for wanted in ("chat", "base"):
        of_kind = [path for path in found if kinds[path] == wanted]
        if of_kind:
            return of_kind[-1]
    return None


def model_in(path: Path) -> Path:
    """The model that `path` means: its own folder, or the newest one of a run.

    Raises ArtifactError when there is none.
    """
    if (path / "config.json").exists():
        return path
    if RunFolder(path).artifacts.is_dir():
        newest = newest_model(path)
        if newest is None:
            raise ArtifactError(f"{path} has made no model yet; run its recipe to the end")
        return newest
    hint = "there is no such folder" if not path.exists() else "it holds no config.json and no artifacts"
    raise ArtifactError(f"{path} is neither a model nor a run: {hint}; try runs/tiny")


def world_of(model: Path) -> World:
    """The world a model was made in; the default one for a model from outside."""
    try:
        return build(World, find_setting(Artifact.open(model), "world"), where=str(model))
    except ArtifactError:
        return World()


def export(model: Path, folder: Path) -> None:
    """The model as other programs read it: weights, configuration and tokenizer, and nothing of herd's.

    Raises SettingsError when `folder` is there already, and ArtifactError for a reward model.
    """
    if folder.exists():
        raise SettingsError(f"{folder} exists; name a folder that does not")
    with whole_folder(folder) as out:
        for pattern in _MODEL_FILES:
            for file in model.glob(pattern):
                if file.name not in _NOT_FOR_OTHERS:
                    shutil.copy(file, out / file.name)


def describe(path: Path, *, verify: bool) -> Iterator[str]:
    """Lines about an artifact, or about all artifacts of a run. Raises ArtifactError when it is neither."""
    if (path / CARD).exists() or not RunFolder(path).artifacts.is_dir():
        yield from _artifact_lines(Artifact.open(path), verify=verify)
        return
    for one in made_in(path):
        yield f"{type(one).__name__:12} {summary(one.card)}"
        if verify:
            one.verify()
    if verify:
        yield "every file is as it was written"


def _artifact_lines(artifact: Artifact, *, verify: bool) -> Iterator[str]:
    card = artifact.card
    yield f"{card['type']} {card['key']}"
    yield f"stage {card['stage']} version {card['version']}, paper {card['paper']}, code {card['code']}"
    cost = card["cost"]
    yield f"{cost['seconds']:.1f} s, {cost['cpu_seconds']:.1f} core-s, peak {cost['peak_bytes'] / 1e6:,.0f} MB"
    if verify:
        artifact.verify()
        yield "every file is as it was written"
    yield "\nmade of"
    for branch in tree(artifact):
        words = f"{branch.name}: " if branch.name else ""
        again = " (as above)" if branch.again and branch.artifact.card["inputs"] else ""
        yield f"  {'  ' * branch.depth}{words}{branch.artifact.key}{again}"
    yield from _values("settings", card["settings"])
    yield from _values("figures", artifact.figures)
    yield from _values("files", {name: f"{entry['bytes']:,} bytes" for name, entry in card["files"].items()})


def _values(title: str, values: dict[str, Any]) -> Iterator[str]:
    yield f"\n{title}"
    for name, value in values.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        yield f"  {name}: {text if len(text) <= _LONGEST_VALUE else text[:_LONGEST_VALUE] + ' ...'}"
