"""How far curation found what the world's sources planted."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from typing import Any

import numpy as np

from herd.core.artifacts import Corpus, Crawl, Scores
from herd.core.stage import Work, stage
from herd.core.storage import read_documents
from herd.corpus.ground_truth import read_labels
from herd.corpus.quality import auroc
from herd.evals.results import BoilerplateCount, CleanCount, CurationAudit, PlantedCount
from herd.world.noise import FOOTER

_PLANTED = ("near-duplicate", "older capture", "spam")


@stage(paper="-", version=2)
def audit(work: Work, corpus: Corpus, crawls: tuple[Crawl, ...]) -> Scores:
    """How far curation found what was planted in `crawls`: copies, spam and boilerplate left, clean pages lost.

    Judged by the labels that makers of sources keep beside their files and curation never reads. agreement: the AUROC
    of kept against dropped for clean pages against spam, which of a yes and a no is the mean of both shares that are
    right; copies count on neither side.
    """
    label_rows = itertools.chain.from_iterable(read_labels(crawl.path) for crawl in crawls)
    labels = {row["id"]: row for row in label_rows}
    kept_ids: set[str] = set()
    framed = 0
    for document in read_documents(corpus.path):
        kept_ids.add(document.id)
        framed += document.id in labels and any(sentence in document.text for sentence in FOOTER)
    steps = {document.id: document.notes["step"] for document in read_documents(corpus.path, "rejects")}
    clean = [name for name, row in labels.items() if row["label"] == "clean"]
    # Of an original and its copy either may stay: the text is still there.
    saved = {row["of"] for name, row in labels.items() if row.get("of") and name in kept_ids}
    lost = [name for name in clean if name not in kept_ids and name not in saved]
    scores: dict[str, Any] = {
        "clean": {"planted": len(clean), "lost": len(lost)},
        "boilerplate": {"pages": len(kept_ids & labels.keys()), "left": framed},
        "lost_by": dict(Counter(steps.get(name, "unknown") for name in lost)),
    }
    for label in _PLANTED:
        planted = [name for name, row in labels.items() if row["label"] == label]
        remaining = [n for n in planted if n in kept_ids and (label == "spam" or labels[n]["of"] in kept_ids)]
        scores[label] = {"planted": len(planted), "left": len(remaining)}
    judged = {name: row["label"] == "clean" for name, row in labels.items() if row["label"] in ("clean", "spam")}
    stays = np.array([float(name in kept_ids) for name in judged])
    scores["agreement"] = auroc(stays, np.array(list(judged.values()), float))
    (work.out / "scores.json").write_text(json.dumps(scores, indent=1), encoding="utf-8")
    work.record(
        CurationAudit(
            clean=CleanCount(**scores["clean"]),
            boilerplate=BoilerplateCount(**scores["boilerplate"]),
            lost_by=scores["lost_by"],
            planted={label: PlantedCount(**scores[label]) for label in _PLANTED},
            agreement=scores["agreement"],
        )
    )
    copies = scores["near-duplicate"]
    work.headline = f"{copies['left']} of {copies['planted']} copies left, {len(lost)} clean pages lost"
    return Scores(work.out)
