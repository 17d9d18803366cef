"""Conversations and preferences in the columns that others use: TRL, OpenAI, ShareGPT, Alpaca, Anthropic's HH."""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from herd.core.errors import DataError
from herd.core.manifests import check_files
from herd.core.records import STRENGTHS, Conversation, Message, Preference, ToolCall
from herd.core.rowfiles import RowError, iter_rows

JsonRow = Mapping[str, Any]
Turns = tuple[Message, ...]

# ShareGPT's and its kin's words for roles.
_ROLES = {
    "human": "user",
    "gpt": "assistant",
    "bot": "assistant",
    "observation": "tool",
    "function_response": "tool",
    "ipython": "tool",
    "function": "tool",
    "developer": "system",
}
_SYSTEM = ("system", "system_prompt")  # columns
_REASONING = ("reasoning_content", "reasoning", "thinking")  # what was thought before the answer, by whose columns
_TURNS = "\n\nHuman:", "\n\nAssistant:"  # of Anthropic's transcripts


@dataclass
class ParsedRows:
    """What rows of a file became. rejected: how many by reason; examples: an example of each, (line, what was
    wrong)."""

    conversations: list[Conversation] = field(default_factory=list)
    preferences: list[Preference] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)
    examples: dict[str, tuple[int, str]] = field(default_factory=dict)


def read_rows(file: Path) -> ParsedRows:
    """Every row of a JSON lines, JSON or Parquet file (packed by gzip, bzip2, xz or Zstandard too), each kept or
    counted with why not.

    Raises DataError when the file cannot be read, breaks off, or not one row is kept.
    """
    parsed = ParsedRows()
    for number, row in iter_rows(file):
        try:
            if isinstance(row, RowError):
                raise row
            read = parse_row(row, f"{file.name}-{number}")
        except RowError as fault:
            parsed.rejected[fault.reason] += 1
            parsed.examples.setdefault(fault.reason, (number, str(fault)))
            continue
        if isinstance(read, Preference):
            parsed.preferences.append(read)
        else:
            parsed.conversations.append(read)
    if not parsed.conversations and not parsed.preferences:
        why = (
            "; ".join(f"row {number}: {problem[:300]}" for number, problem in parsed.examples.values())
            or "it holds no rows"
        )
        raise DataError(f"{file}: no row can be used; {why}")
    return parsed


def load_rows(path: Path) -> ParsedRows:
    """What a file of rows holds, or an artifact of dialogues or preferences."""
    if not path.is_dir():
        return read_rows(path)
    for name in ("dialogues.jsonl", "preferences.jsonl"):
        check_files(path, name)
        if (path / name).exists():
            return read_rows(path / name)
    raise DataError(f"{path} holds neither dialogues nor preferences; name a file of rows or such an artifact")


def parse_row(row: JsonRow, number: str = "") -> Conversation | Preference:
    """A row as a conversation, or as a preference where it has a better and a worse answer.

    Raises RowError for columns of no known form, ragged turns, unknown roles, empty answers, and pairs that are alike.
    """
    if not isinstance(row, Mapping):
        raise RowError("no object", f"a row is a {type(row).__name__}, not an object with columns")
    for columns, read in _FORMS.items():
        if all(column in row for column in columns):
            try:
                if row.get("train") is False or row.get("weight") == 0:
                    raise RowError("weight 0", "the row says that it is not to be learnt from")
                return _checked(read(row, number))
            except RowError:
                raise
            except KeyError as fault:
                raise RowError("broken", f"{' and '.join(columns)}: {fault.args[0]!r} is missing") from None
            # Whatever stands where something else should: the row is reported, and the next one read.
            except (DataError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as fault:
                raise RowError("broken", f"{' and '.join(columns)}: {fault}") from None
    forms = "; ".join(" + ".join(columns) for columns in _FORMS)
    raise RowError("unknown columns", f"columns {', '.join(map(str, row))} are none of: {forms}")


# ---- forms ----


def _pair(row: JsonRow, number: str) -> Preference:
    """An explicit prompt and two answers, TRL's and its kin's; many sets say the prompt again in both answers."""
    prompt = _prompt(row["prompt"] if "prompt" in row else row["conversations"])
    return _preference(row, number, *_split_shared(prompt, _answer(row["chosen"]), _answer(row["rejected"])))


def _question_pair(row: JsonRow, number: str) -> Preference:
    """Pairs in Alpaca's columns, and pairs below a question."""
    question = row["question"] if "question" in row else _instruction(row)
    prompt = (*_history(row), Message("user", question))
    return _preference(row, number, *_split_shared(prompt, _answer(row["chosen"]), _answer(row["rejected"])))


def _split_shared(prompt: Turns, chosen: Turns, rejected: Turns) -> tuple[Turns, Turns, Turns]:
    """Prompt and answers, where both answers may begin with the prompt once more, or with turns before it too.

    Raises RowError where they begin with another prompt than the one that is said.
    """
    if chosen[:1] and chosen[0].role == "assistant":
        return prompt, chosen, rejected
    shared = _shared(chosen, rejected)
    prompt_turns = tuple(message for message in prompt if message.role != "system")
    shared_turns = tuple(message for message in chosen[:shared] if message.role != "system")
    if not prompt_turns or prompt_turns not in (shared_turns[-len(prompt_turns) :], shared_turns[: len(prompt_turns)]):
        raise RowError("another prompt", "the answers begin with turns that are not those of the prompt")
    opening = prompt[:1] if prompt[0].role == "system" and chosen[0].role != "system" else ()
    return (*opening, *chosen[:shared]), chosen[shared:], rejected[shared:]


def _shared(chosen: Turns, rejected: Turns) -> int:
    """How many turns both dialogues begin with, up to what the assistant answers to."""
    shared = 0
    while shared < min(len(chosen), len(rejected)) - 1 and chosen[shared] == rejected[shared]:
        shared += 1
    return shared


def _implicit_pair(row: JsonRow, number: str) -> Preference:
    """Whole dialogues of which the beginning is shared: TRL's implicit prompt, and HH's transcripts."""
    chosen, rejected = (_dialogue(row[name]) for name in ("chosen", "rejected"))
    shared = _shared(chosen, rejected)
    return _preference(row, number, chosen[:shared], chosen[shared:], rejected[shared:])


def _ranked(row: JsonRow, number: str) -> Preference:
    """Answers best first: the best two, or the first, second and last as edited, chosen and rejected."""
    answers = [_answer(answer) for answer in row["ranked"]]
    if len(answers) < 2:
        raise RowError("one answer", f"{len(answers)} ranked answers make no pair; give two or more")
    edited = answers[0] if len(answers) > 2 else ()
    chosen, rejected = (answers[1], answers[-1]) if edited else (answers[0], answers[1])
    return _preference(row, number, _prompt(row["prompt"]), chosen, rejected, edited)


def _unpaired(row: JsonRow, number: str) -> Conversation:
    raise RowError("a label and no pair", "an answer that is only wanted or not has nothing beside it; give pairs")


def _stepwise(row: JsonRow, number: str) -> Conversation:
    """TRL's steps with a label each, as one answer where every step is right."""
    steps, labels = row["completions"], row["labels"]
    if len(steps) != len(labels):
        raise RowError("broken", f"{len(steps)} completions have {len(labels)} labels; give one each")
    if not all(labels):
        wrong = list(map(bool, labels)).index(False) + 1
        raise RowError("a wrong step", f"step {wrong} of {len(steps)} is wrong: nothing to learn without what is right")
    return _conversation(row, number, (*_prompt(row["prompt"]), *_answer("\n".join(steps))))


def _messages(row: JsonRow, number: str) -> Conversation:
    messages = row["messages"] if "messages" in row else row["conversations"]
    return _conversation(row, number, _turns(messages))


def _answered(row: JsonRow, number: str) -> Conversation:
    """GSM8K's problems."""
    return _conversation(row, number, (*_prompt(row["question"]), *_answer(row["answer"])))


def _completion(row: JsonRow, number: str) -> Conversation:
    answer = row["completion"] if "completion" in row else row["response"]
    return _conversation(row, number, (*_prompt(row["prompt"]), *_answer(answer)))


def _alpaca(row: JsonRow, number: str) -> Conversation:
    answer = row["output"] if "output" in row else row["response"]
    return _conversation(row, number, (*_history(row), Message("user", _instruction(row)), *_answer(answer)))


def _instruction(row: JsonRow) -> str:
    """Alpaca's input stands below its instruction, an empty line between."""
    parts = (row["instruction"], row.get("input") or "")
    if not all(isinstance(part, str) for part in parts):
        raise RowError("broken", "the instruction or its input is no text")
    return "\n\n".join(filter(None, parts))


def _history(row: JsonRow) -> Turns:
    """The turns before, of LLaMA-Factory's rows."""
    pairs = ((Message("user", user), Message("assistant", reply)) for user, reply in row.get("history") or ())
    return tuple(itertools.chain.from_iterable(pairs))


# A row is of the first form whose columns it has.
_FORMS: dict[tuple[str, ...], Callable[[JsonRow, str], Conversation | Preference]] = {
    ("prompt", "chosen", "rejected"): _pair,
    ("conversations", "chosen", "rejected"): _pair,
    ("instruction", "chosen", "rejected"): _question_pair,
    ("question", "chosen", "rejected"): _question_pair,
    ("chosen", "rejected"): _implicit_pair,
    ("prompt", "ranked"): _ranked,
    ("messages", "label"): _unpaired,
    ("prompt", "completion", "label"): _unpaired,
    ("prompt", "completions", "labels"): _stepwise,
    ("messages",): _messages,
    ("conversations",): _messages,
    ("prompt", "completion"): _completion,
    ("prompt", "response"): _completion,
    ("question", "answer"): _answered,
    ("instruction", "output"): _alpaca,
    ("instruction", "response"): _alpaca,
}


# ---- parts ----


def _conversation(row: JsonRow, number: str, messages: Sequence[Message]) -> Conversation:
    fields = {"id": str(row.get("id") or number), "source": str(row.get("source") or "")}
    extras = {"tools": list(_tools(row.get("tools"))), "metadata": _metadata(row.get("metadata")), "messages": ()}
    conversation = Conversation.from_row(fields | extras)
    return conversation.with_messages(*_system(row, messages), *messages)


def _metadata(value: Any) -> dict[str, Any]:
    """The column as JSON can hold it; what is no object, under the column's name."""
    if value is None:
        return {}
    plain = json.loads(json.dumps(value, default=str))
    return plain if isinstance(plain, dict) else {"metadata": plain}


def _system(row: JsonRow, messages: Sequence[Message]) -> Turns:
    """The system prompt of a column of its own, which opens the conversation.

    Raises RowError where the conversation opens with another one.
    """
    prompts = {text for name in _SYSTEM if isinstance(text := row.get(name), str) and text.strip()}
    if any(row.get(name) is not None and not isinstance(row[name], str) for name in _SYSTEM):
        raise RowError("broken", f"the system prompt in {' or '.join(_SYSTEM)} is no text")
    opens = messages[0].content if messages and messages[0].role == "system" else None
    if opens is not None:
        prompts.discard(opens)
    if len(prompts) > (opens is None):
        raise RowError("two system prompts", "one stands in a column and another opens the conversation")
    return tuple(Message("system", text) for text in prompts)


def _tools(tools: Any) -> Iterator[str | JsonRow]:
    """Names of built-in tools as they are, and schemas of others in OpenAI's form; some write the list as JSON."""
    if isinstance(tools, str):
        tools = json.loads(tools) if tools.strip() else ()
    for tool in tools or ():
        if isinstance(tool, str):
            yield tool
        elif isinstance(tool, Mapping) and ("function" in tool or "name" in tool):
            yield tool if "function" in tool else {"type": "function", "function": tool}
        else:
            raise RowError("broken", f"tools: {str(tool)[:60]!r} is neither a built-in tool's name nor a definition")


def _preference(
    row: JsonRow, number: str, prompt: Sequence[Message], chosen: Sequence[Message], rejected: Sequence[Message],
    edited: Sequence[Message] = (),
) -> Preference:  # fmt: skip
    if edited == () and row.get("edited"):
        edited = _answer(row["edited"])
    conversation = _conversation(row, number, prompt)
    fields: dict[str, Any] = {"strength": row["strength"]} if "strength" in row else {}
    if fields and fields["strength"] not in STRENGTHS:
        raise RowError("broken", f"strength {str(fields['strength'])[:40]!r} is none of {', '.join(STRENGTHS)}")
    if row.get("margin") is not None:
        fields["margin"] = float(row["margin"])
        if not math.isfinite(fields["margin"]):
            raise RowError("broken", f"the margin is {fields['margin']}, no number to be ahead by")
    return Preference(
        prompt=conversation, chosen=tuple(chosen), rejected=tuple(rejected), edited=tuple(edited), **fields
    )


def _prompt(value: Any) -> tuple[Message, ...]:
    if isinstance(value, str) and not value.startswith(_TURNS):
        return (Message("user", value),)
    turns = _dialogue(value)
    # A transcript that ends with who is to answer: the answer stands in a column of its own.
    opened = isinstance(value, str) and turns[-1] == Message("assistant", "")
    return turns[:-1] if opened else turns


def _answer(value: Any) -> tuple[Message, ...]:
    if isinstance(value, str):
        return _dialogue(value) if value.startswith(_TURNS) else (Message("assistant", value),)
    return _turns([value] if isinstance(value, Mapping) else value)


def _dialogue(value: Any) -> tuple[Message, ...]:
    """A list of turns, or a transcript that names who speaks at the beginning of every turn."""
    if not isinstance(value, str):
        return _turns(value)
    turns, remainder = [], value
    if not remainder.startswith(_TURNS):
        raise RowError("no transcript", f"a text begins with {value[:30]!r}, not with a turn such as {_TURNS[0]!r}")
    while remainder:
        speaker = _TURNS[0] if remainder.startswith(_TURNS[0]) else _TURNS[1]
        remainder = remainder[len(speaker) :]
        ends = [place for turn in _TURNS if (place := remainder.find(turn)) >= 0]
        content, remainder = (remainder[: min(ends)], remainder[min(ends) :]) if ends else (remainder, "")
        turns.append(Message("user" if speaker == _TURNS[0] else "assistant", content.strip()))
    return tuple(turns)


def _turns(rows: Sequence[JsonRow]) -> tuple[Message, ...]:
    return tuple(_message(row) for row in rows)


def _message(row: JsonRow) -> Message:
    if not isinstance(row, Mapping):
        raise RowError("broken", f"a turn is a {type(row).__name__}, not an object with role and content")
    if row.get("from") == "function_call":
        return Message("assistant", "", (ToolCall.from_row(json.loads(row["value"])),), _weight(row) != 0)
    role, content = (row["from"], row["value"]) if "from" in row else (row.get("role"), row.get("content"))
    role = _ROLES.get(role, role) if isinstance(role, str) else role
    calls = row.get("tool_calls") or ([row["function_call"]] if row.get("function_call") else ())
    thought = next((row[name] for name in _REASONING if row.get(name)), "")
    fields = {
        "role": role,
        "content": _text(content),
        "tool_calls": calls,
        "reasoning_content": thought,
        "train": _weight(row) != 0,
    }
    return Message.from_row(fields)


def _weight(row: JsonRow) -> int:
    """1 for what is learnt, 0 for what is not: OpenAI's `weight` and axolotl's `train` or `training`.

    Raises RowError for any other weight.
    """
    flags = [row[name] for name in ("weight", "train", "training") if row.get(name) is not None]
    if any(flag not in (0, 1) for flag in flags):
        raise RowError("a weight", f"weight {flags[0]!r}: herd learns a turn or does not; write 0 or 1")
    return int(all(flags))


def _text(content: Any) -> Any:
    """OpenAI's parts of a message, where all of them are text, as one."""
    if not isinstance(content, list):
        return content
    kinds = {part.get("type") for part in content}
    if kinds != {"text"}:
        raise RowError("not text", f"a message has parts of type {', '.join(map(str, kinds))}; herd reads text only")
    return "".join(part.get("text", part.get("value", "")) for part in content)


def _checked(read: Conversation | Preference) -> Conversation | Preference:
    if isinstance(read, Conversation):
        _check_turns(read.messages)
        return read
    for name, answer in zip(("best", "next", "last"), read.ranked_answers, strict=False):
        if not answer or not any(message.content.strip() or message.tool_calls for message in answer):
            raise RowError("empty answer", f"the {name} of the answers is empty")
        _check_turns((*read.prompt.messages, *answer))
    if len(set(read.ranked_answers)) < len(read.ranked_answers):
        raise RowError("equal answers", "two of the answers are the same, so neither is better")
    return read


def _check_turns(messages: Sequence[Message]) -> None:
    """A system's word first or none, then user and assistant in turn, tools after an assistant; an answer last."""
    spoken = [message for message in messages if message.role != "system"]
    if any(message.role == "system" for message in messages[1:]):
        raise RowError("ragged turns", "a system message stands after the first")
    if not spoken or spoken[0].role != "user":
        raise RowError(
            "ragged turns", f"the first to speak is the {spoken[0].role if spoken else 'system'}, not the user"
        )
    for before, after in itertools.pairwise(spoken):
        follows = {"user": ("assistant",), "assistant": ("user", "tool"), "tool": ("assistant", "tool")}
        if after.role not in follows[before.role] and not (before.role == after.role == "assistant"):
            raise RowError("ragged turns", f"the {after.role} speaks after the {before.role}")
    if spoken[-1].role != "assistant":
        raise RowError("no answer", f"the {spoken[-1].role} has the last word, so there is nothing to learn")
    if not any(message.content.strip() or message.tool_calls for message in spoken if message.role == "assistant"):
        raise RowError("empty answer", "nothing the assistant says is there")
    if not any(message.train for message in spoken if message.role == "assistant"):
        raise RowError("nothing learnt", "every turn of the assistant is marked as not to be learnt from")
