"""Whether an answer follows instructions that programs verify, strictly and loosely."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from herd.core.errors import DataError, did_you_mean
from herd.judge.instruction_checks import INSTRUCTION_CHECKS, Check
from herd.judge.verdict import MAX_ANSWER_CHARACTERS, AnswerVerdict


@dataclass(frozen=True)
class InstructionVerdict:
    """Which instructions of a prompt an answer follows, in order. strict: as it was written. loose: in any of eight
    forms of it."""

    strict: tuple[bool, ...]
    loose: tuple[bool, ...]

    @property
    def answer_verdict(self) -> AnswerVerdict:
        """Right when all are followed strictly; the four accuracies, whose mean Llama 3 reports, are its parts."""
        parts = {
            "prompt_level_strict_acc": float(all(self.strict)),
            "inst_level_strict_acc": sum(self.strict) / len(self.strict),
            "prompt_level_loose_acc": float(all(self.loose)),
            "inst_level_loose_acc": sum(self.loose) / len(self.loose),
        }
        missed = [number + 1 for number, followed in enumerate(self.strict) if not followed]
        reason = f"it does not follow instruction {', '.join(map(str, missed))}" if missed else ""
        return AnswerVerdict(parts["prompt_level_strict_acc"], "", reason, parts=parts)


def check_instructions(
    answer: str,
    instructions: Sequence[str],
    arguments: Sequence[Mapping[str, Any]],
    checks: Mapping[str, Check] = INSTRUCTION_CHECKS,
) -> InstructionVerdict:
    """What of the `instructions`, by their ids, the answer follows; `arguments` belong to them one by one, and those
    that are None are left out, as files with one column for each have them. An empty answer follows nothing.

    Source: Zhou et al. 2023 (IFEval), section 2.3: loose leaves out the first line, the last, both or neither, and all
    asterisks or none. Differs: of an answer beyond a million characters the rest is not looked at.
    Raises DataError for an instruction or arguments that no check has.
    """
    if len(instructions) != len(arguments):
        raise DataError(f"{len(instructions)} instructions have {len(arguments)} sets of arguments; the row is damaged")
    answer = answer[:MAX_ANSWER_CHARACTERS]
    forms = loose_forms(answer)
    strict, loose = [], []
    for name, row in zip(instructions, arguments, strict=True):
        check = checks.get(name)
        if check is None:
            raise DataError(f"there is no instruction {name!r}{did_you_mean(name, checks)}")
        settings = {argument: value for argument, value in row.items() if value is not None}
        strict.append(_follows(check, name, answer, settings))
        loose.append(strict[-1] or any(_follows(check, name, form, settings) for form in forms[1:]))
    return InstructionVerdict(tuple(strict), tuple(loose))


def loose_forms(answer: str) -> list[str]:
    """The answer and seven shorter forms of it."""
    lines = answer.split("\n")
    shorter = ["\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1])]
    return [form for text in (answer, *shorter) for form in (text, text.replace("*", ""))]


def _follows(check: Check, name: str, answer: str, settings: Mapping[str, Any]) -> bool:
    if not answer.strip():
        return False
    try:
        return check(answer, **settings)
    except TypeError as fault:
        raise DataError(
            f"instruction {name!r} has arguments {sorted(settings)}, which its check has not: {fault}"
        ) from fault
