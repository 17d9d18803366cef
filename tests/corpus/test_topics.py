"""Topics: told by a few texts, learnt from labels, and thinned out."""

from __future__ import annotations

import csv
import gzip
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from herd.core.artifacts import Corpus
from herd.core.errors import DataError, SettingsError
from herd.core.records import Document
from herd.core.stage import Work
from herd.core.storage import read_documents, write_documents
from herd.corpus.results import CorpusSize, TopicAccuracy, TopicCounts
from herd.corpus.settings import CurateSettings
from herd.corpus.sources import files
from herd.corpus.stages import curate
from herd.corpus.topics import PACKAGED_TOPICS, TopicSettings, TrainTopicsSettings, label_topics, train_topics
from herd.run.executors import LocalExecutor
from herd.run.runner import run_stages
from herd.tokens.topics import Topics, load_topics

pytestmark = pytest.mark.skipif(importlib.util.find_spec("wordllama") is None, reason="wordllama is not installed")
DATA = Path(__file__).parents[3] / "shared" / "data"
# Sentences such as stand on pages; none shares a phrase with those that tell the topics.
PAGES = {
    "food and dining": "Simmer the soup with onions and garlic, then stir in cream and parsley before serving.",
    "sports and fitness": "The striker scored twice in the second half and the goalkeeper saved a late penalty.",
    "software development": "The constructor allocates a buffer; call free() once the pointer is out of scope.",
    "science, math and technology": "A prime divides the product of two integers if it divides one of them.",
    "health": "The physician prescribed antibiotics for pneumonia and advised rest until the fever had gone.",
    "crime and law": "Officers seized stolen goods and the magistrate denied bail to the accused man on Tuesday.",
    "religion": "The bishop blessed the congregation and read from the letters of the apostle Paul.",
    "travel and tourism": "We stayed in a small guesthouse near the harbour and took a boat to the old lighthouse.",
    "finance and business": "Analysts expect the lender to raise its forecast after net income beat estimates.",
    "politics": "The opposition leader called for a vote of no confidence in the cabinet before the national poll.",
    "transportation": "The hybrid sedan has a four cylinder motor, all wheel drive and an automatic gearbox.",
    "games": "Unlock the sword in the third dungeon, upgrade your armour and defeat the dragon to finish the mission.",
}


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERD_CACHE", str(tmp_path / "cache"))


def corpus(folder: Path, rows: list[dict[str, object]]) -> Corpus:
    folder.mkdir(exist_ok=True)
    (folder / "a.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return curate((files(str(folder / "a.jsonl"), source="web"),), settings=CurateSettings(rules={}))


def working(folder: Path) -> Work:
    (folder / "out").mkdir()
    return Work(folder / "out", folder, LocalExecutor())


def test_topics_are_told_by_a_few_texts() -> None:
    model = Topics.from_examples(load_topics(PACKAGED_TOPICS))
    shares = model.shares(list(PAGES.values()))
    said = [model.names[best] for best in shares.argmax(axis=1)]
    assert np.allclose(shares.sum(axis=1), 1)
    assert sum(a == b for a, b in zip(said, PAGES, strict=True)) >= 11


@pytest.mark.skipif(not DATA.is_dir(), reason="real texts lie outside the repository")
def test_labels_teach_more_than_a_few_texts(tmp_path: Path) -> None:
    subjects = {"college_biology": "biology", "astronomy": "astronomy", "professional_law": "law", "marketing": "trade"}
    documents = []
    for file in sorted((DATA / "mmlu").rglob("*_test.csv.gz")):
        if topic := subjects.get(file.name.partition("_test")[0]):
            with gzip.open(file, "rt", encoding="utf-8") as lines:
                held = [" ".join(row[:5]) for row in csv.reader(lines)][1:151]
            notes = {"topic": topic}
            documents += [Document(id=f"{topic}{k}", text=one, source="x", notes=notes) for k, one in enumerate(held)]
    work = working(tmp_path)
    write_documents(tmp_path, documents)
    train_topics.body(work, Corpus(tmp_path), settings=TrainTopicsSettings())
    assert work.results[TopicAccuracy].accuracy >= 0.9


def test_topics_there_are_too_many_of_are_thinned_out(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"id": f"{topic}{k}", "text": f"{text} Part {k}."} for topic, text in PAGES.items() for k in range(200)
    ]
    thin = TopicSettings(keep={"health": 0.25}, split_sources=True)
    made = run_stages(label_topics(corpus(tmp_path / "in", rows), None, settings=thin), tmp_path / "run", jobs=0)
    size = made.result(TopicCounts).topics["health"]
    assert size.documents == 200
    assert 30 <= size.kept <= 70
    kept = list(read_documents(made.path))
    assert sum(one.source == "web/health" for one in kept) == size.kept
    lost = list(read_documents(made.path, "rejects"))
    assert len(kept) + len(lost) == made.result(CorpusSize).pages == len(rows)
    assert {one.notes["reason"] for one in lost} == {"25% of health stay"}


def test_a_topic_or_a_file_that_is_wrong_is_told(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"text": text} for text in PAGES.values()]
    typo = TopicSettings(keep={"helth": 0.5})
    with pytest.raises(SettingsError, match=r"no topic is called 'helth'; did you mean 'health'"):
        run_stages(label_topics(corpus(tmp_path / "in", rows), None, settings=typo), tmp_path / "run", jobs=0)
    (tmp_path / "own.yaml").write_text("one: text")
    with pytest.raises(SettingsError, match="topics are two names or more with a list of texts each"):
        load_topics(tmp_path / "own.yaml")
    with pytest.raises(DataError, match="fewer than two topics"):
        run_stages(
            train_topics(corpus(tmp_path / "in", rows), settings=TrainTopicsSettings()), tmp_path / "run", jobs=0
        )
