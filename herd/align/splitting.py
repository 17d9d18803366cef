"""Rows that are held out: never learnt, so that what is measured on them says what was learnt and not what was read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Literal, TypeVar

from herd.align.contamination import HeldOutQuestions
from herd.align.loading import write_dialogues
from herd.align.results import HeldOutSplit, PreferenceCount
from herd.core.artifacts import Dialogues, Preferences
from herd.core.errors import DataError
from herd.core.records import Conversation, Preference
from herd.core.seeds import fraction
from herd.core.settings import AddedLater, PositiveInt, Share
from herd.core.stage import Work, stage
from herd.core.storage import read_conversations, read_preferences, write_preferences

_FORM_ROWS = 2_000  # from which it is told what all prompts have in common
RowT = TypeVar("RowT", Conversation, Preference)
SplitPart = Literal["train", "held_out"]


@stage(paper="4.1.3", version=1)
def split_dialogues(
    work: Work,
    dialogues: Dialogues,
    held_out: Dialogues | None = None,
    *,
    part: SplitPart,
    held_out_share: Share = 0.0,
    at_least: PositiveInt = 1,
    prompt_suffix: AddedLater[str] = "",
) -> Dialogues:
    """One of two parts of `dialogues`: those to learn from, or those that are held out.

    Which part a dialogue is in follows from what its user says first, so that equal prompts are in one part, and more
    dialogues move none of those before from one to the other. held_out_share: of the prompts. at_least: so many prompts
    are held out however small the share, half of all at most. held_out: in their place dialogues of its own; `train`
    leaves out whose prompts are among them. prompt_suffix: what was put behind prompts as they were read, and is no
    part of what tells them apart. Raises DataError when nothing is left to learn from.
    """
    others = list(read_conversations(held_out.path)) if held_out else None
    rows = list(read_conversations(dialogues.path))
    selected = _select(work, rows, others, _same, part, held_out_share, at_least, prompt_suffix)
    return write_dialogues(work, selected, work.headline, left_out={})


@stage(paper="4.1.2", version=1)
def split_preferences(
    work: Work,
    preferences: Preferences,
    held_out: Preferences | None = None,
    held_out_prompts: AddedLater[Dialogues | None] = None,
    *,
    part: SplitPart,
    held_out_share: Share = 0.0,
    at_least: PositiveInt = 1,
) -> Preferences:
    """As `split_dialogues`, of ranked answers. held_out_prompts: the prompts that are held out, in the place of
    preferences."""
    others = [_prompt_of(row) for row in read_preferences(held_out.path)] if held_out else None
    if held_out_prompts is not None:
        others = [*(others or ()), *read_conversations(held_out_prompts.path)]
    rows = list(read_preferences(preferences.path))
    selected = _select(work, rows, others, _prompt_of, part, held_out_share, at_least)
    write_preferences(work.out, selected)
    work.record(PreferenceCount(len(selected)))
    return Preferences(work.out)


@stage(paper="4.1.6", version=1)
def hold_out_prompts(
    work: Work,
    dialogues: tuple[Dialogues, ...],
    preferences: tuple[Preferences, ...],
    seen_dialogues: tuple[Dialogues, ...] = (),
    seen_preferences: tuple[Preferences, ...] = (),
    before: Dialogues | None = None,
    *,
    held_out_share: Share,
    at_least: PositiveInt = 1,
    prompt_suffix: str = "",
) -> Dialogues:
    """Which prompts of a round's `dialogues` and `preferences` are never learnt, in whatever file they stand: a row of
    each, behind those of `before`.

    seen_dialogues, seen_preferences: what the rounds before brought. A prompt among them is as it was decided then, so
    that what one round has learnt no later one is measured on. at_least: of the new prompts of either kind, as
    `split_dialogues` has it. prompt_suffix: of prompts among `seen_dialogues`, as there.
    """
    asked = [list(read_conversations(artifact.path)) for artifact in dialogues]
    ranked = [[_prompt_of(row) for row in read_preferences(artifact.path)] for artifact in preferences]
    seen = {prompt_text(row, prompt_suffix) for artifact in seen_dialogues for row in read_conversations(artifact.path)}
    seen |= {prompt_text(row.prompt) for artifact in seen_preferences for row in read_preferences(artifact.path)}
    held_out = {prompt_text(row): row for row in (read_conversations(before.path) if before else ())}
    earlier, total = len(held_out), 0
    for rows in (list(chain.from_iterable(asked)), list(chain.from_iterable(ranked))):
        new = {prompt: row for row in rows if (prompt := prompt_text(row)) not in seen}
        chosen = choose_held_out(list(new), held_out_share, at_least)
        held_out = {prompt: row for prompt, row in new.items() if prompt in chosen} | held_out
        total += len(new)
    added = len(held_out) - earlier
    beside = f", beside {earlier:,} of earlier rounds" if earlier else ""
    return write_dialogues(work, list(held_out.values()), f"{added:,} of {total:,} new prompts held out{beside}")


@stage(paper="4.1.6", version=1)
def gather_held_out(work: Work, dialogues: tuple[Dialogues, ...], held_out: Dialogues) -> Dialogues:
    """Of all `dialogues` those whose prompts are among those of `held_out`: what is measured on. Raises DataError when
    there is none."""
    rows = list(chain.from_iterable(read_conversations(artifact.path) for artifact in dialogues))
    selected = _among(rows, _same, held_out)
    return write_dialogues(work, selected, f"{len(selected):,} of {len(rows):,} held out")


@stage(paper="4.1.6", version=1)
def gather_held_out_preferences(work: Work, preferences: tuple[Preferences, ...], held_out: Dialogues) -> Preferences:
    """As `gather_held_out`, of ranked answers."""
    rows = list(chain.from_iterable(read_preferences(artifact.path) for artifact in preferences))
    selected = _among(rows, _prompt_of, held_out)
    write_preferences(work.out, selected)
    work.record(PreferenceCount(len(selected)))
    work.headline = f"{len(selected):,} of {len(rows):,} held out"
    return Preferences(work.out)


def _among(rows: Sequence[RowT], prompt_of: Callable[[RowT], Conversation], held_out: Dialogues) -> list[RowT]:
    prompts = {prompt_text(row) for row in read_conversations(held_out.path)}
    selected = [row for row in rows if prompt_text(prompt_of(row)) in prompts]
    if not selected:
        raise DataError(
            f"none of the prompts of {len(rows)} rows is held out; bring more rows, or raise held_out_share"
        )
    return selected


def _same(dialogue: Conversation) -> Conversation:
    return dialogue


def _prompt_of(preference: Preference) -> Conversation:
    return preference.prompt


def _select(
    work: Work, rows: Sequence[RowT], others: Sequence[Conversation] | None, prompt_of: Callable[[RowT], Conversation],
    part: SplitPart, share: float, at_least: int, prompt_suffix: str = "",
) -> list[RowT]:  # fmt: skip
    """The rows of a part; tells how many there are, and how near those that are learnt come to those that are not."""
    prompts, named = [prompt_text(prompt_of(row), prompt_suffix) for row in rows], others is not None
    if others is None:
        held_out_prompts = choose_held_out(prompts, share, at_least)
        few = len(held_out_prompts) > len(choose_held_out(prompts, share, 0))
        others = [prompt_of(row) for row, prompt in zip(rows, prompts, strict=True) if prompt in held_out_prompts]
        note = f" (more than {share:.0%}, so that there are some)" if few else ""
    else:
        held_out_prompts, note = set(map(prompt_text, others)), ""
    apart = [prompt in held_out_prompts for prompt in prompts]
    selected = [row for row, held_out in zip(rows, apart, strict=True) if held_out == (part == "held_out")]
    if not selected and named:
        raise DataError(
            f"every prompt of {len(rows):,} rows is also held out, so that none is left to learn from; name other rows "
            "as held_out"
        )
    if not selected:
        raise DataError(
            f"none of {len(rows)} rows is left in the part {part}; change held_out_share, or bring more rows"
        )
    if part == "held_out":
        work.headline = f"{len(selected):,} of {len(rows):,} held out{note}"
        return selected
    if len(selected) == 1:
        work.warn(f"a single row of {len(rows):,} is left to learn from, which is learnt by heart; bring more rows")
    questions = HeldOutQuestions(others, [prompt_of(row) for row in selected[:_FORM_ROWS]])
    near = sum(map(questions.occurs_in, selected))
    work.record(HeldOutSplit(len(selected), len(rows) - len(selected), len(held_out_prompts), near))
    twins = f"; {near:,} of these hold half of a held-out prompt's 8-grams" if near else ""
    work.headline = f"{len(selected):,} of {len(rows):,} to learn from{twins}"
    return selected


def choose_held_out(prompts: Sequence[str], share: float, at_least: int = 1) -> set[str]:
    """Which prompts are held out: those whose hash, as a number from 0 to 1, lies below `share`. Where these are fewer
    than `at_least` those of the lowest hashes, half of all prompts at most."""
    hashes = {prompt: fraction(0, "held_out", prompt) for prompt in prompts}
    below = {prompt for prompt, number in hashes.items() if number < share}
    least = min(at_least, len(hashes) // 2)
    if share > 0 and len(below) < least:
        return set(sorted(hashes, key=lambda prompt: (hashes[prompt], prompt))[:least])
    return below


def prompt_text(conversation: Conversation, suffix: str = "") -> str:
    """What tells prompts apart: all that is said before the first answer but for system prompts, without its spacing;
    in a dialogue that begins with an answer all of it. suffix: is taken off its end."""
    before: list[str] = []
    for message in conversation.messages:
        if message.role == "assistant":
            break
        if message.role != "system":
            before.append(message.content)
    texts = before or [message.content for message in conversation.messages]
    joined = "\n".join(" ".join(text.split()) for text in texts)
    return joined.removesuffix(" ".join(suffix.split())).rstrip() if suffix else joined
