"""Bytes of pages as UTF-8: what a page says of itself, and bytes that are out of place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from herd.corpus.encodings import decode
from herd.corpus.extract import ExtractSettings, extract

TEXTS = {
    "ru": "Хлеб поднимается два часа в тёплом углу кухни, и трогать его нельзя. ",
    "ja": "パンは台所の暖かい隅で二時間ほど膨らみ、動かしてはいけません。",
    "ko": "빵은 따뜻한 부엌 구석에서 두 시간 동안 부풀어 오릅니다. ",
    "zh": "面包在厨房温暖的角落里发酵两个小时，不能移动。",
    "de": "Das Brot geht zwei Stunden lang in der wärmeren Ecke der Küche und muß ruhen. ",
    "en": "Bread rises for two hours in a warm corner of the kitchen. ",
}


def page(language: str, *, says: str = "", times: int = 6) -> str:
    told = f"<meta charset={says}>" if says else ""
    return f"<html><head>{told}<title>@</title></head><body><p>{TEXTS[language] * times}</p></body></html>"


def spoilt(text: str, encoding: str, what: bytes) -> bytes:
    return text.encode(encoding).replace(b"@", what)


@pytest.mark.parametrize("language", ["ru", "ja", "ko", "zh", "de", "en"])
@pytest.mark.parametrize(("says", "server"), [("utf-8", ""), ("", "UTF-8"), ("", ""), ("", "iso-8859-1")])
@pytest.mark.parametrize("times", [2, 400])
def test_a_bad_byte_in_a_page_of_utf8_is_replaced_alone(language: str, says: str, server: str, times: int) -> None:
    shown = page(language, says=says, times=times)
    found = decode(spoilt(shown, "utf-8", b"\xd0..."), server)
    assert found is not None
    assert TEXTS[language] * times in found.decode()
    assert found.decode().count("\ufffd") <= 1


def test_a_few_bytes_of_another_encoding_at_the_end_are_replaced() -> None:
    shown = page("ru").encode() + "<footer>© 2001 café</footer>".encode("latin-1")
    found = decode(shown)
    assert found is not None
    assert TEXTS["ru"] * 6 in found.decode()
    assert found.decode().count("\ufffd") == 2


@pytest.mark.parametrize(
    ("language", "encoding", "says"),
    [("ja", "cp932", "shift_jis"), ("ja", "euc_jp", "euc-jp"), ("zh", "gbk", "gb2312"), ("ko", "cp949", "euc-kr")],
)
def test_a_bad_byte_in_another_encoding_costs_no_page(language: str, encoding: str, says: str) -> None:
    found = decode(spoilt(page(language, says=says), encoding, b"\xff<"))
    assert found is not None
    assert TEXTS[language] * 6 in found.decode()


@pytest.mark.parametrize(
    ("language", "encoding", "says", "server"),
    [
        ("ru", "cp1251", "utf-8", ""),  # it says so wrongly
        ("ru", "koi8-r", "", "koi8-r"),
        ("de", "cp1252", "utf-8", ""),
        ("de", "cp1252", "", "iso-8859-1"),
        ("de", "utf-8", "utf-16", ""),  # no page that is read so far is in UTF-16
        ("de", "utf-16", "", ""),
        ("de", "utf-16-le", "", ""),
        ("ja", "utf-16-be", "", "utf-16"),
        ("ja", "iso2022_jp", "iso-2022-jp", ""),
        ("ja", "iso2022_jp", "", "ISO-2022-JP"),
        ("ja", "iso2022_jp", "", ""),
        ("ja", "iso2022_jp", "utf-8", ""),
        ("ko", "iso2022_kr", "", "iso-2022-kr"),
        ("zh", "hz", "hz-gb-2312", ""),
    ],
)
def test_a_page_is_read_in_the_encoding_that_it_is_in(language: str, encoding: str, says: str, server: str) -> None:
    found = decode(page(language, says=says).encode(encoding), server)
    assert found is not None
    assert found.decode() == page(language, says=says)


def test_a_bad_byte_among_switches_of_sets_costs_no_page() -> None:
    found = decode(spoilt(page("ja", says="iso-2022-jp"), "iso2022_jp", b"\xe9"))
    assert found is not None
    assert TEXTS["ja"] * 6 in found.decode()


@pytest.mark.parametrize("times", [1, 200])
def test_a_zero_byte_makes_no_page_binary(times: int) -> None:
    found = decode(page("de", times=times).encode().replace(b"Brot", b"Br\x00ot", 1))
    assert found is not None
    assert TEXTS["de"].strip() in extract([found], ExtractSettings()).text[0].as_py()


def test_what_is_binary_is_no_text() -> None:
    assert decode(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20) is None
    assert decode(bytes(400)) is None
    assert decode(b"") == b""


def test_files_are_read_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from herd.cli import main

    (tmp_path / "a.html").write_bytes(spoilt(page("ja", says="utf-8"), "utf-8", b"\xe3\x81..."))
    assert main(["extract", str(tmp_path / "a.html")]) == 0
    row = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert "fault" not in row
    assert row["text"] == TEXTS["ja"] * 6
