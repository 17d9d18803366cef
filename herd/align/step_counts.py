"""How many steps a fine-tuning on one's own rows will make, counted as training counts them and before it begins."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from herd.align.columns import ParsedRows
from herd.align.dpo import DpoSettings
from herd.align.reward import RewardSettings
from herd.align.sft import SftSettings
from herd.align.splitting import choose_held_out, prompt_text
from herd.core.records import Conversation, Preference
from herd.core.terminal import count_of
from herd.tokens.jinja import ChatTemplate
from herd.tokens.tokenizer import TextTokenizer
from herd.train.dialogues import DialogueBatches
from herd.train.preferences import PreferenceBatches, encode_preferences

RowT = TypeVar("RowT", Conversation, Preference)
_FEW_STEPS = 20


@dataclass(frozen=True)
class StepCount:
    """rows: to learn from; held_out: never learnt; left_out: of `rows`, by why they are not learnt. steps: in all;
    epochs: over how many passes these go. per_step: of `unit` so many. unread: in words, what fills no step."""

    rows: int
    held_out: int
    left_out: Mapping[str, int]
    steps: int
    epochs: float
    per_step: int
    unit: str
    unread: str = ""

    def lines(self) -> list[str]:
        """What is said of it, in sentences without full stops."""
        apart = f", {self.held_out:,} held out" if self.held_out else ", none held out"
        reasons = [f"{count:,} {reason}" for reason, count in self.left_out.items() if count]
        left_out = sum(self.left_out.values())
        unfit = f", {left_out:,} of them left out: {', '.join(reasons)}" if reasons else ""
        told = [f"{count_of(self.rows, 'row')} to learn from{apart}{unfit}"]
        few = "; so few teach little: try a smaller --batch-size or more --epochs" if self.steps < _FEW_STEPS else ""
        steps = f"{count_of(self.steps, 'step')} of {count_of(self.per_step, self.unit)}"
        passes = f"{self.epochs:.3g} {'epoch' if self.epochs == 1 else 'epochs'}"
        told.append(f"{steps}, {passes}{self.unread and f' ({self.unread})'}{few}")
        if self.rows - left_out == 1:
            told.append("warning: a single row is learnt, by heart; bring more, or hold fewer out")
        return told


def count_steps(
    data: ParsedRows,
    settings: SftSettings | DpoSettings | RewardSettings,
    chat_template: ChatTemplate,
    tokenizer: TextTokenizer,
    context: int,
    *,
    held_out: ParsedRows | None = None,
    held_out_share: float = 0.0,
    at_least: int = 1,
) -> StepCount:
    """Of the dialogues of `data` for SFT, else of its preferences. held_out, held_out_share, at_least: as
    `split_dialogues` has them. Replayed text is not counted. Raises DataError where nothing is left to learn from."""
    if isinstance(settings, SftSettings):
        rows = _learnt(data.conversations, held_out and held_out.conversations, held_out_share, at_least)
        length = min(settings.length, context)
        batches = DialogueBatches(
            rows, chat_template, length=length, rows=settings.batch_size, epochs=settings.epochs,
            seed=settings.seed, pad=tokenizer.pad_id, repeats=settings.repeats, steps=settings.steps,
        )  # fmt: skip
        apart = len(held_out.conversations) if held_out else len(data.conversations) - len(rows)
        steps, per_step = len(batches), batches.rows_per_step
        last = batches.unread_rows
        unread = f"the last {count_of(last, 'row')} would fill no step and {'is' if last == 1 else 'are'} not read"
        longer = f"longer than {length:,} tokens"
        if length < context:
            longer += f" (--length takes up to {context:,})"
        return StepCount(
            len(rows), apart, {longer: batches.left_out}, steps, batches.epoch_of(steps), per_step, "packed row",
            unread if last else "",
        )  # fmt: skip
    rows = _learnt(data.preferences, held_out and held_out.preferences, held_out_share, at_least)
    apart = len(held_out.preferences) if held_out else len(data.preferences) - len(rows)
    strong = [row for row in rows if row.strength in settings.strengths]
    encoded = encode_preferences(
        strong, chat_template, context=context, max_answers=None if isinstance(settings, RewardSettings) else 2,
        share_prompt=isinstance(settings, RewardSettings) and settings.share_prompt,
        balanced_sources=settings.balanced_sources, seed=settings.seed,
    )  # fmt: skip
    pairs = encoded.preferences
    batches = PreferenceBatches(
        pairs, size=settings.batch_size, epochs=settings.epochs, seed=settings.seed, pad=tokenizer.pad_id,
        length=context, steps=settings.steps,
    )  # fmt: skip
    last = len(pairs) % batches.size
    unread = (
        f"of each {count_of(last, 'row')}, drawn anew, would fill no step and {'is' if last == 1 else 'are'} not read"
    )
    left_out = {
        f"not {' or '.join(settings.strengths)}": len(rows) - len(strong),
        f"longer than {context:,} tokens": encoded.too_long,
        "with answers alike": encoded.duplicates,
        "more than of other sources": encoded.unbalanced,
    }
    return StepCount(
        len(rows), apart, left_out, len(batches), batches.epoch_of(len(batches)), batches.size, "row",
        unread if last else "",
    )  # fmt: skip


def _learnt(rows: Sequence[RowT], apart: Sequence[RowT] | None, share: float, at_least: int) -> list[RowT]:
    """The rows that are not held out."""
    prompts = [_prompt(row) for row in rows]
    out: Collection[str] = set(map(_prompt, apart)) if apart is not None else choose_held_out(prompts, share, at_least)
    return [row for row, prompt in zip(rows, prompts, strict=True) if prompt not in out]


def _prompt(row: Conversation | Preference) -> str:
    return prompt_text(row.prompt if isinstance(row, Preference) else row)
