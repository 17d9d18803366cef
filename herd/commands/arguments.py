"""Options that several commands have, and what their values are read with."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TypeVar


def amount(text: str) -> int:
    """A whole number with an ending: 16k, 15.6T, 4M."""
    scale = {"k": 10**3, "m": 10**6, "b": 10**9, "t": 10**12}.get(text[-1:].lower(), 1)
    try:
        value = round(float((text if scale == 1 else text[:-1]).replace("_", "").replace(",", "")) * scale)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"{text!r} is no number; write 15.6T, 16M or 8192") from None
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not above zero")
    return value


_NumberT = TypeVar("_NumberT", int, float)


def bounded_number(minimum: _NumberT, maximum: _NumberT | None = None) -> Callable[[str], _NumberT]:
    """Reads a number from `minimum` to `maximum`, whole where `minimum` is."""
    kind = type(minimum)

    def read(text: str) -> _NumberT:
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no {'whole ' * (kind is int)}number") from None
        if not (value >= minimum and (value <= maximum if maximum is not None else value != float("inf"))):
            bounds = f"from {minimum} to {maximum}" if maximum is not None else f"{minimum} or more"
            raise argparse.ArgumentTypeError(f"{text} cannot be; give {bounds}")
        return value

    return read


def add_plugins(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--plugins", action="append", default=[], metavar="FILE", help="a .py file of your own with plug-ins and stages"
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """--device and --dtype, of the models that a command uses."""
    parser.add_argument(
        "--device", default="auto", help="where models lie: auto, cpu, cuda or cuda:NUMBER (default: %(default)s)"
    )
    parser.add_argument(
        "--dtype",
        choices=("fp32", "bf16"),
        default="fp32",
        help="of the weights of models that only read and write (default: %(default)s)",
    )


def default_jobs() -> int:
    """As many as there are cores, up to four."""
    from herd.run.executors import num_cores

    return min(num_cores(), 4)
