"""The kernels in plain Python give what the compiled ones give, and take their place where there are none."""

from __future__ import annotations

import ctypes
import gzip
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from herd.corpus import kernels, stats
from herd.corpus.contamination import count_plain_words
from herd.corpus.dedup.bloom import _Rules as BloomRules
from herd.corpus.dedup.minhash import signatures, union_pairs
from herd.corpus.extract import ExtractSettings, extract
from herd.corpus.kernels import KernelResult, pack_texts, pointer
from herd.corpus.plain import lines, measure, tables
from herd.corpus.plain.interface import Kernels
from herd.corpus.plain.words import hash_bytes, split_words
from herd.corpus.rewrites.lines import c4_lines, refinedweb_lines, repeated_ngram_lines
from herd.corpus.rewrites.pii import mask_pii
from tests.corpus.test_extract import ARTICLES, page, paragraphs
from tests.corpus.test_fuzz import tampered

ROOT = Path(__file__).parents[2]
COMPILED = kernels.corpus_kernels()
PLAIN = Kernels()
kernels._set_tables(PLAIN)
pytestmark = pytest.mark.skipif(not isinstance(COMPILED, ctypes.CDLL), reason="no compiled kernels to compare with")
Number = ctypes.c_int32

PIECES = (
    *(
        "<p>",
        "</p>",
        "<div class=post-body>",
        "<div id=comments>",
        "</div>",
        "<article>",
        "<main>",
        "<br>",
        "<h2>",
        "</h2>",
    ),
    *(
        "<ul class='nav menu'>",
        "<li>",
        "</ul>",
        "<ol>",
        "<table>",
        "<tr>",
        "<td>",
        "<th>",
        "</table>",
        "<pre>",
        "</pre>",
    ),
    *(
        "<sup>2</sup>",
        "<sub>i</sub>",
        "x<sup>th</sup>",
        "<a href=/x>",
        "</a>",
        "<blockquote>",
        "<code>",
        "</code>",
        "<b>",
    ),
    *(
        "<figure><img alt='$x_1$'><figcaption>",
        "</figure>",
        "<script type='math/tex'>a^2</script>",
        "<math><msup><mi>x</mi>",
    ),
    *(
        "<mn>2</mn></msup></math>",
        "<!-- a -->",
        "<![CDATA[b]]>",
        "&amp;",
        "&copy2024",
        "&#x41;",
        "&#150;",
        "&nosuch;",
        "&",
    ),
    *(
        "<div class=highlight><table><tr><td class=linenos>1",
        "<td>for x in y: print(x)",
        "<div class=code-line>a = f(b);",
    ),
    *(
        "<section itemtype='http://schema.org/Question'>",
        "<div class='answer'>",
        "<footer>",
        "<nav>",
        "<form>",
        "<aside>",
    ),
    *(
        "A sentence that ends, as they do, with a stop. ",
        "Read more",
        "$$a_b$$",
        r"\(c\)",
        "3 likes",
        "[12]",
        "\u200d",
        "\xa0",
    ),
    *(
        "汉字かな、",
        "ประเทศไทย",
        "नमस्ते।",
        "naïve café",
        "-",
        "...",
        "it's",
        "U.S.",
        "www.a.example/b",
        "a@b.example",
        "\n\n",
        "\r",
    ),
    *(
        "+49 30 1234567",
        "8.8.8.8",
        "api_key = 'a1b2c3d4e5f6g7h8i9'",
        "{",
        "lorem ipsum",
        "1,234.5",
        "<",
        ">",
        "'",
        '"',
        "=",
    ),
)


def both(use: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    """What `use` gives with the compiled kernels, and with the others."""
    given = []
    for library in (COMPILED, PLAIN):
        with monkeypatch.context() as patch:
            for name, module in list(sys.modules.items()):
                if name.startswith("herd.corpus") and hasattr(module, "corpus_kernels"):
                    patch.setattr(module, "corpus_kernels", lambda library=library: library)
            given.append(use())
    return given[0], given[1]


def extracted(pages: list[bytes], **changes: Any) -> Callable[[], Any]:
    def use() -> Any:
        got = extract(pages, ExtractSettings(timeout_seconds=100.0, **changes))
        numbers = got.outcome, got.code, got.formulas, got.letters
        return [column.to_pylist() for column in (got.text, got.title, got.language)], [one.tolist() for one in numbers]

    return use


def agree(use: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    compiled, plain = both(use, monkeypatch)
    assert plain == compiled
    return compiled


def seeds() -> list[bytes]:
    real = sorted((ARTICLES / "html").glob("*.gz"))[:3]
    everything = paragraphs(6) + "".join(PIECES)
    return [page(everything).encode(), *(gzip.decompress(file.read_bytes())[:12_000] for file in real)]


@pytest.mark.parametrize("form", ["plain", "markdown"])
def test_pages_give_the_same_text(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(3)
    pages = [*seeds(), *(tampered(chance, chance.choice(seeds())) for _ in range(12))]
    texts, _ = agree(extracted(pages, output_format=form, alt_text="all"), monkeypatch)
    assert sum(map(len, texts[0])) > 1000
    agree(extracted(pages, output_format=form, main_only=False), monkeypatch)


@settings(max_examples=30)
@given(st.lists(st.sampled_from(PIECES), max_size=60))
def test_any_soup_of_tags_gives_the_same_text(pieces: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        agree(extracted([page("".join(pieces)).encode(), "".join(pieces).encode()]), patch)


def rewritten(texts: list[str]) -> Callable[[], Any]:
    def use() -> Any:
        packed = pack_texts(texts)
        ways = [
            c4_lines(packed),
            c4_lines(packed, terminal_punctuation=False, min_words=0),
            refinedweb_lines(packed),
            repeated_ngram_lines(packed, n=2),
            mask_pii(packed),
            mask_pii(packed, keep=("ips",)),
        ]
        return [(way.texts.to_pylist(), None if way.edits is None else way.edits.tolist(), way.metrics) for way in ways]

    return use


def measured(texts: list[str]) -> Callable[[], Any]:
    return lambda: {name: values.tolist() for name, values in stats.compute_stats(texts).columns().items()}


def keys_of(name: str, texts: list[str], *arguments: Any) -> tuple[list[int], list[int]]:
    with KernelResult(f"herd_{name}", pack_texts(texts), *arguments) as made:
        keys, ends = made.keys()
        return keys.tolist(), ends.tolist()


def shared(texts: list[str]) -> Callable[[], Any]:
    """All that is asked of texts about what they share."""

    def use() -> Any:
        packed, done = pack_texts(texts), np.zeros(len(texts), np.int32)
        got: list[Any] = [
            one.tolist() for one in signatures(packed, 4, 3, 3, True, 7, with_minima=True) if one is not None
        ]
        got += [keys_of("shingles", texts, Number(2), Number(fold)) for fold in (0, 1)]
        got += [windows := keys_of("window_keys", texts, Number(2)), grams := keys_of("gram_keys", texts, Number(2))]
        got += [line_keys := keys_of("line_keys", texts), count_plain_words(texts).tolist()]

        def column(name: str, *arguments: Any) -> Any:
            with KernelResult(f"herd_{name}", packed, *arguments) as made:
                return made.texts().to_pylist(), done.tolist()

        def sorted_keys(keys: list[int]) -> tuple[Any, Any, Any]:
            held = np.unique(np.array(keys[::2], np.uint64))
            return held, pointer(held), ctypes.c_int64(len(held))

        held, keys, count = sorted_keys(windows[0])
        first = np.arange(len(held), dtype=np.int64)
        for stays in (None, pointer(first)):
            got.append(column("cut_repeats", Number(2), keys, stays, count, ctypes.c_int64(0), pointer(done)))
        held, keys, count = sorted_keys(line_keys[0])
        got.append(column("drop_lines", keys, count, pointer(done)))
        held, keys, count = sorted_keys(grams[0])
        with KernelResult("herd_find_grams", packed, Number(2), keys, count) as made:
            got.append(made.matches().tolist())
        bits, counts = np.zeros(4, np.uint64), np.zeros((len(texts), 2), np.int64)
        rules = BloomRules(256, 3, 1, 2, 0.5, 1)
        with KernelResult("herd_bloom_texts", packed, ctypes.byref(rules), pointer(bits), pointer(counts)) as made:
            got += [made.texts().to_pylist(), bits.tolist(), counts.tolist()]
        return got

    return use


@settings(max_examples=30)
@given(
    st.lists(
        st.lists(st.sampled_from(PIECES), max_size=25).map(" ".join) | st.text(max_size=60), min_size=1, max_size=3
    )
)
def test_any_texts_are_measured_rewritten_and_compared_alike(texts: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        agree(measured(texts), patch)
        agree(rewritten(texts), patch)
        agree(shared(texts), patch)


def test_real_text_is_measured_rewritten_and_compared_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [
        (ROOT / name).read_text(encoding="utf-8")[:6000]
        for name in ("README.md", "herd/core/native.py", "docs/style.md")
    ]
    for way in (measured, rewritten, shared):
        agree(way(texts), monkeypatch)


def test_dirty_words_are_counted_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    phrases = pack_texts(["bad", "very bad word", "café"])
    for library in (COMPILED, PLAIN):
        library.herd_set_dirty_words(phrases.argument)
    try:
        rows = agree(measured(["A BAD thing, a very bad word. Café!", ""]), monkeypatch)
        assert rows["dirty_words"] == [4.0, 0.0]
    finally:
        for library in (COMPILED, PLAIN):
            library.herd_set_dirty_words(pack_texts([]).argument)


def test_divergence_is_the_same_number(monkeypatch: pytest.MonkeyPatch) -> None:
    texts, bits = ["the cat sat on the mat", "Fische schwimmen", ""], 8

    def use() -> tuple[Any, Any, Any]:
        packed, counts = pack_texts(texts), np.zeros(1 << bits, np.int64)
        kernels.corpus_kernels().herd_count_unigrams(packed.argument, Number(bits), pointer(counts))
        out, words = np.zeros(len(texts)), np.zeros(len(texts), np.int32)
        kernels.corpus_kernels().herd_divergence(
            packed.argument, Number(bits), pointer(counts), pointer(out), pointer(words)
        )
        return counts.tolist(), words.tolist(), out

    compiled, plain = both(use, monkeypatch)
    assert plain[:2] == compiled[:2]
    np.testing.assert_allclose(plain[2], compiled[2], rtol=1e-12, atol=0)


def test_block_lists_and_sets_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    urls = ["https://a.example.com/x", "http://www.b.example/p?q", "c.example/page/", "ftp://u@d.example:8/#f", "", "é"]

    def use() -> Any:
        library = kernels.corpus_kernels()
        domains, addresses = (
            ctypes.c_void_p(library.herd_block_list(pack_texts(lists).argument))
            for lists in ([b"example.com # all of it\nd.example\n", b""], [b"http://c.example/page\r\nb.example/p?q"])
        )
        kinds, parent = np.zeros(len(urls), np.int32), np.arange(8)
        library.herd_match_addresses(pack_texts(urls).argument, domains, addresses, pointer(kinds))
        union_pairs(parent, np.array([1, 5, 6]), np.array([2, 6, 1]))
        return kinds.tolist(), parent.tolist()

    assert agree(use, monkeypatch)[0] == [1, 2, 2, 1, 0, 0]


@given(st.binary(max_size=30))
def test_the_first_fault_of_utf_8_is_the_same(data: bytes) -> None:
    length = ctypes.c_int64(len(data))
    assert PLAIN.herd_utf8_fault(data, length) == COMPILED.herd_utf8_fault(data, length)


def test_the_lists_of_the_sources_are_read_whole() -> None:
    assert len(measure.STATS) == len(stats.TEXT_STATS)
    assert len(lines.EDITS) == len(stats.EDIT_STATS)
    assert {"czytaj także".encode(), "©".encode(), b"cookies"} <= set(tables.words("extract.cpp", "kEmptyTalk"))
    hints = dict(tables.pairs("hints.cpp", "kWords"))
    assert (hints[b"articlebody"], hints[b"photographer"]) == ("BodyHint", "CaptionHint")
    assert len(hints) > 250
    assert {"Li", "P", "Xmp", "Root"} <= tables.tags("html.cpp", "is_block")
    assert tables.constant("outline.cpp", "kSmallShare") == 0.35
    assert tables.int_constant("listing.cpp", "kMostCell") == 100_000


def test_words_are_what_a_reader_of_english_expects() -> None:
    text = b"It's 1990s U.S. well-known, don't-stop (see www.a.example)."
    spelled = [text[word.begin : word.end].decode() for word in split_words(text)]
    assert spelled == "It 's 1990s U.S. well - known , don't - stop ( see www.a.example ) .".split()
    assert hash_bytes(b"a") != hash_bytes(b"b")


def test_without_kernels_plain_python_curates_and_says_so_once(tmp_path: Path) -> None:
    code = (
        "import warnings, subprocess, sys\n"
        "warnings.simplefilter('always')\n"
        "from herd.corpus.extract import ExtractSettings, extract\n"
        "pages = ['<main><p>A page, in one sentence that is long enough to stay.</p></main>']\n"
        "print(extract(pages, ExtractSettings()).text[0].as_py())\n"
        "again = 'from herd.corpus.kernels import corpus_kernels; print(type(corpus_kernels()).__name__)'\n"
        "sys.stdout.flush()\n"
        "subprocess.run([sys.executable, '-c', again], check=True)\n"
    )
    told = os.environ | {"HERD_KERNELS": "off", "HERD_CACHE": str(tmp_path)}
    told.pop("HERD_KERNELS_WARNED", None)
    done = subprocess.run([sys.executable, "-c", code], env=told, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split("\n")[:2] == ["A page, in one sentence that is long enough to stay.", "Kernels"]
    assert done.stderr.count("no compiled kernels, so plain Python curates") == 1


@pytest.mark.slow
@pytest.mark.parametrize("file", ["extract", "markup", "filters", "kernels", "urls", "contamination", "dedup"])
def test_the_rooms_own_tests_pass_without_kernels(file: str) -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-W",
        "ignore::RuntimeWarning",
        f"tests/corpus/test_{file}.py",
    ]
    # What measures speed says little here.
    command += ["-k", "not fast and not second and not time"]
    told = os.environ | {"HERD_KERNELS": "off"}
    done = subprocess.run(command, env=told, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout[-3000:]
