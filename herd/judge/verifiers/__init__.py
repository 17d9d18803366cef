"""Checks that know what is right. One function is one check; a new file here is found.

All take a prompt, an answer to it, and the answer that is known to be right where the data has one; they give whether
the answer is right, or None where that cannot be known.
"""

from __future__ import annotations

from collections.abc import Callable

from herd.core.registry import Registry

verifiers: Registry[Callable[..., bool | None]] = Registry("verifiers", __name__)
