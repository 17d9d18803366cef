"""Damaged artifacts of a run: which are made again, where the old ones lie, and when that is given up."""

from __future__ import annotations

from pathlib import Path

import pytest

from herd.core.artifacts import Artifact
from herd.core.errors import CorruptArtifactError, DataError
from herd.core.stage import plan_of
from herd.run.repair import ArtifactRepairer
from herd.run.runner import run_stages
from herd.run.worker import RunFolder
from tests.core.stages_for_tests import write
from tests.run.test_runner import Told


class Mended:
    """A run of one artifact, and who mends it."""

    def __init__(self, folder: Path) -> None:
        target = write(text="abc")
        self.made: Artifact = run_stages(target, folder, jobs=0)
        self.plan, self.home, self.told = plan_of(target), RunFolder(folder), Told()
        self.mender = ArtifactRepairer([self.plan], self.home, self.told)
        self.aside = folder / "damaged" / self.plan.key

    def damage(self, text: str) -> None:
        (self.made.path / "text").write_text(text)


@pytest.fixture
def mended(tmp_path: Path) -> Mended:
    return Mended(tmp_path)


def test_what_is_whole_stays_and_what_was_never_made_is_no_damage(mended: Mended) -> None:
    assert mended.mender.check(mended.plan, fully=True)
    assert not mended.mender.check(plan_of(write(text="another")), fully=True)
    assert mended.told.warnings == []
    assert not mended.aside.exists()


def test_lengths_are_looked_at_always_and_bits_when_asked(mended: Mended) -> None:
    mended.damage("abd")
    assert mended.mender.check(mended.plan, fully=False)
    assert not mended.mender.check(mended.plan, fully=True)
    assert (mended.aside / "text").read_text() == "abd"
    assert not mended.made.path.exists()
    (warning,) = mended.told.warnings
    assert f"{mended.plan.key} is made again, what it was lies in {mended.aside}" in warning


def test_a_folder_without_its_card_is_put_aside_as_it_is(mended: Mended) -> None:
    (mended.made.path / "artifact.json").unlink()
    assert not mended.mender.check(mended.plan, fully=False)
    assert [file.name for file in mended.aside.iterdir()] == ["text"]
    assert "artifact.json is missing" in mended.told.warnings[0]


def test_the_last_damaged_one_is_kept_and_a_disk_that_goes_on_damaging_is_given_up(mended: Mended) -> None:
    for text in ("1", "22"):
        mended.made.path.mkdir(exist_ok=True)
        mended.damage(text)
        assert mended.mender.plan_for(CorruptArtifactError("text is damaged", mended.made.path)) is mended.plan
        mended.mender.set_aside(mended.plan.key)
        assert (mended.aside / "text").read_text() == text
    fault = CorruptArtifactError("text is damaged; see there", mended.made.path)
    with pytest.raises(CorruptArtifactError) as raised:
        mended.mender.plan_for(fault)
    assert raised.value is fault
    assert len(mended.told.warnings) == 2


def test_several_who_find_the_same_damage_make_it_again_once(mended: Mended) -> None:
    fault = CorruptArtifactError("text is damaged", mended.made.path)
    assert [mended.mender.plan_for(fault) for _ in range(5)] == [mended.plan] * 5
    assert len(mended.told.warnings) == 1


def test_what_this_run_cannot_make_is_raised(mended: Mended, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere" / mended.plan.key
    for fault in (
        DataError("a bad row"),
        KeyError("x"),
        CorruptArtifactError("nobody knows where"),
        CorruptArtifactError("elsewhere", elsewhere),
        CorruptArtifactError("of another recipe", mended.home.artifact("write-123")),
    ):
        with pytest.raises(type(fault)) as raised:
            mended.mender.plan_for(fault)
        assert raised.value is fault
    mended.mender.set_aside(mended.plan.key)  # nothing was found wrong with it
    assert mended.made.path.exists()
