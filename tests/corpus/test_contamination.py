"""Evaluation items in a corpus: planted ones are all found, shared phrases are not taken for them."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest

from herd.core.errors import DataError, SettingsError
from herd.core.records import Document
from herd.corpus.contamination import ExampleIndex, coverage, find_matches
from herd.corpus.dedup import dedups
from herd.corpus.kernels import pack_texts
from tests.corpus.builders import apply_dedup, document_shards
from tests.corpus.test_dedup import prose

MGSM = Path(__file__).parents[3] / "shared" / "data" / "mgsm"
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
    left = apply_dedup("decontaminate", tmp_path, documents, against=(write(tmp_path, questions),))
    dropped = {int(one.id) for one in documents} - {int(name) for name in left}
    precision, recall = len(dropped & dirty) / len(dropped), len(dropped & dirty) / len(dirty)
    figure(f"documents with a planted item: precision {precision:.3f}, recall {recall:.3f}")
    assert precision >= 0.99
    assert recall >= 0.99


@pytest.mark.row(79, "planted")
def test_coverage_tells_planted_items_from_others(figure) -> None:
    questions, documents, planted, _ = made(1)
    items = ExampleIndex.build(questions, [str(n) for n in range(len(questions))], 8)
    shares = coverage(
        items, [pack_texts([one.text for one in documents[:300]]), pack_texts([one.text for one in documents[300:]])]
    )
    found = set(np.flatnonzero(shares >= 0.7).tolist())
    precision, recall = len(found & planted) / len(found), len(found & planted) / len(planted)
    figure(f"planted items by coverage: precision {precision:.3f}, recall {recall:.3f}")
    assert precision >= 0.99
    assert recall >= 0.99


def test_the_counts_show_passages_and_what_a_cruder_rule_would_do(tmp_path: Path) -> None:
    questions, documents, _, dirty = made(2)
    held = document_shards(tmp_path / "parts", documents)
    step = dedups.make(dedups.configure("decontaminate", against=(write(tmp_path, questions),), action="report"))
    outcome = step(held)
    assert not outcome.removals
    assert outcome.counts["documents with an item"] == len(dirty)
    assert outcome.counts["documents with a phrase only"] >= 100
    assert outcome.counts["precision of any shared run"] < 0.7
    shown = outcome.samples[0]
    assert shown["passage"].lower() in questions[int(shown["item"].split(":")[1]) - 1].lower()


def test_an_item_can_be_cut_out(tmp_path: Path) -> None:
    question = prose(random.Random(3), 30)
    documents = [Document(id="0", text=f"before {question} after", source="a")]
    left = apply_dedup("decontaminate", tmp_path, documents, against=(write(tmp_path, [question]),), action="cut")
    assert left["0"].split() == ["before", "after"]


# A letter of each script; texts are made of these at random, as long as a question.
SCRIPTS = {
    "Chinese": [chr(code) for code in range(0x4E00, 0x4E00 + 900)],
    "Japanese": [chr(code) for code in (*range(0x3042, 0x3094), *range(0x5000, 0x5100))],
    "Thai": [chr(code) for code in range(0x0E01, 0x0E2F)] + ["\u0e01\u0e34", "\u0e02\u0e49", "\u0e40\u0e14"],
    "Lao": [chr(code) for code in (0xE81, 0xE82, 0xE84, 0xE87, 0xE88, 0xE8A, 0xE94, 0xE95, 0xE96, 0xE97, 0xE99)],
    "Burmese": [chr(code) for code in range(0x1000, 0x1021)] + ["\u1000\u102d", "\u1019\u103c"],
    "Khmer": [chr(code) for code in range(0x1780, 0x17A3)] + ["\u1780\u17d2\u1781", "\u1781\u17b7"],
}


def unspaced(chance: random.Random, script: str, letters: int) -> str:
    return "".join(chance.choice(SCRIPTS[script]) for _ in range(letters))


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("action", ["drop", "cut"])
def test_items_are_found_where_no_blanks_are_written(script: str, action: str, tmp_path: Path) -> None:
    chance = random.Random(5)
    questions = [unspaced(chance, script, 60) + " 16 " + unspaced(chance, script, 20) for _ in range(30)]
    around = [unspaced(chance, script, 40) for _ in range(60)]
    texts = [f"{around[2 * n]}{question}{around[2 * n + 1]} a@b.example" for n, question in enumerate(questions)]
    clean = [unspaced(chance, script, 150) for _ in range(30)]
    documents = [Document(id=f"copy {n}", text=text, source="a") for n, text in enumerate(texts)]
    documents += [Document(id=f"clean {n}", text=text, source="a") for n, text in enumerate(clean)]
    left = apply_dedup("decontaminate", tmp_path, documents, against=(write(tmp_path, questions),), action=action)
    assert [left.get(f"clean {n}") for n in range(30)] == clean
    if action == "drop":
        assert sorted(left) == sorted(f"clean {n}" for n in range(30))
    else:
        assert not any(question[:40] in left[f"copy {n}"] for n, question in enumerate(questions))
        assert all(around[2 * n] in left[f"copy {n}"] for n in range(30))


@pytest.mark.parametrize("blank", ["\u00a0", "\u3000", "\u2009", "\u202f", "\n", "  ", " \u200b"])
@pytest.mark.parametrize("action", ["drop", "cut"])
def test_items_are_found_whatever_blanks_stand_between_their_words(blank: str, action: str, tmp_path: Path) -> None:
    question = prose(random.Random(6), 30)
    documents = [Document(id="copy", text=f"before {question.replace(' ', blank)} after", source="a")]
    documents.append(Document(id="clean", text=prose(random.Random(7), 60), source="a"))
    left = apply_dedup("decontaminate", tmp_path, documents, against=(write(tmp_path, [question]),), action=action)
    assert left["clean"] == documents[1].text
    assert left.get("copy", "before after").split() == ["before", "after"]


@pytest.mark.skipif(not MGSM.is_dir(), reason="questions in other languages lie outside the repository")
@pytest.mark.parametrize("file", sorted(MGSM.glob("*.jsonl")), ids=lambda file: file.stem[:7])
def test_thirty_real_questions_of_a_language_are_found(file: Path, tmp_path: Path, figure) -> None:
    rows = [json.loads(line)["question"] for line in file.read_text(encoding="utf-8").splitlines()]
    questions, clean = rows[:30], rows[30:]
    between = "" if "zh" in file.stem else " "
    documents = [
        Document(id=f"copy {n}", text=between.join((clean[n % 20], question, clean[n % 19 + 1])), source="a")
        for n, question in enumerate(questions)
    ]
    documents += [Document(id=f"clean {n}", text=text, source="a") for n, text in enumerate(clean)]
    left = apply_dedup("decontaminate", tmp_path, documents, against=(write(tmp_path, questions),))
    figure(f"{file.stem}: {len(documents) - len(left)} of 30 copies found")
    assert sorted(left) == sorted(f"clean {n}" for n in range(len(clean)))


def test_passages_are_told_by_their_bytes() -> None:
    question = "ein Stück über Äpfel und Birnen, das man überall lesen kann und das hier steht heute"
    items = ExampleIndex.build([question], ["a"], 8)
    text = f"Vorher — {question}! Nachher."
    (match,) = find_matches(pack_texts(["nothing here", text]), items)
    assert (match.text, text.encode()[match.begin : match.end].decode()) == (1, question)


def test_items_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"other": 1}')
    with pytest.raises(DataError, match="has one of the fields"):
        apply_dedup(
            "decontaminate", tmp_path, [Document(id="0", text="a", source="a")], against=(str(tmp_path / "a.jsonl"),)
        )
    with pytest.raises(SettingsError, match="against.0: /nowhere cannot be read"):
        apply_dedup("decontaminate", tmp_path, [Document(id="0", text="a", source="a")], against=("/nowhere",))
