"""The fork servers of a sandbox: one for each set of paths that runs see, started and attacked at its first use."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import Any

from herd.core.errors import SandboxError
from herd.sandbox.attacks import find_breaches
from herd.sandbox.launcher import ForkServer, Wrap
from herd.sandbox.limits import CallResult, Limits
from herd.sandbox.single import call_once, call_request, python_job
from herd.sandbox.verdicts import again


class ForkServers:
    """Fork servers by the paths that their runs see. unsafe, namespaces, wrap: see `ForkServer`.

    Safe to use from several threads.
    """

    def __init__(self, *, unsafe: bool = False, namespaces: bool = True, wrap: Wrap | None = None) -> None:
        self._unsafe, self._namespaces, self._wrap = unsafe, namespaces, wrap
        self._lock = threading.Lock()
        self._servers: dict[tuple[str, ...], ForkServer] = {}

    def server_for(self, readable: Sequence[str]) -> ForkServer:
        """The fork server whose runs see these paths; started anew where it has died.

        Raises SandboxError where it cannot serve: no walls, or something got through them.
        """
        key = tuple(readable)
        with self._lock:
            server = self._servers.get(key)
            if server is not None and server.pid != os.getpid():  # of the process that this one was forked from
                del self._servers[key]
                server = None
            if server is not None and server.alive:
                return server
            if server is not None:
                del self._servers[key]
                server.close()
            server = ForkServer(readable, unsafe=self._unsafe, namespaces=self._namespaces, wrap=self._wrap)
            try:
                self._attack(server)
            except BaseException:
                server.close()
                raise
            self._servers[key] = server
            return server

    def _attack(self, server: ForkServer) -> None:
        """With what a program in Python may call, and with what one in another language may."""
        opens_files, limits = server.walls.opens_files, Limits()
        breaches = []
        for profile in ("python", "program") if opens_files else ("python",):
            job = python_job("call", limits, limits.cpu_seconds) | {"profile": profile, "executable": []}

            def call(*request: Any, job: dict[str, Any] = job) -> CallResult:
                data = call_request(*request)
                return again(lambda: call_once(server, job, data, 1, limits))

            breaches += find_breaches(call, opens_files)
        if breaches and not self._unsafe:
            raise SandboxError(
                f"the sandbox attacked itself before it served, and this got through its walls ({server.walls}): "
                f"{'; '.join(breaches)}; code of a model does not run here"
            )

    def close(self) -> None:
        """Ends all that this process started."""
        with self._lock:
            for server in self._servers.values():
                if server.pid == os.getpid():
                    server.close()
            self._servers = {}
