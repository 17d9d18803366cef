"""Programs in answers. The tests are said by a runner that stands in for the sandbox."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.judge.programs import (
    HUMANEVAL_STOPS,
    HarnessStyle,
    chat_program,
    code_blocks,
    complete_program,
    cut_at_stops,
    extract_code,
    grade_program,
    stub_head,
)

STUB = 'from typing import List\n\n\ndef double(x: int) -> int:\n    """Twice x."""\n'
BODY = "    return 2 * x\n"
WHOLE = "def double(x):\n    return 2 * x\n"


@dataclass
class Said:
    passed: bool | None
    reason: str = ""
    passed_tests: int = 0
    failed_tests: int = 0


@dataclass
class Runner:
    """Says what it is told, and keeps what it was asked."""

    result: Said
    asked: list[tuple[str, str, str, str]] = field(default_factory=list)

    def run_tests(self, code: str, tests: str, *, style: HarnessStyle, entry_point: str = "") -> Said:
        self.asked.append((code, tests, style, entry_point))
        return self.result


def test_blocks_of_markdown() -> None:
    text = "a\n```python\nx = 1\n```\nb\n~~~~ c++ title\n~~~\ny\n~~~~\n```js\nz"
    blocks = code_blocks(text)
    assert [(block.language, block.code, block.closed) for block in blocks] == [
        ("python", "x = 1\n", True),
        ("c++", "~~~\ny\n", True),
        ("js", "z", False),
    ]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (f"Here:\n```python\n{WHOLE}```\nUse it:\n```python\nprint(double(2)) # and much more than that\n```", WHOLE),
        (f"```py\n{WHOLE}", WHOLE),  # cut off before the fence closed
        (f"```\n{WHOLE}```", WHOLE),
        (WHOLE, WHOLE.strip("\n")),
        ("I cannot do that.", None),
        ("```bash\nls\n```", None),
        ("", None),
    ],
)
def test_code_is_taken_out_of_a_chat(text: str, code: str | None) -> None:
    assert extract_code(text, entry_point="double") == code


def test_other_languages() -> None:
    assert extract_code("```cpp\nint f();\n```", language="cpp") == "int f();\n"
    assert extract_code("int f() { return 1; }", language="cpp") == "int f() { return 1; }"
    assert extract_code("no code here", language="cpp") is None


def test_a_completion_ends_at_the_next_thing() -> None:
    assert complete_program(STUB, BODY + "\ndef other():\n    pass") == STUB + BODY
    assert complete_program(STUB, BODY + "\nprint(double(2))") == STUB + BODY
    assert cut_at_stops("abc", ("", "c", "b")) == "a"
    assert cut_at_stops("abc", HUMANEVAL_STOPS) == "abc"


def test_a_chat_gives_the_whole_function_or_its_body() -> None:
    whole = chat_program(STUB, f"```python\n{WHOLE}```", entry_point="double")
    assert whole is not None
    assert whole.startswith("from typing import List")
    assert whole.endswith(WHOLE)
    assert "Twice" not in whole
    for body in (BODY, "return 2 * x\n"):
        assert chat_program(STUB, f"```python\n{body}```", entry_point="double") == STUB + BODY
    assert chat_program(STUB, "No.", entry_point="double") is None
    assert chat_program("def double(x):\n", f"```\n{WHOLE}```", entry_point="double") == WHOLE


def test_what_stands_before_the_function_is_its_head() -> None:
    assert stub_head(STUB, "double") == "from typing import List\n\n\n"
    helped = f"import math\n\ndef doubled(x):\n    return x\n\n{STUB}"
    assert "def doubled" in stub_head(helped, "double")
    assert "Twice" not in stub_head(helped, "double")


def test_what_the_tests_say_is_the_verdict() -> None:
    runner = Runner(Said(True, "", 3, 0))
    verdict = grade_program(WHOLE, "def check(f): ...", runner, entry_point="double")
    assert (verdict.score, verdict.reason, verdict.parts) == (1.0, "", {"passed_tests": 1.0})
    assert runner.asked == [(WHOLE, "def check(f): ...", "check", "double")]
    assert grade_program(WHOLE, "", Runner(Said(False, "assert 1 == 2", 1, 1))).parts == {"passed_tests": 0.5}
    void = grade_program(WHOLE, "", Runner(Said(None, "the machine was overloaded")))
    assert (void.score, void.reason) == (None, "the machine was overloaded")
    assert grade_program(None, "", runner).unparsed


@given(st.text(alphabet="`~\n ad:=()", max_size=60))
def test_any_text_is_read(text: str) -> None:
    assert all(block.code in text for block in code_blocks(text))
    code = extract_code(text)
    assert code is None or code in text


def test_hostile_text_is_read_in_bounded_time() -> None:
    start = time.process_time()
    for text in ("```\n" * 50_000, "`" * 10**5, "(" * 10**5, "def f(" * 20_000, " " * 10**5, "~~~x\n" * 20_000):
        extract_code(text, entry_point="f")
    assert time.process_time() - start < 30
