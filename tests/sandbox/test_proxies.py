"""A program and its tests at the two ends of a connection; here in two threads, without walls."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from herd.sandbox import candidate as candidate_end
from herd.sandbox.candidate import serve_candidate
from herd.sandbox.proxies import Proxy, TestsSide, is_of_candidate, mark_as_function
from herd.sandbox.sides import ProxyLimitError
from herd.sandbox.wire import Connection, PeerGoneError

Open = Callable[[str], tuple[TestsSide, dict[str, Any]]]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Runs a program in another thread; gives the tests' end and the program's names."""
    monkeypatch.setattr(candidate_end.sys, "stdout", sys.stdout)  # which the other end replaces
    ends: list[int] = []
    asks: list[int] = []
    threads: list[threading.Thread] = []

    def start(code: str) -> tuple[TestsSide, dict[str, Any]]:
        asked, asking = os.pipe()
        hearing, telling = os.pipe()
        ends.extend((hearing, asked, telling))
        names: dict[str, Any] = {"__name__": "candidate"}
        thread = threading.Thread(target=serve_candidate, args=(Connection(asked, telling), code, names), daemon=True)
        thread.start()
        threads.append(thread)
        asks.append(asking)
        side = TestsSide(Connection(hearing, asking))
        return side, side.public_names()

    yield start
    for end in asks:
        os.close(end)
    for thread in threads:
        thread.join()
    for end in ends:
        os.close(end)


def test_functions_are_called_and_plain_values_are_copies(opened: Open) -> None:
    _, names = opened("LIMIT = {1: [2]}\ndef add(a, b=1, *, c=0): return (a + b, {c})\n_hidden = 3")
    assert names["LIMIT"] == {1: [2]}
    assert names["add"](1) == (2, {0})
    assert names["add"](1, b=2, c=5) == (3, {5})
    assert names["_hidden"] == 3


def test_what_a_call_does_to_its_arguments_is_seen(opened: Open) -> None:
    _, names = opened("def sort(rows, seen):\n    rows.sort(); seen.add(1)\ndef same(rows): return rows")
    rows, seen = [3, 1, 2], {7}
    names["sort"](rows, seen)
    assert (rows, seen) == ([1, 2, 3], {1, 7})
    assert names["same"](rows) == rows


def test_objects_and_classes_are_proxies_that_behave_as_theirs(opened: Open) -> None:
    _, names = opened(
        "import enum\nclass Base: pass\n"
        "class Clock(Base):\n"
        "    def __init__(self, minutes): self.minutes = minutes % 1440\n"
        "    def __eq__(self, other): return self.minutes == other.minutes\n"
        "    def __hash__(self): return self.minutes\n"
        "    def __add__(self, more): return Clock(self.minutes + more)\n"
        "    def __lt__(self, other): return self.minutes < other.minutes\n"
        "    def __str__(self): return f'{self.minutes // 60:02}:{self.minutes % 60:02}'\n"
        "    def __len__(self): return self.minutes\n"
        "    def __iter__(self): yield from (1, 2)\n"
        "    def __contains__(self, x): return x == 5\n"
        "    def __enter__(self): return self\n"
        "    def __exit__(self, *rest): return rest[0] is ValueError\n"
        "    @classmethod\n    def noon(cls): return cls(720)\n"
        "    @property\n    def hours(self): return self.minutes // 60\n"
        "class Colour(enum.Enum):\n    RED = 1\n    BLUE = 2\n"
    )
    clock_class = names["Clock"]
    clock = clock_class(10)
    assert isinstance(clock, clock_class)
    assert isinstance(clock, names["Base"])
    assert not isinstance(names["Base"](), clock_class)
    assert clock == clock_class(1450)
    assert clock != clock_class(11)
    assert hash(clock) == 10
    assert str(clock + 60) == "01:10"
    assert clock < clock_class(11)
    assert (len(clock), list(clock), 5 in clock, 6 in clock) == (10, [1, 2], True, False)
    assert clock_class.noon().hours == 12
    clock.minutes = 30
    assert clock.minutes == 30
    with clock as inner:
        assert inner is clock
        raise ValueError
    with pytest.raises(AttributeError):
        _ = clock.seconds
    colours = names["Colour"]
    assert colours.RED is colours(1)
    assert colours.RED != colours.BLUE
    assert [one.name for one in colours] == ["RED", "BLUE"]


def test_exceptions_come_over_by_type(opened: Open) -> None:
    _, names = opened(
        "class Own(ValueError):\n    def __init__(self, n): super().__init__(f'own {n}'); self.n = n\n"
        "def own(): raise Own(4)\ndef key(): raise KeyError('k')\ndef stop(): raise SystemExit(0)\n"
    )
    with pytest.raises(names["Own"], match="own 4") as caught:
        names["own"]()
    assert isinstance(caught.value, ValueError)
    assert caught.value.n == 4  # type: ignore[attr-defined]
    assert is_of_candidate(caught.value)
    with pytest.raises(KeyError) as missing:
        names["key"]()
    assert missing.value.args == ("k",)
    assert not is_of_candidate(KeyError("k"))
    with pytest.raises(SystemExit):
        names["stop"]()


def test_an_object_that_lies_does_not_decide_about_plain_data(opened: Open) -> None:
    side, names = opened(
        "class Liar:\n    def __eq__(self, o): return True\n    __ne__ = __lt__ = __le__ = __contains__ = __eq__\n"
        "    def __sub__(self, o): return 0.0\n    __rsub__ = __sub__\n    def __hash__(self): return 4\n"
        "    def __iter__(self): return iter([1])\n"
        "class Seven(int):\n    def __eq__(self, o): return True\n    __hash__ = int.__hash__\n"
        "def lie(): return Liar()\ndef seven(): return Seven(7)\n"
    )
    lie = names["lie"]()
    assert not lie == 4  # noqa: SIM201
    assert not lie == 4  # noqa: SIM201
    assert lie != 4
    assert 9 not in lie
    for wrong in (lambda: lie - 4, lambda: 4 - lie, lambda: lie < 4):
        with pytest.raises(TypeError):
            wrong()
    assert any("compared with plain data" in one for one in side.limits)
    seven = names["seven"]()
    assert isinstance(seven, Proxy)
    assert seven == 7  # by the number that it holds
    assert seven != 8
    assert seven - 5 == 2  # type: ignore[operator]


def test_a_class_that_is_called_as_a_function_makes_no_object_of_the_tests(opened: Open) -> None:
    side, names = opened(
        "class Liar:\n    def __init__(self, x): pass\n    def __sub__(self, o): return 0.0\n"
        "    def __contains__(self, o): return True\n    def __iter__(self): return iter([1])\n"
        "class square(Liar): pass\nclass Vector(Liar): pass\nalias = Vector\n"
    )
    for name in ("square", "alias"):
        assert 9 not in names[name](3)
        with pytest.raises(TypeError):
            _ = names[name](3) - 9
    assert names["Liar"](3) - 9 == 0.0  # a class by its name: its objects are what is tested
    mark_as_function(names["Liar"])
    with pytest.raises(TypeError):
        _ = names["Liar"](3) - 9
    assert any("computed with plain data" in one for one in side.limits)


def test_an_object_does_not_judge_plain_data_by_a_method(opened: Open) -> None:
    side, names = opened(
        "class Text:\n    def startswith(self, o): return True\n    def other(self, o): return True\n"
        "class Own(str):\n    def startswith(self, o): return True\n"
        "def lie(): return Text()\ndef own(): return Own('abc')\n"
    )
    with pytest.raises(AttributeError):
        names["lie"]().startswith("x")
    assert names["lie"]().other("x")
    assert names["Text"]().startswith("x")
    assert names["own"]().startswith("ab")
    assert not names["own"]().startswith("x")
    assert any("judges plain data by startswith" in one for one in side.limits)


def test_what_ended_or_was_refused_is_kept_also_where_tests_catch_it(opened: Open) -> None:
    side, names = opened("import os\nkept = []\ndef keep(x): kept.append(x)\ndef odd(): return 1\n")
    with pytest.raises(ProxyLimitError):
        names["keep"](os)
    assert side.refused == "the tests hand a module to the candidate"
    row: list[object] = []
    row.append(row)
    with pytest.raises(ProxyLimitError, match="nested too deeply"):
        names["keep"](row)
    for data in ({"module": "os.nothing"}, {"module": "test.autotest"}, {"F": "1/0"}, {"o": 9}, {"k": 1}):
        side.ended = ""
        with pytest.raises(PeerGoneError):
            side._result({"v": data})
        assert side.ended == "it sent what is no message"
    side.ended = ""
    for error in ("odd", {"class": {"n": "int"}, "args": []}, {"class": {"n": "ValueError"}, "args": 1}):
        with pytest.raises(PeerGoneError):
            side._result({"e": error})
    assert side.ended
    assert side._result({"v": {"module": "json.decoder"}}).__name__ == "json.decoder"


def test_the_candidate_calls_what_it_is_given_and_reaches_nothing_else(opened: Open) -> None:
    _, names = opened(
        "def twice(f, x): return f(f(x))\ndef use(o): o.count = o.count + 1; return o.add(2)\n"
        "def total(rows): return sum(rows)\n"
        "def peek(f, name): return getattr(f, name)\n"
        "kept = []\ndef keep(f): kept.append(f)\ndef forget(f): kept.remove(f); return len(kept)\n"
    )

    class Counter:
        def __init__(self) -> None:
            self.count, self._secret = 0, 3

        def add(self, more: int) -> int:
            return self.count + more

    assert names["twice"](lambda x: x * 3, 2) == 18
    counter = Counter()
    assert names["use"](counter) == 3
    assert counter.count == 1
    assert names["total"](x for x in (1, 2, 3)) == 6
    names["keep"](len)
    assert names["forget"](len) == 0
    for value, name in (
        (lambda: 0, "__globals__"),
        (counter, "_secret"),
        ((x for x in ()), "gi_frame"),
        (counter.add, "x"),
    ):
        with pytest.raises(AttributeError):
            names["peek"](value, name)
    with pytest.raises(ProxyLimitError, match="module"):
        names["keep"](os)

    def fails(_: int) -> None:
        raise LookupError("ours")

    with pytest.raises(LookupError, match="ours"):
        names["twice"](fails, 0)


def test_a_class_of_the_candidate_cannot_be_derived_from(opened: Open) -> None:
    _, names = opened("class Base: pass")
    with pytest.raises(ProxyLimitError, match="derive a class"):
        type("Mine", (names["Base"],), {})


def test_a_program_that_fails_says_why(opened: Open) -> None:
    with pytest.raises(ZeroDivisionError):
        opened("1 / 0")
