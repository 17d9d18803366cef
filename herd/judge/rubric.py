"""Points that a language model gives to answers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from herd.core.records import Conversation, Message
from herd.generate.samplers import Sampler

_MAX_CHARACTERS = 6_000  # characters of a conversation that the judge is shown
SCORE_PATTERN = r"(?i)score\W{0,12}(\d+)"  # where points stand in a judge's words


@dataclass(frozen=True)
class AnswerRubric:
    """What a judge is asked about the last answer of a conversation. Points go from `lowest` to `highest`."""

    question: str
    lowest: int
    highest: int

    def ask(self, conversation: Conversation) -> Conversation:
        text = (
            f"{self.question}\n\n--- the conversation ---\n{transcript(conversation)[-_MAX_CHARACTERS:]}\n--- its "
            "end ---"
        )
        return Conversation((Message("user", text),), id=conversation.id)

    def points(self, answer: str) -> float | None:
        """The last points in an answer; None when there are none, or none that may be given."""
        return points_in(answer, self.lowest, self.highest)


def points_in(answer: str, lowest: int, highest: int, parse: str = SCORE_PATTERN) -> float | None:
    """The last points in a judge's words; None when there are none, or none that may be given."""
    matches = re.findall(parse, answer)
    return float(matches[-1]) if matches and lowest <= float(matches[-1]) <= highest else None


def transcript(conversation: Conversation) -> str:
    """The messages as one text, each under its role, for those who judge a conversation as a whole."""
    return "\n\n".join(f"[{message.role}]\n{message.content}" for message in conversation.messages)


# Source: Llama 3, 4.2.3 (three points for general English, two for code); the words are ours.
GENERAL_RUBRIC = AnswerRubric(
    "Judge the assistant's last answer below. Give 1 if it is wrong, misses what was asked or is unfit to be sent. "
    "Give 2 if it is mostly right but leaves out or bends something that was asked, or its tone or form is off. "
    "Give 3 if it is right, does all that was asked and reads as it should.\n"
    "State the reasons in one sentence, then write `score: ` and the number.",
    1,
    3,
)
CODE_RUBRIC = AnswerRubric(
    "Judge the code in the assistant's last answer below. Give 1 if it has a fault or does not do what the user wants. "
    "Give 2 if you find no fault and it does what the user wants.\nState the reasons in one sentence, then write "
    "`score: ` and the number.",
    1,
    2,
)
ANSWER_RUBRICS = {"general": GENERAL_RUBRIC, "code": CODE_RUBRIC}


def rubric_points(conversations: Sequence[Conversation], sampler: Sampler, rubric: AnswerRubric) -> list[float | None]:
    """Points of every conversation's last answer, from 0 to 1; None where the judge's words held none."""
    answers = sampler.sample([rubric.ask(conversation) for conversation in conversations])
    points = [rubric.points(answer) for answer in answers]
    width = rubric.highest - rubric.lowest
    return [None if value is None else (value - rubric.lowest) / width for value in points]
