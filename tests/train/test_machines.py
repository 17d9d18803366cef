"""Devices to plan with, from the packaged file and from one of one's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from herd.core.errors import SettingsError
from herd.core.settings import read_yaml
from herd.train.machines import MACHINES_FILE, load_machine


def test_own_machines_are_read_and_a_name_nobody_knows_is_told(tmp_path: Path) -> None:
    own = tmp_path / "mine.yaml"
    own.write_text(
        "mine: {peak_flops: 1.0e12, fp32_flops: 1.0e11, memory_bytes: 1.0e9, link: 1.0e9, network: 1.0e9, "
        "server: 2, price_per_hour: 0.1}"
    )
    assert load_machine("mine", own).server == 2
    with pytest.raises(SettingsError, match="no machine 'h10'.*h100"):
        load_machine("h10")
    for name in read_yaml(MACHINES_FILE)[0]:
        assert load_machine(name).peak_flops > load_machine(name).fp32_flops
