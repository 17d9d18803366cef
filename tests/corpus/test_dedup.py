"""Copies: MinHash meets as often as the formula says, and planted copies of every kind are found."""

from __future__ import annotations

import gzip
import json
import math
import random
import re
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from herd.core.records import Document
from herd.corpus.dedup import dedups
from herd.corpus.dedup.bloom import filter_size
from herd.corpus.dedup.minhash import find_roots, signatures, union_pairs
from herd.corpus.encodings import decode
from herd.corpus.extract import ExtractSettings, extract
from herd.corpus.kernels import KernelResult, corpus_kernels, pack_texts, pointer
from herd.run.executors import LocalExecutor
from herd.world import noise
from tests.corpus.builders import apply_dedup, document_shards

RELAXED = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)


def documents(*texts: str) -> list[Document]:
    return [Document(id=str(n), text=text, source="a") for n, text in enumerate(texts)]


def prose(chance: random.Random, words: int) -> str:
    return " ".join(f"{chance.choice('abcdefgh')}{chance.randrange(3000)}x" for _ in range(words))


# ---- MinHash ----


@pytest.mark.row(10)
def test_pairs_meet_as_often_as_the_formula_says(figure) -> None:
    """Texts of a known similarity: the share of pairs that meets against 1 - (1 - s^rows)^bands."""
    bands, rows, trials, size = 14, 8, 1500, 120
    worst = 0.0
    for similarity in (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9):
        shared = round(2 * size * similarity / (1 + similarity))
        texts = []
        for trial in range(trials):
            # With runs of one word a text is the set of its words.
            names = [f"w{trial}q{k}z" for k in range(2 * size - shared)]
            texts += [
                " ".join(_letters(name) for name in names[:size]),
                " ".join(_letters(n) for n in names[size - shared :]),
            ]
        keys, _ = signatures(pack_texts(texts), bands, rows, 1, True, seed=5)
        met = (keys[0::2] == keys[1::2]).any(axis=1).mean()
        exact = shared / (2 * size - shared)
        worst = max(worst, abs(met - (1 - (1 - exact**rows) ** bands)))
    figure(f"largest distance from the curve {100 * worst:.1f} points")
    assert worst < 0.03


def _letters(name: str) -> str:
    # Digits count as one in shingles, so that words have to differ in letters.
    return name.translate(str.maketrans("0123456789", "abcdefghij"))


def test_signatures_agree_as_often_as_sets_overlap() -> None:
    chance = random.Random(3)
    for _ in range(8):
        a = [_letters(f"k{chance.randrange(10**8)}") for _ in range(300)]
        b = a[: chance.randrange(100, 300)] + [_letters(f"m{chance.randrange(10**8)}") for _ in range(60)]
        _, minima = signatures(
            pack_texts([" ".join(a), " ".join(b)]), 60, 20, 1, True, seed=chance.randrange(10**6), with_minima=True
        )
        assert minima is not None
        jaccard = len(set(a) & set(b)) / len(set(a) | set(b))
        assert abs(float((minima[0] == minima[1]).mean()) - jaccard) < 0.06


def test_case_accents_digits_and_punctuation_do_not_count() -> None:
    texts = ["Café No. 12, at the river's END!", "cafe no 77 at the river s end", "cafe no 77 at the river s start"]
    keys, _ = signatures(pack_texts(texts), 14, 8, 5, True, seed=1)
    assert (keys[0] == keys[1]).all()
    assert not (keys[0] == keys[2]).all()


@pytest.mark.row(9, "documents")
def test_planted_copies_are_found_and_others_stay(tmp_path: Path, figure) -> None:
    chance = random.Random(0)
    originals = [prose(chance, 200) for _ in range(300)]
    copies = [f"{noise.near_copy(text, chance)} and" for text in originals[:100]]
    left = apply_dedup("minhash", tmp_path, documents(*originals, *copies))
    recall = sum(str(300 + n) not in left for n in range(100)) / 100
    lost = sum(str(n) not in left for n in range(300)) / 300
    figure(f"near-duplicates: recall {recall:.0%}, {lost:.1%} of others removed")
    assert recall >= 0.98
    assert lost <= 0.005


PAGES = Path(__file__).parents[3] / "shared" / "data"


def real_texts() -> list[str]:
    """Main texts of articles and of pages in many languages, each page once."""
    articles = json.loads((PAGES / "web_article_extraction" / "ground-truth.json").read_text(encoding="utf-8"))
    with tarfile.open(PAGES / "web_trafilatura_eval" / "pages.tar.xz") as archive:
        files = [archive.extractfile(member) for member in archive.getmembers() if member.isfile()]
        bodies = [decode(file.read()) or b"" for file in files if file]
    with gzip.open(PAGES / "text_c4_wiki" / "c4.jsonl.gz", "rt", encoding="utf-8") as lines:
        web = [json.loads(line)["text"] for line in lines]
    extracted = extract(bodies, ExtractSettings()).text.to_pylist()
    return [text for text in [entry["articleBody"] for entry in articles.values()] + extracted + web if text]


def likeness(text: str, others: list[set[tuple[str, ...]]]) -> float:
    """The highest Jaccard similarity of the runs of five words of `text` to those of another text, counted exactly."""
    own = runs_of_five(text)
    return max((len(own & other) / len(own | other) for other in others if own and other), default=0.0)


def runs_of_five(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return set(zip(*(words[start:] for start in range(5)), strict=False))


@pytest.mark.row(9, "false_removals")
@pytest.mark.skipif(not PAGES.exists(), reason="needs ../shared/data")
def test_real_pages_that_are_no_copies_stay_and_planted_copies_of_them_go(tmp_path: Path, figure) -> None:
    chance = random.Random(0)
    texts = list(dict.fromkeys(real_texts()))
    long = [n for n, text in enumerate(texts) if len(text.split()) >= 100]
    copied = chance.sample(long, 200)
    copies = [noise.near_copy(texts[n], chance) for n in copied]
    left = apply_dedup("minhash", tmp_path, documents(*texts, *copies))
    gone = [n for n in range(len(texts)) if str(n) not in left]
    stayed = [runs_of_five(texts[n]) for n in range(len(texts)) if str(n) in left]
    # What goes though it is like nothing that stays was no copy; FineWeb's rule aims at a similarity of .75.
    false = [n for n in gone if likeness(texts[n], stayed) < 0.5]
    recall = sum(str(len(texts) + n) not in left for n in range(200)) / 200
    figure(
        f"{len(texts):,} real pages: {len(gone)} removed, {len(false)} ({len(false) / len(texts):.2%}) of them no copy"
    )
    figure(f"near-copies of 200 real pages: recall {recall:.1%}")
    assert recall >= 0.98
    assert len(false) / len(texts) <= 0.005


def test_of_a_cluster_the_first_stays_and_chains_are_one_cluster(tmp_path: Path) -> None:
    text = " ".join(f"w{chr(97 + n % 26)}{chr(97 + n // 26)}" for n in range(100))
    left = apply_dedup("minhash", tmp_path, documents(text, text.upper(), f"{text}!", "something else entirely"))
    assert list(left) == ["0", "3"]


def test_texts_without_words_are_no_copies_of_each_other(tmp_path: Path) -> None:
    assert list(apply_dedup("minhash", tmp_path, documents("", "...", "a", "a", "!"))) == ["0", "1", "2", "4"]


def test_texts_that_differ_in_numbers_only_are_one_or_two(tmp_path: Path) -> None:
    rows = documents("one page of 12 with the sum 7 + 5", "one page of 31 with the sum 22 + 9")
    assert list(apply_dedup("minhash", tmp_path / "a", rows)) == ["0"]
    assert list(apply_dedup("minhash", tmp_path / "b", rows, fold_numbers=False)) == ["0", "1"]


def test_copies_may_be_looked_for_within_a_source_only(tmp_path: Path) -> None:
    text = prose(random.Random(1), 80)
    rows = [Document(id=str(n), text=text, source=source) for n, source in enumerate("aab")]
    assert list(apply_dedup("minhash", tmp_path, rows, within="source")) == ["0", "2"]


def test_a_similarity_asked_for_keeps_pairs_that_meet_by_chance(tmp_path: Path) -> None:
    chance = random.Random(2)
    base = prose(chance, 200).split()
    near = base[:196] + prose(chance, 4).split()
    far = base[:120] + prose(chance, 80).split()
    rows = documents(" ".join(base), " ".join(near), " ".join(far))
    loose = {"preset": "own", "bands": 100, "rows": 2}
    assert list(apply_dedup("minhash", tmp_path / "a", rows, **loose)) == ["0"]
    assert list(apply_dedup("minhash", tmp_path / "b", rows, **loose, jaccard=0.8)) == ["0", "2"]


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=60))
def test_joined_sets_are_those_of_a_plain_search(pairs: list[tuple[int, int]]) -> None:
    parent = np.arange(31, dtype=np.int64)
    union_pairs(parent, np.array([a for a, _ in pairs], np.int64), np.array([b for _, b in pairs], np.int64))
    found = find_roots(parent)
    label = list(range(31))
    for _ in range(31):
        for a, b in pairs:
            label[a] = label[b] = min(label[a], label[b])
    assert found.tolist() == label


# ---- addresses ----


@pytest.mark.row(9, "urls")
def test_the_newest_version_of_an_address_stays(tmp_path: Path) -> None:
    rows = [
        ("https://www.a.example/x/", "2024-01-01"),
        ("http://A.example/x#top", "2024-03-01"),
        ("https://a.example/y", "2023-01-01"),
        ("", ""),
        ("", ""),
        ("https://b.example/", ""),
        ("https://b.example", ""),
    ]
    found = [Document(id=str(n), text="t", source="a", url=url, added=day) for n, (url, day) in enumerate(rows)]
    assert list(apply_dedup("newest_by_url", tmp_path, found)) == ["1", "2", "3", "4", "6"]
    held = document_shards(tmp_path / "again", found)
    (dropped,) = dedups.make(dedups.configure("newest_by_url"))(held).removals
    assert dict(zip(dropped.rows.tolist(), dropped.survivors.tolist(), strict=True)) == {0: 1, 5: 6}


# ---- lines ----


@pytest.mark.row(9, "lines")
def test_a_line_goes_with_its_seventh_copy(tmp_path: Path, figure) -> None:
    def pages(copies: int) -> list[Document]:
        chance = random.Random(4)
        return documents(*(f"{prose(chance, 12)}\nHome | About {n}\n{prose(chance, 12)}" for n in range(copies)))

    six = apply_dedup("frequent_lines", tmp_path / "6", pages(6))
    seven = apply_dedup("frequent_lines", tmp_path / "7", pages(7))
    assert all("Home" in text for text in six.values())
    assert not any("Home" in text for text in seven.values())
    assert all(len(text.splitlines()) == 2 for text in seven.values())
    figure("a line stays with 6 copies in a bucket, all 7 go")


def test_lines_are_counted_bucket_by_bucket(tmp_path: Path) -> None:
    rows = documents(*(f"Home\nown line {'abcdefghijklmnop'[n]}" for n in range(14)))
    left = apply_dedup("frequent_lines", tmp_path, rows, bucket_documents=7)
    assert not any("Home" in text for text in left.values())
    left = apply_dedup("frequent_lines", tmp_path / "b", rows, bucket_documents=5)
    assert sum("Home" in text for text in left.values()) == 14


def test_a_page_of_frequent_lines_is_dropped(tmp_path: Path) -> None:
    left = apply_dedup("frequent_lines", tmp_path, documents(*["only this line"] * 8, "another one"))
    assert left == {"8": "another one"}


# ---- passages ----


def windows(text: str, length: int) -> list[tuple[str, ...]]:
    words = text.split()
    return [tuple(words[k : k + length]) for k in range(len(words) - length + 1)]


@pytest.mark.row(11)
def test_no_repeat_of_fifty_words_is_left(tmp_path: Path, figure) -> None:
    chance = random.Random(6)
    texts = [prose(chance, chance.randrange(60, 300)).split() for _ in range(80)]
    for _ in range(40):  # plant passages of 50 to 90 words
        passage = prose(chance, chance.randrange(50, 90)).split()
        for text in chance.sample(texts, 2):
            at = chance.randrange(len(text))
            text[at:at] = passage
    rows = documents(*(" ".join(text) for text in texts))
    before = Counter(window for row in rows for window in set(windows(row.text, 50)))
    left = apply_dedup("exact_substrings", tmp_path, rows)
    after = Counter(window for text in left.values() for window in windows(text, 50))
    assert max(before.values()) > 1
    assert max(after.values(), default=0) == 1
    figure(f"{sum(n > 1 for n in before.values()):,} runs of 50 words stood twice before, none after pass 2")


@RELAXED
@given(st.lists(st.text("abc ", max_size=60), min_size=1, max_size=6), st.integers(2, 5))
def test_cut_is_what_a_suffix_search_finds(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], length: int
) -> None:
    """Against a plain search for repeats of at least `length` words, one pass."""
    folder = tmp_path_factory.mktemp("cut")
    left = apply_dedup("exact_substrings", folder, documents(*texts), min_substring_words=length, passes=1)
    seen = Counter(window for text in texts for window in windows(text, length))
    for number, text in enumerate(texts):
        words, covered = text.split(), set()
        for k, window in enumerate(windows(text, length)):
            if seen[window] > 1:
                covered |= set(range(k, k + length))
        wanted = [word for k, word in enumerate(words) if k not in covered]
        if wanted or not covered:
            assert left.get(str(number), "").split() == wanted
        else:
            assert str(number) not in left


def test_the_first_place_can_keep_a_passage(tmp_path: Path) -> None:
    chance = random.Random(7)
    passage = prose(chance, 60)
    rows = documents(f"start {passage}", f"{passage} end here", "other words")
    left = apply_dedup("exact_substrings", tmp_path, rows, keep_first=True)
    assert left == {"0": rows[0].text, "1": "end here", "2": "other words"}


# ---- Bloom filter ----


@pytest.mark.row(12, "memory")
def test_a_filter_is_as_large_as_the_formula_says(figure) -> None:
    """m = -k n / ln(1 - e^(1/k)) bits. Source: Bloom 1970; Li et al. 2024, L.1, solved for m."""
    told = []
    for count, rate in ((1_000, 0.1), (200_000, 0.01), (5_000_000, 0.01), (10**9, 1e-4)):
        bits, hashes = filter_size(count, rate)
        formula = -hashes * count / math.log(1 - rate ** (1 / hashes))
        assert bits == pytest.approx(formula, abs=64 + 1e-9 * formula)
        told.append(f"{count:,} at {rate:g}: {bits / count:.2f} bits a key")
    figure("; ".join(told))


@pytest.mark.row(12, "false_positives")
@pytest.mark.parametrize("rate", [0.1, 0.01])
def test_a_full_filter_errs_as_rarely_as_designed(rate: float, figure) -> None:
    from ctypes import byref, c_int64

    from herd.corpus.dedup.bloom import _Rules

    count = 200_000
    bits, hashes = filter_size(count, rate)
    chance = np.random.default_rng(0)
    keys = chance.integers(0, 2**63, 2 * count, dtype=np.uint64)
    held, seen = np.zeros(bits // 64, np.uint64), np.zeros(2 * count, np.uint8)
    rules = _Rules(bits, hashes, 1, 13, 0.8, 1)
    corpus_kernels().herd_bloom_add(pointer(keys), c_int64(count), byref(rules), pointer(held), pointer(seen))
    full = held.copy()
    other = np.ascontiguousarray(keys[count:])
    wrong = 0
    for start in range(0, count, 2000):  # a few at a time, so that those asked about do not fill it further
        some = np.ascontiguousarray(other[start : start + 2000])
        held[:] = full
        out = np.zeros(len(some), np.uint8)
        corpus_kernels().herd_bloom_add(pointer(some), c_int64(len(some)), byref(rules), pointer(held), pointer(out))
        wrong += int(out.sum())
    figure(f"design {rate:.0%}: {wrong / count:.2%} false positives in {bits / count:.1f} bits a key")
    assert wrong / count <= 1.5 * rate
    # The smallest filter of the formula, rounded up to words: m = -n ln e / (ln 2)^2 at the best k.
    assert bits / count == pytest.approx(-np.log(rate) / np.log(2) ** 2, rel=0.03)


def test_paragraphs_and_documents_seen_before_go(tmp_path: Path) -> None:
    chance = random.Random(8)
    a, b, c = (prose(chance, 40) for _ in range(3))
    rows = documents(f"{a}\n{b}", f"{a}\n{c}", f"{a}\n{b}", "short line\nshort line")
    left = apply_dedup("bloom", tmp_path, rows, expected_ngrams=10_000)
    assert left == {"0": rows[0].text, "1": c, "3": rows[3].text}


# ---- outliers ----


@pytest.mark.row(17, "thresholds")
def test_documents_of_rare_words_are_told_from_others(tmp_path: Path, figure) -> None:
    """Half of the words of some documents are random: the divergence ranks them above the others."""
    chance = random.Random(9)
    known = [prose(chance, 1) for _ in range(400)]
    texts = [" ".join(chance.choices(known, k=chance.randrange(50, 400))) for _ in range(950)]
    strange = [
        " ".join(
            chance.choice(known) if k % 2 else prose(chance, 1) + chance.choice("xyz")
            for k in range(chance.randrange(50, 400))
        )
        for _ in range(50)
    ]
    left = apply_dedup("outlier_tokens", tmp_path, documents(*texts, *strange), share=0.06, bins=5)
    found = sum(str(950 + n) not in left for n in range(50))
    figure(f"divergence: {found} of 50 documents of random words are among the 6 % dropped")
    assert found >= 45


# ---- places ----


def test_the_outcome_does_not_depend_on_workers_or_parts(tmp_path: Path) -> None:
    chance = random.Random(10)
    texts = [prose(chance, 60) for _ in range(60)]
    rows = documents(*texts, *(noise.near_copy(text, chance, 40) for text in texts[:20]))
    found = []
    for number, (files, workers) in enumerate(((1, 1), (3, 1), (4, 2))):
        held = document_shards(
            tmp_path / str(number), rows, files=files, place=LocalExecutor(lambda workers=workers: workers)
        )
        (dropped,) = dedups.make(dedups.configure("minhash"))(held).removals
        found.append((dropped.rows.tolist(), dropped.survivors.tolist()))
    assert found[0] == found[1] == found[2]


def test_shingles_of_ideographs_are_characters() -> None:
    import ctypes

    with KernelResult(
        "herd_shingles",
        pack_texts(["汉字汉字汉字", "one two three four five six"]),
        ctypes.c_int32(5),
        ctypes.c_int32(1),
    ) as made:
        _, ends = made.keys()
    assert np.diff(ends).tolist() == [2, 2]


@pytest.mark.parametrize(
    "letters",
    [
        "中文字的一是在不了有和人这大为上个国我以要他时来用们生到作地于出就",
        "กขคงจชซดตถทนบปผพฟมยรลวสหอ",
        "ကခဂငစဆဇညတထဒနပဖဘမယရလဝသဟအ",
    ],
)
def test_copies_are_found_where_no_blanks_are_written(letters: str, tmp_path: Path) -> None:
    """A near-duplicate with a twentieth of its letters changed, and a long passage that two texts share."""
    chance = random.Random(8)

    def text(count: int) -> str:
        return "".join(chance.choice(letters) for _ in range(count))

    first = text(600)
    other = "".join(chance.choice(letters) if n % 200 == 7 else c for n, c in enumerate(first))
    documents = [Document(id=str(n), text=t, source="a") for n, t in enumerate((first, other, text(600)))]
    assert sorted(apply_dedup("minhash", tmp_path / "a", documents)) in (["0", "2"], ["1", "2"])
    passage = text(200)
    documents = [Document(id=str(n), text=text(90) + passage + text(90), source="a") for n in range(2)]
    left = apply_dedup("exact_substrings", tmp_path / "b", documents)
    assert all(passage[20:180] not in left[name] and len(left[name]) > 150 for name in ("0", "1"))
