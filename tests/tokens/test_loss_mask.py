"""What a model learns of a chat template's words: all that it writes when it is asked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from herd.core.records import Conversation, Message
from herd.tokens.chat import preview
from herd.tokens.jinja import chat_template_of
from herd.tokens.loss_mask import Opening
from herd.tokens.tokenizer import TextTokenizer
from tests.hub import INST, NO_THINK
from tests.serve.test_models_of_others import CHATML, CHATML_TOKENS, OWN, byte_level, folder_of

TURNS = (Message("user", "Hello"), Message("assistant", "Hi."), Message("user", "Ok"), Message("assistant", "Yes."))
# As Qwen3 does: the last answer has thoughts, be they empty, and a prompt does not open them.
EMPTY_THOUGHTS = CHATML.replace(
    "'\n' + m['content']",
    "'\n' + ('<think>\n\n</think>\n\n' if loop.last and m['role'] == 'assistant' else '') + m['content']",
)


@pytest.mark.parametrize(
    ("template", "learnt"),
    [
        pytest.param(CHATML, ["Hi.<|im_end|>", "Yes.<|im_end|>"], id="the words and their end"),
        pytest.param(
            EMPTY_THOUGHTS, ["Hi.<|im_end|>", "<think>\n\n</think>\n\nYes.<|im_end|>"], id="thoughts before them"
        ),
        pytest.param(NO_THINK, ["Hi.<|im_end|>", "Yes.<|im_end|>"], id="thoughts that the prompt opens are not"),
        pytest.param(
            INST.replace("' ' + m", "'\n' + m"), ["\nHi.<|im_end|>", "\nYes.<|im_end|>"], id="nothing opens an answer"
        ),
    ],
)
def test_what_stands_between_the_opening_of_an_answer_and_its_words_is_learnt(
    template: str, learnt: list[str], tmp_path: Path
) -> None:
    tokens = (*CHATML_TOKENS, "<think>", "</think>")
    text = TextTokenizer.load(folder_of(tmp_path / "m", byte_level(tokens), OWN | {"chat_template": template}))
    form = chat_template_of(text)
    shown = preview(text, form.encode(Conversation(TURNS)))
    assert [part.split("«")[0] for part in shown.split("»")[1:]] == learnt
    silent = tuple(replace(message, train=False) for message in TURNS)
    assert not any(form.encode(Conversation(silent)).loss_mask)
    # The last answer is what a model wrote that was asked for it.
    whole, asked = form.encode(Conversation(TURNS)), form.encode_prompt(Conversation(TURNS[:-1]))
    assert whole.ids[: len(asked)] == asked
    assert whole.loss_mask[len(asked)]
    assert not any(whole.loss_mask[len(asked) - 2 : len(asked)])


def test_a_turn_that_is_opened_in_another_way_than_is_asked_for_begins_with_its_words() -> None:
    assert Opening("<a>", "").end_in("x<a>y") == 4
    assert Opening("<a>", "").end_in("x<b>y") is None
    assert Opening("", "[/INST]").end_in("[/INST] ") == 7
    assert Opening("", "[/INST]").end_in(" ") is None
