"""Prompts and choices as ids, and what is done with those that a context does not hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from herd.core.errors import DataError
from herd.evals.task import Prompt, join_text
from herd.tokens.jinja import chat_template_of
from herd.tokens.tokenizer import TextTokenizer


def prompt_ids(tokenizer: TextTokenizer, prompts: Sequence[Prompt], chat: bool) -> list[list[int]]:
    """What the model reads before it answers: text, or a chat with the opening of its own turn, each with what the
    answer begins with."""
    if not chat:
        return [[*tokenizer.opening, *tokenizer.encode(prompt.text)] for prompt in prompts]
    rows = zip(prompts, opened_chats(tokenizer, prompts), strict=True)
    return [
        [*ids, *tokenizer.encode(prompt.response_prefix)] if prompt.response_prefix else ids for prompt, ids in rows
    ]


def opened_chats(tokenizer: TextTokenizer, prompts: Sequence[Prompt]) -> list[list[int]]:
    """The chats with the opening of the model's turn, and nothing in it."""
    chat_template, conversations = chat_template_of(tokenizer), [prompt.chat for prompt in prompts]
    if not chat_template.built_in_tools:
        conversations = [replace(conversation, tools=()) for conversation in conversations]
    return [chat_template.encode_prompt(conversation) for conversation in conversations]


def chat_continuation(
    tokenizer: TextTokenizer, opened: Sequence[int], prefix: str, choice: str
) -> tuple[list[int], list[int]]:
    """Ids of a chat and of a choice in the model's own turn, after what the answer begins with."""
    if not prefix:
        return list(opened), tokenizer.encode(choice.strip())
    trimmed = prefix.rstrip()
    before = tokenizer.encode(trimmed)
    return [*opened, *before], tokenizer.encode(join_text(prefix, choice))[len(before) :]


def continuation(tokenizer: TextTokenizer, prompt: str, choice: str) -> tuple[list[int], list[int]]:
    """Ids of a prompt and of what follows it, encoded together; spaces at the prompt's end go to what follows.

    Source: lm-evaluation-harness, `TemplateLM._encode_pair`.
    """
    trimmed = prompt.rstrip()
    first = tokenizer.opening or ([] if trimmed else [tokenizer.eos_id])
    before = [*first, *tokenizer.encode(trimmed)]
    ids = [*first, *tokenizer.encode(prompt + choice)]
    return before, ids[len(before) :]


def truncate_prompts(rows: Sequence[list[int]], context: int, max_tokens: int) -> tuple[list[list[int]], int]:
    """Prompts without so many of their first ids that each leaves room for an answer, and how many lost some.

    Raises DataError when answers leave no room for a prompt. Source: lm-evaluation-harness, `left_truncate_len`.
    """
    room = context - max_tokens
    if room < 1 and any(len(row) >= context for row in rows):
        raise DataError(
            f"answers of {max_tokens:,} tokens leave no room for a prompt; the model reads {context:,}: ask for fewer"
        )
    # A prompt that fits, though not with all of its answer, stays as it is: the answer may well be shorter.
    return [row[-room:] if len(row) >= context else row for row in rows], sum(len(row) >= context for row in rows)


def truncate_pairs(
    pairs: Sequence[tuple[list[int], list[int]]], context: int
) -> tuple[list[tuple[list[int], list[int]]], list[bool]]:
    """Prompts with what follows them, without so many of their first ids that both fit, and which lost some.

    Raises DataError where what follows alone does not fit.
    """
    fitting: list[tuple[list[int], list[int]]] = []
    for prompt, answer in pairs:
        if len(answer) >= context:
            raise DataError(f"a choice takes {len(answer):,} tokens; the model reads {context:,}: leave it out")
        fitting.append((prompt[-(context - len(answer)) :], answer))
    return fitting, [len(prompt) + len(answer) > context for prompt, answer in pairs]


def check_fits(context: int, lengths: Sequence[int]) -> None:
    """Raises DataError where a text is longer than the context."""
    if max(lengths) > context:
        raise DataError(
            f"an example takes {max(lengths):,} tokens; the model reads {context:,}: take fewer shots, or let prompts "
            "be truncated"
        )
