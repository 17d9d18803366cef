"""Damaged folders are noticed by every command that reads them; copies, exports and imports hold what they should."""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path

import pytest
import torch

from herd.core.artifacts import Checkpoint
from herd.core.errors import ArtifactError, CorruptArtifactError
from herd.model import weights
from herd.serve import imports
from herd.serve.folders import artifacts_in, describe_path, export, newest_model
from herd.train.checkpoint import Saver
from tests.damage import Judge, command, damaged, draw, of_model, of_run
from tests.train.test_loop import state


@pytest.fixture(scope="module")
def run(smoke_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the run, to be damaged and mended."""
    return shutil.copytree(smoke_run, tmp_path_factory.mktemp("damage") / "run")


@pytest.fixture(scope="module")
def model(run: Path) -> Path:
    """One that an evaluation tells of; which one comes first depends on the keys."""
    evaluations = [one for one in artifacts_in(run) if one.metadata["stage"] == "evaluate_model"]
    names = sorted(one.metadata["inputs"]["model"] for one in evaluations)
    return run / "artifacts" / next(name for name in names if name.startswith("sft-"))


@pytest.fixture(scope="module")
def brought(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("brought") / "model"
    imports.import_model(model, folder)
    return folder


@pytest.fixture(scope="module")
def rows(run: Path) -> Path:
    return next((run / "artifacts").glob("demonstrate-*")) / "dialogues.jsonl"


def test_single_faults_in_artifacts_are_noticed_or_without_effect(run: Path, rows: Path, tmp_path: Path) -> None:
    judge, chance = Judge(), random.Random(3)
    every = [path for path in sorted((run / "artifacts").iterdir()) if not (path / "config.json").exists()]
    for _ in range(12):
        artifact = chance.choice(every)
        commands = of_run(run, artifact, rows, tmp_path)
        judge.learn(artifact, commands)
        fault = draw(artifact, chance)
        with damaged(fault):
            judge.judge(artifact, commands, fault)
    assert judge.missed == []
    assert judge.counts["noticed"] > 6


@pytest.mark.parametrize("which", ["made", "imported"])
def test_single_faults_in_models_are_noticed_or_without_effect(
    which: str, model: Path, brought: Path, rows: Path, tmp_path: Path
) -> None:
    judge, chance = Judge(), random.Random(4)
    folder = model if which == "made" else brought
    commands = of_model(folder, rows, tmp_path)
    judge.learn(folder, commands)
    for _ in range(8):
        fault = draw(folder, chance)
        with damaged(fault):
            judge.judge(folder, commands, fault)
    assert judge.missed == []
    assert judge.counts["noticed"] > 4


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json", "generation_config.json"])
def test_a_flipped_file_is_given_to_nobody(name: str, model: Path, brought: Path, tmp_path: Path) -> None:
    for folder in (model, brought):
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])
        try:
            for target in ("folder", "model.gguf"):
                with pytest.raises(CorruptArtifactError, match=f"{name} is damaged"):
                    export(folder, tmp_path / target)
            with pytest.raises(CorruptArtifactError, match=f"{name} is damaged"):
                imports.import_model(folder, tmp_path / "copy")
        finally:
            (folder / name).write_bytes(data)
    assert not list(tmp_path.iterdir())


def test_an_older_model_does_not_stand_for_a_damaged_one(run: Path) -> None:
    newest = newest_model(run)
    assert newest is not None
    for name in ("config.json", "artifact.json", "model.safetensors"):
        data = (newest / name).read_bytes()
        (newest / name).unlink()
        with pytest.raises(CorruptArtifactError, match=f"{name} is missing"):
            newest_model(run)
        with pytest.raises(CorruptArtifactError, match=f"{name} is missing|no list of hashes"):
            list(describe_path(run, verify=True))
        assert any(line.startswith("damaged") and newest.name in line for line in describe_path(run, verify=False))
        (newest / name).write_bytes(data)
    assert newest_model(run) == newest


@pytest.mark.parametrize("flags", [[], ["--verify"]])
def test_a_copied_model_is_shown(flags: list[str], model: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(model, tmp_path / "copy")
    shown = command("show", copy, *flags)
    assert shown.code == 0
    assert f"{Checkpoint.open(model).metadata['inputs']['base']} (not here)" in shown.said
    assert ("every file is as it was written" in shown.said) == bool(flags)


def test_an_imported_model_is_shown_and_verified(brought: Path) -> None:
    assert command("show", brought, "--verify").code == 0
    (brought / "notes.txt").write_text("mine")
    assert "not among the files that were written" in command("show", brought, "--verify").said
    (brought / "notes.txt").unlink()


# ---- what is given away ----


def test_exports_hold_what_the_format_has_and_nothing_behind_links(brought: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text('{"password": "hunter2"}')
    source = shutil.copytree(brought, tmp_path / "source")
    (source / "secrets.json").symlink_to(secret)
    (source / "notes.json").write_text("{}")
    export(source, tmp_path / "out")
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        *("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"),
        *("model.safetensors", "checksums.json"),
    }
    assert command("show", tmp_path / "out", "--verify").code == 0
    (source / "checksums.json").unlink()
    for name in ("special_tokens_map.json", "model.safetensors"):
        (source / name).unlink(missing_ok=True)
        (source / name).symlink_to(brought / name if (brought / name).exists() else secret)
        with pytest.raises(ArtifactError, match="is a link to .* outside of the model's folder"):
            export(source, tmp_path / "again")
        (source / name).unlink()
        shutil.copy(brought / "model.safetensors", source / "model.safetensors")
    assert not list(tmp_path.glob("again*"))


def test_a_model_in_the_hubs_cache_is_exported(brought: Path, tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "models--a" / "blobs", tmp_path / "models--a" / "snapshots" / "1"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for number, file in enumerate(sorted(brought.iterdir())):
        if file.name != "checksums.json":
            shutil.copy(file, blobs / str(number))
            (snapshot / file.name).symlink_to(Path("../../blobs") / str(number))
    export(snapshot, tmp_path / "out")
    assert weights.load_transformer(tmp_path / "out").shape == weights.load_transformer(brought).shape


@pytest.mark.parametrize("fault", [ArtifactError("no"), KeyboardInterrupt()])
def test_a_failed_import_or_export_leaves_nothing(
    fault: BaseException, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise fault

    monkeypatch.setattr("herd.serve.imports.logit_difference", fail)
    with pytest.raises(type(fault)):
        imports.import_model(model, tmp_path / "new" / "imported")
    monkeypatch.setattr("herd.model.weights.write_tensors", fail)
    with pytest.raises(type(fault)):
        export(model, tmp_path / "new" / "exported")

    def half(path: Path, *_: object, **__: object) -> None:
        path.write_bytes(b"GGUF")
        raise fault

    monkeypatch.setattr("herd.model.gguf.write_gguf", half)
    with pytest.raises(type(fault)):
        export(model, tmp_path / "new" / "model.gguf")
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
def test_weights_that_say_nothing_are_not_kept(value: float, brought: Path, tmp_path: Path) -> None:
    source = shutil.copytree(brought, tmp_path / "zero")
    (source / "checksums.json").unlink()
    network = weights.load_transformer(source)
    zero = {name: torch.full_like(weight, value) for name, weight in network.state_dict().items()}
    table = weights.hugging_face_names(network.shape, reward=False)
    weights.write_tensors(source, ((table[name], weight) for name, weight in zero.items()))
    said = command("import", source, tmp_path / "made")
    assert said.code == 1
    assert "not finite, or all are zero" in said.said
    assert [path.name for path in tmp_path.iterdir()] == ["zero"]


@pytest.mark.parametrize("mask", [0o022, 0o002])
def test_weights_have_the_mode_of_other_files(mask: int, brought: Path, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        export(brought, tmp_path / "out")
        saver = Saver(tmp_path / "scratch")
        saver.save(state())
        saver.wait()
    finally:
        os.umask(before)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sum(file.suffix == ".safetensors" for file in files) == 2
    assert {file.stat().st_mode & 0o777 for file in files} == {0o666 & ~mask}


def test_tasks_are_not_made_up_when_what_tells_them_is_damaged(run: Path, model: Path) -> None:
    cards = [one for one in artifacts_in(run) if one.metadata["stage"] == "evaluate_model"]
    told = next(one for one in cards if one.metadata["inputs"]["model"] == model.name)
    card = told.path / "artifact.json"
    whole = card.read_bytes()
    assert command("eval", model, "arithmetic").code == 0
    card.write_bytes(whole.replace(b'"version"', b'"vershon"'))
    try:
        assert command("eval", model, "arithmetic").code == 1
    finally:
        card.write_bytes(whole)
    assert json.loads(whole)["stage"] == "evaluate_model"
