"""Chat formats as Jinja templates write what they are said to."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.core.records import Conversation, Message
from herd.tokens.jinja import JinjaChatTemplate
from herd.tokens.template import CHATML, TEMPLATES
from herd.tokens.template_sandbox import Budget, Environment
from tests.tokens.test_chat import CALL, FORM, HELLO, TOKENIZER
from tests.tokens.test_jinja import chatml

ENVIRONMENT = Environment()


def fill(name: str, messages: list[dict[str, Any]], **more: Any) -> str:
    made = ENVIRONMENT.from_string(TEMPLATES[name])
    return ENVIRONMENT.fill(made, {"messages": messages, **more}, Budget(10**5, 10**5))


MESSAGES = st.lists(
    st.tuples(st.sampled_from(["system", "user", "assistant", "tool"]), st.text(max_size=9)), max_size=4
)


@given(MESSAGES)
def test_llama_3s_template_writes_any_messages_as_the_code_does(rows: list[tuple[str, str]]) -> None:
    asked = Conversation(tuple(Message(role, text) for role, text in rows))  # type: ignore[arg-type]
    messages = [message.to_row() for message in asked.messages]
    text = fill("llama3", messages, bos_token="<|begin_of_text|>", add_generation_prompt=True)
    assert text == TOKENIZER.show(FORM.encode_prompt(asked))


@given(MESSAGES, st.booleans())
def test_chatml_is_openais(rows: list[tuple[str, str]], opening: bool) -> None:
    messages = [{"role": role, "content": text} for role, text in rows]
    wanted = "".join(f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in rows)
    found = fill("chatml", messages, add_generation_prompt=opening)
    assert found == wanted + "<|im_start|>assistant\n" * opening


def test_chatml_learns_an_answer_with_its_ending() -> None:
    form = JinjaChatTemplate(chatml(CHATML))
    encoded = form.encode(HELLO)
    learnt = [token for token, learn in zip(encoded.ids, encoded.loss_mask, strict=True) if learn]
    assert form.tokenizer.show(learnt) == "Hello.<|im_end|>"
    assert form.parse_message(learnt) == HELLO.last


@pytest.mark.parametrize("name", TEMPLATES)
def test_markup_in_messages_is_left_as_it_is(name: str) -> None:
    assert "{{ 1 + 1 }} & <b>" in fill(name, [{"role": "user", "content": "{{ 1 + 1 }} & <b>"}])


def test_the_template_writes_the_same_as_the_code(tmp_path) -> None:
    import transformers

    TOKENIZER.save(tmp_path, max_seq_len=512)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for conversation in (HELLO, CALL):
        rows = [message.to_row() for message in conversation.messages]
        tools = {"builtin_tools": list(conversation.tools)} if conversation.tools else {}
        text = theirs.apply_chat_template(rows, tokenize=False, **tools)
        assert text == TOKENIZER.show(FORM.encode(conversation).ids)
        prompt = theirs.apply_chat_template(rows[:1], tokenize=False, add_generation_prompt=True, **tools)
        first = Conversation(conversation.messages[:1], tools=conversation.tools)
        assert prompt == TOKENIZER.show(FORM.encode_prompt(first))
