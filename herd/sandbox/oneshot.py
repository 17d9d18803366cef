"""One run in a container: the request lies in a file, and what comes of it goes through the standard streams.

Started in a container as `python -c "...; from herd.sandbox.oneshot import run_once; run_once()"`. The container is the
wall; Landlock, the filter of system calls and limits stand behind it as far as they can be had there.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import random
import sys
from typing import Any

from herd.sandbox import jobs, walls

REQUEST_FILE = "/request/request.json"
# Which standard stream stands for which descriptor of a run, by its kind: standard input, output and error, the
# request, the answer, and the two ends of the connection to another run; None for nothing.
STREAMS: dict[str, tuple[int | None, ...]] = {
    "call": (None, None, None, None, 1),
    "program": (0, 1, 2, None, None),
    "candidate": (None, None, None, None, None, 0, 1),
    "tests": (None, None, None, None, 2, 0, 1),
}


def run_once(request_file: str = REQUEST_FILE, readable: tuple[str, ...] = ()) -> None:
    """Runs what the file asks for, and ends. readable: what the run may read, where Landlock is there."""
    with open(request_file, encoding="utf-8") as file:
        row: dict[str, Any] = json.load(file)
    jobs.prepare()
    nothing = os.open(os.devnull, os.O_RDWR)
    kind = row["kind"]
    jobs.arrange([nothing if element is None else os.dup(element) for element in STREAMS[kind]])
    folder = os.getcwd()
    jobs.name_folder(folder)
    walls.ResourceLimits(**row["limits"]).install()
    with contextlib.suppress(OSError):  # a container may forbid what it does itself
        walls.drop_capabilities()
        walls.hide_memory()
    with contextlib.suppress(OSError):
        if readable and (version := walls.landlock_version()):
            walls.restrict_files(walls.file_rules(jobs.file_rights(readable, folder, executes=False), version))
    with contextlib.suppress(OSError):
        filters = walls.ProfileFilters()
        walls.install_base_filter()
        filters.install("python")
    random.seed(0)
    gc.enable()
    jobs.JOBS_BY_KIND[kind](row["request"])
    sys.exit(0)
