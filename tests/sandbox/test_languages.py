"""Which languages there are, and how their programs are started."""

from __future__ import annotations

from pathlib import Path

import pytest

from herd.core.errors import SandboxError, SettingsError
from herd.sandbox import languages
from herd.sandbox.languages import (
    PROGRAM_LANGUAGES,
    Toolchain,
    find_toolchain,
    language_of,
    loaders,
    toolchains,
)  # fmt: skip


def test_the_ending_says_the_language() -> None:
    assert [language_of(Path(f"x{end}")) for end in (".py", ".TS", ".cpp", ".rs")] == [
        "python",
        "typescript",
        "cpp",
        "rust",
    ]
    with pytest.raises(SettingsError, match="no language has this ending"):
        language_of(Path("x.cobol"))


def test_a_missing_language_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(languages.shutil, "which", lambda name: None)
    languages._found.cache_clear()
    try:
        assert set(toolchains()) == set(PROGRAM_LANGUAGES) - {"python"}
        assert not any(toolchains().values())
        for name in toolchains():
            with pytest.raises(SandboxError, match="this machine has no .*install one"):
                find_toolchain(name)
        with pytest.raises(SettingsError, match="did you mean 'rust'"):
            find_toolchain("rusty")
    finally:
        languages._found.cache_clear()


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("public class Sum { static void main() {} }", "Sum.java"),
        ("class A {}\nclass B { public static void main(String[] a) {} }\nclass C {}", "B.java"),
        ("x", "Main.java"),
        ("public final class Deep extends X {}", "Deep.java"),
    ],
)
def test_java_files_are_called_after_their_class(code: str, name: str) -> None:
    assert languages._java_source(code) == name


def fake_machine(monkeypatch: pytest.MonkeyPatch, tools: dict[str, str], said: dict[str, str]) -> None:
    monkeypatch.setattr(languages.shutil, "which", lambda name: tools.get(name))
    monkeypatch.setattr(languages, "_asked", lambda *command: said.get(Path(command[0]).name, ""))


def test_typescript_is_compiled_or_stripped_or_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither tsc nor such a node need be here: the commands are what is tested."""
    fake_machine(monkeypatch, {"node": "/opt/node"}, {"node": "v20.1.0"})
    assert languages._typescript() is None
    fake_machine(monkeypatch, {"node": "/opt/node"}, {"node": "v22.6.0"})
    stripped = languages._typescript()
    assert stripped is not None
    assert stripped.runner[:2] == ("/opt/node", "--experimental-strip-types")
    fake_machine(monkeypatch, {"node": "/opt/node", "tsc": "/opt/ts/bin/tsc"}, {"node": "Version 5"})
    compiled = languages._typescript()
    assert compiled is not None
    assert compiled.compiler[:2] == ("/opt/node", "/opt/ts/bin/tsc")
    assert "/opt/ts" in compiled.paths


def test_go_builds_in_its_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_machine(monkeypatch, {"go": "/usr/lib/go/bin/go"}, {"go": "/usr/lib/go"})
    tool = languages._go()
    assert tool is not None
    assert dict(tool.variables)["GOCACHE"].startswith("{scratch}")
    assert tool.runner == ("{scratch}/program",)


def test_a_compiled_program_does_not_see_its_compiler() -> None:
    tool = Toolchain("c", "1", ("cc",), ("{scratch}/program",), ("/usr/bin", "/usr/lib"), lambda _: "main.c")
    assert "/usr/bin" not in tool.run_paths
    assert all(Path(path).is_absolute() for path in loaders())
