"""Steps are counted before training as training counts them."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from herd.align.columns import ParsedRows
from herd.align.dpo import DpoSettings
from herd.align.losses import losses
from herd.align.reward import RewardSettings
from herd.align.sft import SftSettings
from herd.align.step_counts import StepCount, count_steps
from herd.cli import main
from herd.core.records import Conversation, Message, Preference
from herd.serve.folders import artifacts_in
from tests.commands.test_finetuning import write
from tests.serve.test_compare import chat_model
from tests.tokens.test_chat import FORM, TOKENIZER

DPO = DpoSettings(loss=losses.configure("dpo"), batch_size=5, epochs=2)


def dialogue(number: int, answer: str = "hello") -> Conversation:
    return Conversation((Message("user", f"say {number}"), Message("assistant", answer)))


def pair(number: int, rejected: str = "no") -> Preference:
    prompt = Conversation((Message("user", f"say {number}"),))
    return Preference(
        prompt=prompt, chosen=(Message("assistant", "hello"),), rejected=(Message("assistant", rejected),)
    )


def counted(data: ParsedRows, settings: Any, **more: Any) -> StepCount:
    return count_steps(data, settings, FORM, TOKENIZER, 64, **more)


def test_held_out_and_long_dialogues_are_no_part_of_steps_and_the_remainder_is_told() -> None:
    data = ParsedRows([*map(dialogue, range(30)), dialogue(30, "hello " * 80)])
    length = len(FORM.encode(dialogue(0))) + 2  # one of them a row
    found = counted(data, SftSettings(length=length, batch_size=4, epochs=1), held_out_share=0.1, at_least=8)
    longer = f"longer than {length} tokens (--length takes up to 64)"
    assert (found.rows, found.held_out, found.left_out) == (23, 8, {longer: 1})
    assert (found.steps, found.per_step, found.unread) == (5, 4, "the last 2 rows would fill no step and are not read")
    assert found.epochs == pytest.approx(20 / 22)
    assert found.lines()[0] == "23 rows to learn from, 8 held out, 1 of them left out: 1 " + longer
    assert found.lines()[1].startswith("5 steps of 4 packed rows, 0.909 epochs (the last 2 rows would fill no step")
    apart = ParsedRows([dialogue(1), dialogue(2)])
    named = counted(data, SftSettings(length=length, batch_size=4, epochs=1), held_out=apart, held_out_share=0.1)
    assert (named.rows, named.held_out) == (29, 2)


@pytest.mark.parametrize("settings", [DPO, RewardSettings(batch_size=5, epochs=2)])
def test_pairs_are_counted_as_training_counts_them(settings: Any) -> None:
    data = ParsedRows([], [*map(pair, range(20)), pair(20, "no " * 80)])
    found = counted(data, settings, held_out_share=0.1, at_least=8)
    assert (found.rows + found.held_out, found.held_out >= 8) == (21, True)
    learnt = found.rows - sum(found.left_out.values())
    assert found.steps == 2 * (learnt // 5)
    assert ("drawn anew" in found.unread) == (learnt % 5 > 0)


def test_pairs_that_are_not_learnt_are_told_by_their_reasons() -> None:
    weak = replace(pair(0), strength="marginally better")
    data = ParsedRows([], [*(pair(n) for n in range(1, 12)), pair(20, "no " * 80), pair(21, "hello"), weak])
    found = counted(data, replace(DPO, strengths=("significantly better", "better")))
    assert found.lines()[0].endswith(
        "3 of them left out: 1 not significantly better or better, 1 longer than 64 tokens, 1 with answers alike"
    )


def test_a_single_row_is_warned_of() -> None:
    found = counted(ParsedRows([dialogue(0), dialogue(1)]), SftSettings(), held_out_share=0.1, at_least=8)
    assert (found.rows, found.held_out) == (1, 1)
    assert found.lines()[-1] == "warning: a single row is learnt, by heart; bring more, or hold fewer out"
    assert "1 step of 3 packed rows, 3 epochs; so few teach little" in found.lines()[1]


def test_what_is_said_before_is_what_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chat_model(tmp_path / "smol")
    write(tmp_path / "rows.jsonl", *({"prompt": f"say {n}", "response": "hello " * (n % 9)} for n in range(1, 31)))
    monkeypatch.chdir(tmp_path)
    assert main("sft smol rows.jsonl --length 48 --batch-size 2 --epochs 1 --jobs 0".split()) == 0
    out = capsys.readouterr().out
    (said,) = re.findall(r"(\d+) steps? of 2 packed rows", out)
    (tuned,) = (one for one in artifacts_in(tmp_path / "runs" / "sft-smol") if one.metadata["stage"] == "sft")
    steps = (tuned.path / "metrics.jsonl").read_text().splitlines()
    assert len(steps) == int(said)
