"""One of several processes that make an artifact: `python -m herd.core.rank JOB`, started by whatever starts ranks."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import traceback
from pathlib import Path

from herd.core import processes
from herd.core.artifacts import is_whole
from herd.core.errors import HerdError, StoppedError, as_sentence, is_full_disk
from herd.core.places import show_gpus
from herd.core.ranks import DISK_FULL, Pulse, Rank
from herd.core.terminal import doors
from herd.core.worker import RunFolder, make_here, read_job, take_part

CRASHED = 70


def main(file: Path) -> int:
    """Takes part in the job in `file`; the exit code says whether another try may help (70) or not (1)."""
    processes.die_with_parent(os.getppid())
    processes.hear_stop()
    return work(file, Rank.here())


def work(file: Path, rank: Rank) -> int:
    """The part of one rank in the job in `file`."""
    job, root, manner = read_job(file)
    show_gpus(job.gpus)
    home = RunFolder(root)
    if is_whole(home.artifact(job.key)):  # made before another rank died
        return 0
    pulse = Pulse(file.parent / "ranks", rank)
    try:
        if rank.number == 0:
            make_here(job, home, pulse.report, manner=manner)
        else:
            out = file.parent / f"out-{rank.number}"
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir()
            take_part(job, home, out, manner, pulse.report)
        return 0
    except StoppedError:
        return StoppedError.exit_code
    except HerdError as fault:
        _give_up(pulse, fault)
        return fault.exit_code
    except Exception as fault:
        if is_full_disk(fault):  # no try will help, and perhaps there is no room to say so
            _give_up(pulse, as_sentence(fault, f"stage {job.name}"))
            return DISK_FULL
        _print_fault()
        # A peer that died shows as some error of the network here: all are started again.
        return CRASHED


def _give_up(pulse: Pulse, fault: HerdError) -> None:
    _print_fault()
    with contextlib.suppress(OSError):
        pulse.give_up(fault)


def _print_fault() -> None:
    with contextlib.suppress(OSError):  # a log that cannot be written does not hide the fault
        traceback.print_exc()


if __name__ == "__main__":
    with doors():
        code = main(Path(sys.argv[1]))
    os._exit(code)  # threads of a broken process group would hold an ordinary exit up
