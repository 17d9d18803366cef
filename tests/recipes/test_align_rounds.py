"""Rounds of alignment on files of one's own."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from herd.align.splitting import prompt_text
from herd.core.artifacts import Artifact, Dialogues, Preferences
from herd.core.errors import DataError, SettingsError
from herd.core.recipe import load_recipe
from herd.core.records import Message
from herd.core.stage import Plan, walk
from herd.core.storage import read_conversations, read_preferences
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
dpo_seeds: [0]
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


def only(value: Any) -> Artifact:
    """An input that is one artifact."""
    assert isinstance(value, Artifact)
    return value


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
        assert names(plan.inputs["held_out"]) == ["gather_held_out"]
        assert "load_dialogues" not in names(plan.inputs["dialogues"])
    for plan in of_stage(made, "dpo"):
        assert names(plan.inputs["held_out"]) == ["gather_held_out_preferences"]
        assert set(names(plan.inputs["preferences"])) == {"split_preferences"}
    assert [names(plan.inputs["held_out"]) for plan in of_stage(made, "average_models")] == [["gather_held_out"]] * 2
    for plan in of_stage(made, "rejection_sample"):
        assert names(plan.inputs["prompts"])[0] in ("preference_prompts", "split_dialogues")


def test_a_round_without_preferences_is_measured_on_those_held_out_before(folder: Path) -> None:
    rounds = f"[{{preferences: [{folder}/ranked1.jsonl]}}, {{dialogues: [{folder}/people.jsonl]}}]"
    dpos = of_stage(plans(recipe(folder, "held_out_share: 0.25", rounds)), "dpo")
    assert [names(plan.inputs["held_out"]) for plan in dpos] == [["gather_held_out_preferences"]] * 2
    assert len({only(plan.inputs["held_out"]).key for plan in dpos}) == 1


def test_every_source_is_measured_and_a_later_round_changes_no_earlier_one(folder: Path) -> None:
    rows(folder / "code.jsonl", [{"prompt": f"Code {n}.", "response": f"{n}"} for n in range(6)])
    first = f"{{dialogues: {{people: [{folder}/people.jsonl], code: [{folder}/code.jsonl]}}}}"
    second = f"{{dialogues: {{people: [{folder}/people.jsonl]}}, preferences: [{folder}/ranked1.jsonl]}}"
    one = of_stage(plans(recipe(folder, "held_out_share: 0.25\nnum_rounds: 1", f"[{first}]")), "sft")
    two = of_stage(plans(recipe(folder, "held_out_share: 0.25", f"[{first}, {second}]")), "sft")
    (gathered,) = (plan for plan in walk(only(one[0].inputs["held_out"])) if plan.stage.name == "gather_held_out")
    assert count(gathered.inputs["dialogues"]) == 2
    assert one[0].key in {plan.key for plan in two}
    assert {count(plan.inputs["dialogues"]) for plan in two} == {2, 3}  # the second learns sampled answers too


def held_out_and_learnt(target: Any, run: Path) -> tuple[set[str], dict[str, list[set[str]]]]:
    """Prompts that are held out, and of each stage whose rows are learnt or asked those of every artifact it made."""
    apart: set[str] = set()
    learnt: dict[str, list[set[str]]] = {}
    for plan in walk(target):
        if plan.stage.name in (
            "gather_held_out",
            "gather_held_out_preferences",
            "split_dialogues",
            "split_preferences",
        ):
            made = run_stages(Artifact.from_plan(plan), run, jobs=0)
            if isinstance(made, Preferences):
                prompts = {prompt_text(row.prompt) for row in read_preferences(made.path)}
            else:
                prompts = {prompt_text(row) for row in read_conversations(made.path)}
            if plan.stage.name.startswith("gather"):
                apart |= prompts
            else:
                learnt.setdefault(plan.stage.name, []).append(prompts)
    return apart, learnt


def test_what_one_file_holds_out_no_other_teaches(folder: Path) -> None:
    """The same prompts as dialogues, prompts, problems with a suffix, ranked answers, and in small files of a later
    round."""
    questions = [f"Say {n}." for n in range(6)]
    rows(folder / "asked.jsonl", [{"prompt": text, "response": "?"} for text in questions])
    rows(folder / "known.jsonl", [{"question": text, "answer": "#### 1"} for text in questions])
    rows(folder / "pairs.jsonl", [{"prompt": text, "chosen": "1", "rejected": "no"} for text in questions])
    rows(folder / "few.jsonl", [{"prompt": text, "response": "Late."} for text in (*questions[:2], "New?", "Newer?")])
    first = (
        f"{{dialogues: {{people: [{folder}/people.jsonl]}}, prompts: {{asked: [{folder}/asked.jsonl]}}, "
        f"problems: {{known: [{folder}/known.jsonl]}}, preferences: [{folder}/ranked1.jsonl]}}"
    )
    second = f"{{dialogues: {{few: [{folder}/few.jsonl]}}, preferences: [{folder}/pairs.jsonl]}}"
    extra = 'held_out_share: 0.0001\nprompt_suffix: "\\n\\nEnd with a  number."'
    file = recipe(folder, extra, f"[{first}, {second}]")
    apart, learnt = held_out_and_learnt(load_recipe(str(file), recipes).plan(), folder / "run")
    assert {"dialogues": len(learnt["split_dialogues"]), "pairs": len(learnt["split_preferences"])} == {
        "dialogues": 4,
        "pairs": 2,
    }
    suffix = " ".join("\n\nEnd with a  number.".split())
    for prompts in (*learnt["split_dialogues"], *learnt["split_preferences"]):
        assert prompts
        assert not apart & {prompt.removesuffix(suffix).strip() for prompt in prompts}
    assert len(apart & set(questions)) == 1  # of the first round's dialogues; in the second these are known already
    assert len(apart & {"New?", "Newer?"}) == 1


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
        ("sft: {length: 64, early_stop: true}", "", "sft.early_stop keeps the best epoch on held-out rows; set held"),
        ("dpo: {loss: dpo, early_stop: true}", "", "dpo.early_stop keeps the best epoch on held-out rows; set held"),
        (
            "held_out_share: 0.2\nsft: {length: 64, early_stop: true}",
            "[{preferences: [p.jsonl]}]",
            "rounds.0 brings none to hold out of",
        ),
        ("measure: {tasks: [], loss_length: 64}", "", "want pre-training text"),
    ],
)
def test_what_cannot_be_done_is_said_while_planning(folder: Path, extra: str, rounds: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        load_recipe(str(recipe(folder, extra, rounds)), recipes)


@pytest.mark.parametrize(
    "row",
    [{"prompt": "Say {n}."}, {"prompt": [{"role": "user", "content": "Say {n}."}]}, {"question": "Say {n}."},
     {"messages": [{"role": "user", "content": "Say {n}."}]}, {"instruction": "Say {n}."},
     {"prompt": "Say {n}.", "completion": "It is {n}."}],
    ids=["prompt", "turns", "question", "messages", "instruction", "answered"],
)  # fmt: skip
def test_prompts_need_no_answer_and_none_counts(folder: Path, row: dict[str, Any]) -> None:
    asked = [json.loads(json.dumps(row).replace("{n}", str(n))) for n in range(3)]
    file = rows(folder / "asked.jsonl", asked)
    made = plans(recipe(folder, "", f"[{{preferences: [{folder}/ranked1.jsonl], prompts: {{code: [{file}]}}}}]"))
    (loaded,) = (plan for plan in of_stage(made, "load_dialogues") if plan.settings["source"] == "code")
    read = list(read_conversations(run_stages(Dialogues.from_plan(loaded), folder / "run", jobs=0).path))
    assert [(one.messages, one.source) for one in read] == [((Message("user", f"Say {n}."),), "code") for n in range(3)]


@pytest.mark.parametrize(
    ("kind", "row", "words"),
    [
        ("prompts", {"text": "Say it."}, "columns text make no prompt; it wants prompt or messages"),
        ("preferences", {"chosen": "a", "worse": "b"}, "did you mean it by 'worse'"),
        ("dialogues", {"prompt": "a"}, "prompt . completion lacks 'completion'"),
        ("problems", {"messages": [{"role": "user", "content": "a"}]}, "the user has the last word"),
    ],
)
def test_rows_that_are_none_of_their_kind_are_told_while_planning(
    folder: Path, kind: str, row: dict[str, str], words: str
) -> None:
    brought = {"preferences": f"{folder}/ranked1.jsonl", "prompts": rows(folder / "asked.jsonl", [{"prompt": "a"}])}
    brought[kind] = rows(folder / "bad.jsonl", [row])
    listed = ", ".join(f"{name}: [{file}]" for name, file in brought.items())
    with pytest.raises(DataError, match=words):
        plans(recipe(folder, "", f"[{{{listed}}}]"))


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
