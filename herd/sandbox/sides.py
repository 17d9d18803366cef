"""What the two ends of a program under test have in common: which operators an object has, and who names it how."""

from __future__ import annotations

import builtins
from typing import Any

from herd.sandbox.wire import Connection, PeerGoneError

COMPARISONS = "__eq__ __ne__ __lt__ __le__ __gt__ __ge__".split()
ARITHMETIC = [
    f"__{side}{name}__"
    for name in "add sub mul matmul truediv floordiv mod divmod pow lshift rshift and or xor".split()
    for side in ("", "r", "i")
    if (side, name) != ("i", "divmod")
]
_OTHERS = """
__len__ __iter__ __next__ __call__ __getitem__ __setitem__ __delitem__ __contains__ __enter__ __exit__ __bool__ __hash__
__str__ __repr__ __format__ __int__ __float__ __index__ __complex__ __round__ __abs__ __neg__ __pos__ __invert__
__reversed__
""".split()
SPECIAL = [*COMPARISONS, *ARITHMETIC, *_OTHERS]
BUILTIN_NAMES = {id(value): name for name, value in vars(builtins).items() if not name.startswith("_")}
BUILTIN_NAMES |= {id(NotImplemented): "NotImplemented", id(Ellipsis): "Ellipsis"}
_OBJECTS = 200_000


class ProxyLimitError(Exception):
    """The tests want of the candidate what two processes cannot give them."""


class Side:
    """One end. Both may ask, also while they are being asked."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.objects: list[Any] = []
        self._numbers: dict[int, int] = {}

    def ask(self, *message: Any) -> dict[str, Any]:
        self.connection.send({"ask": message})
        while True:
            answer = self.connection.receive()
            if not isinstance(answer, dict):
                raise PeerGoneError("it sent what is no message")
            if "ask" not in answer:
                return answer
            self.connection.send(self.reply(answer["ask"]))

    def reply(self, message: list[Any]) -> dict[str, Any]:
        raise NotImplementedError

    def number(self, value: Any) -> int:
        """By which the other side names an object, which lives from now on."""
        number = self._numbers.get(id(value))
        if number is not None:
            return number
        if len(self.objects) >= _OBJECTS:
            raise ProxyLimitError(f"more than {_OBJECTS:,} objects went from one process to the other")
        self.objects.append(value)
        self._numbers[id(value)] = len(self.objects) - 1
        return len(self.objects) - 1


def special_names(kind: type) -> list[str]:
    """The operators that objects of a class have of its own, and not as every object."""
    inherited = {name: value for base in reversed(kind.__mro__[:-1]) for name, value in vars(base).items()}
    return [name for name in SPECIAL if inherited.get(name) is not None]


def find_builtin(name: str) -> Any:
    """A function, type or constant of Python by its name."""
    if name in ("NotImplemented", "Ellipsis"):
        return {"NotImplemented": NotImplemented, "Ellipsis": Ellipsis}[name]
    return vars(builtins)[name]
