"""A chat model taught by dialogues of one's own."""

from __future__ import annotations

from dataclasses import field

from herd.align.loading import load_pretrained
from herd.align.sft import SftSettings, sft
from herd.core.artifacts import Report
from herd.core.errors import SettingsError
from herd.core.settings import Share, settings
from herd.recipes import recipes
from herd.recipes.own_rows import OwnRowsSettings, RowFiles, ready_text
from herd.report.stages import write_report
from herd.report.verdicts import Criteria


@settings
class DialogueTuningSettings(OwnRowsSettings):
    """dialogues: files of rows, by the name of their source or as a list. texts: files of text by the name of their
    source, for `sft.replay`, and on which the loss is measured before and after where `measure.loss_length` says so;
    text_held_out_share of them is never read."""

    dialogues: RowFiles
    texts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    text_held_out_share: Share = 0.1
    sft: SftSettings

    def __post_init__(self) -> None:
        self.require("sft", "model", "dialogues")
        self.check_held_out(self.sft)
        if (self.sft.replay or self.measure.loss_length) and not self.texts:
            raise SettingsError("sft.replay and measure.loss_length are about text; name some as `texts`")


@recipes.add
def tune_on_dialogues(s: DialogueTuningSettings) -> Report:
    """Supervised fine-tuning on dialogues of your own: the loss on held-out ones by epoch, tasks before and after."""
    start = load_pretrained(folder=s.model, chat_template=s.chat_template)
    dialogues, held_out = s.dialogues_of(s.dialogues)
    tokens = ready_text(s.texts, start, held_out_share=s.text_held_out_share)
    tuned = sft(start, (dialogues,), tokens if s.sft.replay else None, held_out, settings=s.sft)
    return write_report(s.before_and_after(start, tuned, tokens), (tuned,), title=s.title, criteria=Criteria())
