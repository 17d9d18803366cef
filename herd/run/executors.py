"""Where work runs: processes of this machine, a Ray cluster, or ranks that a launcher started."""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import subprocess
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, TypeVar

from herd.core.errors import DataError, HerdError
from herd.core.executor import ProgressReporter, RestartPolicy
from herd.core.extras import ExtraPackage, import_extra
from herd.core.plugins import UserFiles, load_user_files, user_files
from herd.run import processes
from herd.run.ranks import Rank, RankSupervisor, rank_command, rank_env, watch_progress

_ShardT = TypeVar("_ShardT")
_ResultT = TypeVar("_ResultT")
_SEMAPHORES = "/dev/shm"  # noqa: S108 - where glibc keeps them; nothing of ours is written there
_ATTEMPTS = 3  # a shard at work when its worker died is given to so many


class LocalExecutor:
    """Processes on this machine.

    worker_limit: how many workers there may be now; as long as it is 1 everything happens in the calling process. A
    worker that dies costs the shards it had at work, which others are given.
    """

    def __init__(self, worker_limit: Callable[[], int] = lambda: 1, warn: Callable[[str], None] = print) -> None:
        self._worker_limit, self._warn = worker_limit, warn
        self._is_warned = False

    @property
    def workers(self) -> int:
        return self._worker_limit()

    def map(self, kernel: Callable[[_ShardT], _ResultT], shards: Iterable[_ShardT]) -> Iterator[_ResultT]:
        todo = list(shards)
        next_number = 0
        # Others may join in as soon as the stages beside this one are done.
        while (workers := min(self.workers, len(todo) - next_number)) == 1 or (workers and not self._can_share()):
            yield kernel(todo[next_number])
            next_number += 1
        results: dict[int, _ResultT] = {}
        deaths: Counter[int] = Counter()
        suspects: list[int] = []
        while next_number < len(todo):
            remaining = [number for number in range(next_number, len(todo)) if number not in results]
            try:
                for number, result in self._attempt(kernel, todo, suspects or remaining, 1 if suspects else workers):
                    results[number] = result
                    suspects = [suspect for suspect in suspects if suspect != number]
                    while next_number in results:
                        yield results.pop(next_number)
                        next_number += 1
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

    def launch(self, job: Path, ranks: int, report: ProgressReporter, restart_policy: RestartPolicy) -> None:
        RankSupervisor(rank_command(job), ranks, job.parent / "ranks", restart_policy).run(report)

    def _attempt(
        self, kernel: Callable[[_ShardT], _ResultT], todo: list[_ShardT], numbers: list[int], workers: int
    ) -> Iterator[tuple[int, _ResultT]]:
        """Results of these shards as they come, by number."""
        spawn = multiprocessing.get_context("spawn")
        waiting = deque(numbers)
        under_way: dict[Future[_ResultT], int] = {}
        with ProcessPoolExecutor(
            workers, spawn, initializer=_init_worker, initargs=(os.getpid(), user_files())
        ) as pool:
            try:
                while waiting or under_way:
                    # One more than there are workers, so that none waits for the next; alone, none beside it.
                    while waiting and len(under_way) < (workers + 1 if workers > 1 else 1):
                        number = waiting.popleft()
                        under_way[pool.submit(kernel, todo[number])] = number
                    ready, _ = wait(under_way, return_when=FIRST_COMPLETED)
                    for future in sorted(ready, key=lambda candidate: under_way[candidate]):
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


class RayExecutor:
    """A Ray cluster, or one started on this machine.

    address: empty to start one here, else `ray://HOST:PORT` or `HOST:PORT`. Files that shards name must be
    readable, and folders writable, under the same path on every node. A node that dies costs the shards it had
    at work, which others are given. Raises HerdError when ray is not installed or the cluster not there.
    """

    def __init__(self, address: str = "") -> None:
        self._ray: Any = import_extra(ExtraPackage("ray", "ray", "the executor ray"))
        ray = self._ray
        if not ray.is_initialized():
            try:
                # The cluster's workers import herd from where this process has it.
                ray.init(address or None, log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
            except (ConnectionError, RuntimeError, ValueError) as fault:
                raise HerdError(f"no Ray cluster answers at {address or 'this machine'}: {fault}") from None

    @property
    def workers(self) -> int:
        return max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    def map(self, kernel: Callable[[_ShardT], _ResultT], shards: Iterable[_ShardT]) -> Iterator[_ResultT]:
        ray = self._ray
        task = ray.remote(num_cpus=1, max_retries=_ATTEMPTS, retry_exceptions=False)(_call)
        todo = deque(enumerate(shards))
        shared = ray.put(pickle.dumps(kernel))  # read there once the user's files are known
        results: dict[int, _ResultT] = {}
        under_way: dict[Any, int] = {}
        next_number, ahead = 0, 2 * self.workers
        while todo or under_way:
            while todo and len(under_way) < ahead:
                number, shard = todo.popleft()
                under_way[task.remote(user_files(), shared, shard)] = number
            ready, _ = ray.wait(list(under_way), num_returns=1)
            for ref in ready:
                try:
                    results[under_way.pop(ref)] = ray.get(ref)
                except ray.exceptions.RayTaskError as fault:
                    raise fault.cause if isinstance(fault.cause, HerdError) else fault from None
            while next_number in results:
                yield results.pop(next_number)
                next_number += 1

    def launch(self, job: Path, ranks: int, report: ProgressReporter, restart_policy: RestartPolicy) -> None:
        """By Ray Train, which places the ranks, restarts them when one dies, and gives each a GPU where there are."""
        train = import_extra(ExtraPackage("ray.train", "ray", "training on Ray"))
        torch = import_extra(ExtraPackage("ray.train.torch", "ray", "training on Ray"))
        gpus = self._ray.cluster_resources().get("GPU", 0) > 0
        trainer = torch.TorchTrainer(
            rank_on_ray,
            train_loop_config={"job": str(job)},
            scaling_config=train.ScalingConfig(num_workers=ranks, use_gpu=gpus),
            run_config=train.RunConfig(
                name="herd",
                storage_path=str(job.parent / "ray"),
                failure_config=train.FailureConfig(max_failures=_ATTEMPTS),
            ),
        )
        with watch_progress(job.parent / "ranks", report):
            trainer.fit()


def _init_worker(parent: int, files: UserFiles) -> None:
    processes.die_with_parent(parent)
    load_user_files(files)


def _call(files: UserFiles, kernel: bytes, shard: Any) -> Any:
    load_user_files(files)
    return pickle.loads(kernel)(shard)  # noqa: S301 - our own, from the process that asks


def rank_on_ray(config: dict[str, str]) -> None:
    """The body of a Ray Train worker: the rank in a process of its own, with torchrun's variables.

    Ray has said where its own workers meet; ours meet one port further, and are placed anew if that is taken.
    """
    from ray import train  # pyright: ignore[reportMissingImports]

    context = train.get_context()
    rank = Rank(context.get_world_rank(), context.get_world_size(), context.get_local_rank())
    env = rank_env(rank, os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]) + 1)
    process = subprocess.run(rank_command(Path(config["job"])), env=os.environ | env, check=False)
    if process.returncode:
        raise RuntimeError(f"rank {rank.number} ended with {process.returncode}")


def num_gpus() -> int:
    """How many GPUs this process may use; asked of the system, since nothing here imports torch."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([device for device in visible.split(",") if device.strip() not in ("", "-1")])
    return len(list(Path("/dev").glob("nvidia[0-9]*")))


def set_visible_gpus(numbers: Sequence[int]) -> None:
    """Lets this process and those it starts see only these of the GPUs it may use; all of them where none is named.
    Heard by CUDA when it is first used."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if numbers:
        names = [str(number) if visible is None else visible.split(",")[number] for number in numbers]
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(names)


def num_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
