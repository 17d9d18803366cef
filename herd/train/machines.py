"""Devices to plan with: what each does, holds, sends and costs."""

from __future__ import annotations

from pathlib import Path

from herd.core.errors import SettingsError, did_you_mean
from herd.core.settings import PositiveFloat, PositiveInt, build, read_yaml, settings

MACHINES_FILE = Path(__file__).with_name("machines.yaml")


@settings
class Machine:
    """One kind of device: see machines.yaml for the units."""

    peak_flops: PositiveFloat
    fp32_flops: PositiveFloat
    memory_bytes: PositiveFloat
    link: PositiveFloat
    network: PositiveFloat
    server: PositiveInt
    price_per_hour: PositiveFloat


def load_machine(name: str, file: Path = MACHINES_FILE) -> Machine:
    """The device called `name` in a file. Raises SettingsError with the nearest name."""
    rows, lines = read_yaml(file)
    if name not in rows:
        raise SettingsError(f"{file} has no machine {name!r}{did_you_mean(name, rows)}")
    return build(Machine, rows[name], where=f"{file}: {name}", lines=lines)
