"""The cells between two runs: what is known, and by whom."""

from __future__ import annotations

from dataclasses import replace

from herd.evals.cells import ItemCell, ItemCells, cause_names, differing_prompts, own_cell
from tests.evals.runs import planted_run

ITEMS = ["n1", "n2"]


def model(item: str) -> str:
    return f"#### {item}\nmore"


def test_causes_are_where_runs_differ() -> None:
    first = planted_run("a", model, ITEMS)
    assert cause_names(first, first).all == ("other draws",)
    second = planted_run("b", model, ITEMS, stop=("\n",), max_tokens=8, grader="flexible", prompt={"shots": 3})
    names = cause_names(first, second)
    assert names.answers == ("models", "shots")
    assert names.grading == ("stop strings", "token limit", "extraction")
    assert differing_prompts(first, second) == (2, 2)
    assert cause_names(first, replace(first, sampling="hot", k=2)).all == ("sampling", "pass@k")


def test_an_item_has_the_cells_that_its_texts_tell() -> None:
    first = planted_run("a", model, ITEMS, grader="flexible")
    second = planted_run("b", model, ITEMS, stop=("\n",), grader="flexible")
    cells = ItemCells(first, second)
    # 1: the answers of the second; 2: its stop strings. Its answers without them were never written.
    assert cells.of_item("n1") == {0: ItemCell(0.0, 0.0, 0.0), 2: ItemCell(1.0, 0.0, 0.0), 3: ItemCell(1.0, 0.0, 0.0)}
    assert cells.incomplete
    assert cells.num_runs == 2
    # Of one model they stand in the other run.
    cells = ItemCells(first, replace(second, model=first.model))
    assert cells.of_item("n1")[1] == ItemCell(0.0, 0.0, 0.0)
    assert not cells.incomplete


def test_a_void_item_has_no_cell_of_its_own() -> None:
    run = planted_run("a", model, ITEMS)
    void = replace(run, records={"n1": (replace(run.records["n1"][0], score=None),)})
    assert own_cell(void, "n1") is None
    assert own_cell(void, "n2") is None
    assert own_cell(run, "n1") == ItemCell(1.0, 0.0, 0.0)
