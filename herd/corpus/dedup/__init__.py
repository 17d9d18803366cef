"""Steps that look at all documents together: what one says that another one said, and what none else says.

One function is one step; a new file here is found. It is given the documents in shards, maps a kernel over them,
and says which documents are to be dropped, and why.
"""

from __future__ import annotations

from collections.abc import Callable

from herd.core.registry import Registry
from herd.corpus.shards import DedupResult

dedups: Registry[Callable[..., DedupResult]] = Registry("dedups", __name__)
