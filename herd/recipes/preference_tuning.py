"""A chat model moved towards the answers that people of one's own chose."""

from __future__ import annotations

from herd.align.dpo import DpoSettings, dpo
from herd.align.loading import load_pretrained
from herd.core.artifacts import Report
from herd.core.settings import settings
from herd.recipes import recipes
from herd.recipes.own_rows import OwnRowsSettings, RowFiles
from herd.report.stages import write_report
from herd.report.verdicts import Criteria


@settings
class PreferenceTuningSettings(OwnRowsSettings):
    """preferences: files of rows, each with a better and a worse answer, by the name of their source or as a list."""

    preferences: RowFiles
    dpo: DpoSettings

    def __post_init__(self) -> None:
        self.require("dpo", "model", "preferences")
        self.check_held_out(self.dpo)


@recipes.add
def tune_on_preferences(s: PreferenceTuningSettings) -> Report:
    """DPO, or another loss on pairs, on preferences of your own: margins on held-out pairs by epoch, tasks before and
    after."""
    start = load_pretrained(folder=s.model, chat_template=s.chat_template)
    preferences, held_out = s.preferences_of(s.preferences)
    tuned = dpo(start, (preferences,), held_out, settings=s.dpo)
    return write_report(s.before_and_after(start, tuned), (tuned,), title=s.title, criteria=Criteria())
