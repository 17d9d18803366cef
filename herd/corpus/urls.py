"""Which addresses are not read at all: block lists, and words in an address."""

from __future__ import annotations

import ctypes
import gzip
import itertools
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from herd.core.settings import InputFile, PositiveInt, input_path, settings
from herd.corpus.kernels import corpus_kernels, pack_texts, pointer

_BETWEEN = re.compile(r"[^a-z0-9]+")


@settings
class UrlRules:
    """Addresses that are dropped before anything is extracted.

    domains, urls: files with an entry a line (.gz too; # starts a comment), or folders in which files called
    `domains` and `urls` are found, as the UT1 lists come. A domain covers all its subdomains. banned_words: one is
    enough; soft_banned_words: `soft_word_threshold` different ones are; banned_subwords: anywhere in the address,
    blanks and marks aside.
    Source: Llama 3, 3.1.1; Penedo et al. 2023 (RefinedWeb), G.1, whose lists these follow in kind.
    """

    domains: tuple[InputFile, ...] = ()
    urls: tuple[InputFile, ...] = ()
    banned_words: tuple[str, ...] = ()
    soft_banned_words: tuple[str, ...] = ()
    soft_word_threshold: PositiveInt = 2
    banned_subwords: tuple[str, ...] = ()

    @property
    def has_rules(self) -> bool:
        return bool(self.domains or self.urls or self.banned_words or self.soft_banned_words or self.banned_subwords)


def block_reasons(urls: Sequence[str], rules: UrlRules) -> list[str]:
    """Why each address is not read; an empty text for those that are."""
    reasons = [""] * len(urls)
    if rules.domains or rules.urls:
        list_kinds = np.zeros(len(urls), np.int32)
        domains, addresses = _list(rules.domains, "domains"), _list(rules.urls, "urls")
        corpus_kernels().herd_match_addresses(pack_texts(urls).argument, domains, addresses, pointer(list_kinds))
        reasons = [("", "its domain is on a block list", "it is on a block list")[kind] for kind in list_kinds.tolist()]
    if rules.banned_words or rules.soft_banned_words or rules.banned_subwords:
        reasons = [reason or _word_reason(url.lower(), rules) for reason, url in zip(reasons, urls, strict=True)]
    return reasons


def _word_reason(url: str, rules: UrlRules) -> str:
    words = set(_BETWEEN.split(url))
    if matches := words.intersection(rules.banned_words):
        return f"its address holds the word {min(matches)}"
    if len(words.intersection(rules.soft_banned_words)) >= rules.soft_word_threshold:
        return f"its address holds {rules.soft_word_threshold} words of the second list"
    joined = _BETWEEN.sub("", url)
    part = next((part for part in rules.banned_subwords if part in joined), "")
    return f"its address holds {part}" if part else ""


@cache
def _list(paths: tuple[str, ...], kind: str) -> ctypes.c_void_p:
    """All entries of these lists, as the kernels look them up: 8 bytes for each, where millions of texts would take
    hundreds of megabytes. Kept as long as the process."""
    files = list(itertools.chain.from_iterable(_files(input_path(path), kind) for path in paths))
    data = [gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes() for file in files]
    return ctypes.c_void_p(corpus_kernels().herd_block_list(pack_texts(data).argument))


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
