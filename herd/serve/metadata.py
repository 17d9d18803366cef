"""Metadata as other programs read them: what `herd show --json` prints."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from herd.core.artifacts import CHECKSUMS_FILE, METADATA_FILE, read_metadata
from herd.core.manifests import read_manifest, verify_folder
from herd.model.config import read_shape
from herd.run.worker import RunFolder
from herd.serve.folders import artifacts_in, damaged_in

FORMAT = 1  # raised when a name below changes or goes; results have versions of their own


def as_data(path: Path, *, verify: bool = False) -> dict[str, Any]:
    """What `path` holds, as plain JSON: an artifact's metadata, a model that was imported or exported, or the
    metadata of all artifacts of a run. Results stand as they were recorded, also those whose type this herd does not
    know; numbers that are none, or infinite, are null. verify: whether every file is read and compared.

    Raises ArtifactError when it is none of these, and CorruptArtifactError for a file that is not as it was written."""
    if (path / METADATA_FILE).exists() or (
        not (path / CHECKSUMS_FILE).exists() and not RunFolder(path).artifacts.is_dir()
    ):
        data = _metadata(path, verify)
    elif (path / CHECKSUMS_FILE).exists():
        data = _model(path, verify)
    else:
        artifacts = [_metadata(artifact.path, verify) for artifact in artifacts_in(path)]
        data = {"artifacts": artifacts, "damaged": [folder.name for folder in damaged_in(path)]}
    return _finite({"format": FORMAT, **data})


def _metadata(path: Path, verify: bool) -> dict[str, Any]:
    metadata = read_metadata(path)
    if verify:
        verify_folder(path)
    metadata.pop("sha256", None)
    return {**metadata, "headline": metadata.get("headline", ""), "results": metadata.get("results", {})}


def _model(path: Path, verify: bool) -> dict[str, Any]:
    shape = read_shape(path)
    if verify:
        verify_folder(path)
    return {
        "type": "model",
        "num_params": shape.num_params,
        "context": shape.max_seq_len,
        "files": read_manifest(path) or {},
    }


def _finite(value: Any) -> Any:
    """`value` without numbers that JSON has not."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list) else value
