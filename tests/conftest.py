"""What all tests share: the acceptance rows, slow tests, and a small made run."""

from __future__ import annotations

import os

# As the runner gives its workers: tests side by side with several threads each wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import fcntl
import gc
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import hypothesis
import pytest

# Tests do not depend on the clock: the first example may be the one that builds or imports.
hypothesis.settings.register_profile("herd", deadline=None)
hypothesis.settings.load_profile("herd")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run slow tests too")
    parser.addoption("--rows", default="", help="only tests of these rows of the acceptance table")
    parser.addoption("--rows-json", default="", help="write outcome and figure of every row's tests here, a line each")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wanted = {int(number) for number in str(config.getoption("--rows")).split(",") if number}
    if wanted:
        items[:] = [item for item in items if any(mark.args[0] in wanted for mark in item.iter_markers("row"))]
    if not config.getoption("--slow"):
        for item in items:
            if item.get_closest_marker("slow"):
                item.add_marker(pytest.mark.skip(reason="takes minutes; --slow runs it"))


def pytest_collection_finish() -> None:
    # Training collects garbage once before its first step; modules and tests are none, and there are many.
    gc.freeze()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome = yield
    report = outcome.get_result()
    file = item.config.getoption("--rows-json")
    # A skipped test ends in its set-up, another in its call; a set-up that breaks is a failure.
    if file and (report.when == "call" or (report.when == "setup" and report.outcome != "passed")):
        properties = [(name, value) for name, value in report.user_properties]
        # A check known to miss its bar is marked xfail, strictly, so that the suite is green and the row says so.
        missed = report.outcome == "skipped" and hasattr(report, "wasxfail")
        reason = str(report.longrepr[2]) if report.outcome == "skipped" and isinstance(report.longrepr, tuple) else ""
        entry = {
            "test": item.nodeid,
            "outcome": "failed" if missed else report.outcome,
            "figure": "; ".join(str(value) for name, value in properties if name == "figure") or reason,
            "seeds": next((value for name, value in properties if name == "seeds"), None),
            "seconds": round(report.duration, 1),
            "slow": item.get_closest_marker("slow") is not None,
        }
        lines = [json.dumps({"row": row, "part": part, **entry}) + "\n" for row, part in checked_parts(item)]
        # Line by line, so that what took an hour is known before the next hour is over.
        with Path(file).open("a", encoding="utf-8") as out:
            out.writelines(lines)


def checked_parts(item: pytest.Item) -> Iterator[tuple[int, str]]:
    """The parts of rows that a test checks; a row of one part needs no name."""
    from herd.acceptance import table

    parts = {row.row: list(row.parts) for row in table()}
    for mark in item.iter_markers("row"):
        number, *names = mark.args
        part = names[0] if names else parts[number][0]
        if part not in parts[number] or (not names and len(parts[number]) > 1):
            raise pytest.UsageError(f"{item.nodeid}: row {number} has the parts {', '.join(parts[number])}")
        yield number, part


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Notes what a row's check measured, in words, and over which seeds."""

    def note(words: str, *, seeds: Sequence[int] | int | None = None) -> None:
        request.node.user_properties.append(("figure", words))
        if seeds is not None:
            request.node.user_properties.append(("seeds", seeds if isinstance(seeds, int) else list(seeds)))

    return note


@pytest.fixture(scope="session")
def smoke_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a whole run of tests/smoke.yaml, the same for all processes that test side by side; read, never
    change it."""
    from herd.run.runner import run_stages
    from tests.smoke import planned

    own = tmp_path_factory.getbasetemp()
    home = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "smoke"
    home.mkdir(exist_ok=True)
    folder, whole = home / "run", home / "whole"
    with (home / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # who comes second waits for the first, who works on all cores
        if not whole.exists():
            run_stages(planned(), folder, jobs=2)
            whole.touch()
    return folder
