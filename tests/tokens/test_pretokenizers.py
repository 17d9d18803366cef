"""Ways to cut text: each name's own, told apart by the probes, and nothing of a text is lost."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import pre_tokenizers

from herd.tokens.pretokenizers import PRE_TOKENIZERS, PROBES


def cut(name: str, text: str, *, prefix: bool = False) -> list[str]:
    return [piece for piece, _ in built(name, prefix=prefix).pre_tokenize_str(text)]


@cache
def built(name: str, *, prefix: bool = False) -> Any:
    return PRE_TOKENIZERS[name].build(add_prefix_space=prefix)


def readable(pieces: list[str]) -> list[str]:
    return [piece.replace("Ġ", " ").replace("Ċ", "\n") for piece in pieces]


ALL_BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)


@given(st.sampled_from(sorted(PRE_TOKENIZERS)), st.text(max_size=20) | st.sampled_from(PROBES))
def test_pieces_side_by_side_are_the_text(name: str, text: str) -> None:
    whole = "".join(piece for piece, _ in ALL_BYTES.pre_tokenize_str(text))
    assert "".join(cut(name, text)) == whole


def test_the_probes_tell_apart_all_ways_that_are_not_the_same() -> None:
    ways: dict[tuple[Any, ...], set[tuple[str, ...]]] = {}
    for name, way in PRE_TOKENIZERS.items():
        ways.setdefault(tuple(tuple(cut(name, probe)) for probe in PROBES), set()).add(way.patterns)
    assert all(len(patterns) == 1 for patterns in ways.values())
    assert len(ways) == len({way.patterns for way in PRE_TOKENIZERS.values()})


@given(st.text(max_size=20), st.booleans())
def test_gpt_2s_is_that_of_the_library(text: str, prefix: bool) -> None:
    theirs = pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=True).pre_tokenize_str(text)
    assert cut("gpt-2", text, prefix=prefix) == [piece for piece, _ in theirs]


@pytest.mark.parametrize(
    ("name", "text", "pieces"),
    [
        ("llama-bpe", "it's 12345", ["it", "'s", " ", "123", "45"]),
        ("gpt-2", "it's 12345", ["it", "'s", " 12345"]),
        ("smollm", "a 123", ["a", " ", "1", "2", "3"]),
        ("qwen2", "x 123", ["x", " ", "1", "2", "3"]),
        ("gpt-4o", "camelCase DON'T", ["camel", "Case", " DON'T"]),
        ("tekken", "camelCase 12", ["camel", "Case", " ", "1", "2"]),
        ("deepseek-coder", "ab 12\n", ["ab", " ", "1", "2", "\n"]),
        ("default", "ab-12345", ["ab", "-", "123", "45"]),
    ],
)
def test_each_cuts_in_its_own_way(name: str, text: str, pieces: list[str]) -> None:
    assert readable(cut(name, text)) == pieces


@pytest.mark.parametrize("name", ["llama-bpe", "gpt-2"])
def test_a_blank_in_front_is_put_there_where_it_is_asked_for(name: str) -> None:
    assert readable(cut(name, "hi you", prefix=True)) == [" hi", " you"]
    assert readable(cut(name, "hi you")) == ["hi", " you"]
    assert readable(cut(name, " hi", prefix=True)) == [" hi"]
