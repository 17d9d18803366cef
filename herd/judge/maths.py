"""Whether an answer to a maths problem is the right one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Literal

from herd.core.errors import SettingsError
from herd.core.extras import ExtraPackage, missing_words
from herd.judge.boxed import last_boxed
from herd.judge.killable import CallReply, KillablePool
from herd.judge.minerva import INVALID_ANSWER, final_answer, gold_answer, normalize_answer
from herd.judge.verdict import AnswerVerdict, match_verdict, unparsed_verdict

MathsForm = Literal["math_verify", "classic", "classic_boxed"]
_WORKER = "herd.judge.maths_worker"
PACKAGES = (
    ExtraPackage("math_verify", "benchmarks", "grading maths answers"),
    ExtraPackage("latex2sympy2_extended", "benchmarks", "grading maths answers"),
    ExtraPackage("antlr4", "benchmarks", "grading maths answers"),
)
# math-verify looks at the last match first. Of a longer answer only its end is shown to it.
MAX_MATHS_CHARACTERS = 20_000


@cache
def maths_pool() -> KillablePool:
    """The pool that this process shares. Raises SettingsError where a package is missing."""
    if missing := [package for package in PACKAGES if not package.is_installed]:
        raise SettingsError(missing_words(missing))
    return KillablePool(_WORKER)


def grade_maths(
    answer: str, solution: str, *, form: MathsForm = "math_verify", pool: KillablePool | None = None
) -> AnswerVerdict:
    """Whether the answer's result is that of the worked solution (or of a result alone, in LaTeX).

    math_verify: by that package, as lm-eval's metric of this name. classic: what follows `Final Answer: The final
    answer is`, in Minerva's normalized form, equal as text or by sympy; classic_boxed: that of the last `\\boxed{}`.
    Differs from upstream: an answer beyond 20,000 characters is cut to its end; what takes more than five seconds of
    processor time is wrong, with that reason, also where a clock would have stopped it later on another machine.
    Source: Kydlíček et al. 2025 (Math-Verify) 0.9.0; lm-eval, minerva_math.
    """
    return grade_all_maths([(answer, solution)], form=form, pool=pool)[0]


def grade_all_maths(
    pairs: Sequence[tuple[str, str]], *, form: MathsForm = "math_verify", pool: KillablePool | None = None
) -> list[AnswerVerdict]:
    """Of answers with their solutions, in order, as many at once as the pool has processes. Raises as `maths_pool`."""
    pool = pool or maths_pool()
    if form == "math_verify":
        calls = [(end_of_answer(answer), solution_in_latex(solution)) for answer, solution in pairs]
        return [_verified(reply) for reply in pool.map("verify_answer", calls)]
    answers = [_classic_answer(answer, form) for answer, _ in pairs]
    golds = [gold_answer(solution) or normalize_answer(solution) for _, solution in pairs]
    unequal = [number for number, answer in enumerate(answers) if answer and answer != golds[number]]
    replies = dict(
        zip(unequal, pool.map("equivalent", [(answers[number], golds[number]) for number in unequal]), strict=True)
    )
    return [_classic(answer, golds[number], replies.get(number)) for number, answer in enumerate(answers)]


def end_of_answer(answer: str) -> str:
    """The end of it; where that has no box and the rest has one, the box is put before it."""
    if len(answer) <= MAX_MATHS_CHARACTERS:
        return answer
    end = answer[-MAX_MATHS_CHARACTERS:]
    box = last_boxed(answer) if "\\boxed" not in end else None
    return end if box is None or len(box) > MAX_MATHS_CHARACTERS else f"{end}\n$\\boxed{{{box}}}$"


def solution_in_latex(solution: str) -> str:
    """A result alone gets the dollar signs without which math-verify reads no LaTeX."""
    if "\\boxed" in solution or "$" in solution or "\\(" in solution or "\\[" in solution:
        return solution
    return f"${solution}$"


def _verified(reply: CallReply) -> AnswerVerdict:
    if reply.void:
        return AnswerVerdict(None, "", reply.error)
    if reply.error:
        return AnswerVerdict(0.0, "", reply.error, unparsed=True)
    right, extracted, gold = reply.value
    return match_verdict(right, extracted, gold) if right or extracted else unparsed_verdict("no maths was found in it")


def _classic_answer(answer: str, form: MathsForm) -> str:
    text = (last_boxed(answer) if form == "classic_boxed" else final_answer(answer)) or INVALID_ANSWER
    return "" if text == INVALID_ANSWER else normalize_answer(text)


def _classic(answer: str, gold: str, reply: CallReply | None) -> AnswerVerdict:
    if not answer:
        return unparsed_verdict("it states no final answer")
    if reply is not None and reply.void:
        return AnswerVerdict(None, answer, reply.error)
    if reply is not None and reply.timed_out:
        return AnswerVerdict(0.0, answer, reply.error)
    return match_verdict(answer == gold or (reply is not None and bool(reply.value)), answer, gold)
