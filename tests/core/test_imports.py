"""What a file depends on, and that a change there is noticed."""

from __future__ import annotations

from pathlib import Path

import pytest

from herd.core import imports
from herd.core.imports import fingerprint


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small repository: a.py imports b inside a function, c is a package of plug-ins beside its registry."""
    herd = tmp_path / "herd"
    (herd / "c").mkdir(parents=True)
    (herd / "__init__.py").touch()
    (herd / "a.py").write_text('"""A."""\ndef f():\n    from herd.b import x\n    return x\n')
    (herd / "b.py").write_text("import herd.c\nx = 1\n")
    (herd / "c" / "__init__.py").write_text("plugins: Registry[int] = Registry('plugins', __name__)\n")
    (herd / "c" / "plugin.py").write_text("y = 1\n")
    (herd / "c" / "table.yaml").write_text("z: 1\n")
    (herd / "other.py").write_text("import herd.a\n")
    monkeypatch.setattr(imports, "HERD", herd)
    return herd


def after(change: Path, text: str, *, of: Path) -> bool:
    """Whether the fingerprint of `of` differs after `change` holds `text`."""
    before = fingerprint(of)
    change.write_text(text)
    for cached in (imports._imports, imports._content, imports._companions):
        cached.cache_clear()
    return fingerprint(of) != before


@pytest.mark.parametrize(
    ("file", "text", "noticed"),
    [
        ("a.py", '"""Other words."""\ndef f():\n    from herd.b import x  # why\n    return x\n', False),
        ("b.py", "import herd.c\nx = 2\n", True),
        ("c/plugin.py", "y = 2\n", True),
        ("c/table.yaml", "z: 2\n", True),
        ("other.py", "w = 1\n", False),
    ],
)
def test_a_change_counts_where_the_file_depends_on_it(package: Path, file: str, text: str, noticed: bool) -> None:
    assert after(package / file, text, of=package / "a.py") == noticed


def test_a_test_that_runs_the_program_depends_on_all_of_it() -> None:
    tests = Path(__file__).parent.parent
    files = imports._closure(tests / "studies" / "test_mixes.py")
    assert {imports.HERD / "studies" / "mixes.py", imports.HERD / "mixing" / "methods" / "doremi.py"} <= files
