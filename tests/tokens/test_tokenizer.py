"""The tokenizer: Llama 3's splitting, its control tokens, and text that only looks like one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from herd.core.errors import ArtifactError
from herd.tokens import bpe
from herd.tokens.tokenizer import CONTROL_TOKENS, TextTokenizer

TEXTS = ["The quick brown fox jumps over the lazy dog. It isn't 12345 times!", "Grüße aus Köln, ¿cómo estás? 你好"] * 20


@pytest.fixture(scope="module")
def tokenizer() -> TextTokenizer:
    return bpe.train_bpe(iter(TEXTS), vocab_size=400, digits_together=True)


@pytest.mark.row(5, "round_trip")
@settings(max_examples=500, deadline=None)
@given(st.text())
def test_any_text_comes_back_byte_for_byte(text: str) -> None:
    made = bpe.train_bpe(iter(TEXTS), vocab_size=300, digits_together=True) if not _KEPT else _KEPT[0]
    _KEPT[:] = [made]
    assert made.decode(made.encode(text)) == text


_KEPT: list[TextTokenizer] = []


@pytest.mark.row(5, "round_trip")
def test_ten_thousand_random_strings_come_back(tokenizer: TextTokenizer, figure) -> None:
    import random

    chance = random.Random(0)
    ranges = [(32, 126), (0xA0, 0x24F), (0x370, 0x3FF), (0x4E00, 0x4FFF), (0x1F300, 0x1F5FF), (0, 31)]

    def text() -> str:
        return "".join(chr(chance.randint(*chance.choice(ranges))) for _ in range(chance.randint(0, 30)))

    texts = [text() for _ in range(10_000)]
    same = sum(tokenizer.decode(ids) == text for ids, text in zip(tokenizer.encode_batch(texts), texts, strict=True))
    figure(f"{same:,} of 10,000 random strings come back")
    assert same == 10_000


def test_control_tokens_follow_the_pairs_in_llamas_order(tokenizer: TextTokenizer) -> None:
    # Source: llama-models, tokenizer.py: 128000 begin_of_text ... 128009 eot_id, 128010 python_tag.
    first = tokenizer.bos_id
    assert len(CONTROL_TOKENS) == 256
    assert tokenizer.vocab_size == first + 256
    places = {"<|end_of_text|>": 1, "<|finetune_right_pad_id|>": 4, "<|start_header_id|>": 6, "<|end_header_id|>": 7}
    places |= {"<|eom_id|>": 8, "<|eot_id|>": 9, "<|python_tag|>": 10, "<|reserved_special_token_245|>": 255}
    for token, place in places.items():
        assert tokenizer.control(token) == first + place


@given(st.sampled_from(CONTROL_TOKENS[:12]), st.text(max_size=5), st.text(max_size=5))
def test_text_never_becomes_a_control_token(token: str, before: str, after: str) -> None:
    made = _KEPT[0] if _KEPT else bpe.train_bpe(iter(TEXTS), vocab_size=300, digits_together=True)
    _KEPT[:] = [made]
    ids = made.encode(before + token + after)
    assert max(ids) < made.first_control
    assert made.decode(ids) == before + token + after


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("It's 12345!", ["It", "'s", " ", "123", "45", "!"]),
        ("a  b", ["a", " ", " b"]),
        ("x\n\ny", ["x", "\n\n", "y"]),
        ("I'LL GO", ["I", "'LL", " GO"]),
        ("end.\n  next", ["end", ".\n", " ", " next"]),
    ],
)
def test_text_is_cut_as_llama_3_cuts_it(text: str, parts: list[str]) -> None:
    from tokenizers import Regex, pre_tokenizers

    from herd.tokens.tokenizer import PATTERN

    cut = pre_tokenizers.Split(Regex(PATTERN), "isolated").pre_tokenize_str(text)
    assert [part for part, _ in cut] == parts


def test_digits_apart_never_merge_and_the_saved_splitting_is_llamas(tmp_path: Path) -> None:
    apart = bpe.train_bpe(iter(["12 345 678 12 345 12"] * 50), vocab_size=300, digits_together=False)
    assert len(apart.encode("345")) == 3
    together = bpe.train_bpe(iter(["12 345 678 12 345 12"] * 50), vocab_size=300, digits_together=True)
    assert len(together.encode("345")) == 1
    splits = []
    for name, made in (("a", apart), ("b", together)):
        (tmp_path / name).mkdir()
        made.save(tmp_path / name, max_seq_len=8)
        splits.append(json.loads((tmp_path / name / "tokenizer.json").read_text())["pre_tokenizer"])
    assert splits[0] == splits[1]


def test_transformers_reads_the_folder_and_agrees(tokenizer: TextTokenizer, tmp_path: Path) -> None:
    import transformers

    tokenizer.save(tmp_path, max_seq_len=128)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in TEXTS[:2]:
        assert theirs(text)["input_ids"] == [tokenizer.bos_id, *tokenizer.encode(text)]
    assert theirs.eos_token == "<|eot_id|>"


@pytest.mark.parametrize("text", ["", "{", '{"model": 3}'])
def test_a_folder_without_a_tokenizer_is_told(text: str, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="holds no tokenizer.json"):
        TextTokenizer.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text(text)
    with pytest.raises(ArtifactError, match="is no tokenizer"):
        TextTokenizer.load(tmp_path)
