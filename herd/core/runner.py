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
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from herd.core import places, processes
from herd.core.artifacts import PARTIAL, Artifact, read_card
from herd.core.errors import (
    ArtifactError,
    BusyError,
    DamagedError,
    HerdError,
    SettingsError,
    StoppedError,
    as_sentence,
    did_you_mean,
)
from herd.core.mending import Mender
from herd.core.places import Place, open_place
from herd.core.progress import Display, Silent
from herd.core.stage import USUAL, Manner, Plan, walk
from herd.core.worker import Job, RunFolder, make

# How long a new run waits for the workers of a killed one to be gone.
PATIENCE_SECONDS = 20
# How long training may take to save when the run is asked to end.
LEAVING_SECONDS = 60
# A process that ends badly beside so little free disk ended for want of it.
NO_ROOM_BYTES = 1 << 16


def run(
    target: Artifact,
    folder: Path,
    *,
    jobs: int = 1,
    until: str | None = None,
    place: str = "local",
    manner: Manner = USUAL,
    display: Display | None = None,
    gpus: int | None = None,
) -> Artifact:
    """`target`, made: every stage it needs is run, or skipped when its artifact is whole already.

    folder: where artifacts lie; one run at a time works in it. jobs: stages side by side, each in a process
    of its own with one thread; 0 runs them one by one in this process. until: the name of a stage; the run
    ends when all its calls are made, and the last of them is returned. place: where stages ask for workers.
    gpus: of this machine, which stages side by side share out among them; those it shows when absent.
    Raises SettingsError for less than no jobs, BusyError, and whatever the first stage that failed raised as a
    HerdError.
    """
    if jobs < 0:
        raise SettingsError(f"--jobs {jobs}: a run has at least one stage at work; give 1 or more")
    plans = needed(target, until)
    show = display or Silent()
    home = RunFolder(folder)
    with _sole_run(home):
        mender = Mender(plans, home, show)
        todo = _todo(plans, home, show, mender)
        show.begin(len(plans), len(plans) - len(todo))
        try:
            if jobs == 0:
                _run_here(todo, home, show, open_place(place), manner, mender)
            else:
                # Elsewhere whoever starts the ranks hands out GPUs; a device that was named is everybody's.
                own = place == "local" and manner.device in ("auto", "cuda")
                count = (places.gpus() if gpus is None else gpus) if own else 0
                _Pool(todo, home, jobs, show, [place, manner.to_text()], plans, mender, count).run()
        finally:
            show.end()
    return Artifact.open(home.artifact(plans[-1].key))


def needed(target: Artifact, until: str | None = None) -> list[Plan]:
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
    wanted: dict[str, Plan] = {}
    for call in calls:
        wanted |= {plan.key: plan for plan in walk(Artifact.planned(call))}
    return list(wanted.values())


def _todo(plans: list[Plan], home: RunFolder, show: Display, mender: Mender) -> list[Plan]:
    """The plans whose artifact is not whole; warns of artifacts that other code made.

    Bits are compared of the last one, which is what was asked for; of the others when a stage reads them.
    """
    todo = []
    for plan in plans:
        path = home.artifact(plan.key)
        # The settings differ only where they are not counted, such as in where a file lies now.
        if not mender.look(plan, fully=plan is plans[-1]) or read_card(path)["settings"] != _plain(plan.settings):
            todo.append(plan)
        elif read_card(path)["code"] != plan.stage.code:
            show.warn(
                f"the code of stage {plan.stage.name} changed since {plan.key} was made, its version did not; "
                "raise the version if its result changed, or delete the folder to make it again"
            )
    return todo


def _plain(settings: Mapping[str, Any]) -> Any:
    return json.loads(json.dumps(dict(settings)))


def _run_here(todo: list[Plan], home: RunFolder, show: Display, place: Place, manner: Manner, mender: Mender) -> None:
    left = list(todo)
    while left:
        plan = left[0]
        show.start(plan.key)
        report = functools.partial(show.progress, plan.key)
        try:
            card = make(_job(plan), home, report, place, manner)
        except DamagedError as fault:
            left.insert(0, mender.plan_for(fault))
            mender.set_aside(left[0].key)
            continue
        show.finish(plan.key, card)
        left.pop(0)


def _job(plan: Plan, gpus: tuple[int, ...] = ()) -> Job:
    module, file, name = plan.stage.address
    return Job(plan.key, module, file, name, dict(plan.settings), plan.input_keys, gpus)


# ---- one run at a time in one folder ----


@contextlib.contextmanager
def _sole_run(home: RunFolder) -> Iterator[None]:
    """Holds the folder's lock; waits until no worker of a killed run is left."""
    try:
        for folder in (home.artifacts, home.scratch, home.logs):
            folder.mkdir(parents=True, exist_ok=True)
        lock = home.lock.open("a")
    except OSError as fault:
        raise as_sentence(fault, f"run folder {home.root}") from None
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
    deadline = time.monotonic() + PATIENCE_SECONDS
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
    """allowed: how many of the run's jobs its stage may use now. used: whether it was given a stage yet. gpus: numbers
    of those its stage has."""

    process: subprocess.Popen[bytes]
    pipe: Connection
    allowed: int = 1
    plan: Plan | None = None
    used: bool = False
    gpus: tuple[int, ...] = ()


class _Pool:
    """Worker processes, each making one stage at a time; the longest way to the end goes first."""

    def __init__(
        self, todo: list[Plan], home: RunFolder, jobs: int, show: Display, told: Sequence[str],
        plans: list[Plan], mender: Mender, gpus: int = 0,
    ) -> None:  # fmt: skip
        self.home, self.show, self.told = home, show, told
        self.waiting = {plan.key: plan for plan in todo}
        self.unmade = set(self.waiting)
        self.weights = distance_to_end(plans)
        self.mender = mender
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
            for one in self.workers:
                one.process.kill()
            for one in self.workers:
                one.process.wait()

    def _let_save(self) -> None:
        """Asks every worker to end, and gives training the time to save."""
        for one in self.workers:
            one.process.terminate()
        deadline = time.monotonic() + LEAVING_SECONDS
        busy = [one for one in self.workers if one.plan is not None]
        while busy and time.monotonic() < deadline:
            for pipe in wait([one.pipe for one in busy], timeout=0.2):
                one = next(one for one in busy if one.pipe is pipe)
                with contextlib.suppress(EOFError, OSError):
                    if one.pipe.recv()[0] in ("progress", "warning"):
                        continue
                busy.remove(one)

    def _assign(self) -> None:
        # One that is made again waits for those that read it as it was.
        at_work = {parent.key for one in self.workers if one.plan is not None for parent in one.plan.parents}
        ready = [
            plan
            for plan in self.waiting.values()
            if plan.key not in at_work and not any(parent.key in self.unmade for parent in plan.parents)
        ]
        ready.sort(key=lambda plan: -self.weights[plan.key])
        for plan in ready:
            free = self._free_for(plan)
            if free is None:
                break
            self.mender.set_aside(plan.key)
            gpus = self._gpus_for(plan)
            free.plan, free.used, free.gpus = self.waiting.pop(plan.key), True, gpus
            free.pipe.send(_job(plan, gpus))
            self.show.start(plan.key)
        self._share_out()

    def _gpus_for(self, plan: Plan) -> tuple[int, ...]:
        """One for each rank of a stage that works with a model: those that fewest stages have now."""
        if not plan.stage.gpu or not self.gpus:
            return ()
        taken = Counter(number for one in self.workers if one.plan is not None for number in one.gpus)
        order = sorted(range(self.gpus), key=lambda number: (taken[number], number))
        return tuple(sorted(order[: plan.stage.ranks(plan.settings)]))

    def _free_for(self, plan: Plan) -> _Worker | None:
        """A worker for a stage, a new one where the stage wants that; none while all are at work."""
        idle = [one for one in self.workers if one.plan is None]
        if suited := [one for one in idle if not (plan.stage.fresh and one.used)]:
            return suited[0]
        if idle and len(self.workers) == self.jobs:
            self._let_go(idle[0])
        return self._start() if len(self.workers) < self.jobs else None

    def _let_go(self, one: _Worker) -> None:
        self.workers.remove(one)
        one.pipe.close()
        one.process.kill()
        one.process.wait()

    def _share_out(self) -> None:
        """Gives the jobs that no stage is waiting for to those at work, the longest way to the end first."""
        busy = [one for one in self.workers if one.plan is not None]
        busy.sort(key=lambda one: -self.weights[one.plan.key] if one.plan else 0)
        for rank, one in enumerate(busy):
            allowed = self.jobs // len(busy) + (rank < self.jobs % len(busy))
            if allowed != one.allowed:
                one.allowed = allowed
                one.pipe.send(allowed)

    def _start(self) -> _Worker:
        ours, theirs = socket.socketpair()
        command = [
            sys.executable,
            "-m",
            "herd.core.worker",
            str(theirs.fileno()),
            str(os.getpid()),
            str(self.home.root),
            *self.told,
        ]
        with processes.interrupts_held():
            process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
            theirs.close()
            self.workers.append(_Worker(process, Connection(ours.detach())))
        return self.workers[-1]

    def _listen(self) -> None:
        busy = {one.pipe: one for one in self.workers if one.plan is not None}
        for pipe in wait(list(busy), timeout=0.5):
            one = busy[pipe]  # type: ignore[index]
            assert one.plan is not None
            try:
                kind, content = one.pipe.recv()
            except (EOFError, OSError):
                raise _died(one, self.home) from None
            if kind == "progress":
                self.show.progress(one.plan.key, *content)
            elif kind == "warning":
                self.show.warn(f"stage {one.plan.stage.name}: {content}")
            elif kind == "failed":
                self._mend(one, content)
            else:
                self.show.finish(one.plan.key, content)
                self.unmade.discard(one.plan.key)
                one.plan = None
        self.show.tick()

    def _mend(self, one: _Worker, fault: HerdError) -> None:
        """Has the damaged input made again before the stage that found it. Raises `fault` for any other."""
        assert one.plan is not None
        damaged = self.mender.plan_for(fault)
        for plan in (damaged, one.plan):
            self.waiting[plan.key] = plan
            self.unmade.add(plan.key)
        one.plan = None


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _ask_to_end(*_: object) -> None:
    raise StoppedError("asked to end; what is whole stays, training is saved, and the same command goes on from there")


def _died(one: _Worker, home: RunFolder) -> HerdError:
    code = one.process.wait()
    assert one.plan is not None
    if shutil.disk_usage(home.root).free < NO_ROOM_BYTES:  # it may not even have been able to say so
        return as_sentence(OSError(errno.ENOSPC, "", str(home.root)), f"stage {one.plan.stage.name}")
    why = "was killed, as the system does when memory runs out" if code == -9 else f"ended with exit code {code}"
    return ArtifactError(
        f"stage {one.plan.stage.name}: its process {why}; see {home.log(one.plan.key)}; "
        "with less memory use --jobs 1, then run the same command again"
    )


def distance_to_end(plans: list[Plan]) -> dict[str, int]:
    """For every plan the number of stages that must follow one another after it."""
    distance = {plan.key: 0 for plan in plans}
    for plan in reversed(plans):
        for parent in plan.parents:
            if parent.key in distance:
                distance[parent.key] = max(distance[parent.key], distance[plan.key] + 1)
    return distance
