"""What is printed steers no terminal, and comes out whatever the locale is."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.cli import main
from herd.core.terminal import SafeStream, count_of, json_line, safe_output, visible
from herd.run.progress import LiveDisplay
from herd.run.runner import run_stages
from tests.core.stages_for_tests import write

STEERS = "\x1b]0;owned\x07\x1b[2J\x9b31m\r\x00\x7f"
SHOWN = r"\x1b]0;owned\x07\x1b[2J\x9b31m\x0d\x00\x7f"


def test_one_has_no_plural() -> None:
    counted = [count_of(number, "step") for number in (0, 1, 2_000)]
    assert counted == ["0 steps", "1 step", "2,000 steps"]
    assert count_of(2, "time it was read", "times it was read") == "2 times it was read"


def herd(*arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    import os

    command = [sys.executable, "-m", "herd", *arguments]
    return subprocess.run(command, capture_output=True, env=os.environ | environment, check=False)


def test_control_characters_are_shown_and_line_ends_and_tabs_stay() -> None:
    assert visible(f"a\tb\n{STEERS}é") == f"a\tb\n{SHOWN}é"


@given(st.text(st.characters()))
def test_a_line_of_json_is_read_back_and_is_fit_for_any_stream(text: str) -> None:
    for encoding in ("utf-8", "ascii", "latin-1", "cp1252", "gbk"):
        stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        line = json_line({"a": text}, stream)
        assert json.loads(line) == {"a": text}
        assert visible(line) == line
        line.encode(encoding)


def test_letters_stay_letters_in_json_for_utf8() -> None:
    assert json_line({"a": "Zürich"}, io.TextIOWrapper(io.BytesIO(), encoding="UTF-8")) == '{"a": "Zürich"}'


def test_a_stream_of_another_encoding_shows_what_it_can() -> None:
    under = io.BytesIO()
    door = SafeStream(io.TextIOWrapper(under, encoding="latin-1", write_through=True))
    door.write("Zürich, 東京 \ud800")
    assert under.getvalue().decode("latin-1") == r"Zürich, \u6771\u4eac \ud800"


def test_a_card_is_shown_with_escapes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = run_stages(write(text=STEERS), tmp_path)
    assert main(["show", str(made.path)]) == 0
    out = capsys.readouterr().out
    assert SHOWN[:20] in out
    assert visible(out) == out


def test_warnings_and_faults_are_shown_with_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", f"tin{STEERS}"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("herd: ")
    assert visible(err) == err


def test_moving_bars_show_what_others_wrote_letter_for_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    under = io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)
    monkeypatch.setattr(sys, "stdout", under)
    with safe_output():
        live = LiveDisplay()
        live.begin(1, 0)
        live.start("a-1")
        live.progress("a-1", 1, 2, "[/nothing] \x1b[2J")
        live.warn("[red]source[/] \x1b]0;owned\x07 東")
        live.end()
    out = under.buffer.getvalue().decode("ascii")  # type: ignore[attr-defined]
    assert r"[red]source[/] \x1b]0;owned\x07 \u6771" in out
    assert "\x1b]0;" not in out


class Parrot:
    """A model that says what it hears, in a way that steers."""

    is_chat = True

    def __init__(self, *_: object, **__: object) -> None: ...

    def answer(self, said: str) -> list[str]:
        return [f"{said}\x1b", "]0;owned\x07"]

    def clear(self) -> None: ...


@pytest.mark.parametrize(
    ("encoding", "errors"), [("ascii", "surrogateescape"), ("ascii", "strict"), ("cp1252", "strict")]
)
def test_a_conversation_is_utf8_in_any_locale(
    encoding: str, errors: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("herd.serve.chat.ChatSession", Parrot)
    (tmp_path / "config.json").write_text("{}")
    typed, under = io.BytesIO("Zürich\n\xff".encode("latin-1") + "東京\n".encode()), io.BytesIO()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(typed, encoding=encoding, errors=errors))
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(under, encoding=encoding, errors="strict", write_through=True))
    assert main(["chat", str(tmp_path)]) == 0
    out = under.getvalue().decode(encoding)
    assert out == "Z\\ufffdrich\\x1b]0;owned\\x07\n\\ufffd\\u6771\\u4eac\\x1b]0;owned\\x07\n"


PAGE = "<html><body><p>" + "В начале стоит мельница у пруда, и вода её крутит день и ночь. " * 8 + "</p></body></html>"


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "cp1252"])
def test_rows_of_pages_are_all_there_in_any_encoding(encoding: str, tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.html").write_text(PAGE, encoding="utf-8")
    done = herd("extract", str(tmp_path), PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    assert ["мельница" in json.loads(line)["text"] for line in done.stdout.splitlines()] == [True, True]


@pytest.mark.parametrize(
    ("redirected", "code"),
    [(">&-", 0), ("2>&-", 0), ("<&-", 0), (">&- 2>&- <&-", 0), ("| head -1", 0), (">/dev/full", 1)],
)
def test_streams_that_are_closed_or_full_make_no_traceback(redirected: str, code: int) -> None:
    if redirected == ">/dev/full" and not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    line = f"set -o pipefail; {sys.executable} -m herd list filters {redirected}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert ("no space left on the disk" in done.stderr) == (code == 1)
