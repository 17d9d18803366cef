"""Runs a planned recipe: skips what is whole, makes the rest side by side, survives being killed."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from herd.core.artifacts import PARTIAL, Artifact, read_metadata
from herd.core.errors import (
    ArtifactError,
    BusyError,
    CorruptArtifactError,
    HerdError,
    SettingsError,
    StoppedError,
    did_you_mean,
    to_herd_error,
)
from herd.core.executor import Executor
from herd.core.extras import missing_words
from herd.core.plugins import user_files
from herd.core.same_python import module_command
from herd.core.stage import DEFAULT_OPTIONS, Plan, RunOptions, missing_packages, walk
from herd.core.titles import plan_titles, write_run_labels
from herd.run import processes
from herd.run.executor_factory import make_executor
from herd.run.executors import num_gpus as visible_gpus
from herd.run.progress import Display, SilentDisplay
from herd.run.repair import ArtifactRepairer
from herd.run.worker import RunFolder, StageJob, make

# How long a new run waits for the workers of a killed one to be gone.
LOCK_WAIT_SECONDS = 20
# How long training may take to save when the run is asked to end.
SHUTDOWN_SECONDS = 60
# A process that ends badly beside so little free disk ended for want of it.
NO_ROOM_BYTES = 1 << 16


def run_stages(
    target: Artifact,
    folder: Path,
    *,
    jobs: int = 1,
    until: str | None = None,
    executor: str = "local",
    options: RunOptions = DEFAULT_OPTIONS,
    display: Display | None = None,
    gpus: int | None = None,
) -> Artifact:
    """`target`, made: every stage it needs is run, or skipped when its artifact is whole already.

    folder: where artifacts lie; one run at a time works in it. jobs: stages side by side, each in a process
    of its own with one thread; 0 runs them one by one in this process. until: the name of a stage; the run
    ends when all its calls are made, and the last of them is returned. executor: where stages ask for workers.
    gpus: of this machine, which stages side by side share out among them; those it shows when absent.
    Raises SettingsError for less than no jobs and for packages that a stage wants and nobody installed, BusyError, and
    whatever the first stage that failed raised as a HerdError.
    """
    if jobs < 0:
        raise SettingsError(f"--jobs {jobs}: a run has at least one stage at work; give 1 or more")
    plans = required_plans(target, until)
    show = display or SilentDisplay()
    home = RunFolder(folder)
    with _sole_run(home):
        write_run_labels(home.root, plans)
        show.show_titles(plan_titles(plans))
        repairer = ArtifactRepairer(plans, home, show)
        todo = _todo(plans, home, show, repairer)
        if missing := missing_packages(todo):
            raise SettingsError(missing_words(missing))
        show.begin(len(plans), len(plans) - len(todo))
        try:
            if jobs == 0:
                where = make_executor(executor, timeout_seconds=options.heartbeat_timeout_seconds)
                _run_here(todo, home, show, where, options, repairer)
            else:
                # Elsewhere whoever starts the ranks hands out GPUs; a device that was named is everybody's.
                own = executor == "local" and options.device in ("auto", "cuda")
                count = (visible_gpus() if gpus is None else gpus) if own else 0
                _Pool(todo, home, jobs, show, executor, options, plans, repairer, count).run()
        finally:
            show.end()
        home.write_finished([plan.key for plan in plans])
    return Artifact.open(home.artifact(plans[-1].key))


def required_plans(target: Artifact, until: str | None = None) -> list[Plan]:
    """All plans that `target` needs, or only those that every call of the stage `until` needs, in order.

    Raises SettingsError when no stage is called so.
    """
    plans = walk(target)
    if until is None:
        return plans
    name = until
    calls = [plan for plan in plans if name in (plan.stage.name, plan.key)]
    if not calls:
        names = {plan.stage.name for plan in plans}
        raise SettingsError(f"--until {name}: this recipe has no such stage{did_you_mean(name, names)}")
    by_key: dict[str, Plan] = {}
    for call in calls:
        by_key |= {plan.key: plan for plan in walk(Artifact.from_plan(call))}
    return list(by_key.values())


def _todo(plans: list[Plan], home: RunFolder, show: Display, repairer: ArtifactRepairer) -> list[Plan]:
    """The plans whose artifact is not whole; warns of artifacts that other code made.

    Bits are compared of the last one, which is what was asked for; of the others when a stage reads them.
    """
    todo = []
    for plan in plans:
        path = home.artifact(plan.key)
        # The settings differ only where they are not counted, such as in where a file lies now.
        if not repairer.check(plan, fully=plan is plans[-1]) or read_metadata(path)["settings"] != _plain(
            plan.settings
        ):
            todo.append(plan)
        elif read_metadata(path)["code"] != plan.stage.code(plan.settings):
            show.warn(
                f"the code of stage {plan.stage.name} changed since {plan.key} was made, its version did not; "
                "raise the version if its result changed, or delete the folder to make it again"
            )
    return todo


def _plain(settings: Mapping[str, Any]) -> Any:
    return json.loads(json.dumps(dict(settings)))


def _run_here(
    todo: list[Plan],
    home: RunFolder,
    show: Display,
    executor: Executor,
    options: RunOptions,
    repairer: ArtifactRepairer,
) -> None:
    remaining = list(todo)
    while remaining:
        plan = remaining[0]
        show.start(plan.key)
        report = functools.partial(show.progress, plan.key)
        try:
            metadata = make(
                _job(plan),
                home,
                report,
                executor,
                options,
                lambda words, name=plan.stage.name: show.warn(f"stage {name}: {words}"),
            )
        except CorruptArtifactError as fault:
            remaining.insert(0, repairer.plan_for(fault))
            repairer.set_aside(remaining[0].key)
            continue
        show.finish(plan.key, metadata)
        remaining.pop(0)


def _job(plan: Plan, gpus: tuple[int, ...] = ()) -> StageJob:
    module, file, name = plan.stage.address
    return StageJob(plan.key, module, file, name, dict(plan.settings), plan.input_keys, user_files(), gpus)


# ---- one run at a time in one folder ----


@contextlib.contextmanager
def _sole_run(home: RunFolder) -> Iterator[None]:
    """Holds the folder's lock; waits until no worker of a killed run is left."""
    try:
        for folder in (home.artifacts, home.scratch, home.logs):
            folder.mkdir(parents=True, exist_ok=True)
        lock = home.lock.open("a")
    except OSError as fault:
        raise to_herd_error(fault, f"run folder {home.root}") from None
    with lock, home.worker_lock.open("a") as workers:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise BusyError(
                f"another herd run is at work in {home.root}; wait for it to end, or choose another folder with --out"
            ) from None
        _wait_for_old_workers(workers, home)
        _tidy(home)
        yield


def _wait_for_old_workers(lock: Any, home: RunFolder) -> None:
    deadline = time.monotonic() + LOCK_WAIT_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except OSError:
            if time.monotonic() > deadline:
                raise BusyError(f"workers of an earlier run still write to {home.root}; end them first") from None
            time.sleep(0.05)
    fcntl.flock(lock, fcntl.LOCK_UN)


def _tidy(home: RunFolder) -> None:
    """Removes what a killed run left half-made; scratch folders of unfinished stages stay."""
    for path in home.artifacts.glob(f"*{PARTIAL}"):
        shutil.rmtree(path, ignore_errors=True)


# ---- side by side ----


@dataclass
class _Worker:
    """worker_limit: how many of the run's jobs its stage may use now. has_run: whether it was given a stage yet. gpus:
    numbers of those its stage has."""

    process: subprocess.Popen[bytes]
    pipe: Connection
    worker_limit: int = 1
    plan: Plan | None = None
    has_run: bool = False
    gpus: tuple[int, ...] = ()


class _Pool:
    """Worker processes, each making one stage at a time; the longest way to the end goes first."""

    def __init__(
        self, todo: list[Plan], home: RunFolder, jobs: int, show: Display, executor: str, options: RunOptions,
        plans: list[Plan], repairer: ArtifactRepairer, gpus: int = 0,
    ) -> None:  # fmt: skip
        self.home, self.show, self.executor, self.options = home, show, executor, options
        self.waiting = {plan.key: plan for plan in todo}
        self.unmade = set(self.waiting)
        self.distances, self.ancestors = distance_to_end(plans), ancestors(plans)
        self.repairer = repairer
        self.jobs, self.gpus = jobs, gpus
        self.workers: list[_Worker] = []

    def run(self) -> None:
        before = signal.signal(signal.SIGTERM, _ask_to_end) if _is_main_thread() else None
        try:
            while self.unmade:
                self._assign()
                self._listen()
        except StoppedError:
            self._let_save()
            raise
        finally:
            if before is not None:
                signal.signal(signal.SIGTERM, before)
            for worker in self.workers:
                worker.process.kill()
            for worker in self.workers:
                worker.process.wait()

    def _let_save(self) -> None:
        """Asks every worker to end, and gives training the time to save."""
        for worker in self.workers:
            worker.process.terminate()
        deadline = time.monotonic() + SHUTDOWN_SECONDS
        busy = [worker for worker in self.workers if worker.plan is not None]
        while busy and time.monotonic() < deadline:
            for pipe in wait([worker.pipe for worker in busy], timeout=0.2):
                worker = next(worker for worker in busy if worker.pipe is pipe)
                with contextlib.suppress(EOFError, OSError):
                    if worker.pipe.recv()[0] in ("progress", "warning"):
                        continue
                busy.remove(worker)

    def _assign(self) -> None:
        # One that is made again waits for those that read it as it was. A stage may read its whole lineage.
        busy = [self.ancestors[worker.plan.key] for worker in self.workers if worker.plan is not None]
        being_read = set().union(*busy)
        ready = [
            plan
            for plan in self.waiting.values()
            if plan.key not in being_read and self.unmade.isdisjoint(self.ancestors[plan.key])
        ]
        ready.sort(key=lambda plan: -self.distances[plan.key])
        for plan in ready:
            free = self._free_for(plan)
            if free is None:
                break
            self.repairer.set_aside(plan.key)
            gpus = self._gpus_for(plan)
            free.plan, free.has_run, free.gpus = self.waiting.pop(plan.key), True, gpus
            free.pipe.send(_job(plan, gpus))
            self.show.start(plan.key)
        self._share_out()

    def _gpus_for(self, plan: Plan) -> tuple[int, ...]:
        """One for each rank of a stage that works with a model: those that fewest stages have now."""
        if not plan.stage.gpu or not self.gpus:
            return ()
        loads = Counter(chain.from_iterable(worker.gpus for worker in self.workers if worker.plan is not None))
        order = sorted(range(self.gpus), key=lambda number: (loads[number], number))
        return tuple(sorted(order[: plan.stage.ranks(plan.settings, self.options.inference_ranks)]))

    def _free_for(self, plan: Plan) -> _Worker | None:
        """A worker for a stage, a new one where the stage wants that; none while all are at work."""
        idle = [worker for worker in self.workers if worker.plan is None]
        if suited := [worker for worker in idle if not (plan.stage.isolated and worker.has_run)]:
            return suited[0]
        if idle and len(self.workers) == self.jobs:
            self._let_go(idle[0])
        return self._start() if len(self.workers) < self.jobs else None

    def _let_go(self, worker: _Worker) -> None:
        self.workers.remove(worker)
        worker.pipe.close()
        worker.process.kill()
        worker.process.wait()

    def _share_out(self) -> None:
        """Gives the jobs that no stage is waiting for to those at work, the longest way to the end first."""
        busy = [worker for worker in self.workers if worker.plan is not None]
        busy.sort(key=lambda worker: -self.distances[worker.plan.key] if worker.plan else 0)
        for rank, worker in enumerate(busy):
            limit = self.jobs // len(busy) + (rank < self.jobs % len(busy))
            if limit != worker.worker_limit:
                worker.worker_limit = limit
                worker.pipe.send(limit)

    def _start(self) -> _Worker:
        ours, theirs = socket.socketpair()
        command = module_command(
            "herd.run.worker",
            str(theirs.fileno()),
            str(os.getpid()),
            str(self.home.root),
            self.executor,
            self.options.to_json(),
        )
        with processes.block_interrupts():
            process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
            theirs.close()
            self.workers.append(_Worker(process, Connection(ours.detach())))
        return self.workers[-1]

    def _listen(self) -> None:
        busy = {worker.pipe: worker for worker in self.workers if worker.plan is not None}
        for pipe in wait(list(busy), timeout=0.5):
            worker = busy[pipe]  # type: ignore[index]
            assert worker.plan is not None
            try:
                kind, content = worker.pipe.recv()
            except (EOFError, OSError):
                raise _death_error(worker, self.home) from None
            if kind == "progress":
                self.show.progress(worker.plan.key, *content)
            elif kind == "warning":
                self.show.warn(f"stage {worker.plan.stage.name}: {content}")
            elif kind == "failed":
                self._repair(worker, content)
            else:
                self.show.finish(worker.plan.key, content)
                self.unmade.discard(worker.plan.key)
                worker.plan = None
        self.show.tick()

    def _repair(self, worker: _Worker, fault: HerdError) -> None:
        """Has the damaged input made again before the stage that found it. Raises `fault` for any other."""
        assert worker.plan is not None
        damaged = self.repairer.plan_for(fault)
        for plan in (damaged, worker.plan):
            self.waiting[plan.key] = plan
            self.unmade.add(plan.key)
        worker.plan = None


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _ask_to_end(*_: object) -> None:
    raise StoppedError("asked to end; what is whole stays, training is saved, and the same command goes on from there")


def _death_error(worker: _Worker, home: RunFolder) -> HerdError:
    code = worker.process.wait()
    assert worker.plan is not None
    if shutil.disk_usage(home.root).free < NO_ROOM_BYTES:  # it may not even have been able to say so
        return to_herd_error(OSError(errno.ENOSPC, "", str(home.root)), f"stage {worker.plan.stage.name}")
    why = "was killed, as the system does when memory runs out" if code == -9 else f"ended with exit code {code}"
    return ArtifactError(
        f"stage {worker.plan.stage.name}: its process {why}; see {home.log(worker.plan.key)}; "
        "with less memory use --jobs 1, then run the same command again"
    )


def ancestors(plans: list[Plan]) -> dict[str, set[str]]:
    """Of every plan the keys of all that it is made of, directly or not. plans: each after its parents."""
    keys: dict[str, set[str]] = {}
    for plan in plans:
        keys[plan.key] = set().union(*({parent.key} | keys[parent.key] for parent in plan.parents))
    return keys


def distance_to_end(plans: list[Plan]) -> dict[str, int]:
    """For every plan the number of stages that must follow one another after it."""
    distance = {plan.key: 0 for plan in plans}
    for plan in reversed(plans):
        for parent in plan.parents:
            if parent.key in distance:
                distance[parent.key] = max(distance[parent.key], distance[plan.key] + 1)
    return distance
