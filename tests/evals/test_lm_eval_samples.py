"""Samples that lm-evaluation-harness wrote, read as runs and compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from herd.core.errors import DataError
from herd.evals.comparison import compare_runs
from herd.evals.lm_eval_samples import holds_samples, sample_runs
from tests.evals.test_comparison import points_of

FILTERS = [
    {"name": "strict-match", "filter": [
        {"function": "regex", "regex_pattern": "#### (\\-?[0-9\\.\\,]+)"}, {"function": "take_first"}]},
    {"name": "flexible-extract", "filter": [
        {"function": "regex", "group_select": -1, "regex_pattern": "(-?[$0-9.,]{2,})|(-?[0-9]+)"},
        {"function": "take_first"}]},
]  # fmt: skip
EXACT = {"metric": "exact_match", "ignore_case": True, "regexes_to_ignore": [",", "\\$", "(?s).*#### ", "\\.$"]}
DATE = "2026-11-30T10-00-00.000001"


def sample(number: int, said: str, chosen: str, extracted: str, *, until: list[str], shots: str = "") -> dict[str, Any]:
    """A line as lm-eval 0.4 writes it."""
    right = extracted.replace(",", "").replace("$", "").removesuffix(".") == str(number)
    return {
        "doc_id": number,
        "doc": {"question": f"{number}?"},
        "target": f"so\n#### {number}",
        "arguments": {"gen_args_0": {"arg_0": f"{shots}Question: {number}?\nAnswer:",
                                     "arg_1": {"until": until, "do_sample": False, "max_gen_toks": 256}}},
        "resps": [[said]],
        "filtered_resps": [extracted],
        "filter": chosen,
        "metrics": ["exact_match"],
        "doc_hash": f"{number:064d}",
        "prompt_hash": "p",
        "target_hash": "t",
        "exact_match": float(right),
    }  # fmt: skip


def write(folder: Path, say, *, until: list[str], model: str = "m", shots: str = "", results: bool = True) -> Path:
    folder.mkdir(parents=True)
    rows = []
    for number in range(10, 30):
        said = say(number)
        for stop in until:
            said = said.partition(stop)[0]
        marked = said.partition("#### ")[2].split()[:1]
        digits = [word for word in said.replace("####", " ").split() if word[0].isdigit() or word[0] == "$"]
        rows.append(
            sample(number, said, "strict-match", marked[0] if marked else "[invalid]", until=until, shots=shots)
        )
        rows.append(sample(number, said, "flexible-extract", digits[-1] if digits else "[invalid]", until=until,
                           shots=shots))  # fmt: skip
    (folder / f"samples_gsm8k_{DATE}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if results:
        row = {
            "model_name": model, "model_source": "hf", "n-shot": {"gsm8k": 5 if shots else 0},
            "chat_template": None, "chat_template_sha": None, "fewshot_as_multiturn": False,
            "config": {"model": "hf", "model_args": model, "fewshot_seed": 1234},
            "configs": {"gsm8k": {"filter_list": FILTERS, "metric_list": [EXACT]}},
        }  # fmt: skip
        (folder / f"results_{DATE}.json").write_text(json.dumps(row))
    return folder


def say(number: int) -> str:
    """Marked for ten of twenty, plain for five more, wrong for the rest; all go on with another question."""
    if number < 20:
        return f"It is\n#### {number}\nQuestion: 7 #### 7"
    return f"It is ${number}.\nQuestion: 7" if number < 25 else "#### 0"


def test_filters_of_one_file_are_compared(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", say, until=["Question:"])
    assert holds_samples(str(folder))
    strict, flexible = (sample_runs(f"{folder}#{name}")["gsm8k"] for name in ("strict-match", "flexible-extract"))
    found = compare_runs(strict, flexible)
    assert (found.first.value, found.second.value) == (0.5, 0.75)
    assert points_of(found) == {"extraction": 25.0}
    assert sample_runs(str(folder))["gsm8k"].grader == strict.grader


def test_stop_strings_are_told_from_what_the_samples_say(tmp_path: Path) -> None:
    first = write(tmp_path / "a", say, until=["Question:"])
    second = write(tmp_path / "b", say, until=["Question:", "\n"])
    found = compare_runs(*(sample_runs(str(folder))["gsm8k"] for folder in (first, second)))  # type: ignore[arg-type]
    assert found.gap == -50.0
    assert points_of(found) == {"stop strings": -50.0}


def test_texts_of_another_model_are_read_by_the_filters_of_the_configuration(tmp_path: Path) -> None:
    first = write(tmp_path / "a", say, until=["Question:"])
    second = write(tmp_path / "b", lambda n: f"Now {n}," if n < 15 else say(n), until=["Question:"], model="other")
    strict, other = sample_runs(f"{first}#strict-match")["gsm8k"], sample_runs(f"{second}#flexible-extract")["gsm8k"]
    found = compare_runs(strict, other)
    assert sum(points_of(found).values()) == pytest.approx(found.gap) == pytest.approx(25.0)
    # Models: -25 graded strictly and 0 flexibly; extraction: +25 of the first and +50 of the second.
    assert points_of(found) == {"models": pytest.approx(-12.5), "extraction": pytest.approx(37.5)}


def test_shots_are_known_from_the_results_file_and_else_it_is_said(tmp_path: Path) -> None:
    first = write(tmp_path / "a", say, until=["Question:"])
    second = write(
        tmp_path / "b", lambda n: say(min(n, 19)) if n > 20 else say(n), until=["Question:"], shots="1+1=2\n"
    )
    runs = [sample_runs(str(folder))["gsm8k"] for folder in (first, second)]
    assert {part.name for part in compare_runs(*runs).parts} == {"shots"}  # type: ignore[arg-type]
    bare = sample_runs(str(write(tmp_path / "c", say, until=["Question:"], results=False)))["gsm8k"]
    assert "no results file beside it" in bare.notes[0]
    file = next(first.glob("samples_*"))
    assert sample_runs(str(file))["gsm8k"].records == runs[0].records


def test_choices_are_compared_by_their_figures(tmp_path: Path) -> None:
    rows = [
        {
            "doc_id": n, "doc": {}, "target": "0", "doc_hash": "h", "filter": "none", "metrics": ["acc", "acc_norm"],
            "arguments": {"gen_args_0": {"arg_0": "q", "arg_1": " a"}, "gen_args_1": {"arg_0": "q", "arg_1": " bb"}},
            "resps": [[["-1.5", "True"]], [["-2.5", "False"]]], "filtered_resps": [["-1.5", "True"], ["-2.5", "False"]],
            "acc": 1.0 if n < 3 else 0.0, "acc_norm": 1.0,
        }
        for n in range(4)
    ]  # fmt: skip
    file = tmp_path / f"samples_arc_easy_{DATE}.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    plain, normed = sample_runs(str(file))["arc_easy"], sample_runs(f"{file}#acc_norm")["arc_easy"]
    assert plain.output == "likelihood"
    record = plain.records["0-h"][0]
    assert (record.choices, record.log_likelihoods) == ((" a", " bb"), (-1.5, -2.5))
    assert points_of(compare_runs(plain, normed)) == {"extraction": 25.0}


def test_what_lm_eval_did_not_write_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", say, until=["Question:"])
    with pytest.raises(DataError, match="no filter or figure 'strikt'"):
        sample_runs(f"{folder}#strikt")
    rows = [sample(1, "1", "none", "1", until=[]) | {"metrics": ["bits_per_byte"], "bits_per_byte": [-1.5, 8]}]
    for file in (folder / f"samples_wiki_{DATE}.jsonl", tmp_path / "alone.jsonl"):
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert list(sample_runs(str(folder))) == ["gsm8k"]
    with pytest.raises(DataError, match="no figure of single items"):
        sample_runs(str(tmp_path / "alone.jsonl"))
    with pytest.raises(DataError, match="holds no samples"):
        sample_runs(str(tmp_path / "nothing"))
    assert not holds_samples(str(tmp_path / "nothing"))
    (tmp_path / "rows.jsonl").write_text('{"question": 1}\n')
    with pytest.raises(DataError, match="rows.jsonl, row 1 is no sample of lm-eval"):
        sample_runs(str(tmp_path / "rows.jsonl"))
