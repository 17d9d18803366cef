"""Rounds of alignment on files of one's own."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from herd.core.errors import SettingsError
from herd.core.recipe import load_recipe
from herd.core.stage import Plan, walk
from herd.judge.verifiers import verifiers
from herd.recipes import recipes
from herd.run.runner import run_stages
from herd.serve.folders import artifacts_in
from herd.train.checkpoint import write_checkpoint
from tests.model.test_transformer import SMALL, model
from tests.tokens.test_chat import TOKENIZER


def rows(file: Path, values: list[dict[str, Any]]) -> str:
    file.write_text("".join(json.dumps(row) + "\n" for row in values))
    return str(file)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model of random weights, whose every answer is right, and rows for two rounds."""
    (tmp_path / "model").mkdir()
    shape = replace(SMALL, vocab_size=TOKENIZER.vocab_size, max_seq_len=128)
    write_checkpoint(tmp_path / "model", model(shape), TOKENIZER, kind="chat")
    for number in (1, 2):
        rows(
            tmp_path / f"ranked{number}.jsonl",
            [{"prompt": f"{number} and {n}?", "chosen": f"{n}", "rejected": "no"} for n in range(8)],
        )
    rows(tmp_path / "problems.jsonl", [{"question": f"{n} or?", "answer": f"#### {n}"} for n in range(4)])
    rows(tmp_path / "tests.jsonl", [{"question": f"test {n}?", "answer": f"#### {n}"} for n in range(2)])
    rows(tmp_path / "people.jsonl", [{"prompt": f"Say {n}.", "response": f"It is {n}."} for n in range(6)])
    monkeypatch.setitem(verifiers._plugins, "anything", lambda prompt, answer, known: True)
    return tmp_path


def recipe(folder: Path, extra: str = "", rounds: str = "") -> Path:
    file = folder / "mine.yaml"
    rounds = rounds or (
        f"[{{preferences: [{folder}/ranked1.jsonl], problems: [{folder}/problems.jsonl], "
        f"dialogues: {{people: [{folder}/people.jsonl]}}}}, {{preferences: [{folder}/ranked2.jsonl]}}]"
    )
    text = f"""recipe: align
model: {folder / "model"}
rounds: {rounds}
tests: [{folder}/tests.jsonl]
verifier: anything
prompt_suffix: ""
held_out_share: 0
selection: {{sampling: {{temperature: 1.5, max_tokens: 40}}, num_samples: 8}}
reward: {{batch_size: 4, epochs: 1, lr: 1.0e-3, lora: null}}
sft: {{length: 64, batch_size: 1, epochs: 1, lr: 1.0e-3, lora: null}}
dpo: {{loss: dpo, batch_size: 4, epochs: 1, lr: 1.0e-4, lora: null}}
"""
    others = {line.partition(":")[0] for line in extra.splitlines()}
    lines = [line for line in text.splitlines() if line.partition(":")[0] not in others]
    file.write_text("\n".join((*lines, extra, "")))
    return file


def plans(file: Path) -> list[Plan]:
    return walk(load_recipe(str(file), recipes).plan())


def of_stage(made: list[Plan], name: str) -> list[Plan]:
    return [plan for plan in made if plan.stage.name == name]


def names(value: Any) -> list[str]:
    """The stages that made an input."""
    listed = value if isinstance(value, tuple) else (value,)
    return [artifact.plan.stage.name for artifact in listed]


def count(value: Any) -> int:
    """How many artifacts an input has."""
    return len(value)


def test_rewards_and_tunings_start_from_the_model_and_preferences_add_up(folder: Path) -> None:
    made = plans(recipe(folder))
    rewards, tunings, dpos = (of_stage(made, name) for name in ("train_reward", "sft", "dpo"))
    assert [count(plan.inputs["preferences"]) for plan in rewards] == [1, 2]
    assert {name for plan in rewards for name in names(plan.inputs["base"])} == {"load_pretrained"}
    assert {name for plan in tunings for name in names(plan.inputs["base"])} == {"load_pretrained"}
    assert [names(plan.inputs["model"]) for plan in dpos] == [["sft"], ["sft"]]
    asked = of_stage(made, "rejection_sample")
    # The first round's are asked of the model itself; where no prompts are named those of the preferences serve.
    assert [names(plan.inputs["model"]) + names(plan.inputs["prompts"]) for plan in asked] == [
        ["load_pretrained", "preference_prompts"],
        ["load_pretrained", "load_dialogues"],
        ["dpo", "preference_prompts"],
    ]
    assert [plan.settings["settings"]["verifier"] is not None for plan in asked] == [False, True, False]
    labels = [plan.settings["label"] for plan in of_stage(made, "evaluate_model")]
    assert sorted(labels) == ["DPO 1", "DPO 2", "SFT 1", "SFT 2", "before"]
    assert count(of_stage(made, "select_best_model")[0].inputs["models"]) == 5


def test_one_round_of_files_serves_all_and_only_recent_preferences_are_learnt(folder: Path) -> None:
    rounds = f"[{{preferences: [{folder}/ranked1.jsonl]}}]"
    made = plans(recipe(folder, "num_rounds: 3", rounds))
    assert len(of_stage(made, "train_reward")) == 1
    assert len(of_stage(made, "rejection_sample")) == 3
    two = f"[{{preferences: [{folder}/ranked1.jsonl]}}, {{preferences: [{folder}/ranked2.jsonl]}}]"
    dpos = of_stage(plans(recipe(folder, "recent_rounds: 1", two)), "dpo")
    assert [count(plan.inputs["preferences"]) for plan in dpos] == [1, 1]


def test_seeds_are_averaged_and_the_first_prompts_may_be_answered_after_tuning(folder: Path) -> None:
    made = plans(recipe(folder, "sft_seeds: [0, 1]\ndpo_seeds: [0, 1, 2]\nfirst_policy: dialogues"))
    averages = of_stage(made, "average_models")
    assert sorted(count(plan.inputs["models"]) for plan in averages) == [2, 2, 2, 3, 3]
    asked = of_stage(made, "rejection_sample")[0]
    assert names(asked.inputs["model"]) == ["average_models"]


def test_what_is_held_out_is_measured_and_never_learnt(folder: Path) -> None:
    made = plans(recipe(folder, "held_out_share: 0.25\nsft_seeds: [0, 1]"))
    for plan in of_stage(made, "sft"):
        assert names(plan.inputs["held_out"]) == ["split_dialogues"]
        assert "load_dialogues" not in names(plan.inputs["dialogues"])
    for plan in of_stage(made, "dpo"):
        assert names(plan.inputs["held_out"]) == ["split_preferences"]
        assert set(names(plan.inputs["preferences"])) == {"split_preferences"}
    assert [names(plan.inputs["held_out"]) for plan in of_stage(made, "average_models")] == [["split_dialogues"]] * 2
    parts = {plan.settings["part"] for plan in of_stage(made, "split_preferences")}
    assert parts == {"train", "held_out"}


@pytest.mark.parametrize(
    ("extra", "rounds", "words"),
    [
        ("num_rounds: 3", "", "files of 2 rounds and num_rounds is 3"),
        ("verifier: null", "", "name a verifier"),
        ("reward: null", "[{prompts: [p.jsonl]}]", "nothing would choose"),
        ("", "[{prompts: [p.jsonl]}]", "no preferences for the reward model"),
        ("shares: {peopel: 1.0}", "", "source 'people' has no share in shares; did you mean 'peopel'"),
        ("curation: {difficulty: points}", "", "judge_url"),
        ("sft_seeds: []", "", "sft_seeds is empty"),
        ("measure: {tasks: [], loss_length: 64}", "", "want pre-training text"),
    ],
)
def test_what_cannot_be_done_is_said_while_planning(folder: Path, extra: str, rounds: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        load_recipe(str(recipe(folder, extra, rounds)), recipes)


def test_the_preset_reads_every_row(folder: Path) -> None:
    made = plans(recipe(folder))
    loaded = [plan for name in ("load_dialogues", "load_preferences") for plan in of_stage(made, name)]
    assert len(loaded) == 5
    assert {plan.settings["max_samples"] for plan in loaded} == {0}


def test_without_files_they_are_asked_for() -> None:
    with pytest.raises(SettingsError, match="model is not said"):
        load_recipe("align", recipes)


def test_two_rounds_run_to_their_report(folder: Path) -> None:
    target = load_recipe(
        str(recipe(folder, "shares: {people: 0.5, problems: 0.5}\nmax_repeats: 2\nheld_out_share: 0.2")), recipes
    ).plan()
    made = run_stages(target, folder / "run", jobs=0)
    page = (made.path / "report.html").read_text()
    assert "SFT 2" in page
    assert "DPO 2" in page
    found = [artifact.metadata for artifact in artifacts_in(folder / "run")]
    mixed = [metadata["headline"] for metadata in found if metadata["stage"] == "mix_by_share"]
    assert any("of people" in headline for headline in mixed)
