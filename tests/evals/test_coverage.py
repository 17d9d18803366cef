"""How much of an item a corpus holds: as brute force counts it, and planted items are found and no others."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from herd.core.errors import SettingsError
from herd.evals.contamination import contamination_gains, largest_significant_gain
from herd.evals.coverage import ItemNgrams, check_recovery, ngram_words

WORDS = [f"w{number}" for number in range(400)]


def covered_by_hand(item: list[str], documents: list[list[str]], ngram: int) -> float | None:
    """The union of positions, by looking everywhere."""
    if len(item) < ngram:
        return None
    covered = set()
    for start in range(len(item) - ngram + 1):
        gram = item[start : start + ngram]
        for document in documents:
            if any(document[at : at + ngram] == gram for at in range(len(document) - ngram + 1)):
                covered |= set(range(start, start + ngram))
    return len(covered) / len(item)


texts = st.lists(st.sampled_from("abcd"), max_size=14)


@settings(max_examples=150, deadline=None)
@given(st.lists(texts, min_size=1, max_size=2), st.lists(texts, max_size=4), st.integers(1, 5))
def test_coverage_is_what_brute_force_counts(items: list[list[str]], documents: list[list[str]], ngram: int) -> None:
    # Two items have nothing that is shared by three.
    found = ItemNgrams([" ".join(item) for item in items], ngram=ngram).coverage(map(" ".join, documents))
    assert found.shares == tuple(covered_by_hand(item, documents, ngram) for item in items)
    assert found.documents == len(documents)
    for share, run, item in zip(found.shares, found.runs, items, strict=True):
        assert (run > 0) == bool(share)
        assert run <= len(item)


def test_positions_count_once_and_runs_are_the_longest() -> None:
    ngrams = ItemNgrams(["a b c d e f g h i j"], ngram=3)
    found = ngrams.coverage(["x a b c d x", "h i j"])
    assert found.shares == (0.7,)
    assert found.runs == (4,)


def test_words_are_compared_without_case_and_punctuation_and_other_scripts_by_character() -> None:
    assert ngram_words("It's  3.5%, SO_what?") == ["it", "s", "3", "5", "so", "what"]
    assert ngram_words("一个篮子 box") == ["一", "个", "篮", "子", "box"]
    found = ItemNgrams(["一个篮子里放着二十五颗橙子"]).coverage(["他说：一个篮子里放着二十五颗橙子。"])
    assert found.shares == (1.0,)


def test_what_all_items_say_is_no_part_of_any() -> None:
    shots = "question what is two and two answer four question what is three and one answer four "
    rng = random.Random(0)
    items = [shots + " ".join(rng.choices(WORDS, k=30)) for _ in range(20)]
    found = ItemNgrams(items).coverage([shots, items[0].upper()])
    assert found.shares[0] == 1.0
    # n-grams across the end of what is shared are the item's own.
    assert set(found.shares[1:]) == {0.0}
    alike = ItemNgrams([shots] * 5).coverage([shots])
    assert alike.shares == (None,) * 5


def test_documents_do_not_run_into_each_other() -> None:
    assert ItemNgrams(["a b c d"], ngram=4).coverage(["a b", "c d"]).shares == (0.0,)


def test_n_grams_hold_something() -> None:
    with pytest.raises(SettingsError, match="cover nothing"):
        ItemNgrams(["a"], ngram=0)
    assert ItemNgrams([], ngram=2).coverage(["a b"]).shares == ()


def random_items(rng: random.Random, count: int, length: int = 40) -> list[str]:
    return [" ".join(rng.choices(WORDS, k=length)) for _ in range(count)]


@pytest.mark.parametrize("copies", [1, 5, 25])
def test_planted_items_are_found_and_no_others(copies: int) -> None:
    rng = random.Random(copies)
    items, planted = random_items(rng, 300), set(rng.sample(range(300), 60))
    documents = random_items(rng, 200, 120)
    for place in planted:
        for _ in range(copies):
            number = rng.randrange(len(documents))
            documents[number] += f"\n\n{items[place].title()}!\n\n" + " ".join(rng.choices(WORDS, k=20))
    shares = ItemNgrams(items).coverage(documents).shares
    flagged = {place for place, share in enumerate(shares) if (share or 0) >= 0.8}
    right = len(flagged & planted)
    assert right / len(flagged) >= 0.99
    assert right / len(planted) >= 0.99
    # A model that learnt them by heart gains, and one that learnt nothing does not.
    chance = np.random.default_rng(copies)
    learnt = np.array([place in planted or chance.random() < 0.4 for place in range(300)], float)
    ignorant = (chance.random(300) < 0.4).astype(float)
    covered = [share or 0.0 for share in shares]
    best = largest_significant_gain(contamination_gains(learnt, covered))
    assert best is not None
    assert best.gain == pytest.approx(0.12, abs=0.04)
    assert largest_significant_gain(contamination_gains(ignorant, covered)) is None


def test_the_check_plants_items_of_the_benchmark_in_documents_of_the_corpus() -> None:
    rng = random.Random(1)
    items, hosts = random_items(rng, 100), random_items(rng, 30, 200)
    hosts[3] += " " + items[7]  # which was there before
    found = check_recovery(items, hosts, threshold=0.8, count=40)
    assert (found.planted, found.found, found.others) == (40, 40, 0)
    assert (found.precision, found.recall) == (1.0, 1.0)
    # Who splits texts so that nothing is left finds nothing, and says so.
    blind = check_recovery(
        items, hosts, threshold=0.8, split=lambda text: [word for word in text.split() if word.islower()]
    )
    assert blind.recall == 0.0
    assert blind.precision is None
    assert check_recovery([], hosts, threshold=0.8).recall is None


def test_items_that_say_the_same_are_others() -> None:
    rng = random.Random(2)
    items = random_items(rng, 10)
    twins = [text for item in items for text in (item, item + " indeed")]
    assert check_recovery(twins, ["host"], threshold=0.8, count=5).others > 0
