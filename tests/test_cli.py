"""The command line: exit codes, sentences, and what is printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from herd.cli import main
from tests.smoke import SMOKE


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(arguments)
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize("kind", ["recipes", "filters", "rewrites", "dedups", "losses", "tasks", "stages"])
def test_list_prints_a_line_for_each_with_its_first_sentence(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "list", kind)
    assert code == 0
    assert all(len(line.split(maxsplit=1)) == 2 for line in out.splitlines())


def test_plan_lists_stages_and_makes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "plan", "tiny", "--out", str(tmp_path / "run"))
    assert code == 0
    assert "to do  write_report-" in out
    assert not (tmp_path / "run").exists()


def test_plan_as_yaml_is_a_recipe_with_the_same_keys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, before, _ = run(capsys, "plan", "tiny", "--out", str(tmp_path))
    _, text, _ = run(capsys, "plan", "tiny", "--yaml", "--out", str(tmp_path))
    mine = tmp_path / "mine.yaml"
    mine.write_text(text)
    _, after, _ = run(capsys, "plan", str(mine), "--out", str(tmp_path))
    assert before.splitlines()[:-1] == after.splitlines()[:-1]


@pytest.mark.parametrize(
    ("sets", "words"),
    [
        ("base.min_lr_rato=0.1", "did you mean 'min_lr_ratio'"),
        ("base.tokens=many", "base.tokens is"),
        ("base.size.dim=102", "dim 102 is not a multiple of n_heads"),
        ("base.size.n_heads=0", "greater than 0"),
        ("sources=[wikipedai]", "'wikipedia'"),
        ("dpo.loss=dpq", "did you mean 'dpo'"),
        ("curate.rules.web=[word_cuont]", "did you mean 'word_count'"),
        ("anneal.mixture_weights.summs=1", "did you mean 'sums'"),
        ("anneal.mixture_weights.sums=0.2", "sum to 0.2; write shares of all sources"),
        ("longer=3", "longer is 3"),
        ("nothing", "write --set name=value"),
    ],
)
def test_wrong_numbers_are_refused_before_anything_runs(
    sets: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run(capsys, "run", "tiny", "--out", str(tmp_path / "run"), "--set", sets)
    assert code == 2
    assert words in err
    assert "Traceback" not in err
    assert not (tmp_path / "run").exists()


def test_a_mistake_in_a_file_is_told_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("recipe: tiny\nbase:\n  tokens: 1000\n  lenght: 128\n")
    code, _, err = run(capsys, "plan", str(mine))
    assert code == 2
    assert f"{mine}, line 4: base.lenght is not a setting; did you mean 'length'?" in err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("recipe: tinny\n", "did you mean 'tiny'"),
        ("title: x\n", "names no wiring"),
        ("recipe: [tiny\n", "not YAML"),
        ("- a\n- b\n", "holds a list"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused(
    text: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text(text)
    code, _, err = run(capsys, "plan", str(mine))
    assert code == 2
    assert words in err


@pytest.mark.parametrize(
    ("arguments", "words", "wanted"),
    [
        (["run", "none.yaml"], "cannot be read", 2),
        (["run", "none.py"], "there is no such file", 2),
        (["run", "tinny"], "did you mean 'tiny'", 2),
        (["show", "nowhere"], "there is no such folder", 1),
        (["chat", "nowhere"], "neither a model nor a run", 1),
        (["eval", "nowhere", "perplexity"], "neither a model nor a run", 1),
        (["acceptance", "--row", "99"], "the table has rows 1 to 80", 2),
        (["run", "tiny", "--until", "pretrian"], "did you mean 'pretrain'", 2),
    ],
)
def test_each_mistake_is_one_sentence_with_its_exit_code(
    arguments: list[str],
    words: str,
    wanted: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, *arguments)
    assert code == wanted
    assert words in err
    assert "Traceback" not in err


def test_debug_shows_where_an_error_came_from(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="did you mean"):
        main(["plan", "tinny", "--debug"])


def test_eval_export_and_show_of_a_made_run(
    smoke_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, "eval", str(smoke_run), "tools", "arithmetic: {questions: 20}", "--json")
    assert code == 0
    assert {name: row["questions"] for name, row in json.loads(out)["tasks"].items()} == {"tools": 6, "arithmetic": 20}
    code, _, err = run(capsys, "eval", str(smoke_run), "arithmetik")
    assert (code, "did you mean 'arithmetic'" in err) == (2, True)
    code, out, _ = run(capsys, "show", str(smoke_run))
    assert code == 0
    assert "Report" in out
    assert "Checkpoint" in out
    code, out, _ = run(capsys, "export", str(smoke_run), str(tmp_path / "out"))
    assert code == 0
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "checksums.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    code, _, err = run(capsys, "export", str(smoke_run), str(tmp_path / "out"))
    assert code == 2
    assert "exists" in err


@pytest.mark.row(1, "logits")
def test_an_exported_model_gives_the_same_logits_in_transformers(smoke_run: Path, tmp_path: Path, figure) -> None:
    import torch
    import transformers

    from herd.model.weights import load_transformer
    from herd.serve.folders import model_in
    from herd.tokens.tokenizer import TextTokenizer

    assert main(["export", str(smoke_run), str(tmp_path / "out")]) == 0
    ours = load_transformer(model_in(smoke_run)).eval()
    theirs: Any = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    text = "What is 12 + 34? 2+4=6, 1+3+0=4, so 46."
    ids = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")(text)["input_ids"]
    tokenizer = TextTokenizer.load(tmp_path / "out")
    assert ids == [tokenizer.bos_id, *tokenizer.encode(text)]
    with torch.inference_mode():
        difference = (ours(torch.tensor([ids])) - theirs(torch.tensor([ids])).logits).abs().max().item()
    figure(f"exported model: largest difference of logits {difference:.1e}")
    assert difference < 1e-5


def test_a_second_run_skips_everything(smoke_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "run", str(SMOKE), "--out", str(smoke_run))
    assert code == 0
    assert "46 of 46 stages are made already" in out
    assert "report:" in out
    assert "herd chat" in out


def test_curate_makes_a_corpus_where_the_user_looks_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import pyarrow.parquet as parquet

    monkeypatch.setenv("HERD_CACHE", str(tmp_path / "cache"))
    story = "".join(
        f"<p>The story of day {n} goes on for a while, and that is all there is to it.</p>" for n in range(9)
    )
    for number in range(3):
        (tmp_path / f"{number}.html").write_text(
            f"<html><body><main>{story.replace('day', f'day {number}')}</main></body></html>"
        )
    command = [
        "curate",
        str(tmp_path / "*.html"),
        "--out",
        str(tmp_path / "out"),
        "--set",
        "rules={default: [word_count]}",
    ]
    assert main([*command, "--dry-run"]) == 0
    assert "3 files" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()
    assert main([*command, "--set", "dedup=[]", "--workers", "1"]) == 0
    assert "kept" in capsys.readouterr().out
    (row, *_) = parquet.read_table(tmp_path / "out" / "documents").to_pylist()
    assert row["text"].startswith("The story of day 0 0 goes on")
    assert row["stats"]["plain_words"] > 50
    assert {"id", "text", "source", "url", "added", "language"} <= set(row)
    assert main(["sweep-thresholds", str(tmp_path / "out")]) == 1
    assert "keep_stats=true" in capsys.readouterr().err
    assert main([*command, "--set", "dedup=[]", "--set", "keep_stats=true", "--workers", "1"]) == 0
    capsys.readouterr()
    assert (
        main(["sweep-thresholds", str(tmp_path / "out"), "--set", "rules={default: [word_count: {at_least: 1000}]}"])
        == 0
    )
    assert capsys.readouterr().out.split()[-4:] == ["word_count", "3", "3", "3"]


def test_extract_prints_a_line_for_every_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.html").write_text("<title>T</title><body><h1>Head</h1><p>Some text, to be read by all of you.</p>")
    (tmp_path / "b.html").write_bytes(bytes(range(9)) * 99)
    assert main(["extract", str(tmp_path), "--markdown"]) == 0
    good, bad = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert good["text"] == "# Head\n\nSome text, to be read by all of you."
    assert (good["title"], good["language"]) == ("T", "en")
    assert good["seconds"] >= 0
    assert "encoding" in bad["fault"]


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--rules", "finewb"], "did you mean 'fineweb'"),
        (["--set", "dedup=[minhsh]"], "did you mean 'minhash'"),
        (["--set", "urls={domain: []}"], "did you mean 'domains'"),
    ],
)
def test_curate_tells_what_is_wrong(
    more: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HERD_CACHE", str(tmp_path / "cache"))
    (tmp_path / "a.txt").write_text("text")
    assert main(["curate", str(tmp_path / "a.txt"), "--out", str(tmp_path / "out"), *more]) == 2
    assert told in capsys.readouterr().err


def test_budget_reproduces_the_reports_days_and_says_what_is_off(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("budget", "--size", "405b", "--tokens", "15.6T", "--gpus", "16384", "--tflops")
    code, out, _ = run(capsys, *asked, "400", "--days", "120")
    assert code == 0
    assert "3.80e+25 by 6 N D" in out
    assert "120 days would be 224 TFLOP/s a device by 6 N D" in out
    _, slow, _ = run(capsys, *asked, "60")
    assert "In fp32 it has 67" in slow
    _, row, _ = run(capsys, *asked, "400", "--price", "2", "--json")
    found = json.loads(row)
    assert found["money"] == pytest.approx(2 * found["device_hours"])
    code, _, err = run(capsys, "budget", "--size", "405c", "--tokens", "1T", "--gpus", "8")
    assert code == 2
    assert "did you mean '405b'" in err
    with pytest.raises(SystemExit):
        run(capsys, "budget", "--size", "8b", "--tokens", "many", "--gpus", "8")


def test_a_plot_wants_results(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, told = run(capsys, "budget", "--size", "8b", "--tokens", "1T", "--gpus", "64", "--plot", "x.svg")
    assert code != 0
    assert "give a CSV of results too" in told
