"""What runs a stage's work. A stage asks its executor for workers and never knows which machines they are on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

_ShardT = TypeVar("_ShardT")
_ResultT = TypeVar("_ResultT")

ProgressReporter = Callable[[float, float, str], None]  # of how much of how much is done, with words


@dataclass(frozen=True)
class RestartPolicy:
    """How long a rank may send no heartbeat before all are ended, and how often they are started again without
    getting on.

    Ranks that live and get nowhere are ended too: when none of them computes for `idle_seconds`, and when none
    says for `stuck_seconds` that work is done, whatever they compute.
    """

    timeout_seconds: float = 30.0
    max_restarts: int = 3

    @property
    def idle_seconds(self) -> float:
        return 2 * self.timeout_seconds

    @property
    def stuck_seconds(self) -> float:
        return 20 * self.timeout_seconds


class Executor(Protocol):
    """What an executor offers. Results never depend on the executor or on its number of workers."""

    @property
    def workers(self) -> int:
        """How many may work at once now. It rises when other stages end and falls when others start."""
        ...

    def map(self, kernel: Callable[[_ShardT], _ResultT], shards: Iterable[_ShardT]) -> Iterator[_ResultT]:
        """`kernel` of every shard, in the order of the shards. Kernel and shards must pickle."""
        ...

    def launch(self, job: Path, ranks: int, report: ProgressReporter, restart_policy: RestartPolicy) -> None:
        """Runs `herd.run.rank` on the file `job` in so many processes that know of each other, until it is done.

        restart_policy: with ranks that are silent or die, where it is the executor that watches over them."""
        ...
