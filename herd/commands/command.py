"""What a command is."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Command:
    """name: the word after `herd`. summary: what it does, for --help. run: is given the options; its exit code, None
    for 0. run_folder: of a command that runs or plans stages, the folder of the run, found without a look at data or
    models: where processes that a launcher started meet."""

    name: str
    summary: str
    add_options: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int | None]
    run_folder: Callable[[argparse.Namespace], Path] | None = None
