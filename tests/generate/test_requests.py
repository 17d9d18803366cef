"""Text grows by whole characters, whatever tokens they are made of."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from herd.generate.requests import Detokenizer
from tests.tokens.test_chat import TOKENIZER


@settings(max_examples=40, deadline=None)
@given(st.text(alphabet="ab \n-é漢🙂", max_size=12))
def test_pieces_are_the_text(text: str) -> None:
    ids = TOKENIZER.encode(text)
    detokenizer = Detokenizer(TOKENIZER.decode)
    pieces = [detokenizer.add(token) for token in ids]
    assert "".join(pieces) == text
    assert not any("\N{REPLACEMENT CHARACTER}" in piece for piece in pieces)
