"""Commands that torchrun or Slurm starts many times at once: the first process does what the command says."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator

from herd.commands.command import Command


@contextlib.contextmanager
def one_of_ranks(command: Command, options: argparse.Namespace) -> Iterator[bool]:
    """Whether this process does what `command` says. Of those that were started for one run only the first reads,
    plans, prints and writes; the others meet it in the folder of the run, are ranks of its stages until it ends, and
    are told so after that. Where nothing is run they have nothing to do.

    Raises SettingsError for an executor by which each of them would make the run for itself.
    """
    from herd.run.ranks import Rank

    here = Rank.from_env()
    if command.run_folder is None or here.world_size == 1:
        yield True
        return
    from herd.run.launcher import LAUNCHERS, TIMEOUT_SECONDS, launched_executor, ranks_meet

    if launched_executor(_named_executor(options)) not in LAUNCHERS:
        yield True
    elif _only_shows(options):
        yield here.number == 0
    else:
        timeout_seconds = getattr(options, "heartbeat_timeout", TIMEOUT_SECONDS)
        with ranks_meet(command.run_folder(options), timeout_seconds) as leads:
            yield leads


def _named_executor(options: argparse.Namespace) -> str | None:
    """That of the option, else of the file of numbers that is named; none of what runs nothing."""
    from herd.core.recipe import executor_name

    if not hasattr(options, "executor"):
        return None
    return options.executor or (executor_name(options.recipe) if hasattr(options, "recipe") else None)


def _only_shows(options: argparse.Namespace) -> bool:
    """Whether nothing is run: `herd plan` has no executor."""
    return (
        not hasattr(options, "executor")
        or getattr(options, "dry_run", False)
        or getattr(options, "sbatch", None) is not None
    )
