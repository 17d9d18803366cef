"""What all tests share: the acceptance rows, slow tests, and a small made run."""

from __future__ import annotations

import os

# As the runner gives its workers: tests side by side with several threads each wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

# Tests do not depend on the clock: the first example may be the one that builds or imports.
hypothesis.settings.register_profile("herd", deadline=None)
hypothesis.settings.load_profile("herd")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run slow tests too")
    parser.addoption("--rows", default="", help="only tests of these rows of the acceptance table")
    parser.addoption("--rows-json", default="", help="write outcome and figure of every row's tests here")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wanted = {int(number) for number in str(config.getoption("--rows")).split(",") if number}
    if wanted:
        items[:] = [item for item in items if any(mark.args[0] in wanted for mark in item.iter_markers("row"))]
    if not config.getoption("--slow"):
        for item in items:
            if item.get_closest_marker("slow"):
                item.add_marker(pytest.mark.skip(reason="takes minutes; --slow runs it"))


_FOUND: dict[str, list[dict[str, str]]] = {}


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome = yield
    report = outcome.get_result()
    # A skipped test ends in its set-up, another in its call; a set-up that breaks is a failure.
    if report.when == "call" or (report.when == "setup" and report.outcome != "passed"):
        figure = "; ".join(str(value) for name, value in report.user_properties if name == "figure")
        for mark in item.iter_markers("row"):
            row = {"test": item.nodeid, "outcome": report.outcome, "figure": figure}
            _FOUND.setdefault(str(mark.args[0]), []).append(row)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if file := session.config.getoption("--rows-json"):
        Path(file).write_text(json.dumps(_FOUND), encoding="utf-8")


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Notes what a row's check measured, in words."""
    return lambda words: request.node.user_properties.append(("figure", words))


@pytest.fixture(scope="session")
def smoke_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a whole run of tests/smoke.yaml; read, never change it."""
    from herd.core.runner import run
    from tests.smoke import planned

    folder = tmp_path_factory.mktemp("smoke") / "run"
    run(planned(), folder, jobs=2)
    return folder
