"""Small models of quality: held-out AUROC, the share kept, points learnt from a larger model's labels."""

from __future__ import annotations

import gzip
import importlib.util
import json
import random
import re
from collections import Counter
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from herd.core.artifacts import Artifact, Corpus
from herd.core.errors import DataError, HerdError
from herd.core.records import Conversation, Document, Message
from herd.core.storage import read_documents, write_documents
from herd.corpus.labels import (
    LabelSettings,
    label_documents,
)
from herd.corpus.quality import (
    KeepBestSettings,
    QualitySettings,
    _train_fasttext,
    auroc,
    keep_best,
    quality_accuracy,
    train_quality,
    train_scorer,
)
from herd.corpus.results import CorpusSize, LabelCounts, PointsAccuracy, QualityAccuracy, QualityThreshold
from herd.corpus.settings import CurateSettings
from herd.corpus.sources import files
from herd.corpus.stages import curate
from herd.generate.samplers import ScriptedSampler
from herd.run.runner import run_stages
from tests.generate.answering import answering

Head = Literal["words", "embeddings"]
DATA = Path(__file__).parents[3] / "shared" / "data"
HEADS = [
    pytest.param(
        "embeddings",
        marks=pytest.mark.skipif(importlib.util.find_spec("wordllama") is None, reason="wordllama is not installed"),
    ),
    pytest.param(
        "words",
        marks=pytest.mark.skipif(importlib.util.find_spec("fasttext") is None, reason="fastText is not installed"),
    ),
]
GOOD = "theory evidence measured observed because therefore explains structure energy cells history method example proof".split()  # noqa: E501
BAD = "cheap offer click winner casino bonus free pills deal limited subscribe hurry credit loan prize now".split()
BOTH = "the of and to in a that is for on with as it at by from this".split()


def text(chance: random.Random, goodness: float, words: int = 60) -> str:
    """Words of which the more are telling ones the further `goodness` is from a half."""
    own = [GOOD if chance.random() < goodness else BAD for _ in range(words)]
    return " ".join(chance.choice(which if chance.random() < 0.25 else BOTH) for which in own)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERD_CACHE", str(tmp_path / "cache"))


def corpus(folder: Path, name: str, texts: list[str]) -> Corpus:
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.jsonl").write_text(
        "\n".join(json.dumps({"text": one, "id": f"{name}{n}"}) for n, one in enumerate(texts))
    )
    return curate((files(str(folder / f"{name}.jsonl"), source=name),), settings=CurateSettings(rules={}))


@pytest.mark.row(18, "ranking")
@pytest.mark.row(18, "share")
@pytest.mark.parametrize("head", HEADS)
def test_a_model_tells_good_from_bad_and_keeps_the_share_asked_for(head: Head, tmp_path: Path, figure) -> None:
    chance = random.Random(0)
    good = corpus(tmp_path / "in", "good", [text(chance, 0.8) for _ in range(600)])
    bad = corpus(tmp_path / "in", "bad", [text(chance, 0.2) for _ in range(600)])
    model = train_quality(good, bad, settings=QualitySettings(head=head, epochs=20, lr=0.5))
    mixed = corpus(tmp_path / "in", "mixed", [text(chance, chance.choice((0.2, 0.8))) for _ in range(1000)])
    best = run_stages(keep_best(mixed, model, settings=KeepBestSettings(share=0.3)), tmp_path / "run", jobs=0)
    made = next((tmp_path / "run" / "artifacts").glob("train_quality-*"))
    found = Artifact.open(made).result(QualityAccuracy).auroc
    figure(
        f"{head}: AUROC {found:.3f} on held-out examples, "
        f"{best.result(CorpusSize).documents / 10:.1f} % kept of 30 % asked for"
    )
    assert found >= 0.9
    assert abs(best.result(CorpusSize).documents / 1000 - 0.3) <= 0.01
    notes = [one.notes for one in read_documents(best.path, "rejects")]
    threshold = best.result(QualityThreshold).threshold
    assert all(note["step"] == "quality" and note["quality"] < threshold for note in notes)


@pytest.mark.row(18, "real")
@pytest.mark.skipif(not DATA.is_dir(), reason="real texts lie outside the repository")
@pytest.mark.parametrize("head", HEADS)
def test_a_model_tells_encyclopedia_from_web_pages(head: Head, tmp_path: Path, figure) -> None:
    wiki = gzip.decompress(
        (DATA / "text_wikitext2" / next(f.name for f in (DATA / "text_wikitext2").glob("*.gz"))).read_bytes()
    )
    paragraphs = [line.strip() for line in wiki.decode().splitlines() if len(line) > 300 and not line.startswith(" =")]
    clean = [re.sub(r"\s([.,;:'])", r"\1", one).replace("<unk>", "").replace(" @-@ ", "-") for one in paragraphs][:800]
    web = []
    for file in (DATA / "text_c4_wiki").glob("*c4*"):
        web += [json.loads(line)["text"] for line in gzip.decompress(file.read_bytes()).splitlines()]
    pieces = [part for one in web for part in re.findall(r"(?s).{300,900}?[.!?]\s", one)][:800]
    assert len(pieces) > 200
    model = train_quality(
        corpus(tmp_path / "in", "wiki", clean),
        corpus(tmp_path / "in", "web", pieces),
        settings=QualitySettings(head=head, epochs=20, lr=0.5),
    )
    found = run_stages(model, tmp_path / "run", jobs=0).result(QualityAccuracy).auroc
    figure(f"{head}: AUROC {found:.3f}, Wikipedia against C4")
    assert found >= 0.9


def model_that_reads(noise: float, seed: int = 0):
    """Stands in for a large model: counts good words, errs now and then, and talks before it gives its points."""
    chance = random.Random(seed)

    def answer(conversation: Conversation) -> str:
        words = re.search(r"(?s)<document>(.*)</document>", conversation.last.content)
        assert words is not None
        telling = [word for word in words[1].split() if word in GOOD or word in BAD]
        share = sum(word in GOOD for word in telling) / max(1, len(telling))
        points = min(5, max(0, round(5 * share + chance.gauss(0, noise))))
        return "I cannot say." if chance.random() < 0.03 else f"It explains some. Score: 9? No.\nscore: **{points}**"

    return ScriptedSampler(answer)


@pytest.mark.row(19, "labels")
@pytest.mark.skipif(importlib.util.find_spec("wordllama") is None, reason="wordllama is not installed")
def test_points_of_a_larger_model_are_learnt(tmp_path: Path, figure) -> None:
    chance = random.Random(1)
    pool = corpus(tmp_path / "in", "web", [text(chance, chance.random(), 150) for _ in range(1200)])
    teacher = model_that_reads(0.4)

    def answer(body: dict[str, Any]) -> str:
        return teacher.answer(Conversation((Message("user", body["messages"][-1]["content"]),)))

    with answering(answer) as url:
        labelled = label_documents(pool, settings=LabelSettings(model="teacher", num_samples=2), url=url)
        made = run_stages(train_scorer(labelled, settings=QualitySettings()), tmp_path / "run", jobs=0)
    labels = next((tmp_path / "run" / "artifacts").glob("label_documents-*"))
    counts = Artifact.open(labels).result(LabelCounts)
    assert counts.documents == 1200
    assert 0 <= counts.unreadable < 0.1
    assert (counts.agreement or 0) > 0.8
    found = made.result(PointsAccuracy)
    figure(f"points of 0 to 5: F1 at 3 {found.f1_at_3:.3f}, agreement of two samples {counts.agreement:.2f}")
    assert found.f1_at_3 >= 0.82  # what FineWeb-Edu's own head reaches
    assert found.rank_correlation > 0.8


def test_labelling_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    pool = corpus(tmp_path / "in", "web", [f"page number {n}" for n in range(100)])
    asked: Counter[str] = Counter()

    def answer(body: dict[str, Any]) -> str | int:
        page = body["messages"][-1]["content"]
        asked[page] += 1
        return 404 if asked.total() == 90 else "topic: health"

    with answering(answer) as url:
        labelled = label_documents(pool, settings=LabelSettings(model="m", rubric="topic"), url=url)
        with pytest.raises(HerdError, match="refused a request with status 404"):
            run_stages(labelled, tmp_path / "run", jobs=0)
        made = run_stages(labelled, tmp_path / "run", jobs=0)
    assert made.result(LabelCounts).labels == {"health": 100}
    # The first 64 were kept; of the others some were asked about again.
    assert sum(count == 1 for count in asked.values()) >= 64


def test_auroc_has_its_known_values() -> None:
    assert auroc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1.0])) == 0.75
    assert auroc(np.ones(4), np.array([0, 1, 0, 1.0])) == 0.5
    assert len(quality_accuracy(np.arange(10.0), (np.arange(10) > 4).astype(float)).calibration) == 5


def test_no_document_with_points_is_told(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    write_documents(tmp_path / "plain", [Document(id="a", text="b", source="c")])
    from herd.core.stage import Work
    from herd.run.executors import LocalExecutor

    with pytest.raises(DataError, match="no document has `points`"):
        train_scorer.body(
            Work(tmp_path, tmp_path, LocalExecutor()), Corpus(tmp_path / "plain"), settings=QualitySettings()
        )


class Moody:
    """A fastText that gives up over its loss as often as told, and keeps the rates it was asked with."""

    def __init__(self, faults: int, words: str = "Encountered NaN.") -> None:
        self.faults, self.words, self.rates = faults, words, []

    def train_supervised(self, file: str, *, lr: float, **rest: Any) -> str:
        self.rates.append(lr)
        if len(self.rates) <= self.faults:
            raise RuntimeError(self.words)
        return "a model"


def test_fasttext_is_asked_again_when_its_loss_is_no_number() -> None:
    settings = QualitySettings(head="words", lr=0.4)
    for faults, rates in ((0, [0.4]), (1, [0.4, 0.4]), (2, [0.4, 0.4, 0.2])):
        moody = Moody(faults)
        assert _train_fasttext(moody, "examples.txt", settings) == "a model"
        assert moody.rates == rates
    with pytest.raises(DataError, match=r"at rates down to 0\.2; set a lower rate"):
        _train_fasttext(Moody(3), "examples.txt", settings)
    with pytest.raises(RuntimeError, match="cannot be opened"):
        _train_fasttext(Moody(1, "examples.txt cannot be opened"), "examples.txt", settings)
