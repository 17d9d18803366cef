"""What a run may use, and what it gives: values, output or a verdict, always with the reason where there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from herd.core.settings import PositiveInt, settings

TestStyle = Literal["check", "asserts", "unittest", "pytest", "doctest"]


@settings
class Limits:
    """What one program may use. cpu_seconds: of processor time, starting up among it. memory_bytes: of addresses; of
    data for languages whose interpreters reserve more than they use. answer_bytes: of what its functions give, as JSON.
    wall_seconds: until nobody waits any longer. output_bytes: of standard output and of standard error, each.
    scratch_bytes, scratch_files: of its folder, altogether. compile_seconds: of processor time, of one compiler."""

    cpu_seconds: PositiveInt = 4
    memory_bytes: PositiveInt = 512 << 20
    answer_bytes: PositiveInt = 1 << 20
    wall_seconds: PositiveInt = 60
    output_bytes: PositiveInt = 1 << 20
    scratch_bytes: PositiveInt = 16 << 20
    scratch_files: PositiveInt = 256
    compile_seconds: PositiveInt = 30


@dataclass(frozen=True)
class CallResult:
    """What calls of a function gave. values: plain data, one a call; None where there are none. reason: there are none,
    in words. void: whether that is the machine's fault and not the program's."""

    values: list[Any] | None
    reason: str = ""
    void: bool = False


@dataclass(frozen=True)
class Program:
    """A whole program. language: as `herd.sandbox.languages` names it. files: beside it in its folder, by name."""

    code: str
    language: str = "python"
    stdin: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True)
class ProgramResult:
    """How a program ended. exit_code: negative for the signal that ended it; None where it was not run to its end.
    reason: what it did beyond its limits, or that its compiler refused it; empty for one that ended by itself.
    cpu_seconds: of the run, without the compiler. void: whether it is the machine's fault that there is no result."""

    exit_code: int | None
    stdout: str = ""
    stderr: str = ""
    reason: str = ""
    void: bool = False
    cpu_seconds: float = 0.0


@dataclass(frozen=True)
class TestVerdict:
    """Whether a program passed its tests; None where that cannot be known, which counts neither way. reason: why it did
    not pass, or what the tests wanted that cannot be given to them."""

    __test__ = False

    passed: bool | None
    reason: str = ""
    passed_tests: int = 0
    failed_tests: int = 0
