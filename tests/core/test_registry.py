"""Plug-ins are found by name, and those outside their registry's package by module and name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from herd.core.errors import SettingsError
from herd.core.registry import PluginConfig, Registry
from herd.evals.tasks import tasks
from herd.judge.verifiers import verifiers
from herd.world import verifiers as world_verifiers
from herd.world.truth import World


def test_a_plugin_of_its_registrys_package_is_known_by_its_name_alone() -> None:
    use = verifiers.configure("numeric_match")
    assert (use.module, use.address, verifiers.dump(use)) == ("", "numeric_match", {"numeric_match": {}})


def test_a_plugin_of_herd_elsewhere_is_found_by_another_process() -> None:
    use = verifiers.configure(world_verifiers.true_in_world.__name__, world=World(strangers=3))
    row = verifiers.dump(use)
    assert verifiers.parse(row) == use
    code = f"from herd.judge.verifiers import verifiers; print(verifiers.parse({row!r}).settings['world'].strangers)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "3"


@pytest.mark.parametrize(
    "address", ["herd.nowhere:thing", "herd.core.errors:thing", "antigravity:number", "herd.judge.critic:number"]
)
def test_an_address_that_holds_no_such_plugin_is_refused(address: str) -> None:
    with pytest.raises(SettingsError, match="is not one of the verifiers"):
        verifiers.parse(address)
    assert "antigravity" not in sys.modules  # what a file names is no reason to import it


def test_a_users_own_plugin_is_known_by_its_name_wherever_its_file_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "_plugins", dict(tasks.all()))

    def mine(*, size: int = 3) -> None:
        """Source: a test."""

    tasks.add(mine)  # type: ignore[arg-type]
    assert tasks.configure("mine") == PluginConfig("tasks", "mine", {"size": 3})


def test_a_registry_may_be_a_module_without_files_of_plugins() -> None:
    registry: Registry = Registry("things", "herd.core.errors")
    assert registry.all() == {}
