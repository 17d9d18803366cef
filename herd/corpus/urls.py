"""Which addresses are not read at all: block lists, and words in an address."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from herd.core.errors import SettingsError
from herd.core.settings import Positive, settings

_BETWEEN = re.compile(r"[^a-z0-9]+")


@settings
class UrlRules:
    """Addresses that are dropped before anything is extracted.

    domains, urls: files with an entry a line (.gz too; # starts a comment), or folders in which files called
    `domains` and `urls` are found, as the UT1 lists come. A domain covers all its subdomains. words: one is
    enough; soft_words: `soft_least` different ones are; parts: anywhere in the address, blanks and marks aside.
    Source: Llama 3, 3.1.1; Penedo et al. 2023 (RefinedWeb), G.1, whose lists these follow in kind.
    """

    domains: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    soft_words: tuple[str, ...] = ()
    soft_least: Positive = 2
    parts: tuple[str, ...] = ()

    @property
    def any(self) -> bool:
        return bool(self.domains or self.urls or self.words or self.soft_words or self.parts)


def blocked(url: str, rules: UrlRules) -> str:
    """Why `url` is not read, or an empty text."""
    lowered = url.lower()
    host = _host(lowered)
    if rules.domains:
        known = _entries(rules.domains, "domains")
        labels = host.split(".")
        for start in range(len(labels) - 1):
            if ".".join(labels[start:]) in known:
                return "its domain is on a block list"
    if rules.urls and _bare(lowered) in _entries(rules.urls, "urls"):
        return "it is on a block list"
    if rules.words or rules.soft_words or rules.parts:
        return _worded(lowered, rules)
    return ""


def _worded(url: str, rules: UrlRules) -> str:
    words = set(_BETWEEN.split(url))
    if found := words.intersection(rules.words):
        return f"its address holds the word {min(found)}"
    if len(words.intersection(rules.soft_words)) >= rules.soft_least:
        return f"its address holds {rules.soft_least} words of the second list"
    joined = _BETWEEN.sub("", url)
    part = next((part for part in rules.parts if part in joined), "")
    return f"its address holds {part}" if part else ""


def _host(url: str) -> str:
    rest = url.partition("://")[2] or url
    return re.split(r"[/?#]", rest, maxsplit=1)[0].rpartition("@")[2].partition(":")[0].strip(".")


def _bare(url: str) -> str:
    return (url.partition("://")[2] or url).removeprefix("www.").rstrip("/")


@cache
def _entries(paths: tuple[str, ...], kind: str) -> frozenset[str]:
    return frozenset(entry for path in paths for file in _files(Path(path), kind) for entry in _read(file))


def _files(path: Path, kind: str) -> list[Path]:
    if path.is_dir():
        return sorted(file for file in path.rglob(f"{kind}*") if file.is_file())
    if not path.is_file():
        raise SettingsError(f"urls.{kind}: {path} is no file or folder; check the path")
    return [path]


def _read(file: Path) -> Iterator[str]:
    with gzip.open(file, "rt", errors="replace") if file.suffix == ".gz" else file.open(errors="replace") as lines:
        for line in lines:
            entry = line.partition("#")[0].strip().lower()
            if entry:
                yield _bare(entry)


def url_key(url: str) -> str:
    """Addresses are the same when they differ in scheme, `www.`, letter case of the host, fragment or a
    trailing slash only."""
    try:
        parts = urlsplit(url)
    except ValueError:  # brackets that are no address of IPv6
        return url
    host = parts.netloc.lower().removeprefix("www.")
    return f"{host}{parts.path.rstrip('/')}?{parts.query}"
