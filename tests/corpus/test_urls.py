"""Addresses that are not read."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from herd.core.errors import SettingsError
from herd.corpus.urls import UrlRules, block_reasons, url_key


def why(url: str, **rules: object) -> str:
    return block_reasons([url], UrlRules(**rules))[0]  # type: ignore[arg-type]


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    (tmp_path / "adult").mkdir()
    (tmp_path / "adult" / "domains").write_text("# a comment\nbad.example\nWWW.Other.example\n")
    (tmp_path / "adult" / "urls.gz").write_bytes(gzip.compress(b"site.example/one/page\n"))
    return tmp_path


@pytest.mark.row(8, "urls")
@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("http://bad.example/", "its domain is on a block list"),
        ("https://deep.sub.BAD.example:8080/x?y#z", "its domain is on a block list"),
        ("https://user@other.example", "its domain is on a block list"),
        ("https://notbad.example/bad.example", ""),
        ("https://bad.example.org/", ""),
        ("https://www.site.example/one/page/", "it is on a block list"),
        ("https://site.example/one/page/two", ""),
        ("", ""),
    ],
)
def test_lists_cover_domains_and_pages(url: str, found: str, lists: Path) -> None:
    assert why(url, domains=(str(lists),), urls=(str(lists),)) == found


@pytest.mark.row(8, "urls")
def test_words_in_an_address() -> None:
    rules = {
        "banned_words": ("casino",),
        "soft_banned_words": ("free", "win", "bonus"),
        "banned_subwords": ("xxxvideo",),
    }
    assert why("https://a.example/casino/1", **rules) == "its address holds the word casino"
    assert why("https://a.example/free-win", **rules) == "its address holds 2 words of the second list"
    assert why("https://a.example/xxx-videos", **rules) == "its address holds xxxvideo"
    assert why("https://a.example/casinos/free-time", **rules) == ""


def test_a_list_that_is_not_there_is_told() -> None:
    with pytest.raises(SettingsError, match=r"domains\.0: /nowhere cannot be read"):
        why("https://a.example", domains=("/nowhere",))


def test_addresses_that_mean_one_page() -> None:
    assert len({url_key(u) for u in ("http://www.a.example/x/", "https://A.example/x#y", "HTTPS://a.example/x")}) == 1
    assert url_key("https://a.example/x?a=1") != url_key("https://a.example/x?a=2")
    assert url_key("http://[broken/") == "http://[broken/"
