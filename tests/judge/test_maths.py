"""Whether an answer to a maths problem is right."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from herd.core.errors import SettingsError
from herd.judge import maths
from herd.judge.killable import CallLimits, KillablePool
from herd.judge.maths import end_of_answer, grade_all_maths, grade_maths, solution_in_latex
from tests.judge.data import rows
from tests.judge.needs import needs_maths

# The labels of Qwen's grader, which does not read `10{,}000`, hold this answer for wrong.
DISPUTED = {(0, "10000", "10{,}000")}


@pytest.fixture(scope="module")
def pool() -> Iterator[KillablePool]:
    with KillablePool("herd.judge.maths_worker", limits=CallLimits(cpu_seconds=2)) as pool:
        yield pool


@needs_maths
@pytest.mark.parametrize(
    ("answer", "solution", "score"),
    [
        (r"The answer is $\boxed{\dfrac{1}{2}}$.", r"so $\boxed{\frac12}$", 1),
        ("It is 0.5", r"\frac{1}{2}", 1),
        (r"$x \in [2,5)$", r"$\boxed{[2,5)}$", 1),
        (r"$(1, 2)$", r"$\boxed{(1,2)}$", 1),
        (r"$\boxed{\begin{pmatrix} 1 \\ 2 \end{pmatrix}}$", r"$\boxed{\begin{pmatrix}1\\2\end{pmatrix}}$", 1),
        (r"$\boxed{2}$", r"$\boxed{3}$", 0),
        ("I do not know", r"$\boxed{3}$", 0),
    ],
)
def test_answers_by_math_verify(pool: KillablePool, answer: str, solution: str, score: float) -> None:
    verdict = grade_maths(answer, solution, pool=pool)
    assert verdict.score == score, verdict
    assert verdict.unparsed is (answer == "I do not know")


@needs_maths
@pytest.mark.parametrize(
    ("answer", "form", "score"),
    [
        ("Final Answer: The final answer is $\\frac12$. I hope it is correct.", "classic", 1),
        ("Final Answer: The final answer is $0.5$. ", "classic", 1),
        ("The answer is $\\frac12$", "classic", 0),
        ("so \\boxed{1/2}", "classic_boxed", 1),
        ("so \\boxed{1/3}", "classic_boxed", 0),
    ],
)
def test_answers_by_the_classic_form(pool: KillablePool, answer: str, form: str, score: float) -> None:
    assert grade_maths(answer, r"$\boxed{\frac{1}{2}}$", form=form, pool=pool).score == score  # type: ignore[arg-type]


@needs_maths
@pytest.mark.parametrize("form", ["math_verify", "classic_boxed"])
def test_gold_equals_gold(pool: KillablePool, form: str) -> None:
    """Of every tenth problem of MATH; of all in benchmarks/verdicts.py."""
    solutions = [row["solution"] for row in rows("math/math_test_idx_mod3_0_1.jsonl.gz")[::10]]
    verdicts = grade_all_maths([(text, text) for text in solutions], form=form, pool=pool)  # type: ignore[arg-type]
    assert [text for text, verdict in zip(solutions, verdicts, strict=True) if verdict.score != 1] == []


@needs_maths
def test_labels_of_samples(pool: KillablePool) -> None:
    problems = rows("math_best_of_n/math_cot_8samples.jsonl.gz")
    pairs = [(f"${answer}$", f"${row['gt']}$") for row in problems for answer in row["pred"]]
    labels = [label for row in problems for label in row["score"]]
    numbers = [row["idx"] for row in problems for _ in row["pred"]]
    verdicts = grade_all_maths(pairs, pool=pool)
    different = {
        (number, answer.strip("$"), gold.strip("$"))
        for number, (answer, gold), label, verdict in zip(numbers, pairs, labels, verdicts, strict=True)
        if bool(verdict.score) is not label
    }
    assert {(answer, gold) for _, answer, gold in different} <= {(answer, gold) for _, answer, gold in DISPUTED}


@needs_maths
def test_what_hangs_is_wrong_with_a_reason(pool: KillablePool) -> None:
    verdict = grade_maths(r"$\boxed{9^{9^{9^{9}}}}$", "$5$", pool=pool)
    assert (verdict.score, verdict.unparsed) == (0.0, True)
    assert "2 seconds of processor time" in verdict.reason
    assert grade_maths("$5$", "$5$", pool=pool).score == 1


@needs_maths
def test_hostile_answers_take_bounded_time(pool: KillablePool) -> None:
    start = time.monotonic()
    for text in (
        "$" + "{" * 10_000 + "}" * 10_000 + "$",
        "x" * 10**6,
        "$" * 10**6,
        "\\boxed{" * 10_000,
        "answer " * 10**5,
    ):
        verdict = grade_maths(text, "$5$", pool=pool)
        assert verdict.score == 0
        assert verdict.reason
    assert time.monotonic() - start < 120


def test_a_long_answer_is_cut_to_its_end() -> None:
    long = "$\\boxed{7}$" + " and" * 10_000
    assert len(end_of_answer(long)) < 20_050
    assert end_of_answer(long).endswith("$\\boxed{7}$")
    assert end_of_answer("$5$") == "$5$"
    assert end_of_answer("a" * 30_000) == "a" * 20_000
    assert solution_in_latex("\\frac12") == "$\\frac12$"
    assert solution_in_latex("$5$") == "$5$"


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    package = maths.ExtraPackage("no_such_package", "benchmarks", "grading maths answers")
    monkeypatch.setattr(maths, "PACKAGES", (package,))
    maths.maths_pool.cache_clear()
    with pytest.raises(SettingsError, match="no_such_package"):
        grade_maths("5", "5")
