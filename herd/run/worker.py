"""Makes one artifact after another in a process of its own."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pickle
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any

from herd.core.artifacts import (
    Artifact,
    ArtifactMetadata,
    atomic_folder,
    atomic_write,
    open_artifact,
    read_metadata,
    write_metadata,
)
from herd.core.errors import HerdError, to_herd_error
from herd.core.executor import Executor, ProgressReporter, RestartPolicy
from herd.core.plugins import UserFiles, load_user_files
from herd.core.results import results
from herd.core.stage import DEFAULT_OPTIONS, Input, RunOptions, Stage, Work, find_stage
from herd.core.terminal import safe_output
from herd.run import processes
from herd.run.executor_factory import make_executor
from herd.run.executors import LocalExecutor

# Progress is shown ten times a second at most; stages may report as often as they like.
REPORT_SECONDS = 0.1

Warn = Callable[[str], None]


@dataclass(frozen=True)
class RunFolder:
    """Where everything lies in the folder of a run."""

    root: Path

    @property
    def artifacts(self) -> Path:
        return self.root / "artifacts"

    @property
    def scratch(self) -> Path:
        return self.root / "scratch"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def lock(self) -> Path:
        return self.root / ".lock"

    @property
    def worker_lock(self) -> Path:
        return self.root / ".workers.lock"

    @property
    def plan(self) -> Path:
        """What stages are estimated to cost, by key: `herd plan --estimate` writes it."""
        return self.root / "plan.json"

    @property
    def finished(self) -> Path:
        """Which artifacts the last run that came to its end was of."""
        return self.root / "finished.json"

    def write_finished(self, keys: Sequence[str]) -> None:
        """Keeps the keys of what a run was asked for, whether it made them or found them."""
        atomic_write(self.finished, json.dumps(list(keys), indent=1))

    def finished_keys(self) -> frozenset[str]:
        """As far as they can be read; none where no run has come to its end."""
        try:
            keys = json.loads(self.finished.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return frozenset()
        return frozenset(key for key in keys if isinstance(key, str)) if isinstance(keys, list) else frozenset()

    def estimate(self, key: str) -> dict[str, Any]:
        """Of one stage; empty where nothing was estimated."""
        return json.loads(self.plan.read_text(encoding="utf-8")).get(key, {}) if self.plan.exists() else {}

    def artifact(self, key: str) -> Path:
        return self.artifacts / key

    def log(self, key: str) -> Path:
        return self.logs / f"{key}.log"


@dataclass(frozen=True)
class StageJob:
    """One stage to run, in words that another process understands. gpus: numbers of those that are the stage's own, one
    for each of its ranks; none where nobody shared them out."""

    key: str
    module: str
    file: str | None
    name: str
    settings: Mapping[str, Any]
    inputs: Mapping[str, str | list[str] | None]
    user_files: UserFiles = ()  # of the user, with plug-ins
    gpus: Sequence[int] = ()

    def stage(self) -> Stage[..., Any]:
        """What runs, with all its plug-ins known."""
        load_user_files(self.user_files)
        return find_stage(self.module, self.file, self.name)

    def on_gpu(self, options: RunOptions) -> RunOptions:
        """The options with the device of a stage of one rank."""
        shared_out = len(self.gpus) == 1 and options.device in ("auto", "cuda")
        return replace(options, device=f"cuda:{self.gpus[0]}") if shared_out else options


def make(
    job: StageJob,
    home: RunFolder,
    report: ProgressReporter,
    executor: Executor,
    options: RunOptions = DEFAULT_OPTIONS,
    warn: Warn = print,
) -> dict[str, Any]:
    """The metadata of the artifact that `job` makes; its folder is whole when this returns.

    Raises CorruptArtifactError for an input that is not what was written, and HerdError, with the stage's name in
    front where the fault did not name it.
    """
    scratch = home.scratch / job.key
    try:
        scratch.mkdir(parents=True, exist_ok=True)
        for artifact in _artifacts(_inputs(job, home)):
            artifact.verify()
        ranks = job.stage().ranks(job.settings, options.inference_ranks)
        if ranks > 1:
            file = scratch / "job.json"
            atomic_write(file, json.dumps({"job": job.__dict__, "root": str(home.root), "options": options.to_json()}))
            executor.launch(file, ranks, report, RestartPolicy(options.heartbeat_timeout_seconds, options.max_restarts))
        else:
            make_here(job, home, report, executor, job.on_gpu(options), warn)
    except Exception as fault:
        raise to_herd_error(fault, f"stage {job.name}") from fault
    shutil.rmtree(scratch, ignore_errors=True)
    return read_metadata(home.artifact(job.key))


def make_here(
    job: StageJob,
    home: RunFolder,
    report: ProgressReporter,
    executor: Executor | None = None,
    options: RunOptions = DEFAULT_OPTIONS,
    warn: Warn = print,
    ranks: int = 1,
) -> None:
    """Makes the artifact in this process, perhaps as the first of several ranks."""
    stage = job.stage()
    meter = processes.Meter()
    with atomic_folder(home.artifact(job.key)) as out:
        work = Work(
            out,
            home.scratch / job.key,
            executor or LocalExecutor(),
            _throttle(report),
            options=options,
            curves=home.root / "curves" / job.key,
            stop_requested=processes.stop_requested,
            checkpoints=home.root / "checkpoints" / job.key,
            settings=job.settings,
            warn=warn,
            ranks=ranks,
        )
        artifact = stage.run(work, _inputs(job, home), job.settings)
        metadata = ArtifactMetadata(
            type=type(artifact).__name__,
            key=job.key,
            stage=stage.name,
            version=stage.version,
            paper=stage.paper,
            code=stage.code(job.settings),
            settings=job.settings,
            inputs=job.inputs,
            results=results.to_rows(work.results.values()),
            cost=meter.read().__dict__
            | {"estimate": home.estimate(job.key), "device": options.device, "dtype": options.dtype},
            module=job.module,
            headline=work.headline,
        )
        write_metadata(out, metadata)


def take_part(
    job: StageJob, home: RunFolder, out: Path, options: RunOptions, report: ProgressReporter, ranks: int
) -> None:
    """Runs the stage as one of the ranks whose output is thrown away; `report` is called as it gets on."""
    alone = replace(options, trackers=(), profile=None)
    work = Work(
        out,
        home.scratch / job.key,
        LocalExecutor(),
        report,
        options=alone,
        stop_requested=processes.stop_requested,
        ranks=ranks,
    )
    job.stage().run(work, _inputs(job, home), job.settings)


def read_job(file: Path) -> tuple[StageJob, Path, RunOptions]:
    """What `make` wrote for ranks: the job, the folder of the run, and its options."""
    row = json.loads(file.read_text(encoding="utf-8"))
    return StageJob(**row["job"]), Path(row["root"]), RunOptions.from_json(row["options"])


def _inputs(job: StageJob, home: RunFolder) -> dict[str, Input]:
    return {name: _open(value, home) for name, value in job.inputs.items()}


def _open(value: str | list[str] | None, home: RunFolder) -> Input:
    if value is None:
        return None
    if isinstance(value, list):
        return tuple(open_artifact(home.artifact(key)) for key in value)
    return open_artifact(home.artifact(value))


def _artifacts(inputs: Mapping[str, Input]) -> Iterator[Artifact]:
    for value in inputs.values():
        yield from value if isinstance(value, tuple) else () if value is None else (value,)


def _throttle(report: ProgressReporter) -> ProgressReporter:
    last = 0.0

    def throttled(completed: float, total: float, words: str) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= REPORT_SECONDS:
            last = now
            report(completed, total, words)

    return throttled


@dataclass
class Channel:
    """The worker's end of the pipe: jobs and allowances come in, progress and results go out."""

    pipe: Connection
    worker_limit: int = 1

    def job(self) -> StageJob:
        """The next job; waits for it."""
        while isinstance(message := self.pipe.recv(), int):
            self.worker_limit = message
        return message

    def workers(self) -> int:
        """How many workers a stage may use now: the newest number the runner sent."""
        while self.pipe.poll():
            self.worker_limit = self.pipe.recv()
        return self.worker_limit

    def report(self, completed: float, total: float, words: str) -> None:
        self.pipe.send(("progress", (completed, total, words)))

    def warn(self, text: str) -> None:
        self.pipe.send(("warning", text))


def serve(pipe: Connection, parent: int, root: Path, executor_name: str, options: RunOptions) -> None:
    """Makes the jobs that come through `pipe` until its other end is closed or the parent ends this process."""
    processes.die_with_parent(parent)
    processes.handle_sigterm()
    # A stage gets cores as workers, not behind its back; with one thread an operation's bits are the same
    # on any number of cores. Read by torch and its libraries when they are first imported.
    os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")
    home, channel = RunFolder(root), Channel(pipe)
    with home.worker_lock.open("a") as lock, contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        fcntl.flock(lock, fcntl.LOCK_SH)  # held as long as this process lives
        while True:
            pipe.send(_attempt(channel.job(), home, channel, executor_name, options))


def _attempt(
    job: StageJob, home: RunFolder, channel: Channel, executor_name: str, options: RunOptions
) -> tuple[str, Any]:
    with _output_to(home.log(job.key)):
        try:
            executor = make_executor(executor_name, channel.workers, channel.warn)
            return "made", make(job, home, channel.report, executor, options, channel.warn)
        except HerdError as fault:
            with contextlib.suppress(OSError):  # a log that cannot be written does not hide the fault
                traceback.print_exc()
            fault.__notes__ = ["".join(traceback.format_exception(fault))]
            return "failed", _picklable(fault)


def _picklable(fault: HerdError) -> HerdError:
    try:
        pickle.loads(pickle.dumps(fault))  # noqa: S301 - our own, made the moment before
        return fault
    except Exception:
        plain = HerdError(str(fault))
        plain.__notes__ = fault.__notes__
        return plain


@contextlib.contextmanager
def _output_to(file: Path) -> Iterator[None]:
    """Sends what the stage and its libraries print to `file`; the terminal belongs to progress."""
    saved = os.dup(1), os.dup(2)
    with _open_log(file) as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        try:
            with safe_output():  # whoever reads the log does so in a terminal
                yield
        finally:
            for old, number in zip(saved, (1, 2), strict=True):
                os.dup2(old, number)
                os.close(old)


def _open_log(file: Path) -> IO[Any]:
    """The log; nowhere where no file can be made, as on a full disk: what the stage says of that must get through."""
    try:
        return file.open("a", encoding="utf-8")
    except OSError:
        return open(os.devnull, "w", encoding="utf-8")


if __name__ == "__main__":
    # python -m herd.run.worker PIPE PARENT FOLDER EXECUTOR OPTIONS: a process of its own, which knows nothing of the
    # program that runs the recipe, a notebook perhaps.
    serve(
        Connection(int(sys.argv[1])),
        int(sys.argv[2]),
        Path(sys.argv[3]),
        sys.argv[4],
        RunOptions.from_json(sys.argv[5]),
    )
