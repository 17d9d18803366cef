"""What an artifact was made of is read back, also where some of it is gone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from herd.core.artifacts import Artifact, Tokens, is_complete
from herd.core.errors import ArtifactError, CorruptArtifactError
from herd.core.lineage import lineage, parents, restore_plan, tree
from herd.core.manifests import append_checksum
from herd.core.stage import Stage
from herd.run.runner import run_stages
from tests.core.stages_for_tests import join, write


def test_lineage_is_read_back_from_disk(tmp_path: Path) -> None:
    made = run_stages(join((write(text="a"), write(text="b"))), tmp_path)
    assert [one.metadata["stage"] for one in lineage(made)] == ["write", "write", "join"]
    assert [(branch.depth, branch.name) for branch in tree(made)] == [(0, ""), (1, "parts"), (1, "parts")]


@pytest.fixture
def made(tmp_path: Path) -> Artifact:
    """An artifact of three, one of which it was made of twice."""
    a = write(text="a")
    return run_stages(join((a, write(text="b")), a), tmp_path / "run", jobs=0)


def test_inputs_come_by_name_and_what_is_shared_once_in_a_lineage(made: Artifact) -> None:
    assert [(name, (one.path / "text").read_text()) for name, one in parents(made)] == [
        ("parts", "a"),
        ("parts", "b"),
        ("extra", "a"),
    ]
    assert [(one.path / "text").read_text() for one in lineage(made)] == ["a", "b", "aba"]
    assert [(branch.depth, branch.name, branch.again) for branch in tree(made)] == [
        (0, "", False),
        (1, "parts", False),
        (1, "parts", False),
        (1, "extra", True),
    ]


def test_a_copy_elsewhere_shows_what_is_not_beside_it(made: Artifact, tmp_path: Path) -> None:
    copy = Artifact.open(Path(shutil.copytree(made.path, tmp_path / "elsewhere" / made.path.name)))
    branches = list(tree(copy))
    assert [branch.artifact is None for branch in branches] == [False, True, True, True]
    assert [branch.key for branch in branches] == [branch.key for branch in tree(made)]
    with pytest.raises(ArtifactError, match="elsewhere"):
        lineage(copy)


def test_an_input_that_lost_its_card_is_damaged_and_not_gone(made: Artifact) -> None:
    first = next(one for _, one in parents(made))
    (first.path / "artifact.json").unlink()
    assert not is_complete(first.path)
    for read in (lineage, lambda one: list(tree(one)), restore_plan):
        with pytest.raises(CorruptArtifactError, match=r"artifact\.json is missing"):
            read(made)


def test_what_was_made_is_planned_again_with_its_key_and_type(made: Artifact) -> None:
    again = restore_plan(made)
    assert (type(again), again.key) == (Tokens, made.key)
    assert again.key == join((write(text="a"), write(text="b")), write(text="a")).key


def rewrite(artifact: Artifact, **change: object) -> None:
    """As another version of herd would have written its card."""
    file = artifact.path / "artifact.json"
    card = json.loads(file.read_text()) | change
    del card["sha256"]
    file.write_text(append_checksum(json.dumps(card, indent=1)))


@pytest.mark.parametrize("change", [{"stage": "nobody_knows"}, {"settings": {"times": 2}}])
def test_what_another_version_made_is_not_planned(change: dict[str, object], made: Artifact) -> None:
    rewrite(made, **change)
    with pytest.raises(ArtifactError, match="was made by another version of the stage"):
        restore_plan(Artifact.open(made.path))


def test_what_was_made_of_another_versions_is_not_planned_either(made: Artifact) -> None:
    first = next(one for _, one in parents(made))
    rewrite(first, settings={"text": "c", "where": ""})
    with pytest.raises(ArtifactError, match=f"{first.key} was made by another version of the stage write"):
        restore_plan(made)


def test_no_module_but_herds_own_is_imported_because_a_folder_names_it(
    made: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = tmp_path / "ran"
    (tmp_path / "not_herd.py").write_text(f"open({str(ran)!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(Stage.registry, "join")
    for module in ("not_herd", "herdless", "herd.no_such_module"):
        rewrite(made, module=module)
        with pytest.raises(ArtifactError, match="another version of the stage join"):
            restore_plan(Artifact.open(made.path))
    assert not ran.exists()
