"""What an artifact was made of, read back from the folders of a run."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from herd.core.artifacts import Artifact, open_artifact
from herd.core.errors import ArtifactError
from herd.core.stage import Input, Plan, Stage


def parents(artifact: Artifact) -> Iterator[tuple[str, Artifact]]:
    """The inputs of `artifact` by name; they lie beside it. Raises ArtifactError when one is gone."""
    for name, value in artifact.metadata["inputs"].items():
        for key in _keys(value):
            yield name, open_artifact(artifact.path.parent / key)


def input_keys(artifact: Artifact) -> list[str]:
    """The keys of all that `artifact` was made of directly."""
    return [key for value in artifact.metadata["inputs"].values() for key in _keys(value)]


def _keys(value: str | list[str] | None) -> list[str]:
    return value if isinstance(value, list) else [] if value is None else [value]


def generations(key: str, artifacts: Mapping[str, Artifact]) -> Iterator[set[str]]:
    """The keys of an artifact, of what it was made of directly, of what that was made of, and so on, each once and as
    far as they are among `artifacts`."""
    seen: set[str] = set()
    generation = {key} & artifacts.keys()
    while generation:
        yield generation
        seen |= generation
        older = chain.from_iterable(input_keys(artifacts[newer]) for newer in generation)
        generation = {key for key in older if key in artifacts} - seen


def lineage(artifact: Artifact) -> list[Artifact]:
    """`artifact` and all it was made of, each after what it was made of itself."""
    ordered: dict[str, Artifact] = {}

    def visit(node: Artifact) -> None:
        if node.key in ordered:
            return
        for _, parent in parents(node):
            visit(parent)
        ordered[node.key] = node

    visit(artifact)
    return list(ordered.values())


@dataclasses.dataclass(frozen=True)
class Branch:
    """One line of a lineage drawn as a tree. artifact: None where its folder is not there, as beside a copy. again:
    whether its inputs were shown further up."""

    depth: int
    name: str
    key: str
    artifact: Artifact | None
    again: bool


def tree(artifact: Artifact, name: str = "") -> Iterator[Branch]:
    """`artifact` and its inputs, depth first; what comes twice is opened up once."""
    visited: set[str] = set()

    def visit(node: Artifact, name: str, depth: int) -> Iterator[Branch]:
        again = node.key in visited
        visited.add(node.key)
        yield Branch(depth, name, node.key, node, again)
        if again:
            return
        for below, value in node.metadata["inputs"].items():
            for key in _keys(value):
                if (node.path.parent / key).exists():
                    yield from visit(open_artifact(node.path.parent / key), below, depth + 1)
                else:
                    yield Branch(depth + 1, below, key, None, False)

    yield from visit(artifact, name, 0)


def restore_plan(artifact: Artifact) -> Artifact:
    """`artifact` as an input for new stages in its run folder: with the plan that made it, of which nothing is run.

    Raises ArtifactError when this version of herd would make something else by that plan.
    """
    inputs: dict[str, Input] = {}
    for name, value in artifact.metadata["inputs"].items():
        artifacts = [restore_plan(open_artifact(artifact.path.parent / key)) for key in _keys(value)]
        inputs[name] = None if value is None else tuple(artifacts) if isinstance(value, list) else artifacts[0]
    stage = _find_stage(artifact.metadata["stage"], artifact.metadata.get("module", ""))
    plan = None if stage is None else Plan(stage, inputs, artifact.metadata["settings"])
    if plan is None or plan.key != artifact.key:
        raise ArtifactError(
            f"{artifact.path} was made by another version of the stage {artifact.metadata['stage']}; run its recipe "
            "again"
        )
    return type(artifact).from_plan(plan)


def _find_stage(name: str, module: str) -> Stage[..., Any] | None:
    """The stage that made something. Only modules of herd are imported for it: what a folder names is no reason to."""
    if name not in Stage.registry and module.startswith(f"{__name__.partition('.')[0]}."):
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module(module)
    return Stage.registry.get(name)
