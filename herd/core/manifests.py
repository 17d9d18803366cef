"""What a folder held when it was written, and whether it still does.

A manifest is a list of files with the size and sha256 of each. An artifact has it in its metadata (`artifact.json`),
a folder that is no artifact (a checkpoint on the way, a model that was imported or exported) in `checksums.json`.
Whatever reads such a folder asks `check_files` first: a file is hashed once per process and again only when its inode,
size or times change.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import time
from pathlib import Path
from typing import Any

from herd.core.errors import ArtifactError, CorruptArtifactError

METADATA_FILE = "artifact.json"
CHECKSUMS_FILE = "checksums.json"
PARTIAL = ".partial"

Manifest = dict[str, dict[str, Any]]

# A file changed twice within a tick of the file system's clock shows the same time: what is so young is not remembered.
_YOUNG_NS = 50_000_000
_digests: dict[tuple[int, ...], str] = {}


def atomic_write(file: Path, text: str) -> None:
    """`text` as the contents of `file`, or `file` as it was. Of several processes that write one file the last wins."""
    partial = partial_of(file)
    try:
        partial.write_text(text, encoding="utf-8")
        flush(partial)
        partial.rename(file)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    flush(file.parent)


def partial_of(file: Path) -> Path:
    """Where this process writes what shall become `file`, under a name that nobody else takes: not its other threads,
    and not a process of another node with the same number."""
    return file.with_name(f"{file.name}.{os.getpid()}-{secrets.token_hex(4)}{PARTIAL}")


def sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def cached_sha256(file: Path) -> str:
    """The sha256 of `file`, read once per process as long as inode, size and times stay."""
    status = file.stat()
    mark = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    if mark in _digests:
        return _digests[mark]
    value = sha256(file)
    if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) > _YOUNG_NS:
        _digests[mark] = value
    return value


# ---- metadata ----

_CHECKSUM_ENTRY = b',\n "sha256": "'


def append_checksum(text: str) -> str:
    """The JSON of metadata with the sha256 of all that stands before as its last entry, in place of the one it has."""
    head, before, _ = text.partition(_CHECKSUM_ENTRY.decode())
    head = head if before else head.rstrip().removesuffix("}").rstrip()
    return f'{head},\n "sha256": "{hashlib.sha256(head.encode()).hexdigest()}"\n}}\n'


def read_metadata(path: Path) -> dict[str, Any]:
    """The metadata of the artifact in `path`.

    Raises ArtifactError when there is none, and CorruptArtifactError when it is not, bit for bit, what was written.
    Metadata of versions that wrote no checksum yet end with the list of files, and are taken as they are.
    """
    file = path / METADATA_FILE
    try:
        data = file.read_bytes()
        metadata = json.loads(data)
    except (FileNotFoundError, NotADirectoryError):
        hint = "" if path.exists() else " (there is no such folder)"
        raise ArtifactError(f"{path} is not an artifact of herd{hint}; `herd show` lists what a run made") from None
    except (ValueError, OSError) as fault:
        raise CorruptArtifactError(
            f"{file} cannot be read ({fault}); delete {path} and run the recipe again", path
        ) from None
    if not isinstance(metadata, dict) or "type" not in metadata:
        raise CorruptArtifactError(
            f"{file} is not an artifact's metadata; delete {path} and run the recipe again", path
        )
    head, _, tail = data.rpartition(_CHECKSUM_ENTRY)
    has_checksum = tail == f'{hashlib.sha256(head).hexdigest()}"\n}}\n'.encode()
    if not has_checksum and next(reversed(metadata)) != "files":
        raise CorruptArtifactError(
            f"{file} is damaged: it is not what was written; delete {path} and run the recipe again", path
        )
    return metadata


# ---- manifests ----


def manifest(folder: Path) -> Manifest:
    """Size and sha256 of every file in `folder`, by relative name."""
    return {
        name: {"bytes": (folder / name).stat().st_size, "sha256": cached_sha256(folder / name)}
        for name in list_files(folder)
    }


def list_files(folder: Path) -> list[str]:
    """Every file in `folder` by relative name, but for its metadata and its checksums."""
    names = (str(file.relative_to(folder)) for file in sorted(folder.rglob("*")) if file.is_file())
    return [name for name in names if name not in (METADATA_FILE, CHECKSUMS_FILE)]


def write_checksums(folder: Path) -> None:
    """Writes down what `folder` holds, for folders that are no artifacts, such as imported models."""
    (folder / CHECKSUMS_FILE).write_text(json.dumps(manifest(folder)), encoding="utf-8")


def read_manifest(folder: Path) -> Manifest | None:
    """What `folder` held when it was written; None where nobody wrote that down. Raises CorruptArtifactError."""
    if (folder / METADATA_FILE).exists():
        files = read_metadata(folder).get("files")
    elif (folder / CHECKSUMS_FILE).exists():
        try:
            files = json.loads((folder / CHECKSUMS_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError) as fault:
            raise _corrupt_error(folder, CHECKSUMS_FILE, f"cannot be read ({fault})") from None
    else:
        return None
    entries = list(files.values()) if isinstance(files, dict) else [None]
    if files is None or not all(isinstance(entry, dict) and entry.keys() >= {"bytes", "sha256"} for entry in entries):
        raise _corrupt_error(
            folder,
            METADATA_FILE if (folder / METADATA_FILE).exists() else CHECKSUMS_FILE,
            "is damaged: it lists no files",
        )
    return files


def checksums_match(folder: Path) -> bool:
    """Whether `folder` holds, bit for bit, what it held when its checksums were written."""
    try:
        return json.loads((folder / CHECKSUMS_FILE).read_text(encoding="utf-8")) == manifest(folder)
    except (OSError, ValueError):
        return False


def check_files(folder: Path, *patterns: str) -> None:
    """Compares every file that matches a pattern with the manifest of `folder`; a folder without one is let pass.

    Without patterns every file listed is compared, and others that lie there do not matter. Raises
    CorruptArtifactError when a file is missing, differs in one bit, or was put there later.
    """
    expected = read_manifest(folder)
    if expected is None:
        return
    for name, entry in expected.items():
        if not patterns or _matches(name, patterns):
            _check(folder, name, entry)
    for name in list_files(folder) if patterns else ():
        if name not in expected and _matches(name, patterns) and Path(name).name not in (METADATA_FILE, CHECKSUMS_FILE):
            raise _corrupt_error(folder, name, "is not among the files that were written there")


def verify_folder(folder: Path) -> None:
    """Compares all of `folder` with its manifest. Raises CorruptArtifactError, also where that is empty or missing."""
    if not read_manifest(folder):
        raise CorruptArtifactError(
            f"{folder} cannot be verified: no list of hashes says what was written there; make it again, or `herd "
            "import` it to have one",
            folder,
        )
    check_files(folder, "*")


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(Path(name).match(pattern) for pattern in patterns)


def _check(folder: Path, name: str, entry: dict[str, Any]) -> None:
    file = folder / name
    try:
        same = file.stat().st_size == entry["bytes"] and cached_sha256(file) == entry["sha256"]
    except (FileNotFoundError, NotADirectoryError):
        raise _corrupt_error(folder, name, "is missing") from None
    except (OSError, ValueError) as fault:
        raise _corrupt_error(folder, name, f"cannot be read ({fault})") from None
    if not same:
        raise _corrupt_error(folder, name, "is damaged: it is not what was written")


def _corrupt_error(folder: Path, name: str, problem: str) -> CorruptArtifactError:
    own = "" if (folder / METADATA_FILE).exists() else f" (delete {CHECKSUMS_FILE} in it if you changed it yourself)"
    return CorruptArtifactError(f"{folder / name} {problem}; delete {folder} and make it again{own}", folder)


# ---- single files, in scratch ----


def verify_checksum(row: Any) -> Any:
    """What `with_checksum` enclosed. Raises ValueError when it is not what was written."""
    if not isinstance(row, dict) or set(row) != {"content", "sha256"} or with_checksum(row["content"]) != row:
        raise ValueError("it is not what was written")
    return row["content"]


def with_checksum(content: Any) -> dict[str, Any]:
    """`content`, made of plain JSON, beside its sha256."""
    text = json.dumps(content, sort_keys=True)
    return {"content": content, "sha256": hashlib.sha256(text.encode()).hexdigest()}


# ---- on the disk ----


def flush(path: Path) -> None:
    """Returns when what `path` holds is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
