"""A little pytest: what it finds and runs is what pytest itself does with the same file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from herd.sandbox import collector

FILE = """
import pytest

@pytest.fixture
def number():
    return 3

@pytest.fixture
def opened(number):
    rows = [number]
    yield rows
    rows.clear()

@pytest.fixture(autouse=True)
def always():
    always.count = getattr(always, "count", 0) + 1

def test_fixture(number): assert number == 3
def test_two_fixtures(opened, number): assert opened == [number]
@pytest.mark.parametrize("a, b", [(1, 2), (2, 4), pytest.param(3, 7, marks=pytest.mark.xfail), (5, 5)])
def test_rows(a, b): assert a * 2 == b
@pytest.mark.parametrize("x", [1, 2])
@pytest.mark.parametrize("y", [10, 20])
def test_product(x, y): assert x < y
def test_raises():
    with pytest.raises(ValueError, match="no.*number") as info: raise ValueError("no good number")
    assert info.type is ValueError
def test_raises_not():
    with pytest.raises(ValueError): pass
def test_raises_another():
    with pytest.raises(ValueError): raise KeyError
def test_approx():
    assert 0.1 + 0.2 == pytest.approx(0.3)
    assert [1.0, 2.0] == pytest.approx([1.0, 2.0000001])
    assert {"a": 1.1} == pytest.approx({"a": 1.1})
    assert 1.1 != pytest.approx(1.0)
    assert 1.05 == pytest.approx(1.0, abs=0.1)
def test_approx_wrong(): assert 1.0 == pytest.approx(2.0)
@pytest.mark.skip(reason="later")
def test_skipped(): assert False
@pytest.mark.skipif(True, reason="later")
def test_skipped_if(): assert False
@pytest.mark.xfail
def test_expected(): assert False
@pytest.mark.slow
def test_marked(): pass
def test_skips(): pytest.skip("now")
def test_fails(): pytest.fail("now")
def test_capsys(capsys):
    print("hello")
    out, err = capsys.readouterr()
    assert out == "hello\\n" and capsys.readouterr().out == ""
def test_tmp_path(tmp_path): (tmp_path / "x").write_text("y")
def test_monkeypatch(monkeypatch):
    import math
    monkeypatch.setattr(math, "pi", 3)
    assert math.pi == 3
def test_pi():
    import math
    assert math.pi > 3
def test_unknown(nobody): pass
def helper(): assert False
class TestGroup:
    @pytest.fixture
    def own(self): return 9
    def setup_method(self): self.ready = 1
    def test_one(self, own, number): assert (self.ready, own, number) == (1, 9, 3)
    def test_two(self): assert not hasattr(self, "done"); self.done = 1
    def test_three(self): assert not hasattr(self, "done")
    def helper(self): assert False
"""


def test_it_agrees_with_pytest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "test_file.py"
    file.write_text(FILE)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rA", "-W", "ignore", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    theirs = [line for line in done.stdout.splitlines() if line.startswith(("PASSED", "FAILED", "ERROR"))]
    names: dict[str, Any] = {"__name__": "tests"}
    monkeypatch.setitem(sys.modules, "pytest", collector.as_module())
    exec(compile(FILE, "tests", "exec"), names)
    results = [(name, collector.run_test(test)) for name, test in collector.collect(names)]
    ours = [name for name, result in results if result is None]
    assert len(ours) == sum(line.startswith("PASSED") for line in theirs) > 15
    passed = {line.split("::", 1)[1].partition("[")[0].replace("::", ".") for line in theirs if line[0] == "P"}
    assert set(ours) == passed
    failed = {name for name, result in results if result}
    assert failed == {line.split("::", 1)[1].split()[0].partition("[")[0] for line in theirs if line[0] in "FE"}
    assert "there is no fixture 'nobody' here" in dict(results)["test_unknown"]  # type: ignore[operator]
