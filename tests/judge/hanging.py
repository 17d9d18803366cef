"""A module whose functions misbehave, for the pool that kills."""

from __future__ import annotations

import os
import signal

from herd.judge.killable import serve_calls


def spin() -> None:
    """Deaf to every signal that may be caught."""
    for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    while True:
        pass


def double(value: int) -> int:
    print("chatter")
    return 2 * value


def die() -> None:
    os._exit(3)


def large(size: int) -> str:
    return "x" * size


def sleep() -> None:
    signal.pause()


def eat() -> int:
    return len(bytearray(8 << 30))


def deep() -> None:
    deep()


if __name__ == "__main__":
    serve_calls({function.__name__: function for function in (spin, double, die, large, sleep, eat, deep)})
