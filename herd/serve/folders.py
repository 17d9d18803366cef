"""Finding, showing and giving away what lies in folders: runs, artifacts, models."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from herd.core.artifacts import CARD, PARTIAL, SEAL, Artifact, Checkpoint, is_whole, whole_folder
from herd.core.errors import ArtifactError, SettingsError
from herd.core.lineage import find_setting, tree
from herd.core.progress import summary
from herd.core.settings import build
from herd.core.worker import RunFolder
from herd.model import gguf, weights
from herd.tokens.gguf import to_gguf
from herd.tokens.tokenizer import TextTokenizer
from herd.world.truth import World

_LONGEST_VALUE = 160
_OTHER_FILES = ("*.json", "*.jinja")
_NOT_FOR_OTHERS = {CARD, SEAL, "herd.json", weights.INDEX}


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


def export(model: Path, target: Path, *, form: str | None = None, shard_gb: float = 5.0) -> None:
    """The model as other programs read it: weights, configuration and tokenizer, and nothing of herd's.

    target: a folder of Hugging Face's layout, or a file that ends in .gguf. form: of the weights, as they are when
    None. Raises SettingsError when `target` is there already, and ArtifactError for a reward model in GGUF.
    """
    if target.exists():
        raise SettingsError(f"{target} exists; name one that does not")
    if target.suffix == ".gguf":
        stored, text = weights.open_folder(model), TextTokenizer.load(model)
        partial = target.with_name(target.name + PARTIAL)
        fields = to_gguf(text, stored.shape.vocabulary)
        gguf.write(partial, stored, form=form or "f32", name=model.name, fields=fields)
        partial.rename(target)
        return
    with whole_folder(target) as out:
        for pattern in _OTHER_FILES:
            for file in model.glob(pattern):
                if file.name not in _NOT_FOR_OTHERS:
                    shutil.copy(file, out / file.name)
        dtype = _dtype(form)
        weights.copy_tensors(model, out, dtype=dtype, shard_bytes=int(shard_gb * 1e9))


def _dtype(form: str | None) -> torch.dtype | None:
    found = None if form is None else getattr(torch, form, None)
    if form is not None and not (isinstance(found, torch.dtype) and found.is_floating_point):
        raise SettingsError(f"{form!r} is no form of weights; choose one of float32, bfloat16, float16")
    return found


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
