"""Evaluation items in a corpus: planted ones are all found, shared phrases are not taken for them."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest

from herd.core.errors import DataError, SettingsError
from herd.core.records import Document
from herd.corpus.contamination import Items, coverage, find
from herd.corpus.dedup import dedups
from herd.corpus.kernels import pack
from herd.evals.contamination import chosen, gains
from tests.corpus.made import applied, parts
from tests.corpus.test_dedup import prose

PHRASE = "which of the following statements about what happened in the story is the one that is true"


def made(seed: int = 0, items: int = 200) -> tuple[list[str], list[Document], set[int], set[int]]:
    """Items, documents, which items were planted and which documents hold one. A phrase that half of the items
    start with stands in many other documents too."""
    chance = random.Random(seed)
    questions = [(PHRASE + " " if n % 2 else "") + prose(chance, chance.randrange(25, 60)) for n in range(items)]
    planted = set(chance.sample(range(items), items // 2))
    documents, dirty = [], set()
    for n in range(600):
        text = prose(chance, 120).split()
        if n % 3 == 0:
            text[40:40] = PHRASE.split()
        documents.append(" ".join(text))
    for item in planted:
        for _ in range(chance.choice((1, 5))):
            at = chance.randrange(600)
            words = documents[at].split()
            words[60:60] = questions[item].upper().split()
            documents[at] = " ".join(words)
            dirty.add(at)
    return questions, [Document(id=str(n), text=text, source="a") for n, text in enumerate(documents)], planted, dirty


def write(folder: Path, questions: list[str]) -> str:
    file = folder / "items.jsonl"
    file.write_text("\n".join(json.dumps({"question": text, "id": n}) for n, text in enumerate(questions)))
    return str(file)


@pytest.mark.row(79, "planted")
def test_planted_items_are_found_and_phrases_are_not(tmp_path: Path, figure) -> None:
    questions, documents, _, dirty = made()
    left = applied("decontaminate", tmp_path, documents, against=(write(tmp_path, questions),))
    dropped = {int(one.id) for one in documents} - {int(name) for name in left}
    precision, recall = len(dropped & dirty) / len(dropped), len(dropped & dirty) / len(dirty)
    figure(f"documents with a planted item: precision {precision:.3f}, recall {recall:.3f}")
    assert precision >= 0.99
    assert recall >= 0.99


@pytest.mark.row(79, "planted")
def test_coverage_tells_planted_items_from_others(figure) -> None:
    questions, documents, planted, _ = made(1)
    items = Items.of(questions, [str(n) for n in range(len(questions))], 8)
    shares = coverage(items, [pack([one.text for one in documents[:300]]), pack([one.text for one in documents[300:]])])
    found = set(np.flatnonzero(shares >= 0.7).tolist())
    precision, recall = len(found & planted) / len(found), len(found & planted) / len(planted)
    figure(f"planted items by coverage: precision {precision:.3f}, recall {recall:.3f}")
    assert precision >= 0.99
    assert recall >= 0.99


def test_the_figures_show_passages_and_what_a_cruder_rule_would_do(tmp_path: Path) -> None:
    questions, documents, _, dirty = made(2)
    held = parts(tmp_path / "parts", documents)
    step = dedups.make(dedups.use("decontaminate", against=(write(tmp_path, questions),), action="report"))
    outcome = step(held)
    assert not outcome.dropped
    assert outcome.figures["documents with an item"] == len(dirty)
    assert outcome.figures["documents with a phrase only"] >= 100
    assert outcome.figures["precision of any shared run"] < 0.7
    shown = outcome.figures["passages"][0]
    assert shown["passage"].lower() in questions[int(shown["item"].split(":")[1]) - 1].lower()


def test_an_item_can_be_cut_out(tmp_path: Path) -> None:
    question = prose(random.Random(3), 30)
    documents = [Document(id="0", text=f"before {question} after", source="a")]
    left = applied("decontaminate", tmp_path, documents, against=(write(tmp_path, [question]),), action="cut")
    assert left["0"].split() == ["before", "after"]


def test_passages_are_told_by_their_bytes() -> None:
    question = "ein Stück über Äpfel und Birnen, das man überall lesen kann und das hier steht heute"
    items = Items.of([question], ["a"], 8)
    text = f"Vorher — {question}! Nachher."
    (match,) = find(pack(["nothing here", text]), items)
    assert (match.text, text.encode()[match.begin : match.end].decode()) == (1, question)


def test_items_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"other": 1}')
    with pytest.raises(DataError, match="has one of the fields"):
        applied(
            "decontaminate", tmp_path, [Document(id="0", text="a", source="a")], against=(str(tmp_path / "a.jsonl"),)
        )
    with pytest.raises(SettingsError, match="against.0: /nowhere cannot be read"):
        applied("decontaminate", tmp_path, [Document(id="0", text="a", source="a")], against=("/nowhere",))


@pytest.mark.row(79, "gain")
def test_a_gain_is_found_only_where_items_were_learnt(figure) -> None:
    chance = np.random.default_rng(0)
    covered = np.where(np.arange(400) < 200, chance.uniform(0.8, 1.0, 400), chance.uniform(0, 0.15, 400))
    learnt = np.where(covered > 0.5, chance.random(400) < 0.9, chance.random(400) < 0.4)
    not_learnt = chance.random(400) < 0.4
    best = chosen(gains(learnt.astype(float), covered))
    assert best is not None
    assert best.gain == pytest.approx(0.25, abs=0.06)
    assert chosen(gains(not_learnt.astype(float), covered)) is None
    figure(f"gain {best.gain:.3f} [{best.low:.3f}, {best.high:.3f}] where half the items were learnt, none else")
