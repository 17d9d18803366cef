"""What filters are worth: a fixed trainer on what each of them keeps, and the loss on text nobody trained on.

Source: Li et al. 2024 (DataComp-LM): one recipe, one number of tokens, only the data differ.
"""

from __future__ import annotations

import importlib.util
import json
import random
from pathlib import Path

import numpy as np
import pytest

from herd.core.artifacts import Corpus, Crawl
from herd.core.records import Document
from herd.core.stage import Work
from herd.core.storage import write_documents
from herd.corpus.judging import parse_rule
from herd.corpus.labels import EDUCATIONAL, label_texts
from herd.corpus.quality import KeepBestSettings, QualitySettings, keep_best, train_quality, train_scorer
from herd.corpus.results import CurationResult
from herd.corpus.settings import CurateSettings
from herd.corpus.sources import files
from herd.corpus.stages import curate
from herd.generate.samplers import ScriptedSampler
from herd.model.sizes import Size
from herd.pretrain.pretrain import PretrainSettings, pretrain
from herd.run.executors import LocalExecutor
from herd.run.runner import run_stages
from herd.tokens.stages import pack, train_tokenizer
from herd.train.results import TrainingResult
from herd.train.schedule import BatchPhase, MixPhase
from herd.world import noise
from herd.world.pages import PagesSettings, WorldPages
from herd.world.truth import World

pytestmark = pytest.mark.skipif(importlib.util.find_spec("wordllama") is None, reason="wordllama is not installed")
KEPT = 120  # documents that every filter keeps
TRAINER = PretrainSettings(
    size=Size(dim=32, n_layers=2, n_heads=4, n_kv_heads=2, ffn_dim=64),
    length=64,
    tokens=40_000,
    batch=(BatchPhase(until=1.0, batch_tokens=512),),
    mix=(MixPhase(until=1.0, mixture_weights={"pool": 1.0}),),
    lr=4e-3,
    init_std=0.06,
)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERD_CACHE", str(tmp_path / "cache"))


def world_texts(seed: int, **counts: int) -> dict[str, list[str]]:
    settings = PagesSettings(documents=counts, near_copies=0.0, spam_pages=0.0)
    found: dict[str, list[str]] = {}
    for page in WorldPages(World(seed=seed), settings).documents():
        found.setdefault(page.document.source, []).append(page.document.text)
    return found


class Pool:
    """A fifth of the pool is text about the world, two fifths shout, two fifths are lists of numbers and codes."""

    def __init__(self, folder: Path, seed: int) -> None:
        chance = random.Random(seed)
        texts = world_texts(seed, facts=400, ledgers=240)
        good = texts["facts"]
        chance.shuffle(good)
        self.held_out, self.reference, planted = good[:100], good[100:200], good[200:320]
        spam = [noise.spam(chance) for _ in range(240)]
        self.texts = [*planted, *spam, *texts["ledgers"][:240]]
        chance.shuffle(self.texts)
        self.folder, self.seed, self.chance = folder / str(seed), seed, chance
        self.folder.mkdir()

    def source(self, name: str, texts: list[str]) -> Crawl:
        file = self.folder / f"{name}-{len(texts)}.jsonl"
        file.write_text("\n".join(json.dumps({"text": text, "id": f"{name}{n}"}) for n, text in enumerate(texts)))
        return files(str(file), source=name)

    def corpus(self, name: str, texts: list[str], *rules: str) -> Corpus:
        return curate((self.source(name, texts),), settings=CurateSettings(rules={name: tuple(map(parse_rule, rules))}))

    def texts_of(self, corpus: Corpus) -> list[str]:
        from herd.core.storage import read_documents

        return [one.text for one in read_documents(run_stages(corpus, self.folder / "run", jobs=0).path)]

    def loss(self, texts: list[str]) -> float:
        """Nats per token on held-out good text of the fixed trainer after training on `texts`."""
        every = curate(
            (self.source("pool", texts[:KEPT]), self.source("good", self.held_out)), settings=CurateSettings(rules={})
        )
        vocabulary = train_tokenizer(self.corpus("pool", self.texts), vocab_size=400)
        settings = TRAINER.__class__(**{**vars_of(TRAINER), "seed": self.seed})
        model = pretrain(pack(every, vocabulary, held_out_share=0.2), vocabulary, settings=settings)
        return float(
            run_stages(model, self.folder / "run", jobs=0).result(TrainingResult).held_out["good"].nats_per_token
        )


def vars_of(settings: PretrainSettings) -> dict[str, object]:
    return {name: getattr(settings, name) for name in PretrainSettings.__dataclass_fields__}


@pytest.mark.row(20)
def test_a_classifier_beats_rules_and_rules_beat_chance(tmp_path: Path, figure) -> None:
    wins, losses = 0, []
    for seed in range(5):
        pool = Pool(tmp_path, seed)
        everything = list(pool.texts)
        rules = pool.texts_of(pool.corpus("pool", everything, "uppercase_words", "symbols"))
        assert len(rules) >= KEPT
        model = train_quality(
            pool.corpus("good", pool.reference), pool.corpus("bad", everything[:100]), settings=QualitySettings()
        )
        best = pool.texts_of(keep_best(pool.corpus("pool", everything), model, settings=KeepBestSettings(share=0.2)))
        row = [pool.loss(texts) for texts in (everything, rules, best)]
        losses.append(row)
        wins += row[2] == min(row)
    means = [sum(row[k] for row in losses) / 5 for k in range(3)]
    figure(
        f"classifier best in {wins} of 5 seeds; loss chance {means[0]:.3f}, rules {means[1]:.3f}, classifier {means[2]:.3f}"  # noqa: E501
    )
    assert wins >= 4


def teacher() -> ScriptedSampler:
    """Stands in for a large model: a page that tells of people and places teaches something."""

    def answer(conversation):
        text = conversation.last.content.split("<document>")[1]
        words = text.split()
        told = sum(word in ("in", "the", "of", "is", "was", "and", "works", "lives") for word in words) / max(
            1, len(words)
        )
        shouted = sum(word.isupper() for word in words) / max(1, len(words))
        return f"score: {min(5, max(0, round(30 * told - 10 * shouted)))}"

    return ScriptedSampler(answer)


@pytest.mark.row(19, "loss")
def test_an_educational_cut_lowers_the_loss_at_equal_tokens(tmp_path: Path, figure) -> None:
    gains = []
    for seed in range(3):
        pool = Pool(tmp_path, seed)
        everything = list(pool.texts)
        points = label_texts(everything[:300], teacher(), EDUCATIONAL).points
        known = [(n, float(value)) for n, value in enumerate(points) if not np.isnan(value)]
        labelled = [Document(id=str(n), text=everything[n], source="pool", notes={"points": v}) for n, v in known]
        (pool.folder / "labelled").mkdir()
        write_documents(pool.folder / "labelled", labelled)
        (pool.folder / "scorer").mkdir()
        work = Work(pool.folder / "scorer", pool.folder, LocalExecutor())
        train_scorer.body(work, Corpus(pool.folder / "labelled"), settings=QualitySettings())
        from herd.corpus.quality import _WEIGHTS, EmbeddingClassifier

        with np.load(pool.folder / "scorer" / _WEIGHTS) as held:
            scores = EmbeddingClassifier(held["weights"], squash=False).score(everything)
        cut = [text for text, score in zip(everything, scores, strict=True) if score >= 3]
        assert len(cut) >= 60
        gains.append(pool.loss(everything) - pool.loss(cut))
    figure(
        f"loss lower by {sum(gains) / 3:.3f} nats on average after the cut at 3 points (3 seeds, least {min(gains):.3f})"  # noqa: E501
    )
    assert min(gains) > 0


@pytest.mark.row(19, "counts")
def test_the_counts_of_each_step_are_the_same_again(tmp_path: Path, figure) -> None:
    from herd.corpus.settings import load_rules

    pool = Pool(tmp_path, 0)
    crawl = pool.source("pool", [*pool.texts, *pool.held_out])
    found = []
    for number in range(2):
        made = run_stages(
            curate((crawl,), settings=load_rules("fineweb", ["broken_files=stop"])),
            tmp_path / str(number),
            jobs=2 * number,
        )
        found.append([(one.step, one.total, one.dropped, one.alone) for one in made.result(CurationResult).funnel])
    assert found[0] == found[1]
    figure(f"FineWeb's rules: {len(found[0])} steps with equal counts in two runs")
