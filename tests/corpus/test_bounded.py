"""The work of every step grows with a text's length and with nothing else, and the length is bounded."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from herd.core.storage import read_documents
from herd.corpus.extract import strip_markers
from herd.corpus.results import CorpusSize, CurationResult
from herd.corpus.settings import CurateSettings
from herd.corpus.sources import files
from herd.corpus.stages import curate
from herd.run.runner import run_stages

# So long that a step which looks again at what it has looked at would take ten minutes and more.
PATIENCE = 120
STEPS = """
import json, sys
import numpy as np
from herd.corpus.contamination import ExampleIndex, find_matches
from herd.corpus.dedup.minhash import signatures
from herd.corpus.judging import parse_rule
from herd.corpus.kernels import pack_texts
from herd.corpus.rewrites import rewrites
from herd.corpus.language import Languages
from herd.corpus.stats import compute_stats

unit, size, names = json.loads(sys.argv[1])
packed = pack_texts([(unit * (size // len(unit.encode()) + 1)).encode()[:size].decode("utf-8", "ignore")])
steps = {
    "measure": lambda: compute_stats(packed, Languages(np.array(["en"]), np.ones(1))),
    "minhash": lambda: signatures(packed, 14, 8, 5, True, 1),
    "items": lambda: find_matches(packed, ExampleIndex.build(["a question of the evaluation set, " * 8], ["a"], 13)),
    **{name: lambda name=name: rewrites.make(parse_rule(name))(packed) for name in ("mask_pii", "c4_lines",
       "refinedweb_lines", "repeated_ngram_lines", "strip_markdown")},
}
for name in names:
    steps[name]()
"""


def passes(unit: str, size: int, *names: str) -> bool:
    command = [sys.executable, "-c", STEPS, json.dumps([unit, size, names])]
    return subprocess.run(command, timeout=PATIENCE, check=True).returncode == 0


def test_no_letter_is_looked_for_again_from_every_other() -> None:
    assert passes("l", 16_000_000, "measure")


@pytest.mark.parametrize("unit", ["-", "~", "a-", ".", "'", "ก", "\u4e2d", "\n", " \n", "• "])
def test_one_line_of_one_mark_is_measured_in_one_go(unit: str) -> None:
    assert passes(unit, 2_500_000, "measure", "items", "minhash")


@pytest.mark.parametrize(
    "unit", ["sk-", "xoxb-", "token=", "eyJ", "-----BEGIN PRIVATE KEY-----", "a@", "1.", "a:", "+1 "]
)
def test_private_data_is_looked_for_in_one_go(unit: str) -> None:
    assert passes(unit, 4_000_000, "mask_pii")


@pytest.mark.parametrize("unit", ["[", "![a](", "[a](", "**a ", "_", "# ", "\n", "`", "- "])
def test_markdown_of_nothing_but_markers_is_read_in_one_go(unit: str) -> None:
    assert passes(unit, 1_000_000, "strip_markdown")


@pytest.mark.parametrize("unit", ["[1", "{", "read more ", "A", "7"])
def test_lines_are_cleaned_in_one_go(unit: str) -> None:
    assert passes(unit, 4_000_000, "c4_lines", "refinedweb_lines", "repeated_ngram_lines")


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("## A heading ##  \ntext", "A heading\ntext"),
        ("![a picture](a.png) and [a link](http://a/b_c)", "a picture and a link"),
        ("[![alt](a.png)](http://a)", "alt"),
        ("**bold** and _slanted_ and `code`", "bold and slanted and code"),
        ("- [x] done\n> said", "done\nsaid"),
        ("a [b] (c) [d", "a [b] (c) [d"),
    ],
)
def test_markers_are_still_taken_off(text: str, plain: str) -> None:
    assert strip_markers(text) == plain


def test_a_text_that_is_too_long_for_the_steps_is_a_reject(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps({"text": "über " * count}) for count in (10, 1_000)))
    settings = CurateSettings(rules={}, max_text_bytes=2_000)
    made = run_stages(
        curate((files(str(tmp_path / "a.jsonl"), source="mine"),), settings=settings), tmp_path / "run", jobs=0
    )
    (reject,) = read_documents(made.path, "rejects")
    assert reject.notes["step"] == "length"
    assert "longer than 2,000 bytes" in reject.notes["reason"]
    assert made.result(CorpusSize).pages == 2
    assert sum(count.dropped for count in made.result(CurationResult).funnel) == 1
