"""Functions called in processes that are killed when they hang.

A function that may run for ever cannot be stopped from within: a signal does not reach a thread, and a future that
timed out goes on and keeps its worker. Here the system ends the process that has used its processor time, however it
is stuck, and a new one takes its place. What a call costs other processes of the machine changes nothing of its result.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

_CHUNK = 1 << 16


@dataclass(frozen=True)
class CallLimits:
    """What one call may use. cpu_seconds: of processor time, whole ones. wall_seconds: until nobody waits any longer,
    which only a machine that is overloaded needs. memory_bytes: of addresses, of the whole process. reply_bytes: of
    what it gives."""

    cpu_seconds: int = 5
    wall_seconds: float = 120.0
    memory_bytes: int = 4 << 30
    reply_bytes: int = 1 << 20


@dataclass(frozen=True)
class CallReply:
    """What a call gave. error: it gave nothing, in words. timed_out: it used up its processor time. void: whether the
    fault is the machine's or nobody's, and the call could go well another time."""

    value: Any = None
    error: str = ""
    timed_out: bool = False
    void: bool = False


class KillablePool:
    """Processes that call the functions of one module by name, with plain JSON data: `serve_calls` is their side.

    A call whose process dies of itself is tried once more before its reply is void. Safe to use from several threads;
    in a forked child it starts processes of its own.
    """

    def __init__(self, module: str, *, processes: int = 1, limits: CallLimits = CallLimits()) -> None:
        self._module, self._processes, self._limits = module, processes, limits
        self._free: SimpleQueue[_Worker | None] = SimpleQueue()
        self._owner = 0

    def call(self, function: str, *arguments: Any) -> CallReply:
        """What `function(*arguments)` of the module gives."""
        with self._worker() as slot:
            reply = slot.call(function, arguments)
            return slot.call(function, arguments) if reply.void else reply

    def map(self, function: str, calls: Sequence[Sequence[Any]]) -> list[CallReply]:
        """The replies to several calls, in order, as many at a time as there are processes."""
        if self._processes == 1:
            return [self.call(function, *arguments) for arguments in calls]
        with ThreadPoolExecutor(self._processes) as threads:
            return list(threads.map(lambda arguments: self.call(function, *arguments), calls))

    def close(self) -> None:
        """Ends all processes that are idle."""
        if self._owner == os.getpid():
            while not self._free.empty():
                if worker := self._free.get():
                    worker.kill()
            self._owner = 0

    def __enter__(self) -> KillablePool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _worker(self) -> Iterator[_Worker]:
        with _STARTING:
            if self._owner != os.getpid():
                self._owner, self._free = os.getpid(), SimpleQueue()
                for _ in range(self._processes):
                    self._free.put(None)
                atexit.register(self.close)
        worker = self._free.get() or _Worker(self._module, self._limits)
        try:
            yield worker
        finally:
            self._free.put(worker)


_STARTING = threading.Lock()


class _Worker:
    """One process at a time; the next is started when it is needed."""

    def __init__(self, module: str, limits: CallLimits) -> None:
        self._module, self._limits = module, limits
        self._process: subprocess.Popen[bytes] | None = None

    def call(self, function: str, arguments: Sequence[Any]) -> CallReply:
        process = self._process or self._start()
        request = json.dumps({"function": function, "arguments": list(arguments)}) + "\n"
        assert process.stdin is not None
        try:
            process.stdin.write(request.encode())
            process.stdin.flush()
            line = self._read(process)
        except BrokenPipeError:
            line = b""
        if line.endswith(b"\n"):
            return CallReply(**json.loads(line))
        return self._bury(process, line)

    def _start(self) -> subprocess.Popen[bytes]:
        # Hashes decide about the order in which some libraries try things; they are the same in every process.
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(sys.path),
            "PYTHONHASHSEED": "0",
            "OMP_NUM_THREADS": "1",
        }
        limits = [str(self._limits.cpu_seconds), str(self._limits.memory_bytes)]
        command = [sys.executable, "-P", "-W", "ignore", "-m", self._module, *limits]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env=environment)
        return self._process

    def _read(self, process: subprocess.Popen[bytes]) -> bytes:
        """One line, or what came of it before the process ended, was late or said too much."""
        assert process.stdout is not None
        line, deadline, pipe = b"", time.monotonic() + self._limits.wall_seconds, process.stdout.fileno()
        while not line.endswith(b"\n") and len(line) <= self._limits.reply_bytes:
            ready, _, _ = select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))
            chunk = os.read(pipe, _CHUNK) if ready else b""
            if not chunk:
                break
            line += chunk
        return line

    def _bury(self, process: subprocess.Popen[bytes], line: bytes) -> CallReply:
        """Why the process gave nothing."""
        if len(line) > self._limits.reply_bytes:
            self.kill()
            return CallReply(error=f"the result is larger than {self._limits.reply_bytes} bytes")
        try:  # a process that ended by itself has closed its pipe
            code = process.wait(0.5)
        except subprocess.TimeoutExpired:
            self.kill()
            return CallReply(error=f"nothing came within {self._limits.wall_seconds:g} seconds", void=True)
        self.kill()
        if code == -signal.SIGXCPU:
            words = f"it took more than {self._limits.cpu_seconds} seconds of processor time"
            return CallReply(error=words, timed_out=True)
        return CallReply(error=f"its process ended with {code}", void=True)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def serve_calls(functions: dict[str, Any]) -> None:
    """A worker's side: calls what each line of standard input asks for, and writes a line with its value. What a
    function prints goes nowhere."""
    import resource

    cpu_seconds, memory = int(sys.argv[1]), int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    for line in sys.stdin:
        request = json.loads(line)
        # The limit counts from the process's start; a call gets what is left of a second on top.
        resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + cpu_seconds + 1, resource.RLIM_INFINITY))
        try:
            reply = {"value": functions[request["function"]](*request["arguments"])}
        except (Exception, RecursionError, MemoryError) as fault:
            reply = {"error": f"{type(fault).__name__}: {fault}"[:500]}
        output.write(json.dumps(reply) + "\n")
        output.flush()
