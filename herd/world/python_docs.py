"""A small web crawl that every Python brings along: the HTML of its own documentation, as a WARC file.

Round each page stands a site's navigation and footer; mirrors, older captures and spam are planted, and
what is what is written down.
"""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
from collections.abc import Iterable
from html import escape

from herd.core.artifacts import Crawl
from herd.core.errors import DataError
from herd.core.records import Document
from herd.core.seeds import rng
from herd.core.settings import NonNegativeInt, settings
from herd.core.stage import Work, stage
from herd.corpus.ground_truth import LabelledDocument, write_labels
from herd.corpus.pages import Page
from herd.corpus.results import CrawlPages
from herd.corpus.sources import write_crawl
from herd.corpus.warc import write_warc
from herd.world import noise

RENDER_SECONDS = 120
# Runs apart from herd: importing all of the standard library has side effects. The pages of one build of Python
# are the same in every folder and on every machine: modules are imported as if this interpreter lay nowhere and
# had no environment (both become default arguments), and the values of a module's data are left out, for they are
# this machine's (its time zone, OpenSSL, folders). Left out are modules that open windows.
_RENDER = """
import os, sys
sys.executable = "python3"
os.environ.clear()
import contextlib, errno, io, json, pydoc, warnings
warnings.simplefilter("ignore")
skip = {"antigravity", "this", "idlelib", "turtledemo", "turtle", "tkinter", "lib2to3", "msilib", "msvcrt"}

class Pages(pydoc.HTMLDoc):
    def filelink(self, url, path):
        return ""

    def bigsection(self, title, *contents):
        return "" if title == "Data" else super().bigsection(title, *contents)

maker = Pages()
written = 0
for name in sorted(sys.stdlib_module_names):
    if name.startswith("_") or name in skip:
        continue
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            module, _ = pydoc.resolve(name)
            body = maker.document(module, name)
    except BaseException as fault:
        # What this machine is short of now must not decide which pages there are.
        if isinstance(fault, (MemoryError, KeyboardInterrupt)):
            raise
        if isinstance(fault, OSError) and fault.errno in (errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EAGAIN):
            raise
        continue
    written += 1
    sys.stdout.write(json.dumps([name, body]) + chr(10))
sys.stdout.write(json.dumps(["", written]) + chr(10))
"""
RENDER_TRIES = 2
# What differs from process to process.
_ADDRESS = re.compile(r"\b(0x|handle )[0-9a-f]{6,}")


@settings
class PythonDocsSettings:
    """python: whose documentation it is. mirrors, older, spam: how many copies on other addresses, older
    captures of the same address and pages of spam are planted."""

    seed: int = 0
    python: str = platform.python_version()
    mirrors: NonNegativeInt = 24
    older: NonNegativeInt = 12
    spam: NonNegativeInt = 12


@stage(paper="3.1.1", version=2)
def python_docs(work: Work, *, settings: PythonDocsSettings) -> Crawl:
    """The running Python's documentation as crawled pages, copies and spam among them."""
    if settings.python != platform.python_version():
        raise DataError(
            f"the documentation of Python {settings.python} was asked for, this is {platform.python_version()}; "
            "take the setting `python` out"
        )
    clean = [_page(name, body) for name, body in _render()]
    pages = [*(LabelledDocument(page, "clean") for page in clean), *_planted(clean, settings)]
    rng(settings.seed, "order").shuffle(pages)
    (work.out / "python.warc.gz").write_bytes(_warc(labelled.document for labelled in pages))
    write_labels(work.out, pages)
    work.record(CrawlPages(len(pages)))
    work.headline = f"{len(pages)} pages, {len(pages) - len(clean)} of them planted"
    return write_crawl(work.out, [("python.warc.gz", "web")])


def _render() -> list[tuple[str, str]]:
    """Name and HTML of every page. Raises DataError unless the process that renders them ended well with all of
    them: what it said before it was killed looks like a smaller documentation."""
    why = ""
    for _ in range(RENDER_TRIES):
        why, pages = _try_to_render()
        if not why:
            return pages
    raise DataError(f"rendering Python's documentation {why}; free some memory and run again")


def _try_to_render() -> tuple[str, list[tuple[str, str]]]:
    """Why it failed, empty where it did not, and all pages."""
    # -P: a file of the current folder named like a module (random.py) would be imported in its place.
    command = [sys.executable, "-P", "-S", "-c", _RENDER]
    environment = {"PYTHONHASHSEED": "0", "PYTHONUTF8": "1"}
    try:
        process = subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=RENDER_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"took over {RENDER_SECONDS} s", []
    if process.returncode:
        return f"ended with exit code {process.returncode} ({process.stderr.strip()[-300:] or 'it said nothing'})", []
    *pages, (_, page_count) = [tuple(json.loads(line)) for line in process.stdout.splitlines()] or [("", -1)]
    if not pages or page_count != len(pages):
        return f"gave {len(pages)} pages and no word that these are all", []
    return "", pages


def _page(name: str, body: str) -> Document:
    body = _ADDRESS.sub(r"\g<1>0", body)
    url = f"https://docs.example/library/{name}.html"
    return Document(id=_record_id(url), text=_site(name, body), source="web", url=url, added="2024-03-01")


def _site(title: str, body: str) -> str:
    """A page as a web site serves it, with all that stands round the text."""
    links = "".join(f'<li><a href="/{number}">{text}</a></li>' for number, text in enumerate(noise.NAVIGATION))
    footer = "".join(f"<p>{text}</p>" for text in noise.FOOTER)
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title></head><body>'
        f"<header><nav><ul>{links}</ul></nav></header><main>{body}</main><footer>{footer}</footer></body></html>"
    )


def _planted(clean: list[Document], settings: PythonDocsSettings) -> Iterable[LabelledDocument]:
    chance = rng(settings.seed, "planted")
    for number, page in enumerate(chance.sample(clean, min(settings.mirrors, len(clean)))):
        url = f"https://mirror{number}.example/{page.url.rpartition('/')[2]}"
        yield _copy(page, url, "2024-03-02", noise.near_copy(page.text, chance), "near-duplicate")
    for page in chance.sample(clean, min(settings.older, len(clean))):
        yield _copy(page, page.url, "2023-03-01", noise.near_copy(page.text, chance, 30), "older capture")
    for number in range(settings.spam):
        url = f"https://offers{number}.example/"
        text = "".join(f"<p>{escape(line)}</p>" for line in noise.spam(chance).splitlines())
        document = Document(id=_record_id(url), text=_site("offers", text), source="web", url=url, added="2024-03-01")
        yield LabelledDocument(document, "spam")


def _copy(page: Document, url: str, added: str, text: str, label: str) -> LabelledDocument:
    document = Document(id=_record_id(url + added), text=text, source="web", url=url, added=added)
    return LabelledDocument(document, label, page.id)  # type: ignore[arg-type]


def _record_id(name: str) -> str:
    import uuid

    return f"<urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, name)}>"


def _warc(pages: Iterable[Document]) -> bytes:
    """The pages as gzip WARC, one member a record."""
    return write_warc([Page(p.id, p.source, p.text.encode(), p.url, p.added, charset="utf-8") for p in pages])
