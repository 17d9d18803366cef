"""Files by path, or by any address that fsspec knows: s3://, gs://, https://, hf://datasets/..., memory://."""

from __future__ import annotations

import os
from typing import Any, BinaryIO

from herd.core.errors import DataError, HerdError


def is_address(place: str) -> bool:
    """Whether `place` is an address and no path of this machine."""
    return "://" in place


def size_of(file: str) -> int:
    """Bytes of a file. Raises DataError when there is none."""
    try:
        return int(_filesystem(file).size(file)) if is_address(file) else os.stat(file).st_size
    except (OSError, TypeError):
        raise DataError(f"{file}: there is no such file; it was moved or deleted since the run was planned") from None


def files_at(address: str) -> list[str]:
    """The files at an address, which may be a folder or hold a pattern; in order of their names."""
    system = _filesystem(address)
    scheme = address.partition("://")[0]
    try:
        if any(mark in address for mark in "*?["):
            names = [name for name in system.glob(address) if system.isfile(name)]
        else:
            names = system.find(address) if system.isdir(address) else [address] if system.exists(address) else []
    except OSError as fault:
        raise DataError(f"{address}: cannot be listed ({fault}); check the address and who may read it") from None
    return [name if is_address(name) else f"{scheme}://{name.lstrip('/')}" for name in names]


def remote_checksum(address: str) -> str:
    """What the service says of a file: its own checksum where it keeps one, else size and time. Raises DataError when
    there is none."""
    try:
        details = _filesystem(address).info(address)
    except OSError:
        raise DataError(f"{address}: there is no such file; check the address") from None
    for name in ("ETag", "etag", "md5Hash", "crc32c", "checksum"):
        if details.get(name):
            return f"{name} {details[name]}"
    return f"{details.get('size')} {details.get('LastModified') or details.get('mtime') or details.get('created')}"


def open_source_file(file: str) -> BinaryIO:
    """The file's bytes. Raises DataError when there is none."""
    if is_address(file):
        size_of(file)
        return _filesystem(file).open(file, "rb")
    try:
        return open(file, "rb")
    except OSError as fault:
        raise DataError(f"{file}: cannot be opened ({fault.strerror}); check that it is still there") from None


def _filesystem(file: str) -> Any:
    try:
        import fsspec
    except ImportError:
        raise HerdError(f"{file}: addresses need fsspec; `pip install fsspec` and the package of its service") from None
    try:
        return fsspec.core.url_to_fs(file)[0]
    except (ImportError, ValueError) as fault:
        raise DataError(
            f"{file}: {fault}; install the package for this kind of address or check its spelling"
        ) from None
