"""Where work runs. A stage asks its place for workers and never knows which machines they are on."""

from __future__ import annotations

import logging
import multiprocessing
import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, Protocol, TypeVar

from herd.core import processes
from herd.core.errors import DataError, HerdError, SettingsError
from herd.core.ranks import Crew, Patience, Report, rank_command

T = TypeVar("T")
R = TypeVar("R")
_SEMAPHORES = "/dev/shm"  # noqa: S108 - where glibc keeps them; nothing of ours is written there
_ATTEMPTS = 3  # a shard at work when its worker died is given to so many


class Place(Protocol):
    """What a place offers. Results never depend on the place or on its number of workers."""

    @property
    def workers(self) -> int:
        """How many may work at once now. It rises when other stages end and falls when others start."""
        ...

    def map(self, kernel: Callable[[T], R], shards: Iterable[T]) -> Iterator[R]:
        """`kernel` of every shard, in the order of the shards. Kernel and shards must pickle."""
        ...

    def launch(self, job: Path, ranks: int, report: Report, patience: Patience) -> None:
        """Runs `herd.core.rank` on the file `job` in so many processes that know of each other, until it is done.

        patience: with ranks that are silent or die, where it is the place that watches over them."""
        ...


class LocalPlace:
    """Processes on this machine.

    allowed: how many workers there may be now; with 1 everything happens in the calling process. A worker that
    dies costs the shards it had at work, which others are given.
    """

    def __init__(self, allowed: Callable[[], int] = lambda: 1, warn: Callable[[str], None] = print) -> None:
        self._allowed, self._warn = allowed, warn
        self._is_warned = False

    @property
    def workers(self) -> int:
        return self._allowed()

    def map(self, kernel: Callable[[T], R], shards: Iterable[T]) -> Iterator[R]:
        todo = list(shards)
        workers = min(self.workers, len(todo))
        if workers < 2 or not self._can_share():
            yield from map(kernel, todo)
            return
        done: dict[int, R] = {}
        deaths: Counter[int] = Counter()
        suspects: list[int] = []
        given = 0
        while given < len(todo):
            left = [number for number in range(given, len(todo)) if number not in done]
            try:
                for number, result in self._attempt(kernel, todo, suspects or left, 1 if suspects else workers):
                    done[number] = result
                    suspects = [one for one in suspects if one != number]
                    while given in done:
                        yield done.pop(given)
                        given += 1
            except _WorkerDeathError as death:
                # Any of the shards at work may have killed the worker: each is tried again with no other beside it.
                alone = len(death.at_work) == 1
                deaths.update(death.at_work if alone else ())
                worst = death.at_work[0]
                if alone and deaths[worst] >= _ATTEMPTS:
                    raise DataError(
                        f"a worker died {_ATTEMPTS} times with shard {worst} at work ({_short(todo[worst])}); it may "
                        "need more memory than there is: run with fewer workers, or take the shard out"
                    ) from None
                suspects = sorted({*suspects, *death.at_work})

    def _can_share(self) -> bool:
        """Whether processes can wait for one another here; says so when they cannot, and one has to do."""
        why = no_semaphores()
        if why and not self._is_warned:
            self._is_warned = True
            self._warn(f"{why}: one process does all the work, which takes longer")
        return not why

    def launch(self, job: Path, ranks: int, report: Report, patience: Patience) -> None:
        Crew(rank_command(job), ranks, job.parent / "ranks", patience).work(report)

    def _attempt(
        self, kernel: Callable[[T], R], todo: list[T], numbers: list[int], workers: int
    ) -> Iterator[tuple[int, R]]:
        """Results of these shards as they come, by number."""
        spawn = multiprocessing.get_context("spawn")
        waiting = deque(numbers)
        under_way: dict[Future[R], int] = {}
        with ProcessPoolExecutor(
            workers, spawn, initializer=processes.die_with_parent, initargs=(os.getpid(),)
        ) as pool:
            try:
                while waiting or under_way:
                    # One more than there are workers, so that none waits for the next; alone, none beside it.
                    while waiting and len(under_way) < (workers + 1 if workers > 1 else 1):
                        number = waiting.popleft()
                        under_way[pool.submit(kernel, todo[number])] = number
                    ready, _ = wait(under_way, return_when=FIRST_COMPLETED)
                    for future in sorted(ready, key=lambda one: under_way[one]):
                        yield under_way[future], future.result()
                        del under_way[future]
            except BrokenProcessPool:
                raise _WorkerDeathError(sorted(under_way.values())) from None
            finally:
                for future in under_way:
                    future.cancel()


def no_semaphores() -> str:
    """Why a pool of processes cannot be had on this machine, with the mend; empty where it can."""
    try:
        multiprocessing.get_context("spawn").Lock()
    except (OSError, ImportError) as fault:
        words = getattr(fault, "strerror", None) or str(fault)
        return f"worker processes meet in {_SEMAPHORES}, which cannot be used ({words}); mount it writable"
    return ""


class _WorkerDeathError(Exception):
    """at_work: the shards that were under way."""

    def __init__(self, at_work: list[int]) -> None:
        self.at_work = at_work


def _short(shard: object) -> str:
    text = repr(shard)
    return text if len(text) < 200 else text[:197] + "..."


class RayPlace:
    """A Ray cluster, or one started on this machine.

    address: empty to start one here, else `ray://HOST:PORT` or `HOST:PORT`. Files that shards name must be
    readable, and folders writable, under the same path on every node. A node that dies costs the shards it had
    at work, which others are given. Raises HerdError when ray is not installed or the cluster not there.
    """

    def __init__(self, address: str = "") -> None:
        try:
            import ray  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise HerdError("a place of ray needs the package: `pip install 'herd[ray]'`") from None
        self._ray: Any = ray
        if not ray.is_initialized():
            try:
                # The cluster's workers import herd from where this process has it.
                ray.init(address or None, log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
            except (ConnectionError, RuntimeError, ValueError) as fault:
                raise HerdError(f"no Ray cluster answers at {address or 'this machine'}: {fault}") from None

    @property
    def workers(self) -> int:
        return max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    def map(self, kernel: Callable[[T], R], shards: Iterable[T]) -> Iterator[R]:
        ray = self._ray
        task = ray.remote(num_cpus=1, max_retries=_ATTEMPTS, retry_exceptions=False)(_call)
        todo = deque(enumerate(shards))
        shared = ray.put(kernel)
        done: dict[int, R] = {}
        under_way: dict[Any, int] = {}
        given, ahead = 0, 2 * self.workers
        while todo or under_way:
            while todo and len(under_way) < ahead:
                number, shard = todo.popleft()
                under_way[task.remote(shared, shard)] = number
            ready, _ = ray.wait(list(under_way), num_returns=1)
            for one in ready:
                try:
                    done[under_way.pop(one)] = ray.get(one)
                except ray.exceptions.RayTaskError as fault:
                    raise fault.cause if isinstance(fault.cause, HerdError) else fault from None
            while given in done:
                yield done.pop(given)
                given += 1

    def launch(self, job: Path, ranks: int, report: Report, patience: Patience) -> None:
        """By Ray Train, which places the ranks, restarts them when one dies, and gives each a GPU where there are."""
        from ray import train  # pyright: ignore[reportMissingImports]
        from ray.train.torch import TorchTrainer  # pyright: ignore[reportMissingImports]

        from herd.core.joined import rank_on_ray, reporting

        gpus = self._ray.cluster_resources().get("GPU", 0) > 0
        trainer = TorchTrainer(
            rank_on_ray,
            train_loop_config={"job": str(job)},
            scaling_config=train.ScalingConfig(num_workers=ranks, use_gpu=gpus),
            run_config=train.RunConfig(
                name="herd",
                storage_path=str(job.parent / "ray"),
                failure_config=train.FailureConfig(max_failures=_ATTEMPTS),
            ),
        )
        with reporting(job.parent / "ranks", report):
            trainer.fit()


def _call(kernel: Callable[[T], R], shard: T) -> R:
    return kernel(shard)


def open_place(name: str, allowed: Callable[[], int] = lambda: 1, warn: Callable[[str], None] = print) -> Place:
    """`local`, `joined:FOLDER`, `ray` or `ray://HOST:PORT` as a place. warn: told when less is to be had than allowed.

    Raises SettingsError for another name."""
    if name == "local":
        return LocalPlace(allowed, warn)
    if name.startswith("joined:"):
        from herd.core.joined import JoinedPlace

        return JoinedPlace(Path(name.removeprefix("joined:")))
    if name == "ray" or name.startswith("ray://"):
        return RayPlace("" if name == "ray" else name)
    raise SettingsError(f"place {name!r}: there are local, torchrun, slurm, ray and ray://HOST:PORT")


def gpus() -> int:
    """How many GPUs this process may use; asked of the system, since nothing here imports torch."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([one for one in visible.split(",") if one.strip() not in ("", "-1")])
    return len(list(Path("/dev").glob("nvidia[0-9]*")))


def show_gpus(numbers: Sequence[int]) -> None:
    """Lets this process and those it starts see only these of the GPUs it may use; all of them where none is named.
    Heard by CUDA when it is first used."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if numbers:
        names = [str(number) if visible is None else visible.split(",")[number] for number in numbers]
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(names)


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
