"""One of several processes that make an artifact: `python -m herd.core.rank JOB`, started by whatever starts ranks."""

from __future__ import annotations

import os
import shutil
import sys
import traceback
from pathlib import Path

from herd.core import processes
from herd.core.artifacts import is_whole
from herd.core.errors import HerdError, StoppedError
from herd.core.ranks import Pulse, Rank
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
        traceback.print_exc()
        pulse.give_up(fault)
        return fault.exit_code
    except Exception:
        traceback.print_exc()
        # A peer that died shows as some error of the network here: all are started again.
        return CRASHED


if __name__ == "__main__":
    code = main(Path(sys.argv[1]))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # threads of a broken process group would hold an ordinary exit up
