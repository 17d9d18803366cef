"""Stages that do next to nothing, for tests of the runner; run in workers, so they live in a file."""

from __future__ import annotations

import os
import time
from pathlib import Path

from herd.core.artifacts import Corpus, Tokens
from herd.core.errors import DataError
from herd.core.extras import ExtraPackage
from herd.core.settings import NotInKey, PositiveInt
from herd.core.stage import Work, stage


@stage(paper="-", version=1)
def write(work: Work, *, text: str, where: NotInKey[str] = "") -> Corpus:
    """A file with `text` in it."""
    (work.out / "text").write_text(text)
    if where:
        with Path(where).open("a") as log:
            log.write(f"{text}\n")
    work.headline = text
    return Corpus(work.out)


@stage(paper="-", version=1, packages=lambda *, name: (ExtraPackage(name, "test", "a test"),))
def uses_package(work: Work, *, name: str) -> Corpus:
    """A file that says which package was wanted."""
    (work.out / "text").write_text(name)
    return Corpus(work.out)


@stage(paper="-", version=1)
def join(work: Work, parts: tuple[Corpus, ...], extra: Corpus | None = None, *, times: PositiveInt = 1) -> Tokens:
    """The texts of `parts`, one after another."""
    texts = [(part.path / "text").read_text() for part in (*parts, *([extra] if extra else []))]
    (work.out / "text").write_text("".join(texts) * times)
    return Tokens(work.out)


@stage(paper="-", version=1)
def count_slowly(work: Work, *, steps: PositiveInt, mark: NotInKey[str] = "") -> Corpus:
    """Counts in scratch, a step a moment, and goes on from there after a crash."""
    file = work.scratch / "count"
    done = int(file.read_text()) if file.exists() else 0
    for number in range(done, steps):
        time.sleep(0.02)
        if mark:  # before the step counts as done: one that is killed in between comes twice, and is never missed
            with Path(mark).open("a") as log:
                log.write(f"{number}\n")
        file.with_suffix(".new").write_text(str(number + 1))
        os.replace(file.with_suffix(".new"), file)
        work.progress(number + 1, steps)
    (work.out / "text").write_text(file.read_text())
    return Corpus(work.out)


@stage(paper="-", version=1, gpu=True, data_parallel=True)
def count_ranks(work: Work) -> Corpus:
    """How many ranks run it."""
    (work.out / "text").write_text(f"{work.ranks}")
    return Corpus(work.out)


def _so_many(ranks: int = 1, **_: object) -> int:
    return ranks


@stage(paper="-", version=1, ranks=_so_many, gpu=True)
def on_device(
    work: Work, *, name: str, beside: tuple[str, ...], marks: NotInKey[str], ranks: PositiveInt = 1
) -> Corpus:
    """Where a model would lie, once those it is beside are at work too."""
    folder = Path(marks)
    rank = os.environ.get("RANK", "0")
    (folder / f"{name} {rank}").write_text(os.environ.get("CUDA_VISIBLE_DEVICES", "") if ranks > 1 else work.device)
    deadline = time.monotonic() + 300
    wanted = dict.fromkeys(beside, 1) | {name: ranks}
    while any(len(list(folder.glob(f"{other} *"))) < many for other, many in wanted.items()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    (work.out / "text").write_text(name)
    return Corpus(work.out)


@stage(paper="-", version=1)
def fail(work: Work, *, how: str) -> Corpus:
    """Nothing: it ends in the way named."""
    if how == "data":
        raise DataError("the page has no text; add some")
    if how == "bug":
        raise KeyError("oops")
    if how == "disk":
        import errno

        raise OSError(errno.ENOSPC, "No space left on device", str(work.out / "big"))
    os._exit(7)


def double(number: int) -> int:
    return 2 * number


@stage(paper="-", version=1)
def spread(work: Work, *, numbers: tuple[int, ...]) -> Corpus:
    """Twice the numbers, computed wherever the place has workers."""
    (work.out / "text").write_text(",".join(map(str, work.executor.map(double, numbers))))
    return Corpus(work.out)


@stage(paper="-", version=1)
def whose(work: Work, before: Corpus | None = None, *, number: int = 0) -> Corpus:
    """The number of the process that made it."""
    (work.out / "text").write_text(str(os.getpid()))
    return Corpus(work.out)


@stage(paper="-", version=1, isolated=True)
def whose_own(work: Work, before: Corpus | None = None, *, number: int = 0) -> Corpus:
    """The same, of one that made nothing else before."""
    (work.out / "text").write_text(str(os.getpid()))
    return Corpus(work.out)
