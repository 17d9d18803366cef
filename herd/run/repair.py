"""Damaged artifacts of a run, put aside so that they are made again."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from herd.core.artifacts import is_complete
from herd.core.errors import ArtifactError, CorruptArtifactError
from herd.core.manifests import METADATA_FILE, check_files, read_metadata
from herd.core.stage import Plan
from herd.run.progress import Display
from herd.run.worker import RunFolder

# A disk that damages what was just written again damages the next try too.
_TRIES = 2


class ArtifactRepairer:
    """Knows what can be made again: the artifacts whose plans are part of the run."""

    def __init__(self, plans: Sequence[Plan], home: RunFolder, show: Display) -> None:
        self._plans: Mapping[str, Plan] = {plan.key: plan for plan in plans}
        self._home, self._show = home, show
        self._times: Counter[str] = Counter()
        self._corrupt: set[str] = set()

    def plan_for(self, fault: BaseException) -> Plan:
        """The plan that makes anew what `fault` found damaged. Raises `fault` when there is none, or when that did not
        help."""
        folder = fault.folder if isinstance(fault, CorruptArtifactError) else None
        here = self._home.artifacts.resolve()
        is_planned = folder is not None and folder.parent.resolve() == here and folder.name in self._plans
        if folder is not None and folder.name in self._corrupt:
            return self._plans[folder.name]
        if folder is None or not is_planned or self._times[folder.name] == _TRIES:
            raise fault
        self._times[folder.name] += 1
        self._corrupt.add(folder.name)
        problem = str(fault).partition("; ")[0]
        self._show.warn(f"{problem}; {folder.name} is made again, what it was lies in {self._aside(folder.name)}")
        return self._plans[folder.name]

    def set_aside(self, key: str) -> None:
        """Moves the folder out of the artifacts if it was found damaged; an earlier one of its name is removed."""
        folder, aside = self._home.artifact(key), self._aside(key)
        if key in self._corrupt and folder.exists():
            shutil.rmtree(aside, ignore_errors=True)
            aside.parent.mkdir(parents=True, exist_ok=True)
            folder.rename(aside)
        self._corrupt.discard(key)

    def check(self, plan: Plan, *, fully: bool) -> bool:
        """Whether the artifact of `plan` is whole; one that is damaged is put aside. fully: compare every bit."""
        folder = self._home.artifact(plan.key)
        if not folder.exists():
            return False
        try:
            if not fully and is_complete(folder):
                return True
            read_metadata(folder)
            check_files(folder)
            return True
        except CorruptArtifactError as fault:
            self.plan_for(fault)
        except ArtifactError:
            self.plan_for(CorruptArtifactError(f"{folder / METADATA_FILE} is missing", folder))
        self.set_aside(plan.key)
        return False

    def _aside(self, key: str) -> Path:
        return self._home.root / "damaged" / key
