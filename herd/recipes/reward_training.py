"""A reward model from preferences of one's own."""

from __future__ import annotations

from herd.align.loading import load_pretrained
from herd.align.reward import RewardSettings, train_reward
from herd.core.artifacts import Report
from herd.core.errors import SettingsError
from herd.core.settings import settings
from herd.recipes import recipes
from herd.recipes.own_rows import OwnRowsSettings, RowFiles
from herd.report.stages import write_report
from herd.report.verdicts import Criteria


@settings
class RewardTrainingSettings(OwnRowsSettings):
    """preferences: as `tune_on_preferences` takes them. reward: its own `held_out_share` does not
    count, since prompts are held out before."""

    preferences: RowFiles
    reward: RewardSettings

    def __post_init__(self) -> None:
        self.require("reward", "model", "preferences")
        if not self.held_out and not self.held_out_share:
            raise SettingsError("a reward model is told by held-out pairs; set held_out_share above 0, or held_out")
        if self.measure.tasks:
            raise SettingsError("a reward model scores answers and gives none; leave measure.tasks out")


@recipes.add
def train_judge(s: RewardTrainingSettings) -> Report:
    """A reward model from preferences of your own: how many held-out pairs it ranks right, by epoch."""
    start = load_pretrained(folder=s.model, chat_template=s.chat_template)
    preferences, held_out = s.preferences_of(s.preferences)
    judge = train_reward(start, (preferences,), held_out, settings=s.reward)
    return write_report((), (judge,), title=s.title, criteria=Criteria())
