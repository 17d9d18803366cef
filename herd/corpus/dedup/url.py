"""One version of every address."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from herd.core.records import Document, Drop, Keep, Verdict
from herd.corpus.dedup import dedups


@dedups.add
def newest_by_url(documents: Sequence[Document]) -> list[Verdict]:
    """Keeps the most recent version of every URL. Source: Llama 3, 3.1.1.

    Addresses are the same when they differ in scheme, `www.`, letter case of the host, fragment or a
    trailing slash only; of versions of one day the later in the list stays. Documents without URL stay.
    """
    newest: dict[str, int] = {}
    for number, document in enumerate(documents):
        if not document.url:
            continue
        key = _key(document.url)
        if key not in newest or document.added >= documents[newest[key]].added:
            newest[key] = number
    kept = set(newest.values())
    return [
        Keep() if number in kept or not document.url else Drop(f"older version of {document.url}")
        for number, document in enumerate(documents)
    ]


def _key(url: str) -> str:
    parts = urlsplit(url)
    host = parts.netloc.lower().removeprefix("www.")
    return f"{host}{parts.path.rstrip('/')}?{parts.query}"
