"""`herd judge-data` on a run that was made."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from herd.cli import main
from herd.core.artifacts import Artifact
from herd.core.errors import ArtifactError
from herd.core.lineage import restore_plan
from herd.core.manifests import append_checksum
from herd.mixing.results import DataProbe
from herd.recipes.judging import checkpoint_in
from herd.serve.folders import artifacts_in
from tests.imported import imported


@pytest.fixture
def run(smoke_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(smoke_run, tmp_path / "run"))


def test_a_set_of_ones_own_is_judged_in_the_folder_of_the_run(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = tmp_path / "mine.jsonl"
    rows = [{"text": f"The number {number} is followed by the number {number + 1}. " * 5} for number in range(60)]
    texts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    kept = {one.key for one in artifacts_in(run)}
    command = ["judge-data", str(run), str(texts), "--tokens", "2048", "--batch-tokens", "512", "--seeds", "2"]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "nats [" in said
    made = [one for one in artifacts_in(run) if one.key not in kept]
    assert [one.metadata["stage"] for one in made] == ["load_files", "curate", "pack", "judge_data"]
    probe = made[-1].result(DataProbe)
    assert set(probe.losses) == {"control", "new"}
    assert probe.seeds == (0, 1)
    assert probe.lr > 0
    for source in probe.by_source:
        assert f"  {source}" in said
    assert main(["judge-data", str(tmp_path), str(texts)]) != 0
    assert "holds no checkpoint before annealing" in capsys.readouterr().err


def test_what_a_run_made_is_planned_again_as_it_was(run: Path) -> None:
    for one in artifacts_in(run):
        assert restore_plan(one).key == one.key
    folder = checkpoint_in(run)
    card = json.loads((folder / "artifact.json").read_text())
    assert card["stage"] in ("pretrain", "extend_context")
    card["version"] = 99
    card["settings"]["settings"]["seed"] = 12345
    del card["sha256"]
    (folder / "artifact.json").write_text(append_checksum(json.dumps(card, indent=1)))
    with pytest.raises(ArtifactError, match="was made by another version of the stage"):
        restore_plan(Artifact.open(folder))


def test_a_set_is_judged_by_an_imported_model_beside_text_that_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = imported(tmp_path / "model").path
    for name, words in (("old", "The water works."), ("new", "The user knows.")):
        rows = [{"text": f"{words} It is number {number}. " * 3} for number in range(60)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = ["judge-data", str(model), str(tmp_path / "new.jsonl"), "--tokens", "1024", "--batch-tokens", "256"]
    assert main(command) == 1
    assert "records no learning rate to decay from; name one with --learning-rate" in capsys.readouterr().err
    command += ["--seeds", "2", "--learning-rate", "1e-3"]
    assert main(command) == 1
    assert "name text like what it was trained on with --default" in capsys.readouterr().err
    command += ["--default", str(tmp_path / "old.jsonl")]
    assert main(command) == 2
    assert "name its folder with --out" in capsys.readouterr().err
    assert main([*command, "--out", str(tmp_path / "run")]) == 0
    assert "nats [" in capsys.readouterr().out
    (probe,) = (found for one in artifacts_in(tmp_path / "run") if (found := one.get_result(DataProbe)))
    assert probe.lr == 1e-3
    assert set(probe.by_source) == {"default"}
