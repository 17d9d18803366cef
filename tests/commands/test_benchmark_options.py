"""Options of `herd eval` that stand for settings of benchmarks."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from herd.commands.benchmark_options import add_benchmark_options, chat_option, with_benchmark_options
from herd.core.errors import SettingsError
from herd.evals.tasks import tasks


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_benchmark_options(parser)
    return parser.parse_args(words)


def test_options_fill_in_what_a_task_says_nothing_of(tmp_path: Path) -> None:
    row = {"question": "1 and 1?", "answer": "#### 2"}
    (tmp_path / "gsm8k").mkdir()
    (tmp_path / "gsm8k" / "test.jsonl").write_text(json.dumps(row))
    options = parsed("--data", str(tmp_path), "--limit", "7", "--num-fewshot", "2")
    use = with_benchmark_options(tasks.configure("gsm8k"), options)
    assert (use.settings["limit"], use.settings["num_fewshot"]) == (7, 2)
    assert use.settings["data"].startswith(str(tmp_path / "gsm8k"))
    own = with_benchmark_options(tasks.configure("gsm8k", limit=3, num_fewshot=0), options)
    assert (own.settings["limit"], own.settings["num_fewshot"]) == (3, 0)
    plain = tasks.configure("gsm8k")
    assert with_benchmark_options(plain, parsed()) is plain
    with pytest.raises(
        SettingsError, match=r"no file or folder of mmlu \(it would be called mmlu, hendrycks_test, cais___mmlu"
    ):
        with_benchmark_options(tasks.configure("mmlu"), options)


def test_a_task_without_such_a_setting_is_told(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text("It was night.")
    use = tasks.configure("perplexity", data=str(tmp_path / "book.txt"))
    with pytest.raises(SettingsError, match="perplexity has no setting num_fewshot; leave --num-fewshot out"):
        with_benchmark_options(use, parsed("--num-fewshot", "2"))
    assert with_benchmark_options(use, parsed("--limit", "2", "--data", str(tmp_path))).settings["limit"] == 2


def test_the_chat_format_is_the_models_choice_unless_somebody_says() -> None:
    assert [chat_option(parsed("--apply-chat-template", word)) for word in ("yes", "no")] == [True, False]
    assert chat_option(parsed()) is None
    assert parsed("--truncate-left").truncate_left


def test_a_limit_below_0_is_refused_of_any_task() -> None:
    with pytest.raises(SettingsError, match="--limit is -3"):
        with_benchmark_options(tasks.configure("bfcl"), parsed("--limit", "-3"))
