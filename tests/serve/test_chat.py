"""Talking to a model in the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from herd.core.records import Message, ToolCall
from herd.generate.engine import CompletionOutput, RequestOutput, SamplingParams
from herd.serve.chat import MAX_TOOL_CALLS, ChatSession, talk
from herd.serve.folders import export, model_in, toolbox_of
from herd.tokens.chat import Llama3ChatTemplate
from herd.train.checkpoint import write_checkpoint
from tests.imported import imported
from tests.model.test_transformer import SMALL, model
from tests.serve.test_compare import chat_model
from tests.tokens.test_chat import TOKENIZER


def written(ids: list[int]) -> Iterator[RequestOutput]:
    """What an engine streams that wrote these ids."""
    return iter([RequestOutput("", (), [CompletionOutput(token_ids=ids)])])


def chat(run: Path) -> ChatSession:
    folder = model_in(run)
    return ChatSession(folder, SamplingParams(max_tokens=8), toolbox_of(folder))


def test_a_conversation_goes_on_and_starts_anew(smoke_run: Path) -> None:
    made = chat(smoke_run)
    lines = iter(["Hello!", "", "Again?", "/clear", "Once more."])
    said: list[str] = []

    def read() -> str:
        try:
            return next(lines)
        except StopIteration:
            raise EOFError from None

    talk(made, read, said.append)
    assert [message.content for message in made.history.messages if message.role == "user"] == ["Once more."]
    assert said.count("\n") >= 3


def test_what_is_streamed_is_what_is_remembered(smoke_run: Path) -> None:
    made = chat(smoke_run)
    text = "".join(made.answer("What is 12 + 34?"))
    assert made.history.last.role == "assistant"
    assert made.history.last.content in (text, text.strip()) or made.history.last.tool_calls


def test_a_model_is_offered_the_tools_of_its_run_and_one_from_elsewhere_none(smoke_run: Path, tmp_path: Path) -> None:
    ours = chat(smoke_run)
    assert ours.history.tools == ("calculator",)
    asked = ToolCall("calculator", {"query": "6*7"})
    assert ours.toolbox.run(asked) == "42"
    export(model_in(smoke_run), tmp_path / "elsewhere")
    theirs = ChatSession(tmp_path / "elsewhere", SamplingParams(max_tokens=8), toolbox_of(tmp_path / "elsewhere"))
    assert theirs.history.tools == ()
    assert theirs.toolbox.run(asked) == "error: there is no tool called calculator"


def test_tools_are_run_and_their_answers_read(smoke_run: Path) -> None:
    made = chat(smoke_run)
    call = Message("assistant", "", (ToolCall("calculator", {"query": "6*7"}),))
    assert isinstance(made.chat_template, Llama3ChatTemplate)
    ids = made.chat_template.encode_message(call).ids
    header = len(made.chat_template.encode_message(Message("assistant", "")).ids) - 1
    made.engine.stream = lambda prompt, params: written(ids[header:-1])  # type: ignore[method-assign]
    text = "".join(made.answer("What is 6 times 7?"))
    assert "→ 42" in text
    assert text.count("→") == MAX_TOOL_CALLS  # a model that never stops calling is stopped


def test_an_imported_model_is_offered_no_tool_that_it_did_not_bring(tmp_path: Path) -> None:
    """Neither one in Llama 3's format, which could be told of tools by name; a call that it writes is what it said."""
    write_checkpoint(
        tmp_path, model(replace(SMALL, vocab_size=TOKENIZER.vocab_size, max_seq_len=256)), TOKENIZER, kind="chat"
    )
    made = ChatSession(tmp_path, SamplingParams(max_tokens=8), toolbox_of(tmp_path))
    assert isinstance(made.chat_template, Llama3ChatTemplate)
    asked = made.history.with_messages(Message("user", "What is 6 times 7?"))
    assert "ipython" not in made.tokenizer.show(made.chat_template.encode_prompt(asked))
    call = Message("assistant", "", (ToolCall("calculator", {"query": "6*7"}),))
    ids = made.chat_template.encode_message(call).ids
    header = len(made.chat_template.encode_message(Message("assistant", "")).ids) - 1
    made.engine.stream = lambda prompt, params: written(ids[header:-1])  # type: ignore[method-assign]
    assert "".join(made.answer("What is 6 times 7?")) == 'calculator.call(query="6*7")'
    assert made.history.last == call


def test_answers_are_sampled_as_the_models_own_settings_say(tmp_path: Path) -> None:
    made = ChatSession(imported(tmp_path / "model").path)
    drawn: list[SamplingParams] = []

    def stream(prompt: list[int], params: SamplingParams):
        drawn.append(params)
        return written(made.tokenizer.encode("By water."))

    made.engine.stream = stream  # type: ignore[method-assign]
    assert "".join(made.answer("How?")) == "By water."
    own = SamplingParams(temperature=0.6, top_p=0.9, top_k=40, repetition_penalty=1.1, max_tokens=256)
    assert drawn == [own]


def test_a_turn_reads_only_what_is_new(tmp_path: Path) -> None:
    made = ChatSession(chat_model(tmp_path / "model"), SamplingParams(max_tokens=8))
    assert made.chat_template is not None
    list(made.answer("hello there"))
    first = made.engine.prefilled_tokens
    list(made.answer("again"))
    second = made.engine.prefilled_tokens - first
    # each token once, and those of the last answer never
    assert first + second < len(made.chat_template.encode_prompt(made.history))
