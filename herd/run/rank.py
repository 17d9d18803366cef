"""One of several processes that make an artifact: `python -m herd.run.rank JOB`, started by whatever starts ranks."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import traceback
from pathlib import Path

from herd.core.artifacts import is_complete
from herd.core.errors import HerdError, StoppedError, is_full_disk, to_herd_error
from herd.core.terminal import safe_output
from herd.run import processes
from herd.run.executors import set_visible_gpus
from herd.run.ranks import DISK_FULL, Heartbeat, Rank
from herd.run.worker import RunFolder, make_here, read_job, take_part

CRASH_EXIT_CODE = 70


def join_job(file: Path) -> int:
    """Takes part in the job in `file`; the exit code says whether another try may help (70) or not (1)."""
    processes.die_with_parent(os.getppid())
    processes.handle_sigterm()
    return run_rank(file, Rank.from_env())


def run_rank(file: Path, rank: Rank) -> int:
    """The part of one rank in the job in `file`."""
    job, root, options = read_job(file)
    set_visible_gpus(job.gpus)
    home = RunFolder(root)
    if is_complete(home.artifact(job.key)):  # made before another rank died
        return 0
    heartbeat = Heartbeat(file.parent / "ranks", rank)
    try:
        if rank.number == 0:
            make_here(job, home, heartbeat.report, options=options, ranks=rank.world_size)
        else:
            out = file.parent / f"out-{rank.number}"
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir()
            take_part(job, home, out, options, heartbeat.report, rank.world_size)
        return 0
    except StoppedError:
        return StoppedError.exit_code
    except HerdError as fault:
        _give_up(heartbeat, fault)
        return fault.exit_code
    except Exception as fault:
        if is_full_disk(fault):  # no try will help, and perhaps there is no room to say so
            _give_up(heartbeat, to_herd_error(fault, f"stage {job.name}"))
            return DISK_FULL
        _print_fault()
        # A peer that died shows as some error of the network here: all are started again.
        return CRASH_EXIT_CODE
    finally:
        heartbeat.close()


def _give_up(heartbeat: Heartbeat, fault: HerdError) -> None:
    _print_fault()
    with contextlib.suppress(OSError):
        heartbeat.give_up(fault)


def _print_fault() -> None:
    with contextlib.suppress(OSError):  # a log that cannot be written does not hide the fault
        traceback.print_exc()


if __name__ == "__main__":
    with safe_output():
        code = join_job(Path(sys.argv[1]))
    os._exit(code)  # threads of a broken process group would hold an ordinary exit up
