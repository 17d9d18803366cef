"""Rows of well-known sets whose columns are their own: UltraFeedback, HelpSteer, OpenMathInstruct, Nemotron.

Tulu 3, UltraFeedback binarized and others in TRL's columns need nothing of this. Source: the sets' cards on the Hub.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from herd.align.row_parts import JsonRow, Turns, answer_turns, check_row, prompt_turns, row_conversation, row_preference
from herd.core.errors import DataError
from herd.core.records import Conversation, Message, Preference, Strength
from herd.core.rowfiles import RowError

# By how many points of the sets' scales, -3 to 3 and 0 to 4, one answer is ahead; the words are Llama 3's, 4.2.1.
_STRENGTHS: Mapping[int, Strength] = {1: "slightly better", 2: "better", 3: "significantly better"}


def _strength(points: float) -> Strength:
    return _STRENGTHS[min(3, max(1, round(abs(points))))]


def _score(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise RowError("broken", f"{name} is {str(value)[:40]!r}, no number")
    return float(value)


def _chosen(row: JsonRow, number: str, prompt: Turns, answers: tuple[Any, Any], points: float) -> Preference:
    """The second answer over the first where `points` is above zero, the first over the second where below."""
    if not points:
        raise RowError("no preference", "neither answer is preferred, so that there is nothing to learn")
    rejected, chosen = answers if points > 0 else answers[::-1]
    graded = {**row, "strength": _strength(points)}
    return row_preference(graded, number, prompt, answer_turns(chosen), answer_turns(rejected))


def _helpsteer2_preference(row: JsonRow, number: str) -> Preference:
    """Strengths from -3, the first answer is much better, to 3, the second is. Source: Wang et al. 2024
    (arXiv:2410.01257), 2."""
    points = _score(row["preference_strength"], "preference_strength")
    return _chosen(row, number, _flat_turns(row["prompt"]), (row["response_1"], row["response_2"]), points)


def _helpsteer3_preference(row: JsonRow, number: str) -> Preference:
    """As HelpSteer2's, below a conversation. Source: Wang et al. 2025 (arXiv:2505.11475), 2."""
    points = _score(row["overall_preference"], "overall_preference")
    named = {**row, "source": row.get("source") or row.get("domain")}
    return _chosen(named, number, prompt_turns(row["context"]), (row["response1"], row["response2"]), points)


def _helpsteer(row: JsonRow, number: str) -> Conversation:
    """A prompt and an answer with ratings; what two rows of a prompt make is `RatedAnswers`'s."""
    return row_conversation(row, number, (*_flat_turns(row["prompt"]), *answer_turns(row["response"])))


_FLAT_TURN = re.compile(r"\n<extra_id_1>(Assistant|User)\n")


def _flat_turns(prompt: Any) -> Turns:
    """The turns of HelpSteer's prompts, which are written one behind the other."""
    if not isinstance(prompt, str) or not _FLAT_TURN.search(prompt):
        return prompt_turns(prompt)
    first, *others = _FLAT_TURN.split(prompt)
    turns = [Message("user", first)]
    for role, content in zip(others[::2], others[1::2], strict=True):
        turns.append(Message("assistant" if role == "Assistant" else "user", content))
    # The place where the answer goes may stand there already.
    return tuple(turns[:-1] if turns[-1] == Message("assistant", "") else turns)


def _ultrafeedback(row: JsonRow, number: str) -> Preference:
    """The best of several answers by their overall scores against the worst. Source: Cui et al. 2023
    (arXiv:2310.01377), 2.3. Differs: Zephyr's binarized set takes any other answer as the worse one."""
    scored = [(_score(answer["overall_score"], "overall_score"), answer["response"]) for answer in row["completions"]]
    if len(scored) < 2:
        raise RowError("one answer", f"{len(scored)} completions make no pair; give two or more")
    best, worst = max(scored, key=lambda pair: pair[0]), min(scored, key=lambda pair: pair[0])
    if best[0] == worst[0]:
        raise RowError("equal scores", f"all {len(scored)} completions have the score {best[0]:g}, so none is better")
    return row_preference(row, number, prompt_turns(row["instruction"]), answer_turns(best[1]), answer_turns(worst[1]))


def _openmath(row: JsonRow, number: str) -> Conversation:
    """A problem and a solution that was found right. Source: Toshniwal et al. 2024 (arXiv:2402.10176; 2410.01560)."""
    if row.get("is_correct") is False:
        raise RowError("a wrong solution", "the row says that its solution is wrong: nothing to learn")
    problem = row["problem"] if "problem" in row else row["question"]
    source = row.get("source") or row.get("problem_source") or row.get("dataset")
    known = {name: row[name] for name in ("expected_answer",) if row.get(name) is not None}
    named = {**row, "source": source, "metadata": known}
    return row_conversation(named, number, (*prompt_turns(problem), *answer_turns(row["generated_solution"])))


def _nemotron(row: JsonRow, number: str) -> Conversation:
    """Messages, of a category; the metadata is JSON in a text, which may define tools."""
    metadata = row.get("metadata")
    if isinstance(metadata, str):
        metadata = json.loads(metadata) if metadata.strip().startswith("{") else {"metadata": metadata}
    tools = row.get("tools") or (metadata or {}).get("tools")
    named = {"id": row["uuid"], "source": row["category"], "metadata": metadata, "tools": tools}
    return row_conversation({**row, **named}, number, prompt_turns(row["messages"]))


_LLAMA_TURN = re.compile(
    r"<\|start_header_id\|>(system|user|assistant|ipython)<\|end_header_id\|>\n\n(.*?)(?:<\|eot_id\|>|\Z)", re.DOTALL
)
_OPENING, _ENDING = "<|begin_of_text|>", "<|eot_id|>"


def input_output(row: JsonRow, number: str) -> Conversation:
    """Llama-Nemotron's rows: what the model reads, as turns or as a text in Llama 3's format, and what it says.

    The tokens of a text in that format part its turns and are no part of them; whatever else spells a token stays the
    plain text that it is. Source: Bercovich et al. 2025 (arXiv:2505.00949), 4.
    """
    turns, answer = input_turns(row["input"]), row["output"]
    if _is_llama_text(row["input"]) and isinstance(answer, str):
        answer = answer.removesuffix(_ENDING)
    named = {**row, "source": row.get("source") or row.get("category")}
    if turns[:1] and turns[0].role == "system":
        named |= {"system_prompt": None, "system": None}  # the same, said in a column too
    return row_conversation(named, number, (*turns, *answer_turns(answer)))


def input_turns(prompt: Any) -> Turns:
    """What the model reads in rows of `input_output`."""
    return _llama_turns(prompt) if _is_llama_text(prompt) else prompt_turns(prompt)


def _is_llama_text(prompt: Any) -> bool:
    return isinstance(prompt, str) and prompt.startswith((_OPENING, "<|start_header_id|>"))


def _llama_turns(text: str) -> Turns:
    """The turns of a text in Llama 3's format, up to the header of the answer."""
    turns, at = [], len(_OPENING) if text.startswith(_OPENING) else 0
    while match := _LLAMA_TURN.match(text, at):
        role = "tool" if match[1] == "ipython" else match[1]
        turns.append(Message.from_row({"role": role, "content": match[2]}))
        at = match.end()
    if at < len(text) or not turns:
        raise RowError("no transcript", f"{text[at : at + 40]!r} is no turn of Llama 3's format")
    return tuple(turns[:-1] if turns[-1] == Message("assistant", "") else turns)


SET_FORMS: Mapping[tuple[str, ...], Callable[[JsonRow, str], Conversation | Preference]] = {
    ("context", "response1", "response2", "overall_preference"): _helpsteer3_preference,
    ("prompt", "response_1", "response_2", "preference_strength"): _helpsteer2_preference,
    ("prompt", "response", "helpfulness"): _helpsteer,
    ("instruction", "completions"): _ultrafeedback,
    ("problem", "generated_solution"): _openmath,
    ("question", "generated_solution"): _openmath,
    ("uuid", "category", "messages"): _nemotron,
}


class RatedAnswers:
    """Answers whose rows say how helpful they are, by their prompts: HelpSteer's, with two to four of each."""

    def __init__(self) -> None:
        self._answers: dict[Turns, list[tuple[float, Conversation]]] = {}

    def add(self, row: JsonRow, read: Conversation) -> None:
        """Takes a row in, if it is of this kind."""
        if "helpfulness" not in row or "response" not in row or len(read.messages) < 2:
            return
        try:
            score = _score(row["helpfulness"], "helpfulness")
        except RowError:
            return
        self._answers.setdefault(read.messages[:-1], []).append((score, read))

    def pairs(self) -> Iterator[Preference | RowError]:
        """Of each prompt its most helpful answer against the least; a RowError where there is no better one."""
        for answers in self._answers.values():
            try:
                yield _best_and_worst(answers)
            except RowError as fault:
                yield fault


def _best_and_worst(answers: Sequence[tuple[float, Conversation]]) -> Preference:
    if len(answers) < 2:
        raise RowError("one answer", "a prompt has one rated answer, which makes no pair")
    (most, best), (least, worst) = (pick(answers, key=lambda pair: pair[0]) for pick in (max, min))
    if most == least:
        raise RowError("equal scores", "all answers to a prompt are rated as helpful, so none is better")
    prompt = Conversation(best.messages[:-1], best.id, best.source, best.tools, best.definitions, best.metadata)
    pair = Preference(
        prompt=prompt, chosen=best.messages[-1:], rejected=worst.messages[-1:], strength=_strength(most - least)
    )
    check_row(pair)
    return pair


LABEL_COLUMNS = ("prompt", "completion", "label")


class LabelledAnswers:
    """Answers whose rows say only whether they are wanted, TRL's unpaired preferences, by their prompts. Source:
    Ethayarajh et al. 2024 (KTO; arXiv:2402.01306)."""

    def __init__(self) -> None:
        self._answers: dict[Turns, tuple[list[_Labelled], list[_Labelled]]] = {}

    def add(self, row: JsonRow, number: int, name: str) -> bool:
        """Takes a row in, if it is of this kind. Raises RowError for one that cannot be read."""
        if not all(column in row for column in LABEL_COLUMNS):
            return False
        label = row["label"]
        if label not in (0, 1):
            raise RowError(
                "broken", f"the label is {str(label)[:40]!r}; write true for a wanted answer, false for others"
            )
        try:
            prompt, answer = prompt_turns(row["prompt"]), answer_turns(row["completion"])
        except (DataError, TypeError, ValueError, AttributeError, KeyError, RecursionError) as fault:
            raise RowError("broken", f"{' and '.join(LABEL_COLUMNS)}: {fault}") from None
        self._answers.setdefault(prompt, ([], []))[not label].append(_Labelled(row, number, name, answer))
        return True

    def pairs(self) -> Iterator[Preference | tuple[int, RowError]]:
        """Of each prompt as many pairs as it has wanted and other answers, in their order; of each row that has none
        beside it its number, and why."""
        for prompt, (liked, disliked) in self._answers.items():
            count = min(len(liked), len(disliked))
            for chosen, rejected in zip(liked[:count], disliked[:count], strict=True):
                try:
                    pair = row_preference(chosen.row, chosen.name, prompt, chosen.answer, rejected.answer)
                    check_row(pair)
                    yield pair
                except RowError as fault:
                    yield chosen.number, fault
            for answer in (*liked[count:], *disliked[count:]):
                yield answer.number, RowError("a label and no pair", NO_PAIR)


NO_PAIR = (
    "an answer that is only wanted or not (KTO's prompt, completion and label) and its prompt has none of the other "
    "label beside it; give answers of both labels to a prompt, or pairs with prompt, chosen and rejected"
)


@dataclass(frozen=True)
class _Labelled:
    """An answer of a row. number: of the row; name: what the row is called."""

    row: JsonRow
    number: int
    name: str
    answer: Turns
