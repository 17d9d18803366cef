"""Compiles the kernels into a wheel, so that who installs it needs no compiler.

Without a compiler the wheel is one of Python alone: kernels are built at their first use, or plain Python does their
work.
"""

from __future__ import annotations

import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface  # pyright: ignore[reportMissingImports]


class Kernels(BuildHookInterface):
    """Adds the libraries to what goes into the wheel, and names the platform they are for."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":  # a checkout builds its kernels at first use, and again when their sources change
            return
        sys.path.insert(0, self.root)
        from herd.core import native
        from herd.core.errors import HerdError

        try:
            native.compiler()
        except HerdError as fault:
            self.app.display_warning(f"a wheel without compiled kernels: {fault}")
            return
        self._built = tempfile.TemporaryDirectory()  # until the wheel is written
        for sources in native.kernel_folders(Path(self.root) / "herd"):
            library = sources / native.library_name(sources)  # what a checkout has built of the same sources
            if not library.exists():
                library = native.build(sources, Path(self._built.name) / sources.parent.name)
            build_data["force_include"][str(library)] = str(sources.relative_to(self.root) / library.name)
        build_data["pure_python"] = False
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"py3-none-{platform}"  # plain C by way of ctypes: any Python 3 will do

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if built := getattr(self, "_built", None):
            built.cleanup()
