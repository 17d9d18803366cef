"""What a run may use."""

from __future__ import annotations

import pytest

from herd.core.errors import SettingsError
from herd.sandbox.limits import Limits, Program, TestVerdict


def test_limits_are_more_than_nothing() -> None:
    assert Limits(cpu_seconds=1).wall_seconds == 60
    with pytest.raises((SettingsError, ValueError)):
        Limits(cpu_seconds=0)


def test_a_program_is_python_unless_it_says_otherwise() -> None:
    assert Program("x").language == "python"
    assert TestVerdict(None).passed is None
