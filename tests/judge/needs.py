"""Marks of tests that need packages of the extra `benchmarks`."""

from __future__ import annotations

import importlib.util

import pytest

from herd.core.errors import SettingsError
from herd.judge.maths import PACKAGES
from herd.judge.sentences import punkt_folder


def _has_punkt() -> bool:
    try:
        return punkt_folder().is_dir()
    except SettingsError:
        return False


needs_punkt = pytest.mark.skipif(not _has_punkt(), reason="needs nltk and its data punkt_tab")
needs_langdetect = pytest.mark.skipif(not importlib.util.find_spec("langdetect"), reason="needs langdetect")
needs_maths = pytest.mark.skipif(
    not all(package.is_installed for package in PACKAGES), reason="needs math-verify, latex2sympy2-extended and antlr4"
)
