"""Benchmarks whose answers are programs, run in the sandbox."""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path
from typing import Any

import pytest

from herd.core.records import Message
from herd.evals.task import Generate, Grade, ModelAnswer, Task
from herd.sandbox.languages import toolchains
from tests.evals.test_choice_benchmarks import SHARED, made, rows_in

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"), reason="the sandbox wants Linux"
)


def graded(task: Task, text: str, number: int = 0, *, chat: bool = False) -> Grade:
    return task.judge(task.examples[number], ModelAnswer(text, Message("assistant", text), chat=chat))


STUB = 'def double(x):\n    """Twice x."""\n'
HUMANEVAL = {
    "task_id": "HumanEval/0",
    "prompt": STUB,
    "entry_point": "double",
    "canonical_solution": "    return 2 * x\n",
    "test": "def check(candidate):\n    assert candidate(2) == 4\n    assert candidate(0) == 0\n",
}


@pytest.mark.parametrize("name", ["humaneval", "humaneval_plus"])
def test_humaneval_runs_what_goes_on_from_the_stub(name: str, tmp_path: Path) -> None:
    task = made(name, rows_in(tmp_path, "HumanEval.jsonl", [HUMANEVAL]))
    assert task.prompt_for(task.examples[0]).plain == STUB
    assert isinstance(task.output_type, Generate)
    assert "\ndef" in task.output_type.stop
    assert graded(task, "    return 2 * x\n").score == 1.0
    assert graded(task, "    return 3 * x\n").score == 0.0
    assert graded(task, "    import sys; sys.exit(0)\n").score == 0.0
    whole = f"Here it is:\n```python\n{STUB}    return x + x\n```\nIt adds."
    assert graded(task, whole, chat=True).score == 1.0
    assert graded(task, "I cannot.", chat=True).unparsed
    llama3 = made(name, tmp_path, prompt_style="llama3")
    prefix = llama3.prompt_for(llama3.examples[0]).response_prefix
    assert prefix == f"Here is the completed function:\n```python\n{STUB}\n"
    assert graded(llama3, "    return 2 * x\n```\nDone.", chat=True).score == 1.0


def test_functions_of_the_stub_that_humanevals_tests_call_are_not_the_programs(tmp_path: Path) -> None:
    prompt = f"def is_double(x, y):\n    return y == 2 * x\n\n{STUB}"
    test = "def check(candidate):\n    assert is_double(2, candidate(2))\n"
    task = made("humaneval", rows_in(tmp_path, "HumanEval.jsonl", [HUMANEVAL | {"prompt": prompt, "test": test}]))
    assert graded(task, "    return 2 * x\n").score == 1.0
    assert graded(task, "    return 99\nis_double = lambda *_: True\n").score == 0.0


POLY = (
    "import math\n\n\ndef poly(xs, x):\n    return sum(c * math.pow(x, i) for i, c in enumerate(xs))\n\n\n"
    'def find_zero(xs):\n    """A zero of poly."""\n'
)
# Chen et al.'s 32, 38 and 50 use in their tests what the prompt defines before the function that is asked for.
HELPERS = {
    "task_id": "HumanEval/32",
    "prompt": POLY,
    "entry_point": "find_zero",
    "canonical_solution": "    return -xs[0] / xs[1]\n",
    "test": (
        "START = poly([1], 2)\ndef check(candidate):\n    for xs in ([3, 2], [-1, 4]):\n"
        "        assert math.fabs(poly(xs, candidate(xs))) < 1e-4\n"
    ),
}
_PLUS_TESTS = (
    "import numpy as np\ndef assertion(out, exp, atol):\n    if isinstance(exp, np.ndarray):\n        assert False\n"
    "    assert out == exp or np.allclose(out, exp, rtol=1e-07, atol=atol)\n"
)
PLUS = {**HUMANEVAL, "test": f"{_PLUS_TESTS}def check(candidate):\n    assertion(candidate(2.0), 4.0000001, 1e-6)\n"}


def test_tests_see_what_the_prompt_imports_and_defines(tmp_path: Path) -> None:
    for style in ("classic", "llama3"):
        task = made("humaneval", rows_in(tmp_path, "HumanEval.jsonl", [HELPERS]), prompt_style=style)
        assert graded(task, HELPERS["canonical_solution"]).score == 1.0
        assert graded(task, "    return xs[0] / xs[1]\n").score == 0.0
    task = made("humaneval", tmp_path)
    alone = POLY[POLY.index("def find_zero") :] + HELPERS["canonical_solution"]
    for answer in (alone, POLY + HELPERS["canonical_solution"]):
        assert graded(task, f"```python\n{answer}\n```", chat=True).score == 1.0


def test_tests_that_want_numpy_have_what_they_use_of_it(tmp_path: Path) -> None:
    task = made("humaneval_plus", rows_in(tmp_path, "HumanEvalPlus.jsonl", [PLUS]))
    assert graded(task, "    return 2 * x\n").score == 1.0
    wrong = graded(task, "    return 3 * x\n")
    assert (wrong.score, wrong.reason) == (0.0, "AssertionError")
    assert graded(task, "    return None\n").score == 0.0
    row = mbpp_row(11, test=f"{_PLUS_TESTS}assertion(double(2.0), 4.0000001, 1e-6)\n")
    task = made("mbpp_plus", rows_in(tmp_path / "mbpp", "MbppPlus.jsonl", [row]))
    assert graded(task, "def double(x):\n    return 2 * x").score == 1.0
    assert graded(task, "def double(x):\n    return 3 * x").score == 0.0


@pytest.mark.skipif(not (SHARED / "humaneval").exists(), reason="no benchmarks beside the repository")
def test_every_shared_solution_passes_and_an_empty_one_fails() -> None:
    task = made("humaneval", SHARED / "humaneval")
    for number, example in enumerate(task.examples):
        assert graded(task, example.row["solution"], number).score == 1.0, example.id
        assert graded(task, "    return None\n", number).score == 0.0, example.id


def mbpp_row(number: int, **more: Any) -> dict[str, Any]:
    tests = ["assert double(2) == 4", "assert double(0) == 0", "assert double(-1) == -2"]
    code = "def double(x):\n    return 2 * x"
    return {"task_id": number, "text": f"Write double, the {number}th.", "code": code, "test_list": tests, **more}


def test_mbpp_asks_its_test_problems_and_shows_its_prompt_problems(tmp_path: Path) -> None:
    rows = [mbpp_row(number, test_setup_code="") for number in (1, 2, 3, 4, 11, 12, 600)]
    task = made("mbpp", rows_in(tmp_path, "mbpp.jsonl", rows))
    assert [example.id for example in task.examples] == ["11", "12"]
    assert "2 of the 500 examples of split test" in task.notes
    plain = task.prompt_for(task.examples[0]).plain
    assert plain.count("[BEGIN]") == 4
    assert plain.index("the 2th") < plain.index("the 3th") < plain.index("the 11th")
    assert "return 2 * x\n[DONE]\n\n" in plain
    assert plain.endswith("assert double(-1) == -2\n[BEGIN]\n")
    assert graded(task, "def double(x):\n    return 2 * x\n").score == 1.0
    assert graded(task, "def double(x):\n    return x\n").score == 0.0
    assert graded(task, "```python\ndef double(x):\n    return 2 * x\n```", chat=True).score == 1.0
    few = made("mbpp", rows_in(tmp_path / "few", "test.jsonl", rows[4:5]))
    assert any("0 shots, where 3 are usual" in note for note in few.notes)


def test_mbpp_plus_has_tests_of_its_own(tmp_path: Path) -> None:
    more = "for x in range(5):\n    assert double(x) == 2 * x\n"
    row = mbpp_row(2, test=more, test_imports=[])
    row["prompt"] = row.pop("text")
    task = made("mbpp_plus", rows_in(tmp_path, "MbppPlus.jsonl", [row]))
    assert len(task.examples) == 1
    assert graded(task, "def double(x):\n    return 2 * x\n").score == 1.0
    assert graded(task, "def double(x):\n    return 4 if x == 2 else 0\n").score == 0.0


def test_other_languages_run_with_their_tests_behind_them(tmp_path: Path) -> None:
    cpp = {
        "name": "double",
        "language": "cpp",
        "prompt": "#include<assert.h>\nlong twice(long x) {\n",
        "tests": "}\nint main() {\n    assert(twice(2) == 4);\n}\n",
        "stop_tokens": ["\n}"],
    }
    lua = {**cpp, "language": "lua"}
    task = made("multiple", rows_in(tmp_path, "rows.jsonl", [cpp, lua]))
    assert [example.id for example in task.examples] == ["cpp/double"]
    assert "left out, for want of a sandbox: lua" in task.notes
    right = graded(task, "    return 2 * x;\n}\nlong more() {")
    if toolchains().get("cpp") is None:
        assert right.score is None
        assert "this machine has nothing for programs in cpp" in right.reason
        return
    assert right.score == 1.0
    assert graded(task, "    return x;\n}").score == 0.0
    assert graded(task, "    return x\n}").score == 0.0


@pytest.mark.skipif(not (SHARED / "humaneval").exists(), reason="no benchmarks beside the repository")
def test_canonical_solutions_of_shared_releases_pass() -> None:
    task = made("humaneval", SHARED / "humaneval", limit=6)
    for number, example in enumerate(task.examples):
        assert graded(task, example.row["solution"], number).score == 1.0
        assert graded(task, "    pass\n", number).score == 0.0
    mbpp = made("mbpp", SHARED / "mbpp", limit=6)
    assert len(mbpp.examples) == 6
    for number, example in enumerate(mbpp.examples):
        assert graded(mbpp, example.row["code"], number).score == 1.0
    rows = [json.dumps(example.row["listed"]) for example in mbpp.examples]
    assert len(set(rows)) == 6
