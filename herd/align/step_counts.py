"""How many steps a fine-tuning on one's own rows will make, counted as training counts them and before it begins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from herd.align.columns import ParsedRows
from herd.align.dpo import DpoSettings
from herd.align.preflight import row_source
from herd.align.reward import RewardSettings
from herd.align.sft import SftSettings
from herd.align.splitting import choose_held_out, prompt_text
from herd.core.records import Conversation, Preference
from herd.core.terminal import count_of, visible
from herd.tokens.jinja import ChatTemplate
from herd.tokens.tokenizer import TextTokenizer
from herd.train.dialogues import DialogueBatches
from herd.train.preferences import PreferenceBatches, encode_preferences

RowT = TypeVar("RowT", Conversation, Preference)
_FEW_STEPS = 20
_MOST_SOURCES = 8  # that are named


@dataclass(frozen=True)
class StepCount:
    """rows: to learn from; held_out: never learnt; left_out: of `rows`, by why they are not learnt. steps: in all;
    epochs: over how many passes these go. per_step: of `unit` so many. unread: in words, what fills no step. sources:
    by source the rows to learn from and those that are held out. length: tokens of a sequence, padding included where
    it is computed too, the mean of pairs' answers; longest: the most that one of `unit` has. step_tokens: of a step,
    the mean. pass_tokens: of all rows to learn from, read once."""

    rows: int
    held_out: int
    left_out: Mapping[str, int]
    steps: int
    epochs: float
    per_step: int
    unit: str
    unread: str = ""
    sources: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    length: int = 0
    longest: int = 0
    step_tokens: float = 0.0
    pass_tokens: float = 0.0

    @property
    def held_out_tokens(self) -> float:
        """Of the rows that are held out, by the mean of those to learn from."""
        learnt = self.rows - sum(self.left_out.values())
        return self.held_out * self.pass_tokens / max(1, learnt)

    def lines(self) -> list[str]:
        """What is said of it, in sentences without full stops."""
        apart = f", {self.held_out:,} held out" if self.held_out else ", none held out"
        reasons = [f"{count:,} {reason}" for reason, count in self.left_out.items() if count]
        left_out = sum(self.left_out.values())
        unfit = f", {left_out:,} of them left out: {', '.join(reasons)}" if reasons else ""
        told = [f"{count_of(self.rows, 'row')} to learn from{apart}{unfit}"]
        if len(self.sources) > 1:
            named = [f"{visible(name) or 'no source named'} {own:,} and {out:,}" for name, (own, out) in self._by_size]
            more = f", and {len(named) - _MOST_SOURCES} sources more" if len(named) > _MOST_SOURCES else ""
            told.append(f"by source, to learn from and held out: {', '.join(named[:_MOST_SOURCES])}{more}")
        few = "; so few teach little: try a smaller --batch-size or more --epochs" if self.steps < _FEW_STEPS else ""
        steps = f"{count_of(self.steps, 'step')} of {count_of(self.per_step, self.unit)}"
        passes = f"{self.epochs:.3g} {'epoch' if self.epochs == 1 else 'epochs'}"
        told.append(f"{steps}, {passes}{self.unread and f' ({self.unread})'}{few}")
        if self.rows - left_out == 1:
            told.append("warning: a single row is learnt, by heart; bring more, or hold fewer out")
        return told

    @property
    def _by_size(self) -> list[tuple[str, tuple[int, int]]]:
        return sorted(self.sources.items(), key=lambda pair: -sum(pair[1]))


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
        rows, apart = _split(data.conversations, held_out and held_out.conversations, held_out_share, at_least)
        return _count_dialogues(rows, apart, settings, chat_template, tokenizer, context)
    pairs, pairs_apart = _split(data.preferences, held_out and held_out.preferences, held_out_share, at_least)
    return _count_pairs(pairs, pairs_apart, settings, chat_template, tokenizer, context)


def _count_dialogues(
    rows: Sequence[Conversation], apart: Sequence[Conversation], settings: SftSettings, chat_template: ChatTemplate,
    tokenizer: TextTokenizer, context: int,
) -> StepCount:  # fmt: skip
    length = min(settings.length, context)
    batches = DialogueBatches(
        rows, chat_template, length=length, rows=settings.batch_size, epochs=settings.epochs,
        seed=settings.seed, pad=tokenizer.pad_id, repeats=settings.repeats, steps=settings.steps,
        ranks=settings.layout.data, drop_last=settings.dataloader_drop_last,
    )  # fmt: skip
    steps, per_step, last = len(batches), batches.rows_per_step, batches.unread_rows
    unread = f"the last {count_of(last, 'row')} would fill no step and {'is' if last == 1 else 'are'} not read"
    longer = f"longer than {length:,} tokens"
    if length < context:
        longer += f" (--length takes up to {context:,})"
    return StepCount(
        len(rows), len(apart), {longer: batches.left_out}, steps, batches.epoch_of(steps), per_step, "packed row",
        unread if last else "", _by_source(rows, apart), length=length, longest=length, step_tokens=per_step * length,
        pass_tokens=sum(len(text[0]) for text in batches.texts),
    )  # fmt: skip


def _count_pairs(
    rows: Sequence[Preference], apart: Sequence[Preference], settings: DpoSettings | RewardSettings,
    chat_template: ChatTemplate, tokenizer: TextTokenizer, context: int,
) -> StepCount:  # fmt: skip
    strong = [row for row in rows if row.strength in settings.strengths]
    share_prompt = isinstance(settings, RewardSettings) and settings.share_prompt
    encoded = encode_preferences(
        strong, chat_template, context=context, max_answers=None if isinstance(settings, RewardSettings) else 2,
        share_prompt=share_prompt, balanced_sources=settings.balanced_sources, seed=settings.seed,
    )  # fmt: skip
    pairs = encoded.preferences
    batches = PreferenceBatches(
        pairs, size=settings.batch_size, epochs=settings.epochs, seed=settings.seed, pad=tokenizer.pad_id,
        length=context, steps=settings.steps, ranks=settings.layout.data, share_prompt=share_prompt,
        drop_last=settings.dataloader_drop_last,
    )  # fmt: skip
    last = batches.unread
    unread = (
        f"of each {count_of(last, 'row')}, drawn anew, would fill no step and {'is' if last == 1 else 'are'} not read"
    )
    left_out = {
        f"not {' or '.join(settings.strengths)}": len(rows) - len(strong),
        f"longer than {context:,} tokens": encoded.too_long,
        "with answers alike": encoded.duplicates,
        "more than of other sources": encoded.unbalanced,
    }
    lengths = [sum(pair.lengths(share_prompt)) for pair in pairs]
    sequences = sum(len(pair.lengths(share_prompt)) for pair in pairs)
    return StepCount(
        len(rows), len(apart), left_out, len(batches), batches.epoch_of(len(batches)), batches.size, "row",
        unread if last else "", _by_source(rows, apart), length=max(1, round(batches.pass_tokens / sequences)),
        longest=max(lengths), step_tokens=batches.size * batches.pass_tokens / len(pairs),
        pass_tokens=batches.pass_tokens,
    )  # fmt: skip


def _by_source(rows: Sequence[RowT], apart: Sequence[RowT]) -> dict[str, tuple[int, int]]:
    learnt, held_out = Counter(map(row_source, rows)), Counter(map(row_source, apart))
    return {name: (learnt[name], held_out[name]) for name in dict.fromkeys((*learnt, *held_out))}


def _split(
    rows: Sequence[RowT], held_out: Sequence[RowT] | None, share: float, at_least: int
) -> tuple[list[RowT], list[RowT]]:
    """The rows to learn from, and those that are held out: `held_out` where there are some."""
    prompts = [_prompt(row) for row in rows]
    apart: Collection[str]
    apart = set(map(_prompt, held_out)) if held_out is not None else choose_held_out(prompts, share, at_least)
    learnt, others = list[RowT](), list[RowT]()
    for row, prompt in zip(rows, prompts, strict=True):
        (others if prompt in apart else learnt).append(row)
    return learnt, list(held_out) if held_out is not None else others


def _prompt(row: Conversation | Preference) -> str:
    return prompt_text(row.prompt if isinstance(row, Preference) else row)
