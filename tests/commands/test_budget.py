"""`herd budget`: what a training run costs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.test_cli import run


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


BUDGET = ("budget", "--size", "8b", "--tokens", "1T", "--gpus", "64", "--tflops", "400")


def test_days_and_money_follow_from_tokens_devices_and_price(capsys: pytest.CaptureFixture[str]) -> None:
    def row(*words: str) -> dict:
        code, out, _ = run(capsys, *BUDGET, *words, "--json")
        assert code == 0
        return json.loads(out)

    one, price = row(), row("--price", "4")
    twice = row("--tokens", "2T")
    assert twice["device_hours"] == pytest.approx(2 * one["device_hours"], rel=1e-6)
    assert row("--gpus", "128")["device_hours"] == pytest.approx(one["device_hours"], rel=1e-6)
    assert row("--tflops", "200")["device_hours"] == pytest.approx(2 * one["device_hours"], rel=1e-6)
    assert price["money"] == pytest.approx(4 * one["device_hours"])
    assert price["device_hours"] == one["device_hours"]


def test_a_machine_nobody_knows_and_files_that_are_not_there_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run(capsys, *BUDGET, "--machine", "h1000")
    assert (code, "h100" in err) == (2, True)
    for words in (("--machines", "none.yaml"), ("--law", "none"), ("--results", "none.csv")):
        code, _, err = run(capsys, *BUDGET, words[0], str(tmp_path / words[1]))
        assert code in (1, 2)
        assert words[1] in err
        assert "Traceback" not in err


def test_a_picture_of_nothing_is_not_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from herd.scaling.downstream import forecasts

    results, picture = tmp_path / "results.csv", tmp_path / "scores.svg"
    results.write_text("task,flops,nll,accuracy,questions,chance\nsums,1e20,0.9,0.3,500,0.25\n")
    told = forecasts(results, 1e23)
    assert isinstance(told["sums"][1], str)  # one run predicts nothing
    code, out, _ = run(capsys, *BUDGET, "--results", str(results), "--plot", str(picture))
    assert code == 0
    assert "score     " in out
    assert f"nothing is forecast, so {picture} is not drawn" in out
    assert not picture.exists()


def test_any_size_is_asked_by_its_numbers_or_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def row(size: str, *words: str) -> dict:
        code, out, err = run(capsys, "budget", "--size", size, "--tokens", "100B", "--gpus", "8", *words, "--json")
        assert code == 0, err
        return json.loads(out)

    file = tmp_path / "own.yaml"
    file.write_text("width: 2048\nlayers: 16\n")
    named = row("width=2048,layers=16")
    assert named == row(str(file))
    assert named["memory"] == row("width=2048,layers=16", "--micro-batch", str(named["micro_batch"]))["memory"]
    assert named["fits"]
    assert row("width=2048,layers=16", "--mfu", "0.2")["utilization"] == pytest.approx(0.2)
    # What is not kept leaves room for more rows at once.
    assert row("width=2048,layers=16", "--recompute", "full")["micro_batch"] > named["micro_batch"]
    code, _, err = run(capsys, "budget", "--size", "width=2048", "--tokens", "1T", "--gpus", "8")
    assert (code, "says no layers" in err) == (2, True)
