"""How long the prompts of RULER's thirteen tasks take to be made, on one core.

`python benchmarks/ruler_prompts.py TOKENIZER --essays DIR --squad FILE --hotpot FILE`: all prompts at 4,096 to 65,536
tokens, found anew and then again from what was kept, each put into words. Prints one JSON line, with seconds of the
processor, which other programs on it do not change, and of the clock. TOKENIZER is a folder with a tokenizer.json.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

from herd.core.cache import cache_folder
from herd.evals.sized import PromptReader
from herd.evals.tasks import tasks
from herd.tokens.tokenizer import TextTokenizer

TASKS = (
    "niah_single_1", "niah_single_2", "niah_single_3", "niah_multikey_1", "niah_multikey_2", "niah_multikey_3",
    "niah_multivalue", "niah_multiquery", "ruler_vt", "ruler_cwe", "ruler_fwe", "ruler_qa_squad", "ruler_qa_hotpot",
)  # fmt: skip
LENGTHS = (4096, 8192, 16_384, 32_768, 65_536)


def seconds_of(reader: PromptReader, options: argparse.Namespace) -> tuple[float, float, int, int]:
    """Seconds to find the sizes of all prompts, to put them into words, how many there are, and their characters."""
    finding = wording = 0.0
    count = characters = 0
    for name in TASKS:
        settings: dict[str, Any] = {"max_seq_lengths": LENGTHS, "limit": options.limit}
        if "data" in inspect.signature(tasks.get(name)).parameters:
            files = {"ruler_qa_squad": options.squad, "ruler_qa_hotpot": options.hotpot}
            settings["data"] = str(files.get(name, options.essays))
        start = time.process_time()
        task = tasks.make(tasks.configure(name, **settings))().build(reader)
        found = time.process_time()
        characters += sum(len(task.prompt_for(example).plain) for example in task.examples)
        finding, wording = finding + found - start, wording + time.process_time() - found
        count += len(task.examples)
    return finding, wording, count, characters


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("tokenizer", type=Path)
    for name in ("essays", "squad", "hotpot"):
        options.add_argument(f"--{name}", type=Path, required=True)
    options.add_argument("--limit", type=int, default=500, help="prompts of each task and length")
    own = options.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    packages = cache_folder() / "packages"  # the words of keys are not fetched again
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HERD_CACHE"] = folder
        if packages.exists():
            (Path(folder) / "packages").symlink_to(packages)
        reader = PromptReader(TextTokenizer.load(own.tokenizer), False, 1 << 20)
        start = time.perf_counter()
        finding, wording, count, characters = seconds_of(reader, own)
        clock = time.perf_counter() - start
        again, wording_again, _, _ = seconds_of(reader, own)
    row = {"prompts": count, "megabytes": round(characters / 1e6), "cpu_seconds": round(finding + wording, 1)}
    row |= {"finding_cpu_seconds": round(finding, 1), "again_cpu_seconds": round(again + wording_again, 1)}
    row |= {"clock_seconds": round(clock, 1), "load": os.getloadavg()[0]}
    print(json.dumps({**row, "lengths": LENGTHS, "machine": platform.machine(), "python": platform.python_version()}))


if __name__ == "__main__":
    main()
