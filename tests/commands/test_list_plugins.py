"""`herd list`: a line for each that can be named."""

from __future__ import annotations

from pathlib import Path

import pytest

from herd.commands.list_plugins import _REGISTRIES
from tests.test_cli import run


@pytest.mark.parametrize("kind", ["recipes", "filters", "rewrites", "dedups", "losses", "tasks", "stages"])
def test_list_prints_a_line_for_each_with_its_first_sentence(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "list", kind)
    assert code == 0
    assert all(len(line.split(maxsplit=1)) == 2 for line in out.splitlines())


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("studies", "alignment"),
        ("verifiers", "numeric_match"),
        ("mixes", "doremi"),
        ("stages", "export_model"),
        ("recipes", "tiny"),
    ],
)
def test_every_kind_is_listed_in_order(kind: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "list", kind)
    names = [line.split()[0] for line in out.splitlines()]
    assert code == 0
    assert name in names
    assert names == sorted(set(names))


def test_plugins_of_ones_own_are_listed_with_their_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from herd.judge.verifiers import verifiers

    file = tmp_path / "mine.py"
    file.write_text(
        "from herd.judge.verifiers import verifiers\n\n@verifiers.add\ndef listed_for_tests(prompt, answer, known):\n"
        '    """Whether it is ours.\n\n    Source: ours."""\n    return True\n'
    )
    try:
        code, out, _ = run(capsys, "list", "verifiers", "--plugins", str(file))
        assert code == 0
        (line,) = [line for line in out.splitlines() if line.startswith("listed_for_tests")]
        assert line.split(maxsplit=1)[1] == f"Whether it is ours. ({file})"
        assert all(str(file) not in other for other in out.splitlines() if other != line)
    finally:
        verifiers._plugins.pop("listed_for_tests")
    code, _, err = run(capsys, "list", "verifiers", "--plugins", str(tmp_path / "none.py"))
    assert (code, "none.py: there is no such file; name a .py file of plug-ins in --plugins" in err) == (2, True)


def test_a_kind_that_nobody_knows_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(capsys, "list", "filter")
    assert ended.value.code == 2
    err = capsys.readouterr().err
    assert all(kind in err for kind in (*_REGISTRIES, "stages"))
