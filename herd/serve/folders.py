"""Finding, showing and giving away what lies in folders: runs, artifacts, models."""

from __future__ import annotations

import difflib
import glob
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from herd.core.artifacts import (
    CHECKSUMS_FILE,
    METADATA_FILE,
    PARTIAL,
    Artifact,
    Checkpoint,
    atomic_folder,
    cleanup_on_failure,
    is_complete,
    open_artifact,
    write_checksums,
)
from herd.core.errors import ArtifactError, CorruptArtifactError, SettingsError
from herd.core.lineage import lineage, tree
from herd.core.manifests import Manifest, check_files, read_manifest, verify_folder
from herd.core.model_files import TEXT_FILES, files_in
from herd.core.registry import PluginConfig
from herd.core.settings import parse_yaml
from herd.core.titles import artifact_titles, with_stage
from herd.evals.results import EvaluationResult
from herd.evals.tasks import tasks
from herd.generate.toolbox import NO_TOOLS, Toolbox, ToolboxUse, toolboxes
from herd.model import gguf, weights
from herd.model.adapters import copy_adapters, is_adapter, read_adapters
from herd.model.config import CONFIG_JSON, read_shape
from herd.model.weights import refuse_reward_model
from herd.run.progress import summary
from herd.run.worker import RunFolder
from herd.tokens.gguf import to_gguf
from herd.tokens.tokenizer import TextTokenizer
from herd.train.checkpoint import ABOUT, kind_of

_LONGEST_VALUE = 160
_MOST_LOOKED_AT = 200  # folders beside one that is no model
_BROUGHT_BY = "load_pretrained"  # the stage whose model nobody trained here
AS_WRITTEN = "every file is as it was written"
_OLD = "made by an older version of herd, whose results this one does not read; the same recipe makes it again"


def artifacts_in(run: Path) -> list[Artifact]:
    """Every whole artifact of a run, oldest first."""
    folders = [path for path in _folders(run) if is_complete(path)]
    return [Artifact.open(path) for path in sorted(folders, key=lambda path: (path / METADATA_FILE).stat().st_mtime)]


def _folders(run: Path) -> list[Path]:
    """Of all artifacts. One is made under another name, so that what has its own and is not whole is damaged."""
    paths = sorted(RunFolder(run).artifacts.glob("*"))
    return [path for path in paths if path.is_dir() and path.suffix != PARTIAL]


def damaged_in(run: Path) -> list[Path]:
    """The folders of artifacts of a run that are not whole."""
    return sorted(set(_folders(run)) - {artifact.path for artifact in artifacts_in(run)})


def newest_model(run: Path) -> Path | None:
    """The folder of the model a run made last that answers or continues text; one that chats goes first. Of a run that
    trained reward models alone it is the last of these, and not the model that they began from. Where several recipes
    share the folder, a model of the one that ran last, though it may have found all its models there; models that an
    unfinished run has made since count as well.

    Raises CorruptArtifactError when one of the models is not whole: an older one must not stand for it in silence.
    """
    refuse_damaged_models(run)
    models = [artifact for artifact in artifacts_in(run) if isinstance(artifact, Checkpoint)]
    paths = [artifact.path for artifact in models]
    home = RunFolder(run)
    if keys := home.finished_keys():
        ended = home.finished.stat().st_mtime_ns
        current = [path for path in paths if path.name in keys or (path / METADATA_FILE).stat().st_mtime_ns > ended]
        paths = current or paths
    kinds = {path: kind_of(path) for path in paths}
    brought = {artifact.path for artifact in models if artifact.metadata["stage"] == _BROUGHT_BY}
    trained = [path for path in paths if path not in brought]
    if trained and all(kinds[path] == "reward" for path in trained):
        return trained[-1]
    for kind in ("chat", "base"):
        of_kind = [path for path in paths if kinds[path] == kind]
        if of_kind:
            return of_kind[-1]
    return None


def refuse_damaged_models(run: Path) -> None:
    """Raises CorruptArtifactError when a model among the artifacts of a run is not whole."""
    for path in _folders(run):
        if ((path / CONFIG_JSON).exists() or (path / ABOUT).exists()) and not is_complete(path):
            open_artifact(path).verify()


def next_command(run: Path) -> str:
    """What can be done with the model that a run has made, as the command that does it; empty where it made none."""
    try:
        newest = newest_model(run)
    except ArtifactError:
        return ""
    if newest is None:
        return ""
    if kind_of(newest) == "reward":
        return f"scores: herd export {run} FOLDER writes the reward model for transformers"
    if kind_of(newest) == "base":
        return f"text:   herd chat {run} continues what you type; the model was never taught to answer"
    return f"chat:   herd chat {run}"


def model_in(path: Path, *, reward: bool = False) -> Path:
    """The model that `path` means: its own folder, or the newest one of a run. reward: it may be a reward model.

    Raises ArtifactError when there is none.
    """
    folder = _model_folder(path)
    if not reward:
        refuse_reward_model(folder)
    return folder


def _model_folder(path: Path) -> Path:
    if (path / CONFIG_JSON).exists() or is_adapter(path):
        return path
    if RunFolder(path).artifacts.is_dir():
        newest = newest_model(path)
        if newest is None:
            raise ArtifactError(f"{path} has made no model yet; run its recipe to the end")
        return newest
    hint = "there is no such folder" if not path.exists() else "it holds no config.json and no artifacts"
    raise ArtifactError(f"{path} is neither a model nor a run: {hint}{_models_near(path)}")


def _models_near(path: Path) -> str:
    """Which folders beside `path` and in runs/ hold a model, for a sentence that says what may have been meant."""
    places = [path.parent, Path("runs")]
    found = {
        str(folder): folder.name
        for place in places
        for folder in sorted(place.glob("*"))[:_MOST_LOOKED_AT]
        if folder != path and ((folder / CONFIG_JSON).is_file() or is_adapter(folder) or _has_model(folder))
    }
    if near := difflib.get_close_matches(path.name, found.values(), n=1, cutoff=0.6):
        return f"; did you mean {next(place for place, name in found.items() if name == near[0])}?"
    if not found:
        return "; `herd import` makes a model's folder of a file, `herd pretrain` a new model"
    more = f" and {len(found) - 4} more" if len(found) > 4 else ""
    return f"; models here: {', '.join(list(found)[:4])}{more}"


def _has_model(run: Path) -> bool:
    return next(RunFolder(run).artifacts.glob(f"*/{CONFIG_JSON}"), None) is not None


def tasks_of(model: Path) -> list[PluginConfig]:
    """The tasks that the run which made a model measures by, with their settings; none for a model from outside.

    Raises CorruptArtifactError when an artifact that records them is damaged.
    """
    if not (model / METADATA_FILE).exists():
        return []
    made = [open_artifact(path) for path in _folders(model.parent.parent)]
    measured = [artifact.metadata for artifact in made if artifact.get_result(EvaluationResult)]
    own = [metadata for metadata in measured if metadata["inputs"].get("model") == model.name] or measured
    return [tasks.parse(row) for row in own[-1]["settings"]["settings"]["tasks"]] if own else []


def tasks_named(texts: Sequence[str], model: Path) -> list[PluginConfig]:
    """The tasks that `herd eval` is to run: names, or `name: {setting: value}` laid over the settings that the model's
    run measures by; all tasks of its run when nothing is named.

    Raises SettingsError for a name that nobody knows, and when there is nothing to ask.
    """
    known_tasks = {use.name: use for use in tasks_of(model)}
    if not texts and not known_tasks:
        why = "was not measured by a run"
        if (model / METADATA_FILE).exists() and _is_old(open_artifact(model)):
            why = "was made by an older version of herd, whose tasks this one does not read"
        raise SettingsError(f"{model} {why}; name tasks, which `herd list tasks` prints")
    return [_task_named(text, known_tasks) for text in texts] or list(known_tasks.values())


def _task_named(text: str, known_tasks: Mapping[str, PluginConfig]) -> PluginConfig:
    value = parse_yaml(text, where=f"task {text!r}")
    name, overrides = next(iter(value.items())) if isinstance(value, dict) and len(value) == 1 else (value, {})
    if not isinstance(name, str) or name not in known_tasks:
        return tasks.parse(value)
    if not isinstance(overrides, dict | None):
        raise SettingsError(f"task {text!r}: its settings are {overrides!r}; write `{name}: {{setting: value}}`")
    ((address, settings),) = tasks.dump(known_tasks[name]).items()
    return tasks.parse({address: settings | (overrides or {})})


def toolbox_of(model: Path) -> Toolbox:
    """The tools that a model was taught to call, as the dialogues it learnt from record; none for a model from outside.

    Raises CorruptArtifactError when an artifact that records them is damaged.
    """
    try:
        ancestors = lineage(Artifact.open(model))
    except CorruptArtifactError:
        raise
    except ArtifactError:
        return NO_TOOLS
    taught = [use.toolbox for artifact in ancestors if (use := artifact.get_result(ToolboxUse))]
    return toolboxes.make(toolboxes.parse(dict(taught[-1])))() if taught else NO_TOOLS


def export(
    model: Path, target: Path, *, weight_format: str | None = None, shard_gb: float = 5.0, merge: bool = False
) -> None:
    """The model as other programs read it: weights, configuration and tokenizer, with a list of their hashes. Other
    files in its folder are left out.

    target: a folder of Hugging Face's layout, or a file that ends in .gguf, which always holds one model.
    weight_format: of the weights, as they are when None. merge: adapters and the model they stand beside become one;
    else they are written as peft reads them, with the place of that model. Raises SettingsError when `target` is there
    already, and ArtifactError for a reward model in GGUF.
    """
    if target.exists():
        raise SettingsError(f"{target} exists; name one that does not")
    if target.suffix == ".gguf":
        stored, tokenizer = weights.open_folder(model), TextTokenizer.load(model)
        partial = target.with_name(target.name + PARTIAL)
        fields = to_gguf(tokenizer, stored.shape.vocab_size)
        with cleanup_on_failure(partial):
            gguf.write_gguf(partial, stored, weight_format=weight_format or "f32", name=model.name, fields=fields)
            partial.rename(target)
        return
    check_files(model, *TEXT_FILES)
    with atomic_folder(target) as out:
        for file in files_in(model, *TEXT_FILES):
            copy = out / file.relative_to(model)
            copy.parent.mkdir(exist_ok=True)
            shutil.copyfile(file, copy)
        if is_adapter(model) and not merge:
            _export_adapters(model, out, weight_format)
            write_checksums(out)
            return
        dtype = _dtype(weight_format)
        weights.copy_tensors(model, out, dtype=dtype, shard_bytes=int(shard_gb * 1e9))
        write_checksums(out)


def _export_adapters(model: Path, out: Path, weight_format: str | None) -> None:
    if weight_format is not None:
        raise SettingsError("adapters are written as they are; leave --weight-format out, or say --merge")
    copy_adapters(model, out)
    if not (out / CONFIG_JSON).exists():  # peft's own folders leave to the model what is the model's
        shutil.copyfile(read_adapters(model).base / CONFIG_JSON, out / CONFIG_JSON)


def _dtype(weight_format: str | None) -> torch.dtype | None:
    dtype = None if weight_format is None else getattr(torch, weight_format, None)
    if weight_format is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise SettingsError(f"{weight_format!r} is no form of weights; choose one of float32, bfloat16, float16")
    return dtype


def describe_path(path: Path, *, verify: bool) -> Iterator[str]:
    """Lines about an artifact, a model that was imported or exported, or all artifacts of a run. Raises ArtifactError
    when it is none of them."""
    if (path / CHECKSUMS_FILE).exists() and not (path / METADATA_FILE).exists():
        yield from _model_lines(path, verify=verify)
        return
    if (path / METADATA_FILE).exists() or not RunFolder(path).artifacts.is_dir():
        yield from _artifact_lines(Artifact.open(path), verify=verify)
        return
    artifacts = artifacts_in(path)
    titles = artifact_titles(artifacts)
    for artifact in artifacts:
        title = with_stage(titles[artifact.key], artifact.metadata["stage"])
        yield f"{type(artifact).__name__:12} {artifact.key:34} {summary(artifact.metadata, title)}"
    if any(map(_is_old, artifacts)):
        yield _OLD
    yield from (f"{'damaged':12} {folder.name}: the same recipe makes it again" for folder in damaged_in(path))
    if verify:
        for folder in _folders(path):
            verify_folder(folder)
        yield AS_WRITTEN


def _model_lines(folder: Path, *, verify: bool) -> Iterator[str]:
    files, shape = read_manifest(folder) or {}, read_shape(folder)
    for name, entry in files.items():
        if not (folder / name).is_file() or (folder / name).stat().st_size != entry["bytes"]:
            check_files(folder, glob.escape(name))
    yield f"model of {shape.num_params:,} weights that reads {shape.max_seq_len:,} tokens"
    if verify:
        verify_folder(folder)
        yield AS_WRITTEN
    yield from _values("files", _sizes(files))


def _artifact_lines(artifact: Artifact, *, verify: bool) -> Iterator[str]:
    metadata = artifact.metadata
    yield f"{metadata['type']} {metadata['key']}"
    yield f"stage {metadata['stage']} version {metadata['version']}, paper {metadata['paper']}, code {metadata['code']}"
    cost = metadata["cost"]
    yield f"{cost['seconds']:.1f} s, {cost['cpu_seconds']:.1f} core-s, peak {cost['peak_bytes'] / 1e6:,.0f} MB"
    if verify:
        verify_folder(artifact.path)
        yield AS_WRITTEN
    yield "\nmade of"
    branches = list(tree(artifact))
    titles = artifact_titles({branch.key: branch.artifact for branch in branches if branch.artifact}.values())
    for branch in branches:
        words = f"{branch.name}: " if branch.name else ""
        again = " (as above)" if branch.again and branch.artifact and branch.artifact.metadata["inputs"] else ""
        absent = "" if branch.artifact else " (not here)"
        title = titles.get(branch.key, "")
        known = "" if branch.artifact is None or title == branch.artifact.metadata["stage"] else f"  {title}"
        yield f"  {'  ' * branch.depth}{words}{branch.key}{known}{again}{absent}"
    yield from _values("settings", metadata["settings"])
    if artifact.headline:
        yield artifact.headline
    if _is_old(artifact):
        yield f"\n{_OLD}"
    else:
        yield from _values("results", metadata["results"])
    yield from _values("files", _sizes(metadata["files"]))


def _is_old(artifact: Artifact) -> bool:
    return "results" not in artifact.metadata


def _sizes(files: Manifest) -> dict[str, str]:
    return {name: f"{entry['bytes']:,} bytes" for name, entry in files.items()}


def _values(title: str, values: dict[str, Any]) -> Iterator[str]:
    yield f"\n{title}"
    for name, value in values.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        yield f"  {name}: {text if len(text) <= _LONGEST_VALUE else text[:_LONGEST_VALUE] + ' ...'}"
