"""Damaged artifacts of a run, put aside so that they are made again."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from herd.core.artifacts import is_whole
from herd.core.errors import ArtifactError, DamagedError
from herd.core.manifests import CARD, check_files, read_card
from herd.core.stage import Plan
from herd.run.progress import Display
from herd.run.worker import RunFolder

# A disk that damages what was just written again damages the next try too.
_TRIES = 2


class Mender:
    """Knows what can be made again: the artifacts whose plans are part of the run."""

    def __init__(self, plans: Sequence[Plan], home: RunFolder, show: Display) -> None:
        self._plans: Mapping[str, Plan] = {plan.key: plan for plan in plans}
        self._home, self._show = home, show
        self._times: Counter[str] = Counter()
        self._condemned: set[str] = set()

    def plan_for(self, fault: BaseException) -> Plan:
        """The plan that makes anew what `fault` found damaged. Raises `fault` when there is none, or when that did not
        help."""
        folder = fault.folder if isinstance(fault, DamagedError) else None
        here = self._home.artifacts.resolve()
        known = folder is not None and folder.parent.resolve() == here and folder.name in self._plans
        if folder is not None and folder.name in self._condemned:
            return self._plans[folder.name]
        if folder is None or not known or self._times[folder.name] == _TRIES:
            raise fault
        self._times[folder.name] += 1
        self._condemned.add(folder.name)
        what = str(fault).partition("; ")[0]
        self._show.warn(f"{what}; {folder.name} is made again, what it was lies in {self._aside(folder.name)}")
        return self._plans[folder.name]

    def set_aside(self, key: str) -> None:
        """Moves the folder out of the artifacts if it was found damaged; an earlier one of its name is removed."""
        folder, aside = self._home.artifact(key), self._aside(key)
        if key in self._condemned and folder.exists():
            shutil.rmtree(aside, ignore_errors=True)
            aside.parent.mkdir(parents=True, exist_ok=True)
            folder.rename(aside)
        self._condemned.discard(key)

    def look(self, plan: Plan, *, fully: bool) -> bool:
        """Whether the artifact of `plan` is whole; one that is damaged is put aside. fully: compare every bit."""
        folder = self._home.artifact(plan.key)
        if not folder.exists():
            return False
        try:
            if not fully and is_whole(folder):
                return True
            read_card(folder)
            check_files(folder)
            return True
        except DamagedError as fault:
            self.plan_for(fault)
        except ArtifactError:
            self.plan_for(DamagedError(f"{folder / CARD} is missing", folder))
        self.set_aside(plan.key)
        return False

    def _aside(self, key: str) -> Path:
        return self._home.root / "damaged" / key
