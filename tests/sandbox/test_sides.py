"""What the two ends have in common."""

from __future__ import annotations

import pytest

from herd.sandbox import sides
from herd.sandbox.sides import ProxyLimitError, Side, find_builtin, special_names
from herd.sandbox.wire import Connection


def test_operators_that_a_class_has_of_its_own() -> None:
    class Own:
        __hash__ = None  # type: ignore[assignment]

        def __eq__(self, other: object) -> bool:
            return True

        def __len__(self) -> int:
            return 0

    assert special_names(Own) == ["__eq__", "__len__"]
    assert special_names(object) == []
    assert {"__iter__", "__next__"} <= set(special_names(type(iter([]))))


def test_objects_have_one_number_each_and_not_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    side = Side(Connection(-1, -1))
    first, second = object(), object()
    assert [side.number(one) for one in (first, second, first)] == [0, 1, 0]
    monkeypatch.setattr(sides, "_OBJECTS", 2)
    with pytest.raises(ProxyLimitError, match="more than 2 objects"):
        side.number(object())


def test_names_of_python() -> None:
    assert find_builtin("int") is int
    assert find_builtin("NotImplemented") is NotImplemented
    with pytest.raises(KeyError):
        find_builtin("nonsense")
