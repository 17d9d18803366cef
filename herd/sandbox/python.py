"""Functions that a model wrote, called where they can touch nothing.

Only values come back: what they should be, and whether they are, is the caller's to know, so that no program can forge
that it is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from herd.sandbox.limits import CallResult as CallResult
from herd.sandbox.limits import Limits as Limits
from herd.sandbox.server import SandboxServer


def call(code: str, function: str, inputs: Sequence[Sequence[Any]], limits: Limits = Limits()) -> CallResult:  # noqa: B008 - frozen
    """What `function` of the program `code` gives for each list of arguments, one after another in one process.

    Arguments and values are plain JSON data; a tuple comes back as a list. Raises SandboxError where the process cannot
    be locked up: nothing is run then.
    """
    return SandboxServer.shared().call(code, function, inputs, limits)
