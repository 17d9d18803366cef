"""Packages that only some commands need: imported late, and named with their extra where they are missing."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

from herd.core.errors import SettingsError


def import_extra(module: str, extra: str, purpose: str) -> Any:
    """The module. purpose: what wants it, the sentence's subject, such as `precision float8`.

    Raises SettingsError when it is not installed, with the command that mends it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as fault:
        if fault.name and fault.name.split(".")[0] not in module:
            raise SettingsError(f"{purpose} needs {module}, which cannot be imported: {fault}") from None
        raise _missing(module, extra, purpose) from None


def folder_of_extra(module: str, extra: str, purpose: str) -> Path:
    """The folder of a package of which only the files are wanted; nothing is imported. Raises as `import_extra`."""
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.origin:
        raise _missing(module, extra, purpose)
    return Path(spec.origin).parent


def _missing(module: str, extra: str, purpose: str) -> SettingsError:
    package = module.split(".")[0]
    return SettingsError(f"{purpose} needs the package {package}: `pip install 'herd[{extra}]'`")
