"""Talking to a model in the terminal."""

from __future__ import annotations

from pathlib import Path

from herd.core.records import Message, ToolCall
from herd.generate.engine import CompletionOutput, RequestOutput, SamplingParams
from herd.serve.chat import MOST_CALLS, Chat, talk
from herd.serve.folders import model_in, world_of
from herd.tokens.chat import ChatFormat
from tests.serve.test_compare import chat_model


def chat(run: Path) -> Chat:
    folder = model_in(run)
    return Chat(folder, world_of(folder).everybody, SamplingParams(max_tokens=8))


def test_a_conversation_goes_on_and_starts_anew(smoke_run: Path) -> None:
    made = chat(smoke_run)
    lines = iter(["Hello!", "", "Again?", "/clear", "Once more."])
    written: list[str] = []

    def read() -> str:
        try:
            return next(lines)
        except StopIteration:
            raise EOFError from None

    talk(made, read, written.append)
    assert [message.content for message in made.history.messages if message.role == "user"] == ["Once more."]
    assert written.count("\n") >= 3


def test_what_is_streamed_is_what_is_remembered(smoke_run: Path) -> None:
    made = chat(smoke_run)
    text = "".join(made.answer("What is 12 + 34?"))
    assert made.history.last.role == "assistant"
    assert made.history.last.content in (text, text.strip()) or made.history.last.calls


def test_tools_are_run_and_their_answers_read(smoke_run: Path) -> None:
    made = chat(smoke_run)
    call = Message("assistant", "", (ToolCall("calculator", {"query": "6*7"}),))
    assert isinstance(made.form, ChatFormat)
    ids = made.form.message(call).ids
    header = len(made.form.message(Message("assistant", "")).ids) - 1
    output = RequestOutput("", (), [CompletionOutput(token_ids=ids[header:-1])])
    made.engine.stream = lambda prompt, params: iter([output])  # type: ignore[method-assign]
    text = "".join(made.answer("What is 6 times 7?"))
    assert "→ 42" in text
    assert text.count("→") == MOST_CALLS  # a model that never stops calling is stopped


def test_a_turn_reads_only_what_is_new(tmp_path: Path) -> None:
    made = Chat(chat_model(tmp_path / "model"), None, SamplingParams(max_tokens=8))
    assert made.form is not None
    list(made.answer("hello there"))
    first = made.engine.prefilled_tokens
    list(made.answer("again"))
    second = made.engine.prefilled_tokens - first
    assert first + second < len(made.form.prompt(made.history))  # each token once, and those of the last answer never
