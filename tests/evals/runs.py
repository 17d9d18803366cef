"""Runs whose causes are planted: a model is a function to texts, and its answers are ended and graded as a run says."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from herd.evals.answer_runs import AnswerRun
from herd.evals.answers import AnswerRecord, text_sha256
from herd.evals.replay import AnswerEnding, ReplayedAnswer
from herd.evals.task import Grade

Model = Callable[[str], str]  # from an item to all that it would write, if nothing ended it but itself
Grader = Callable[[str, str], Grade]  # from an item and a text


def strict(item: str, text: str) -> Grade:
    """Right where `#### item` stands in the text."""
    found = re.search(r"#### (\w+)", text)
    return Grade(float(found[1] == item), found[1]) if found else Grade(0.0, unparsed=True)


def flexible(item: str, text: str) -> Grade:
    """Right where the item is the last word."""
    words = re.findall(r"\w+", text)
    return Grade(float(words[-1] == item), words[-1]) if words else Grade(0.0, unparsed=True)


GRADERS: Mapping[str, Grader] = {"strict": strict, "flexible": flexible}


def planted_run(
    label: str,
    model: Model,
    items: list[str],
    *,
    stop: tuple[str, ...] = (),
    max_tokens: int = 1000,
    grader: str = "strict",
    prompt: Mapping[str, object] | None = None,
    name: str = "",
    knows_grader: bool = True,
    of_server: bool = False,
) -> AnswerRun:
    """What the model answers, a character a token. prompt: by cause; another one makes another text. of_server: which
    tells neither the stop string nor what came after it, nor tokens apart."""
    settings = {"chat template": "none", "shots": 0, **(prompt or {})}
    rows: dict[str, tuple[AnswerRecord, ...]] = {}
    for item in items:
        record = ended(model(item), AnswerEnding(stop, max_tokens))
        if of_server:
            record = replace(record, tail="", stop_string="", token_lengths=())
        grade = GRADERS[grader](item, record.response)
        asked = f"{settings} {item}"
        rows[item] = (
            replace(
                record, id=item, prompt=asked, prompt_sha256=text_sha256(asked), score=grade.score,
                extracted=grade.extracted, unparsed=grade.unparsed,
            ),
        )  # fmt: skip

    def regrade(record: AnswerRecord, answer: ReplayedAnswer) -> Grade | None:
        return GRADERS[grader](record.id, answer.text) if knows_grader else None

    return AnswerRun(
        "sums",
        label,
        name or label,
        settings,
        AnswerEnding(stop, max_tokens, tells=not of_server),
        "greedy",
        1,
        grader,
        rows,
        regrade,
    )


def ended(text: str, ending: AnswerEnding) -> AnswerRecord:
    """The record of a text that was written up to its end, a stop string or the limit."""
    places = [(text.find(stop), stop) for stop in ending.stop if stop in text]
    at, stop = min(places, default=(len(text), ""))
    if at + len(stop) > ending.max_tokens:
        at, stop = ending.max_tokens, ""
    limited = not stop and len(text) > ending.max_tokens
    written = text[: min(at + len(stop), ending.max_tokens)]
    return AnswerRecord(
        "sums", "", response=text[:at], tail=written[at:], stop_string=stop, tokens=len(written),
        token_lengths=(1,) * len(written), finish_reason="length" if limited else "stop",
    )  # fmt: skip
