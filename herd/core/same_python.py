"""Processes that import what this one imports.

`python -m` puts the working directory before all that is installed: started in a checkout, it would run the checkout's
code beside a program that is installed, and a folder's own `json.py` in the place of Python's.
"""

from __future__ import annotations

import json
import os
import sys

_START = (
    "import json, runpy, sys; sys.path[:] = json.loads(sys.argv.pop(1)); "
    "runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
)


def module_command(module: str, *arguments: str) -> list[str]:
    """The command of a process that runs `module` as `python -m` does, and looks for modules where this one does."""
    places = [place or os.getcwd() for place in sys.path]  # an empty place is wherever the process is
    return [sys.executable, "-P", "-c", _START, json.dumps(places), module, *arguments]
