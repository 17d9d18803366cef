"""A classifier from good and bad pages, the best fifth by it, and topics for the data mix.

Stages are called like functions, and calling them plans; `run_stages` makes what is planned.
"""

import json
import random
import tempfile
from pathlib import Path

from herd.core.artifacts import Artifact, Corpus
from herd.corpus.quality import KeepBestSettings, QualitySettings, keep_best, train_quality
from herd.corpus.results import TopicCounts
from herd.corpus.settings import CurateSettings
from herd.corpus.sources import files
from herd.corpus.stages import curate
from herd.corpus.topics import TopicSettings, label_topics
from herd.run.runner import run_stages

LESSONS = (
    "A cell takes in oxygen and gives off energy, which is why muscles tire without air, as experiments have shown.",
    "The proof goes by induction: the claim holds for one, and from any number it follows for the next.",
    "Rivers carry sand to the sea, where layers press into stone over millions of years.",
)
SPAM = (
    "Click now for cheap pills and a free casino bonus, limited offer, subscribe today and win cash.",
    "Best loans online, no credit check, instant approval, call now, hurry while the deal lasts.",
)


def pages(folder: Path, name: str, kinds: list[tuple[str, ...]], count: int) -> Corpus:
    """A corpus of pages, each made of one kind of sentences."""
    chance = random.Random(count)
    texts = [" ".join(chance.choices(kinds[k % len(kinds)], k=6)) for k in range(count)]
    rows = [{"text": f"{text} Page {k}.", "id": f"{name}{k}"} for k, text in enumerate(texts)]
    (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return curate((files(str(folder / f"{name}.jsonl"), source=name),), settings=CurateSettings(rules={}))


def run(folder: Path) -> Artifact:
    """The best fifth of a mixed pool, with a topic in the notes of each document."""
    good, bad = pages(folder, "lessons", [LESSONS], 200), pages(folder, "spam", [SPAM], 201)
    pool = pages(folder, "pool", [LESSONS, SPAM, SPAM, SPAM, SPAM], 300)
    classifier = train_quality(good, bad, settings=QualitySettings())
    best = keep_best(pool, classifier, settings=KeepBestSettings(share=0.2))
    labelled = label_topics(best, None, settings=TopicSettings(split_sources=True))
    return run_stages(labelled, folder / "run", jobs=0)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        made = run(Path(scratch))
        for topic, size in made.result(TopicCounts).topics.items():
            print(f"{topic:32}{size.documents:4} documents")
