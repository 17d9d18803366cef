"""Options that several commands have, and what their values are read with."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from herd.core.errors import SettingsError, did_you_mean

if TYPE_CHECKING:
    from herd.corpus.columns import TextColumns
    from herd.train.machines import Machine


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


ASSUMED_MACHINE = "h100"  # where nobody names one
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


def add_device(parser: argparse.ArgumentParser, *, trains: bool = False) -> None:
    """--device and --dtype, of the models that a command uses. trains: whether it trains some too."""
    parser.add_argument(
        "--device", default="auto", help="where models lie: auto, cpu, cuda or cuda:NUMBER (default: %(default)s)"
    )
    training = "what training computes in, beside weights in fp32, and " if trains else ""
    parser.add_argument(
        "--dtype",
        choices=("auto", "fp32", "bf16"),
        default="auto",
        help=f"{training}the weights of models that only read and write (default: bf16 on GPUs, fp32 on a CPU)",
    )


def training_dtype(options: argparse.Namespace) -> Literal["fp32", "bf16"] | None:
    """What trainings compute in by --dtype, and bf16 where --gpus asks for GPUs; None where nothing was said."""
    named: Literal["auto", "fp32", "bf16"] = getattr(options, "dtype", "auto")
    device = getattr(options, "device", "auto")
    if named != "auto":
        return named
    return "bf16" if options.gpus is not None and device != "cpu" else None


def add_machine(parser: argparse.ArgumentParser) -> None:
    """--machine, --machines and --price: the devices to plan with."""
    parser.add_argument("--machine", help=f"by name in the file of machines (default: {ASSUMED_MACHINE})")
    parser.add_argument("--machines", type=Path, help="a file of your own with machines and prices")
    parser.add_argument("--price", type=bounded_number(0.0), help="dollars a device hour (default: the file's)")


def add_gpus(parser: argparse.ArgumentParser) -> None:
    """--gpus: over how many devices training is spread."""
    parser.add_argument(
        "--gpus",
        type=amount,
        metavar="N",
        help="spread every training over so many GPUs, in bf16, and say how (default: as the recipe lays them out)",
    )


def machine_of(options: argparse.Namespace) -> Machine:
    """The device that `add_machine`'s options name. Raises SettingsError."""
    from herd.train.machines import MACHINES_FILE, load_machine

    machine = load_machine(options.machine or ASSUMED_MACHINE, options.machines or MACHINES_FILE)
    return machine if options.price is None else replace(machine, price_per_hour=options.price)


def named_machine(options: argparse.Namespace) -> Machine | None:
    """As `machine_of`, where the options say anything of it."""
    is_named = options.machine or options.machines or options.price is not None
    return machine_of(options) if is_named else None


def default_jobs() -> int:
    """As many as there are cores, up to four."""
    from herd.run.executors import num_cores

    return min(num_cores(), 4)


_NAMED_SOURCE = re.compile(r"([a-z0-9_][a-z0-9_-]*)=(.+)", re.DOTALL)
MAX_SOURCES_OF_A_FOLDER = 8


def add_column_options(parser: argparse.ArgumentParser) -> None:
    """--columns, --text-column and --source-column, of tables among the data."""
    parser.add_argument(
        "--columns",
        action="append",
        default=[],
        metavar="[SOURCE=]SET",
        help="whose names columns of tables have: fineweb, dclm, dolma, c4, ...",
    )
    parser.add_argument(
        "--text-column",
        action="append",
        default=[],
        metavar="[SOURCE=]NAME",
        help="the column that holds the text, of all tables or those of a source (default: text)",
    )
    parser.add_argument(
        "--source-column",
        action="append",
        default=[],
        metavar="[SOURCE=]NAME",
        help="a column that names each row's source (default: none)",
    )


def columns_of(options: argparse.Namespace, sources: Collection[str] = ()) -> dict[str, TextColumns]:
    """What `add_column_options` read, by source, `default` for those not named; nothing where nothing was said.

    Raises SettingsError for a set that is not known, and for a source that is none of `sources`.
    """
    from herd.core.settings import build
    from herd.corpus.columns import ColumnsOrName

    sets = _by_source("--columns", options.columns, sources)
    fields = {
        "text": _by_source("--text-column", options.text_column, sources),
        "source": _by_source("--source-column", options.source_column, sources),
    }
    columns: dict[str, TextColumns] = {}
    for source in dict.fromkeys(("default", *sets, *fields["text"], *fields["source"])):
        # A source's own set says all of its columns: what holds for tables in general does not hold for it.
        fallback = source if source in sets else "default"
        changes = {name: column for name, by in fields.items() if (column := by.get(source, by.get(fallback)))}
        chosen = sets.get(source, sets.get("default"))
        if chosen or changes:
            columns[source] = replace(build(ColumnsOrName, chosen or {}, where="--columns"), **changes)
    return columns


def _by_source(option: str, texts: Sequence[str], sources: Collection[str]) -> dict[str, str]:
    """`SOURCE=VALUE` by its source, a value alone as `default`. Raises SettingsError for what is said twice, and for a
    source that is not known."""
    values: dict[str, str] = {}
    for text in texts:
        source, equals, value = text.partition("=")
        source, value = (source, value) if equals else ("default", text)
        if source != "default" and source not in sources:
            raise SettingsError(f"{option} {text}: {source!r} is no source of the data{did_you_mean(source, sources)}")
        if source in values:
            of = "" if source == "default" else f" of {source}"
            raise SettingsError(f"{option}{of} is given twice, {values[source]} and {value}; keep one")
        values[source] = value
    return values


def _named_source(text: str) -> re.Match[str] | None:
    return None if "://" in text.partition("=")[0] or Path(text).exists() else _NAMED_SOURCE.fullmatch(text)


def has_source_name(text: str) -> bool:
    """Whether it is `NAME=PATH` and no path or address of its own."""
    return _named_source(text) is not None


def sources_of(texts: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Paths, folders, patterns and addresses by the source they are of, paths made absolute.

    `NAME=PATH` names its source; several of one name are one source. What is not named is called as its folder or
    file: `books/` and `books.txt.gz` make `books`; more than eight files of one folder, such as a shell makes of
    `books/*.md`, are one source, called as the folder. Raises SettingsError where two things would have one name.
    """
    by_name: dict[str, list[str]] = {}
    unnamed: list[str] = []
    for text in texts:
        if match := _named_source(text):
            by_name.setdefault(match[1], []).append(_absolute(match[2]))
        elif text not in unnamed:
            unnamed.append(text)
    given = set(by_name)
    for name, paths in _by_own_name(unnamed).items():
        if len(paths) > 1 or name in given:
            both = [*paths, *by_name.get(name, [])][:2]
            raise SettingsError(
                f"{both[0]} and {both[1]} would both be the source {name!r}; give one a name, such as "
                f"{name}-2={both[0]}, or both {name}"
            )
        by_name[name] = [_absolute(path) for path in next(iter(paths.values()))]
    return {name: tuple(paths) for name, paths in by_name.items()}


def _by_own_name(texts: Sequence[str]) -> dict[str, dict[str, list[str]]]:
    """By the name of a source: what it would be made of, each with its paths."""
    from herd.core.names import source_name

    beside: dict[Path, list[str]] = {}
    for text in texts:
        if "://" not in text and Path(text).is_file():
            beside.setdefault(Path(text).parent, []).append(text)
    by_name: dict[str, dict[str, list[str]]] = {}
    for text in texts:
        together = beside.get(Path(text).parent, [])
        if text in together and len(together) > MAX_SOURCES_OF_A_FOLDER:
            folder = str(Path(text).parent)
            by_name.setdefault(source_name(str(Path(folder).absolute())), {})[folder] = together
        else:
            by_name.setdefault(source_name(text), {})[text] = [text]
    return by_name


def _absolute(path: str) -> str:
    return path if "://" in path else str(Path(path).expanduser().absolute())
