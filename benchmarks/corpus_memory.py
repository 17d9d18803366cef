"""Peak memory of training a tokenizer and of packing, by the size of the corpus.

python benchmarks/corpus_memory.py TEXT... --megabytes 25 100 400 [--workers 2]: TEXT are files of plain text or tar
archives of them. They are repeated until there is so much, every time with some words made up anew, so that a larger
corpus has more distinct words, as real ones have. Prints a line of JSON for each size and stage: peak bytes of the
process that makes the stage, of its largest worker, and of all together (resident memory that is no mapped file).
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

DOCUMENT_CHARACTERS = 6_000
FILE_BYTES = 16_000_000
SEED = 0


def texts(files: list[Path]) -> Iterator[str]:
    """What the files say, in pieces of a document's length."""
    for file in files:
        if tarfile.is_tarfile(file):
            with tarfile.open(file) as archive:
                bodies = [archive.extractfile(member) for member in archive if member.isfile()]
                contents = [body.read().decode("utf-8", "replace") for body in bodies if body is not None]
        else:
            contents = [file.read_text(encoding="utf-8", errors="replace")]
        for text in contents:
            for start in range(0, len(text), DOCUMENT_CHARACTERS):
                yield text[start : start + DOCUMENT_CHARACTERS]


def vary(text: str, chance: random.Random) -> str:
    """The text with one word in fifty made up: more and more distinct ones, the longer the corpus."""
    words = text.split(" ")
    for place in chance.choices(range(len(words)), k=len(words) // 50):
        words[place] = "".join(chance.choices("etaoinshrdlucmfwypvbgk", k=max(4, len(words[place]))))
    return " ".join(words)


def write_corpus(folder: Path, files: list[Path], megabytes: float) -> None:
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    (folder / "documents").mkdir(parents=True)
    columns = ("id", "text", "source", "url", "added", "language", "notes")
    schema = arrow.schema([(name, arrow.string()) for name in columns])
    chance, pieces = random.Random(SEED), list(texts(files))
    written = number = characters = 0
    rows: list[str] = []
    for round_, piece in ((n, piece) for n in itertools.count() for piece in pieces):
        text = vary(piece, chance) if round_ else piece
        rows.append(text)
        characters += len(text)
        written += len(text.encode())
        if characters > FILE_BYTES or written >= megabytes * 1e6:
            table = arrow.table(
                {
                    "id": [f"{number}-{n}" for n in range(len(rows))],
                    "text": rows,
                    "source": [("books", "web", "wiki")[n % 3] for n in range(len(rows))],
                    **{name: [""] * len(rows) for name in columns[3:]},
                },
                schema=schema,
            )
            name = folder / "documents" / f"{number:05}.parquet"
            parquet.write_table(table, name, row_group_size=512, compression="zstd")
            number, rows, characters = number + 1, [], 0
        if written >= megabytes * 1e6:
            return


# ---- memory ----


class Sampler:
    """The most memory of this process and its children since it began, looked at ten times a second."""

    def __init__(self) -> None:
        import os

        self.own = self.worker = self.together = 0
        self._pid, self._over = os.getpid(), threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._over.wait(0.1):
            held = {pid: _held(pid) for pid in (self._pid, *_children(self._pid))}
            own = held.pop(self._pid, 0)
            self.own = max(self.own, own)
            self.worker = max([self.worker, *held.values()])
            self.together = max(self.together, own + sum(held.values()))

    def close(self) -> dict[str, int]:
        self._over.set()
        self._thread.join()
        return {"own": self.own, "largest_worker": self.worker, "together": self.together}


def _children(pid: int) -> list[int]:
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _held(pid: int) -> int:
    try:
        line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("RssAnon"))
        return int(line.split()[1]) * 1024
    except (OSError, StopIteration):
        return 0


def measure(stage: str, folder: Path, workers: int, vocab_size: int) -> None:
    """Makes one stage in this process and prints what it took."""
    from herd.core.artifacts import Corpus, Tokenizer
    from herd.core.stage import Work
    from herd.run.executors import LocalExecutor
    from herd.tokens.stages import pack, train_tokenizer

    for name in (f"{stage}-out", f"{stage}-scratch"):
        (folder / name).mkdir()
    work = Work(folder / f"{stage}-out", folder / f"{stage}-scratch", LocalExecutor(lambda: workers))
    sampler, began, used = Sampler(), time.monotonic(), time.process_time()
    if stage == "train_tokenizer":
        train_tokenizer.body(work, Corpus(folder), vocab_size=vocab_size)
    else:
        pack.body(work, Corpus(folder), Tokenizer(folder / "train_tokenizer-out"))
    size = sum(file.stat().st_size for file in (folder / "documents").iterdir())
    row = {"stage": stage, "workers": workers, "parquet_bytes": size, "seconds": time.monotonic() - began}
    row |= {"own_cpu_seconds": time.process_time() - used, **sampler.close()}
    from herd.core.results import results

    print(json.dumps(row | {"headline": work.headline, "results": results.to_rows(work.results.values())}))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("text", nargs="+", type=Path)
    options.add_argument("--megabytes", type=float, nargs="+", default=[25, 100, 400])
    options.add_argument("--workers", type=int, default=2)
    options.add_argument("--vocab-size", type=int, default=32_000)
    options.add_argument("--stage", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.stage:
        measure(given.stage, given.text[0], given.workers, given.vocab_size)
        return
    for megabytes in given.megabytes:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / "corpus"
            write_corpus(folder, given.text, megabytes)
            for stage in ("train_tokenizer", "pack"):
                command = [sys.executable, __file__, str(folder), "--stage", stage]
                command += ["--workers", str(given.workers), "--vocab-size", str(given.vocab_size)]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                print(json.dumps({"megabytes": megabytes} | json.loads(done.stdout.splitlines()[-1])), flush=True)


if __name__ == "__main__":
    main()
