"""What a stored answer would have been had other stop strings, or another limit of tokens, ended it.

Less can be replayed exactly: a text is cut where it would have ended. More can be replayed only as far as it is known:
what a model would have written after the stop string, or the limit, that ended it is in no store.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from herd.evals.answers import AnswerRecord


@dataclass(frozen=True)
class AnswerEnding:
    """What ends answers. max_tokens: 0 where it is not known. tells: whether an answer tells if a stop string ended it;
    servers do not."""

    stop: tuple[str, ...] = ()
    max_tokens: int = 0
    tells: bool = True


@dataclass(frozen=True)
class ReplayedAnswer:
    """The text that would have been graded. truncated: whether the limit ended it."""

    text: str
    truncated: bool


def replay(record: AnswerRecord, own: AnswerEnding, target: AnswerEnding) -> ReplayedAnswer | None:
    """The answer under the ending `wanted`, which was given under `own`; None where a part of it was never written.

    A stop string ends a text at its first place. Where the end of an answer is not known (other harnesses store the
    text alone, and servers do not say which string it was), it is taken as its own under all stop strings that ended it
    before, and as within the limit where it has fewer bytes than the limit has tokens.
    """
    written = record.response + record.tail
    stop_at = min((at for stop in target.stop if (at := written.find(stop)) >= 0), default=None)
    limit_at = _limit_at(record, target.max_tokens, own.max_tokens)
    if limit_at is None:
        return None
    if stop_at is not None and stop_at <= limit_at:
        return ReplayedAnswer(written[:stop_at], False)
    if limit_at < len(written):
        return ReplayedAnswer(written[:limit_at], True)
    if record.stop_string:
        return None  # it went on from a stop string that is none any more
    if record.finish_reason == "length":
        goes_on = target.max_tokens > own.max_tokens and not _ended_by_context(record, own)
        return None if goes_on else ReplayedAnswer(record.response, True)
    if not (record.finish_reason and own.tells) and not set(own.stop) <= set(target.stop):
        return None
    return ReplayedAnswer(record.response, False)


def replay_as(
    record: AnswerRecord, own: AnswerEnding, other: AnswerRecord, target: AnswerEnding
) -> ReplayedAnswer | None:
    """The answer under the ending that `other` had, which the same model gave to the same prompt, where one text goes
    on from the other: then it is that one. None where they part earlier, or something else than the ending may have
    ended the shorter one."""
    written, text = record.response + record.tail, other.response
    truncated = other.finish_reason == "length"
    if written.startswith(text) and (truncated or text == record.response):
        return ReplayedAnswer(text, truncated)
    rest = text.removeprefix(record.response)
    was_ended = record.finish_reason == "length" or rest.startswith(own.stop)
    if text.startswith(record.response) and was_ended:
        return ReplayedAnswer(text, truncated)
    return None


def _ended_by_context(record: AnswerRecord, own: AnswerEnding) -> bool:
    """Whether the model's context was full before the limit was reached, as it would be under any other."""
    return 0 < record.tokens < own.max_tokens


def _limit_at(record: AnswerRecord, target: int, own: int) -> int | None:
    """At which character so many tokens end; past the end where there are no more. None where it cannot be told."""
    written = record.response + record.tail
    beyond = len(written) + 1
    if target == own:
        return beyond
    most_tokens = record.tokens or len(written.encode("utf-8", "surrogatepass"))
    if 0 < most_tokens <= target and (record.finish_reason or most_tokens < own):
        return beyond
    if not written or not target or not record.token_lengths:
        return beyond if not written and target and record.finish_reason != "length" else None
    return _characters(record.token_lengths, target, beyond)


def _characters(lengths: Sequence[int], tokens: int, beyond: int) -> int:
    return sum(lengths[:tokens]) if tokens < len(lengths) else beyond
