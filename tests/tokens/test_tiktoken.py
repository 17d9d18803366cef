"""Tokenizers of others: tiktoken's files against tiktoken, more pairs on top, GGUF's vocabularies."""

from __future__ import annotations

import base64
import gzip
import importlib.util
import json
import random
from pathlib import Path

import pytest

from herd.core.errors import ArtifactError
from herd.tokens import bpe
from herd.tokens.gguf import from_gguf, to_gguf
from herd.tokens.tiktoken import load_tiktoken, read_ranks, to_letters
from herd.tokens.tokenizer import PATTERN

ENGLISH = ["the quick brown fox jumps over the lazy dog and the other fox", "that is the thing"] * 10
GERMAN = ["der schnelle braune Fuchs springt über den faulen Hund, und der schnelle Hund schläft"] * 10


def ranks() -> list[bytes]:
    """Pairs learnt from a little English, as tiktoken's files hold them."""
    learnt = bpe.train_bpe(iter(ENGLISH), vocab_size=300, digits_together=True).backend_json["model"]["vocab"]
    letters = {to_letters(bytes([byte])): bytes([byte]) for byte in range(256)}
    made = [b""] * len(learnt)
    for text, number in learnt.items():
        made[number] = b"".join(letters[letter] for letter in text)
    return made


def written(folder: Path, pairs: list[bytes]) -> Path:
    file = folder / "tokenizer.model"
    file.write_bytes(b"".join(base64.b64encode(pair) + b" %d\n" % rank for rank, pair in enumerate(pairs)))
    return file


def random_texts(count: int) -> list[str]:
    chance = random.Random(0)
    ranges = [(32, 126), (0xA0, 0x24F), (0x4E00, 0x4FFF), (0x1F300, 0x1F5FF), (0, 31)]
    return ["".join(chr(chance.randint(*chance.choice(ranges))) for _ in range(40)) for _ in range(count)]


def test_a_tiktoken_file_gives_tiktokens_ids(tmp_path: Path) -> None:
    tiktoken = pytest.importorskip("tiktoken", reason="tiktoken is not installed")
    pairs = ranks()
    ours = load_tiktoken(written(tmp_path, pairs))
    theirs = tiktoken.Encoding(
        "x", pat_str=PATTERN, mergeable_ranks={pair: rank for rank, pair in enumerate(pairs)}, special_tokens={}
    )
    for text in ENGLISH + GERMAN + random_texts(300):
        assert ours.encode(text) == theirs.encode_ordinary(text)


@pytest.mark.row(5, "control_tokens")
def test_llama_3s_own_vocabulary_gives_tiktokens_ids(figure) -> None:
    tiktoken = pytest.importorskip("tiktoken", reason="tiktoken is not installed")
    found = importlib.util.find_spec("llama_models")
    if found is None or found.origin is None:
        pytest.skip("llama-models is not installed (pip install --no-deps llama-models)")
    file = Path(found.origin).parent / "llama3" / "tokenizer.model"
    pairs = read_ranks(file)
    ours = load_tiktoken(file)
    theirs = tiktoken.Encoding(
        "x", pat_str=PATTERN, mergeable_ranks={pair: rank for rank, pair in enumerate(pairs)}, special_tokens={}
    )
    texts = random_texts(2000) + ENGLISH + GERMAN
    same = sum(ours.encode(text) == theirs.encode_ordinary(text) for text in texts)
    figure(f"Llama 3's vocabulary: {same:,} of {len(texts):,} texts have tiktoken's ids")
    assert same == len(texts)
    assert (ours.vocab_size, ours.bos_id, ours.eot_id) == (128_256, 128_000, 128_009)


TEXTS = Path(__file__).parents[3] / "shared" / "data" / "text_c4_wiki"


@pytest.mark.row(5, "compression")
@pytest.mark.skipif(not TEXTS.exists(), reason="needs ../shared/data/text_c4_wiki")
def test_english_takes_as_few_tokens_as_the_report_says(figure) -> None:
    package = importlib.util.find_spec("llama_models")
    if package is None or package.origin is None:
        pytest.skip("llama-models is not installed (pip install --no-deps llama-models)")
    tokenizer = load_tiktoken(Path(package.origin).parent / "llama3" / "tokenizer.model")
    with gzip.open(TEXTS / "c4.jsonl.gz", "rt", encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line, _ in zip(lines, range(400), strict=False)]
    letters, tokens = sum(map(len, texts)), sum(map(len, tokenizer.encode_batch(texts)))
    figure(f"{letters / tokens:.2f} characters a token on {len(texts)} English pages; bytes: 1 and less")
    assert letters / tokens >= 3.94  # the report's own figure, on its own sample (3.2)


def test_a_damaged_tiktoken_file_is_told(tmp_path: Path) -> None:
    file = tmp_path / "tokenizer.model"
    for content, words in (
        (b"AA== 0\n???? 1\n", "line 2: not a pair"),
        (b"AA== 0\nAQ== 2\n", "do not run from 0 to 1"),
        (b"", "ranks do not run"),
    ):
        file.write_bytes(content)
        with pytest.raises(ArtifactError, match=words):
            read_ranks(file)
    with pytest.raises(ArtifactError, match="cannot be read"):
        read_ranks(tmp_path / "none.model")


def test_a_tokenizer_goes_to_gguf_and_back() -> None:
    made = bpe.train_bpe(iter(ENGLISH), vocab_size=300, digits_together=True)
    fields = to_gguf(made, made.vocab_size + 3)
    back = from_gguf(fields, "a file")
    assert back.stop_token_ids == made.stop_token_ids
    assert back.opening == made.opening
    for text in ENGLISH[:2] + random_texts(50):
        assert back.encode(text) == made.encode(text)
    with pytest.raises(ArtifactError, match="splits text as 'bloom'"):
        from_gguf(fields | {"tokenizer.ggml.pre": "bloom"}, "a file")
