"""`herd judge-data` on a run that was made."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from herd.cli import main
from herd.core.artifacts import Artifact
from herd.core.errors import ArtifactError
from herd.core.lineage import planned_again
from herd.core.manifests import sign
from herd.recipes.judging import checkpoint_in
from herd.serve.folders import made_in


@pytest.fixture
def run(smoke_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(smoke_run, tmp_path / "run"))


def test_a_set_of_ones_own_is_judged_in_the_folder_of_the_run(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = tmp_path / "mine.jsonl"
    rows = [{"text": f"The number {number} is followed by the number {number + 1}. " * 5} for number in range(60)]
    texts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    kept = {one.key for one in made_in(run)}
    command = ["judge-data", str(run), str(texts), "--tokens", "2048", "--batch", "512", "--seeds", "2"]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "nats [" in said
    made = [one for one in made_in(run) if one.key not in kept]
    assert [one.card["stage"] for one in made] == ["bring", "curate", "pack", "judge_data"]
    probe = made[-1].figures["probe"]
    assert set(probe["losses"]) == {"control", "new"}
    assert probe["seeds"] == [0, 1]
    assert probe["lr"] > 0
    for source in probe["by_source"]:
        assert f"  {source}" in said
    assert main(["judge-data", str(tmp_path), str(texts)]) != 0
    assert "holds no checkpoint before annealing" in capsys.readouterr().err


def test_what_a_run_made_is_planned_again_as_it_was(run: Path) -> None:
    for one in made_in(run):
        assert planned_again(one).key == one.key
    folder = checkpoint_in(run)
    card = json.loads((folder / "artifact.json").read_text())
    assert card["stage"] in ("pretrain", "extend_context")
    card["version"] = 99
    card["settings"]["settings"]["seed"] = 12345
    del card["sha256"]
    (folder / "artifact.json").write_text(sign(json.dumps(card, indent=1)))
    with pytest.raises(ArtifactError, match="was made by another version of the stage"):
        planned_again(Artifact.open(folder))
