"""One run from a file; that it works whole is tested with containers."""

from __future__ import annotations

from herd.sandbox.jobs import JOBS_BY_KIND
from herd.sandbox.oneshot import STREAMS


def test_every_kind_that_a_container_runs_has_its_streams() -> None:
    assert set(STREAMS) == set(JOBS_BY_KIND) - {"execute"}
    for kind, streams in STREAMS.items():
        assert len(streams) == (7 if kind in ("candidate", "tests") else 5)
        used = [stream for stream in streams if stream is not None]
        assert len(used) == len(set(used))
