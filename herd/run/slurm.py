"""Scripts for `sbatch`: a run on nodes of a Slurm cluster, which saves and queues again when its time is up."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from herd.core.errors import SettingsError

_GRACE_SECONDS = 300  # before the end of its time a job is told, and saves
_MOST_FRUITLESS = 2  # starts of a job in a row that save nothing, after which it is not queued again
_PARTITION = re.compile(r"[A-Za-z0-9_.,-]*")


def sbatch_script(
    command: Sequence[str], *, job_name: str, nodes: int, gpus_per_node: int, cpus_per_task: int, hours: float,
    folder: Path, partition: str = "", note: str = "",
) -> str:  # fmt: skip
    """The text of a batch script that runs `command` in this folder once for every GPU, or once a node without.

    hours: of wall-clock time, after which the job is queued again and goes on, unless nothing was saved twice in a row.
    folder: of the run, on a disk that all nodes see; its output goes there too. note: for whoever reads the script, in
    its comment. Raises SettingsError for numbers and names that no job can have.

    Source: sbatch(1) and srun(1) of Slurm, on SLURM_RESTART_COUNT, SRUN_CPUS_PER_TASK and --signal.
    """
    for name, number in (("nodes", nodes), ("cpus-per-task", cpus_per_task)):
        if number < 1:
            raise SettingsError(f"{name} is {number}; a job wants 1 or more")
    if not 0 < hours < math.inf:
        raise SettingsError(f"hours is {hours:g}; give a time above zero")
    if not _PARTITION.fullmatch(partition):
        raise SettingsError(f"partition {partition!r} is no name of one; take one that `sinfo` shows")
    minutes = max(_GRACE_SECONDS // 60 + 1, math.ceil(60 * hours))
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", job_name).strip("-") or "herd"
    options = [
        f"--job-name={name}",
        f"--nodes={nodes}",
        f"--ntasks-per-node={max(1, gpus_per_node)}",
        f"--cpus-per-task={cpus_per_task}",
        *([f"--gpus-per-node={gpus_per_node}"] if gpus_per_node else []),
        *([f"--partition={partition}"] if partition else []),
        f"--time={minutes // 60}:{minutes % 60:02d}:00",
        f"--output={_directive_path(folder)}/slurm-%j.out",
        "--open-mode=append",
        "--requeue",
        f"--signal=B:TERM@{_GRACE_SECONDS}",
    ]
    directives = "\n".join(f"#SBATCH {option}" for option in options)
    comment = f"# {' '.join(note.split())}\n" if note else ""
    return f"""#!/bin/bash
{directives}
{comment}set -u
cd {shlex.quote(str(Path.cwd()))} || exit 2
export OMP_NUM_THREADS="${{SLURM_CPUS_PER_TASK:-{cpus_per_task}}}"
# From Slurm 22.05 on srun does not take --cpus-per-task over from the job.
export SRUN_CPUS_PER_TASK="$OMP_NUM_THREADS"
# Where ranks meet: a node's own name for itself may lead to 127.0.1.1, Slurm's name for it does not.
MASTER_ADDR="$(scontrol show hostnames "${{SLURM_JOB_NODELIST:-}}" | head -n 1)"
export MASTER_ADDR
{_saved_function(folder)}
# Told that its time is nearly up, every rank saves and leaves; queued again, the job goes on from there.
stopping=0
srun {shlex.join(command)} &
step=$!
trap 'stopping=1; kill -TERM "$step" 2>/dev/null' TERM
wait "$step"
code=$?
if [ "$stopping" = 1 ]; then
    wait "$step"
    code=$?
    if [ "$code" != 0 ]; then
        if [ "$(saved)" = "$before" ]; then
            count=$((count + 1))
        else
            count=0
        fi
        echo "$count" > "$fruitless"
        if [ "$count" -ge {_MOST_FRUITLESS} ]; then
            echo "nothing was saved in $count starts of this job, so it is not queued again;" \
                "a stage takes longer than its time: submit it with more --hours" >&2
        else
            scontrol requeue "$SLURM_JOB_ID"
        fi
    fi
fi
exit "$code"
"""


def _saved_function(folder: Path) -> str:
    """Lines of the script: `saved` prints what changes when the run has got on; `count` is how many starts of the job
    in a row left that as it was."""
    quoted = shlex.quote(str(folder.resolve()))
    # What every start writes anew, whether it gets on or not: of ranks, of training before it saves, of packing.
    names = ("ranks", "*.partial", "job.json", "metrics*", "validation*")
    pruned = " -o ".join([*(f"-name {shlex.quote(name)}" for name in names), "-path 'scratch/pack-*/parts'"])
    return f"""# What the run has made and saved so far, by name and size, without what every start writes anew.
saved() {{
    (cd {quoted} && find artifacts scratch \\( {pruned} \\) -prune -o -type f -printf '%p %s\\n') 2>/dev/null |
        LC_ALL=C sort | cksum
}}
before="$(saved)"
fruitless={quoted}/.starts-without-progress
count=0
if [ "${{SLURM_RESTART_COUNT:-0}}" -gt 0 ]; then
    count="$(cat "$fruitless" 2>/dev/null || echo 0)"
fi"""


def _directive_path(folder: Path) -> str:
    """A path as `#SBATCH` lines take it: quoted where it has spaces. Raises SettingsError for one they cannot hold."""
    path = str(folder.resolve()).replace("%", "%%")
    if any(character in path for character in "\"'\\\n"):
        raise SettingsError(f"{folder}: Slurm takes no quotes or backslashes in the name of a folder; choose another")
    return f'"{path}"' if " " in path else path
