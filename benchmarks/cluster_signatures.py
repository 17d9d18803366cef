"""Ten million signatures to clusters, in a process of its own so that its memory can be told apart.

Arguments: a folder to work in, how many documents. The keys are random, a tenth of the documents copies of others.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

from herd.corpus.dedup.minhash import _matching_pairs, find_roots, union_pairs
from herd.corpus.runs import key_ranges, write_run

BANDS = 14


def main(folder: Path, count: int) -> None:
    began = time.time()
    chance = np.random.default_rng(0)
    of = chance.integers(0, count, count // 10)
    copies = chance.choice(count, count // 10, replace=False)
    parent = np.arange(count, dtype=np.int64)
    pairs = 0
    for band in range(BANDS):
        keys = chance.integers(1, 2**63, count, dtype=np.uint64)
        keys[copies] = keys[of]
        write_run(folder, f"00000.{band}", keys, np.arange(count, dtype=np.int64))
        del keys
        for span in key_ranges(count):
            left, right = _matching_pairs((folder, [f"00000.{band}"], span))
            union_pairs(parent, left, right)
            pairs += len(left)
    roots = find_roots(parent)
    dropped = int((roots != np.arange(count)).sum())
    print(
        json.dumps({"documents": count, "pairs": pairs, "dropped": dropped, "seconds": round(time.time() - began, 1)})
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
