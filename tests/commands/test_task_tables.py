"""What commands about tasks print: a line or more of each, or why there is none, and the same as JSON."""

from __future__ import annotations

import argparse
import json

import pytest

from herd.commands.task_tables import add_table_options, print_by_task


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    parser = argparse.ArgumentParser()
    add_table_options(parser, "a table")
    found: dict[str, int | str] = {"sums": 3, "few": "one model says nothing; measure 3"}
    options = parser.parse_args(["results.csv", *words])
    print_by_task(found, options, to_row=lambda n: {"n": n}, lines=lambda task, n: [f"{task}: {n}", "  more"])
    return capsys.readouterr().out


def test_every_task_is_said_something_of(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys).splitlines() == [
        "sums: 3", "  more", "few: nothing can be said, one model says nothing; measure 3",
    ]  # fmt: skip
    assert json.loads(printed(capsys, "--json")) == {
        "sums": {"n": 3}, "few": {"refusal": "one model says nothing; measure 3"},
    }  # fmt: skip
