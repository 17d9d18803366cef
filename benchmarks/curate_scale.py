"""How the corpus engine grows: memory and time on inputs larger than what it may hold.

    python benchmarks/curate_scale.py --data ../shared/data [--only PART ...]

Some fifteen minutes. Prints one JSON line with hardware and commit; the parts:

    clusters     memory and seconds for ten million signatures
    memory       peak of a worker on an input ten times the limit it is given
    growth       seconds per document from ten thousand to a million documents
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from measuring import machine, run, tell
from real_pages import RealPages

from herd.corpus.pages import Page
from herd.corpus.warc import write_warc

CURATE = [sys.executable, "-m", "herd", "curate", "--workers", "1"]


def clusters(real: RealPages, folder: Path) -> dict[str, Any]:
    """Ten million documents with random keys, a tenth of them copies: the global part of MinHash alone."""
    ran = run([sys.executable, str(Path(__file__).parent / "cluster_signatures.py"), str(folder), "10000000"], folder)
    return {"cpu_seconds": round(ran.cpu_seconds, 1), "peak_megabytes": ran.peak_megabytes, **json.loads(ran.printed)}


def memory(real: RealPages, folder: Path) -> dict[str, Any]:
    """One worker given 1 GB reads 10 GB of HTML; the pages repeat, with other words planted in each copy."""
    file = folder / "big.warc.gz"
    written = _planted(real, file, megabytes=10_000)
    ran = run([*CURATE, str(file), "--out", str(folder / "big")], folder)
    shutil.rmtree(folder / "big")
    file.unlink()
    return {
        "html_megabytes": round(written["bytes"] / 1e6),
        "peak_megabytes": ran.peak_megabytes,
        "cpu_seconds": round(ran.cpu_seconds, 1),
    }


def growth(real: RealPages, folder: Path) -> dict[str, Any]:
    """Real texts with planted edits, as JSON lines; documents known to be copies are counted as found."""
    texts = [text[:4000] for text in real.texts() if len(text) > 400][:2000]
    found = {}
    for count in (10_000, 100_000, 1_000_000):
        file = folder / f"{count}.jsonl.gz"
        copies = _texts_with_copies(file, texts, count)
        out = folder / "grown"
        rules = [
            "--set",
            "rules={default: [word_count, top_ngrams, repeated_ngrams]}",
            "--set",
            "dedup=[newest_by_url, minhash]",
        ]
        ran = run([*CURATE, str(file), "--out", str(out), *rules], folder)
        metadata = json.loads(next((out / "artifacts").glob("curate-*/artifact.json")).read_text())
        funnel = metadata["results"]["CurationResult"]["funnel"]
        found[str(count)] = {
            "milliseconds_per_document": round(1000 * ran.cpu_seconds / count, 3),
            "peak_megabytes": ran.peak_megabytes,
            "planted_copies": copies,
            "dropped_as_copies": next(count["dropped"] for count in funnel if count["step"] == "minhash"),
        }
        shutil.rmtree(out)
        file.unlink()
    return found


def _texts_with_copies(file: Path, texts: list[str], count: int) -> int:
    """`count` documents: each an original of mixed sentences, or every tenth a copy of the one before with a few
    words changed. Returns how many are copies."""
    chance = np.random.default_rng(0)
    sentences = [s for text in texts for s in re.split(r"(?<=[.!?])\s+", text) if 40 < len(s) < 400]
    copies, before = 0, ""
    with gzip.open(file, "wt", compresslevel=1, encoding="utf-8") as out:
        for number in range(count):
            if number % 10 == 9:
                words = before.split(" ")
                words[int(chance.integers(len(words)))] = "changed"
                text = " ".join(words)
                copies += 1
            else:
                text = before = " ".join(sentences[k] for k in chance.integers(0, len(sentences), 12))
            out.write(json.dumps({"id": str(number), "text": text, "url": f"https://a.example/{number}"}) + "\n")
    return copies


def _planted(real: RealPages, file: Path, megabytes: int) -> dict[str, int]:
    pages = [page for page in real.crawl() if not page.fault]
    size = count = 0
    with file.open("wb") as out:
        while size < megabytes * 1_000_000:
            for page in pages:
                body = page.body.replace(b"</p>", f" Copy {count} of it.</p>".encode())
                out.write(write_warc([Page(f"<urn:{count}>", "web", body, f"https://c{count}.example/", "2024-01-01")]))
                size += len(body)
                count += 1
                if size >= megabytes * 1_000_000:
                    break
    return {"bytes": size, "pages": count}


PARTS = (clusters, memory, growth)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    names = [part.__name__ for part in PARTS]
    parser.add_argument("--only", nargs="*", default=names, choices=names)
    options = parser.parse_args()
    row: dict[str, Any] = {"benchmark": "curate_scale"}
    with tempfile.TemporaryDirectory(prefix="herd-bench-") as folder:
        for part in PARTS:
            if part.__name__ in options.only:
                row[part.__name__] = part(RealPages(options.data), Path(folder))
                tell(part.__name__, row[part.__name__])
    print(json.dumps(row | machine()))


if __name__ == "__main__":
    main()
