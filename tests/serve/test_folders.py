"""What a folder means: a model, a run and its newest model, or neither; and what is written of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from herd.align.loading import load_pretrained
from herd.core.artifacts import METADATA_FILE, Artifact, ArtifactMetadata, Checkpoint, read_metadata, write_metadata
from herd.core.errors import ArtifactError, CorruptArtifactError, SettingsError
from herd.core.manifests import append_checksum
from herd.core.stage import with_label
from herd.generate.toolbox import NO_TOOLS
from herd.model.heads import RewardModel
from herd.model.weights import load_model
from herd.run.runner import run_stages
from herd.run.worker import RunFolder
from herd.serve.folders import (
    artifacts_in,
    describe_path,
    export,
    model_in,
    newest_model,
    next_command,
    tasks_named,
    tasks_of,
    toolbox_of,
)
from herd.train.checkpoint import write_checkpoint
from herd.world import tasks as world_tasks
from tests.core.stages_for_tests import join, write
from tests.imported import made
from tests.model.test_transformer import SMALL, model
from tests.serve.test_compare import chat_model
from tests.tokens.test_chat import TOKENIZER

assert world_tasks  # whose `arithmetic` is asked


def set_time(artifact: Artifact, seconds: int) -> None:
    import os

    os.utime(artifact.path / "artifact.json", (seconds, seconds))


def reward_model(folder: Path) -> Path:
    folder.mkdir()
    judge = RewardModel.from_transformer(model(replace(SMALL, vocab_size=TOKENIZER.vocab_size, max_seq_len=128)))
    torch.nn.init.normal_(judge.score.weight, generator=torch.Generator().manual_seed(0))
    write_checkpoint(folder, judge, TOKENIZER, kind="reward")
    return folder


@pytest.fixture
def models(tmp_path: Path) -> dict[str, Checkpoint]:
    """Of a run: a chat model, then a base model, then a reward model."""
    found = {}
    (tmp_path / "run" / "artifacts").mkdir(parents=True)
    for number, kind in enumerate(("chat", "base", "reward")):
        model = Checkpoint(chat_model(tmp_path / kind, kind="base" if kind == "reward" else kind))
        found[kind] = made(model, tmp_path / "run" / "artifacts" / f"{kind}-1")
        set_time(found[kind], 1000 + number)
    return found


def test_a_run_means_its_newest_model_and_one_that_chats_goes_first(
    models: dict[str, Checkpoint], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    assert [one.path.name for one in artifacts_in(run)] == ["chat-1", "base-1", "reward-1"]
    set_time(models["chat"], 5000)
    assert [one.path.name for one in artifacts_in(run)][-1] == "chat-1"
    set_time(models["chat"], 1)
    assert newest_model(run) == model_in(run) == models["chat"].path
    assert next_command(run) == f"chat:   herd chat {run}"
    (models["base"].path / "model.safetensors").unlink()
    assert next_command(run) == ""
    with pytest.raises(CorruptArtifactError, match=r"model\.safetensors is missing"):
        model_in(run)
    assert model_in(models["chat"].path) == models["chat"].path  # a model's own folder asks no other


def test_a_run_that_trained_only_reward_models_means_the_last_of_them(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "artifacts").mkdir(parents=True)
    start = made(Checkpoint(chat_model(tmp_path / "start")), run / "artifacts" / "start-1", stage="load_pretrained")
    judge = made(Checkpoint(reward_model(tmp_path / "judge")), run / "artifacts" / "judge-1")
    set_time(start, 1000)
    set_time(judge, 1001)
    assert newest_model(run) == model_in(run, reward=True) == judge.path
    with pytest.raises(ArtifactError, match="reward model, which gives scores and no text: `herd export` writes it"):
        model_in(run)
    assert next_command(run) == f"scores: herd export {run} FOLDER writes the reward model for transformers"
    tuned = made(Checkpoint(chat_model(tmp_path / "tuned", kind="base")), run / "artifacts" / "tuned-1")
    set_time(tuned, 999)  # a judge on the way to a model that answers is not what the run was for
    set_time(start, 998)
    assert newest_model(run) == start.path
    assert model_in(tuned.path) == tuned.path


def test_a_run_that_only_pretrained_is_told_to_continue_text(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "artifacts").mkdir(parents=True)
    made(Checkpoint(chat_model(tmp_path / "base", kind="base")), run / "artifacts" / "base-1")
    assert next_command(run).startswith(f"text:   herd chat {run} continues what you type")


def test_an_exported_reward_model_scores_in_transformers_as_here(tmp_path: Path) -> None:
    import transformers

    judge = reward_model(tmp_path / "judge")
    export(judge, tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["architectures"] == ["LlamaForSequenceClassification"]
    theirs: Any = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").eval()
    ours = load_model(judge).eval()
    assert isinstance(ours, RewardModel)
    assert theirs.config.num_labels == 1
    tokens = torch.randint(3, ours.shape.vocab_size - 20, (1, 9), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        score = float(ours(tokens)[0, -1])
        assert abs(score) > 1e-3
        assert abs(score - float(theirs(tokens).logits[0, 0])) < 1e-4
    with pytest.raises(ArtifactError, match="holds a reward model"):
        export(judge, tmp_path / "out.gguf")


def test_of_recipes_in_one_folder_the_last_that_ran_is_meant(models: dict[str, Checkpoint], tmp_path: Path) -> None:
    run, home = tmp_path / "run", RunFolder(tmp_path / "run")
    other = made(Checkpoint(chat_model(tmp_path / "other")), run / "artifacts" / "other-1")
    set_time(other, 5000)
    assert newest_model(run) == other.path
    home.write_finished(["chat-1", "base-1", "gone-1"])
    assert newest_model(run) == models["chat"].path
    home.write_finished(["other-1"])
    assert newest_model(run) == other.path
    home.write_finished(["chat-1"])
    set_time(other, 2**33)  # of a run that has not come to its end
    assert newest_model(run) == other.path
    set_time(other, 5000)
    home.write_finished(["gone-1"])  # of models that are not there: as if nothing were known
    assert newest_model(run) == other.path
    for text in ("{", "7", "[7]"):
        home.finished.write_text(text)
        assert newest_model(run) == other.path


def test_a_recipe_that_finds_all_its_models_made_is_the_one_that_ran_last(tmp_path: Path) -> None:
    """A, then B, then A again, as with commands whose run folder is named by the model they start from."""
    for name in "ab":
        (chat_model(tmp_path / name) / "README.md").write_text(name)  # or both were one model
    first, second = (load_pretrained(folder=str(tmp_path / name)) for name in "ab")
    found = []
    for target in (first, second, first):
        run_stages(target, tmp_path / "run", jobs=0)
        newest = newest_model(tmp_path / "run")
        assert newest is not None
        found.append(newest.name)
    assert found == [first.key, second.key, first.key]
    assert first.key != second.key


def test_what_an_older_herd_made_is_told_in_one_sentence(tmp_path: Path) -> None:
    folder = tmp_path / "artifacts" / "pack-1"
    folder.mkdir(parents=True)
    cost = {"seconds": 1.0, "cpu_seconds": 1.0, "peak_bytes": 1}
    write_metadata(folder, ArtifactMetadata("Tokens", "pack-1", "pack", 1, "-", "-", {}, {}, cost=cost))
    assert not any("older version" in line for line in describe_path(tmp_path, verify=False))
    row = read_metadata(folder)
    del row["sha256"], row["results"]
    old = append_checksum(json.dumps(row | {"figures": {"tokens": 1}}, indent=1))
    (folder / METADATA_FILE).write_text(old, encoding="utf-8")
    for path in (tmp_path, folder):
        told = [line for line in describe_path(path, verify=False) if "older version" in line]
        assert len(told) == 1
        assert told[0].endswith("the same recipe makes it again")
    with pytest.raises(SettingsError, match="was made by an older version of herd, whose tasks .*; name tasks"):
        tasks_named([], folder)


def test_what_is_neither_is_told_with_why(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "run" / "artifacts").mkdir(parents=True)
    for name, words in (
        ("none", "neither a model nor a run: there is no such folder"),
        ("empty", "neither a model nor a run: it holds no config.json and no artifacts"),
        ("run", "has made no model yet; run its recipe to the end"),
    ):
        with pytest.raises(ArtifactError, match=words):
            model_in(tmp_path / name)
        assert next_command(tmp_path / name) == ""
    with pytest.raises(ArtifactError):
        list(describe_path(tmp_path / "empty", verify=False))
    assert list(describe_path(tmp_path / "run", verify=False)) == []


def test_a_wrong_path_suggests_only_models_that_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def told(name: str) -> str:
        with pytest.raises(ArtifactError) as fault:
            model_in(Path(name))
        return str(fault.value).rpartition("; ")[2]

    assert told("smoll") == "`herd import` makes a model's folder of a file, `herd pretrain` a new model"
    chat_model(tmp_path / "smol")
    (tmp_path / "smoll-rows").mkdir()  # no model
    (tmp_path / "runs" / "sft-smol" / "artifacts").mkdir(parents=True)
    assert told("smoll") == "did you mean smol?"
    assert told("runs/sft-smoll") != "did you mean runs/sft-smol?"  # it has made nothing yet
    made(Checkpoint(tmp_path / "smol"), tmp_path / "runs" / "sft-smol" / "artifacts" / "sft-1")
    assert told("runs/sft-smoll") == told("sft-smoll") == "did you mean runs/sft-smol?"
    assert told("quite-another") == "models here: smol, runs/sft-smol"


def test_a_model_from_elsewhere_brings_no_tasks_and_no_tools(tmp_path: Path) -> None:
    model = chat_model(tmp_path / "model")
    assert tasks_of(model) == []
    assert toolbox_of(model) is NO_TOOLS
    with pytest.raises(SettingsError, match="was not measured by a run; name tasks"):
        tasks_named([], model)
    (one,) = tasks_named(["arithmetic: {questions: 7}"], model)
    assert (one.name, one.settings["questions"]) == ("arithmetic", 7)
    assert tasks_named(["arithmetic"], model)[0].settings["questions"] != 7
    with pytest.raises(SettingsError, match="did you mean 'arithmetic'"):
        tasks_named(["arithmetik"], model)


def test_nothing_is_written_over_and_forms_are_those_of_weights(tmp_path: Path) -> None:
    folder = chat_model(tmp_path / "model")
    (tmp_path / "there").mkdir()
    for target in ("there", "model"):
        with pytest.raises(SettingsError, match="exists; name one that does not"):
            export(folder, tmp_path / target)
    for form in ("int8", "Tensor", "bf16x"):
        with pytest.raises(SettingsError, match=f"'{form}' is no form of weights"):
            export(folder, tmp_path / "new", weight_format=form)
    assert not (tmp_path / "new").exists()
    export(folder, tmp_path / "sharded", shard_gb=3e-5)
    files = sorted((tmp_path / "sharded").glob("*.safetensors"))
    assert len(files) > 1
    assert (tmp_path / "sharded" / "model.safetensors.index.json").exists()
    told = list(describe_path(tmp_path / "sharded", verify=True))
    assert told[0].startswith("model of ")
    assert "every file is as it was written" in told


def test_a_run_is_listed_by_names_and_an_artifact_says_of_what_it_was_made(tmp_path: Path) -> None:
    named = with_label(write(text="a"), "own text")
    made = run_stages(join((named, write(text="b"))), tmp_path, jobs=0)
    lines = list(describe_path(tmp_path, verify=False))
    assert lines[0].split()[:4] == ["Corpus", named.key, "own", "text"]
    assert "(write)" in lines[0]
    told = list(describe_path(made.path, verify=False))
    assert f"    parts: {named.key}  own text" in told
    assert f"  {made.key}" in told  # the only one of its stage
