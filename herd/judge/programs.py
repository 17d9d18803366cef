"""Programs in answers: the code taken out of them, put together for tests, and judged by what the tests say.

The tests run in the sandbox; here is only what an answer's text means.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from herd.judge.verdict import MAX_ANSWER_CHARACTERS, AnswerVerdict, unparsed_verdict

HarnessStyle = Literal["check", "asserts", "unittest", "pytest", "doctest"]
# What ends a completion of HumanEval: the next thing at the top of the file. Source: Chen et al. 2021, section 2.3.
HUMANEVAL_STOPS = ("\nclass ", "\ndef ", "\n#", "\nif ", "\nprint")
# lm-eval's for mbpp.
MBPP_STOPS = ("[DONE]",)
_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})[ \t]*([\w+#.-]*)[^\n]*$", re.MULTILINE)
_ALIASES = {
    "python": frozenset({"python", "py", "python3", ""}),
    "javascript": frozenset({"javascript", "js", "node", ""}),
    "typescript": frozenset({"typescript", "ts", ""}),
    "cpp": frozenset({"cpp", "c++", "cc", ""}),
    "csharp": frozenset({"csharp", "c#", "cs", ""}),
    "rust": frozenset({"rust", "rs", ""}),
    "go": frozenset({"go", "golang", ""}),
    "bash": frozenset({"bash", "sh", "shell", ""}),
}


class HarnessResult(Protocol):
    """What tests said. passed None: nobody could tell, which is the machine's fault."""

    @property
    def passed(self) -> bool | None: ...
    @property
    def reason(self) -> str: ...
    @property
    def passed_tests(self) -> int: ...
    @property
    def failed_tests(self) -> int: ...


class ProgramHarness(Protocol):
    """What runs tests against code that nobody trusts, such as `herd.sandbox.server.SandboxServer`."""

    def run_tests(self, code: str, tests: str, *, style: HarnessStyle, entry_point: str = "") -> HarnessResult:
        """Whether the code passes the tests."""
        ...


@dataclass(frozen=True)
class CodeBlock:
    """A fenced block of Markdown. closed: whether its end was written."""

    language: str
    code: str
    closed: bool


def code_blocks(text: str) -> list[CodeBlock]:
    """All fenced blocks of an answer, in order. A block that is never closed reaches to the end."""
    text = text[:MAX_ANSWER_CHARACTERS]
    blocks: list[CodeBlock] = []
    opened: re.Match[str] | None = None
    for fence in _FENCE.finditer(text):
        if opened is None:
            opened = fence
        elif fence[1].startswith(opened[1]) and not fence[2]:
            blocks.append(CodeBlock(opened[2].lower(), text[opened.end() + 1 : fence.start()], True))
            opened = None
    if opened is not None:
        blocks.append(CodeBlock(opened[2].lower(), text[opened.end() + 1 :], False))
    return blocks


def extract_code(text: str, *, language: str = "python", entry_point: str = "") -> str | None:
    """The program in a chat model's answer; None where there is none.

    Of the blocks in this language the first that defines `entry_point`, else the longest; without blocks the whole
    answer, where it could be a program. Source: evalplus, sanitize, and lm-eval's humaneval_instruct, which take the
    first block; an answer often shows how its function is called in a second one.
    """
    names = _ALIASES.get(language, frozenset({language, ""}))
    blocks = [block.code for block in code_blocks(text) if block.language in names]
    if not blocks:
        plain = text[:MAX_ANSWER_CHARACTERS].strip("\n")
        return plain if _could_be_code(plain, language) else None
    if entry_point:
        defines = re.compile(rf"\b{re.escape(entry_point)}\b\s*(?:=|\(|<|:)")
        defining = [code for code in blocks if defines.search(code)]
        blocks = defining[:1] or blocks
    return max(blocks, key=len)


def _could_be_code(text: str, language: str) -> bool:
    if language != "python":
        return bool(re.search(r"[{};]|\bend\b", text))
    try:
        return bool(ast.parse(text).body) and bool(re.search(r"\b(def|class|import|lambda|return)\b|=|\(", text))
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return bool(re.search(r"^(def|class|import|from|    )", text, re.MULTILINE))


def cut_at_stops(text: str, stops: Sequence[str]) -> str:
    """Up to the first of the stop strings."""
    ends = [end for stop in stops if stop and (end := text.find(stop)) >= 0]
    return text[: min(ends)] if ends else text


def complete_program(stub: str, completion: str, *, stops: Sequence[str] = HUMANEVAL_STOPS) -> str:
    """The program of a model that goes on with `stub`, which ends within a function: both together, up to a stop."""
    return stub + cut_at_stops(completion, stops)


def chat_program(stub: str, answer: str, *, entry_point: str, language: str = "python") -> str | None:
    """The program of a chat model that was shown `stub`: its code, behind the stub's own imports and helpers where it
    defines the function anew, else as the stub's body. None where the answer has no code.

    Source: Chen et al. 2021 (HumanEval) for the stub; evalplus, whose prompts ask for the whole function.
    """
    code = extract_code(answer, language=language, entry_point=entry_point)
    if code is None:
        return None
    if re.search(rf"^\s*(?:async\s+)?(?:def|class)\s+{re.escape(entry_point)}\b", code, re.MULTILINE):
        head = stub_head(stub, entry_point)
        return f"{head}\n{code}" if head.strip() else code
    if not re.match(r"[ \t]", code):
        code = "\n".join(f"    {line}" if line.strip() else line for line in code.split("\n"))
    return stub + code


def stub_head(stub: str, entry_point: str) -> str:
    """What of a stub stands before the function: imports, and functions of the problem's own that its tests rely on.

    It belongs to the tests too: were it the program's alone, as `poly` of HumanEval/32, a program could make of it what
    it likes.
    """
    return re.split(rf"^(?:async )?def {re.escape(entry_point)}\b", stub, maxsplit=1, flags=re.MULTILINE)[0]


def grade_program(
    code: str | None, tests: str, runner: ProgramHarness, *, style: HarnessStyle = "check", entry_point: str = ""
) -> AnswerVerdict:
    """Whether the program passes its tests; void where the runner could not tell. code None: no program was found."""
    if code is None:
        return unparsed_verdict("it has no program")
    result = runner.run_tests(code, tests, style=style, entry_point=entry_point)
    total = result.passed_tests + result.failed_tests
    parts = {"passed_tests": result.passed_tests / total} if total else {}
    score = None if result.passed is None else float(result.passed)
    return AnswerVerdict(score, code, result.reason if score != 1 else "", parts=parts)
