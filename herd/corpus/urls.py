"""Which addresses are not read at all: block lists, and words in an address."""

from __future__ import annotations

import ctypes
import gzip
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from herd.core.settings import InputFile, Positive, input_path, settings
from herd.corpus.kernels import library, pack, pointer

_BETWEEN = re.compile(r"[^a-z0-9]+")


@settings
class UrlRules:
    """Addresses that are dropped before anything is extracted.

    domains, urls: files with an entry a line (.gz too; # starts a comment), or folders in which files called
    `domains` and `urls` are found, as the UT1 lists come. A domain covers all its subdomains. words: one is
    enough; soft_words: `soft_least` different ones are; parts: anywhere in the address, blanks and marks aside.
    Source: Llama 3, 3.1.1; Penedo et al. 2023 (RefinedWeb), G.1, whose lists these follow in kind.
    """

    domains: tuple[InputFile, ...] = ()
    urls: tuple[InputFile, ...] = ()
    words: tuple[str, ...] = ()
    soft_words: tuple[str, ...] = ()
    soft_least: Positive = 2
    parts: tuple[str, ...] = ()

    @property
    def any(self) -> bool:
        return bool(self.domains or self.urls or self.words or self.soft_words or self.parts)


def blocked(urls: Sequence[str], rules: UrlRules) -> list[str]:
    """Why each address is not read; an empty text for those that are."""
    why = [""] * len(urls)
    if rules.domains or rules.urls:
        found = np.zeros(len(urls), np.int32)
        domains, addresses = _list(rules.domains, "domains"), _list(rules.urls, "urls")
        library().herd_match_addresses(pack(urls).argument, domains, addresses, pointer(found))
        why = [("", "its domain is on a block list", "it is on a block list")[kind] for kind in found.tolist()]
    if rules.words or rules.soft_words or rules.parts:
        why = [known or _worded(url.lower(), rules) for known, url in zip(why, urls, strict=True)]
    return why


def _worded(url: str, rules: UrlRules) -> str:
    words = set(_BETWEEN.split(url))
    if found := words.intersection(rules.words):
        return f"its address holds the word {min(found)}"
    if len(words.intersection(rules.soft_words)) >= rules.soft_least:
        return f"its address holds {rules.soft_least} words of the second list"
    joined = _BETWEEN.sub("", url)
    part = next((part for part in rules.parts if part in joined), "")
    return f"its address holds {part}" if part else ""


@cache
def _list(paths: tuple[str, ...], kind: str) -> ctypes.c_void_p:
    """All entries of these lists, as the kernels look them up: 8 bytes for each, where millions of texts would take
    hundreds of megabytes. Kept as long as the process."""
    files = [file for path in paths for file in _files(input_path(path), kind)]
    data = [gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes() for file in files]
    return ctypes.c_void_p(library().herd_block_list(pack(data).argument))


def _files(path: Path, kind: str) -> list[Path]:
    if path.is_dir():
        return sorted(file for file in path.rglob(f"{kind}*") if file.is_file())
    return [path]


def url_key(url: str) -> str:
    """Addresses are the same when they differ in scheme, `www.`, letter case of the host, fragment or a
    trailing slash only."""
    try:
        parts = urlsplit(url)
    except ValueError:  # brackets that are no address of IPv6
        return url
    host = parts.netloc.lower().removeprefix("www.")
    return f"{host}{parts.path.rstrip('/')}?{parts.query}"
