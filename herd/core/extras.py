"""Packages that only some commands need: imported late, and named with how to install them where they are missing."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from herd.core.errors import SettingsError


@dataclass(frozen=True)
class ExtraPackage:
    """module: as it is imported. extra: of herd, which has it. purpose: what wants it, the sentence's subject, such as
    `dtype float8`."""

    module: str
    extra: str
    purpose: str

    @property
    def name(self) -> str:
        return self.module.partition(".")[0]

    @property
    def is_installed(self) -> bool:
        """Nothing is imported for it."""
        return importlib.util.find_spec(self.name) is not None

    @property
    def install_command(self) -> str:
        """With the versions that herd is tested with. The name alone would be somebody else's: herd is on no index."""
        try:
            declared = importlib.metadata.requires("herd") or []
        except importlib.metadata.PackageNotFoundError:
            declared = []
        own = re.compile(rf"""extra\s*==\s*['"]{re.escape(self.extra)}['"]""")
        wanted = [line.partition(";")[0].strip() for line in declared if own.search(line.partition(";")[2])]
        if not wanted:
            return f"pip install '{Path(__file__).parents[2]}[{self.extra}]'"  # the checkout
        return "pip install " + " ".join(f"'{requirement}'" for requirement in wanted)


def import_extra(package: ExtraPackage) -> Any:
    """Its module. Raises SettingsError when it is not installed, with the command that mends it."""
    try:
        return importlib.import_module(package.module)
    except ModuleNotFoundError as fault:
        if fault.name and fault.name.split(".")[0] not in package.module:
            words = f"{package.purpose} needs {package.module}, which cannot be imported: {fault}"
            raise SettingsError(words) from None
        raise SettingsError(missing_words([package])) from None


def folder_of_extra(package: ExtraPackage) -> Path:
    """The folder of a package of which only the files are wanted; nothing is imported. Raises as `import_extra`."""
    spec = importlib.util.find_spec(package.module)
    if spec is None or not spec.origin:
        raise SettingsError(missing_words([package]))
    return Path(spec.origin).parent


def missing_words(packages: Iterable[ExtraPackage]) -> str:
    """What wants which of the packages that are not installed, and how to mend it."""
    return "; ".join(
        f"{package.purpose} needs the package {package.name}: `{package.install_command}`"
        for package in dict.fromkeys(packages)
    )
