"""Packing with a model's own tokenizer, and what it puts around a document."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import processors

from herd.core.artifacts import Checkpoint, Tokenizer
from herd.core.errors import DataError, SettingsError
from herd.tokens.results import PackingResult
from herd.tokens.shards import TokenShards
from herd.tokens.stages import around_document, pack
from herd.tokens.tokenizer import TextTokenizer
from tests.imported import TEXTS, corpus, imported, theirs, work
from tests.serve.test_models_of_others import CHATML_TOKENS, OWN, byte_level, folder_of
from tests.tokens.test_chat import TOKENIZER


def test_a_model_packs_with_its_own_tokenizer_and_ends_documents_as_its_base_did(tmp_path: Path) -> None:
    model = imported(tmp_path / "model")
    packing = work(tmp_path / "packed")
    shards = TokenShards(pack.body(packing, corpus(tmp_path / "corpus"), model).path)
    _, tokenizer = theirs(model.path)
    wanted = {(*tokenizer(text)["input_ids"], tokenizer.convert_tokens_to_ids("<|endoftext|>")) for text in TEXTS}
    found = set()
    for split in ("train", "heldout"):
        shard = shards.read("text", split)
        found |= {tuple(shard.document(number).tolist()) for number in range(len(shard))}
    assert found == wanted  # without a BOS, which its tokenizer does not put before texts either
    assert packing.results[PackingResult].around_document == ("", "<|endoftext|>")
    assert packing.results[PackingResult].control_tokens == len(CHATML_TOKENS)


def test_what_stands_around_a_document_follows_the_model_or_is_named(tmp_path: Path) -> None:
    chat = TextTokenizer.load(imported(tmp_path / "chat").path)
    assert around_document(chat, None, "<|im_end|>") == ([], [chat.control("<|im_end|>")])
    assert around_document(chat, "<|im_start|>", "") == ([chat.control("<|im_start|>")], [])
    with pytest.raises(SettingsError, match="eos_token '</s>' is no control token of this tokenizer; it has"):
        around_document(chat, None, "</s>")
    backend = byte_level(("<s>", "</s>"))
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", backend.token_to_id("<s>"))]
    )
    mistral = folder_of(tmp_path / "mistral", backend, {"bos_token": "<s>", "eos_token": "</s>"})
    text = TextTokenizer.load(mistral)
    assert around_document(text, None, None) == ([text.control("<s>")], [text.control("</s>")])
    unknown = folder_of(tmp_path / "other", byte_level(("<end>", "<|im_end|>")), {"eos_token": "<end>"})
    other = TextTokenizer.load(unknown)
    assert around_document(other, None, None) == ([], [other.control("<end>")])
    assert around_document(TOKENIZER, None, None) == ([TOKENIZER.bos_id], [TOKENIZER.eos_id])


def test_ids_of_another_tokenizer_are_refused(tmp_path: Path) -> None:
    model, other = imported(tmp_path / "model"), tmp_path / "tokenizer"
    other.mkdir()
    TOKENIZER.save(other, 0)
    packed = pack.body(work(tmp_path / "packed"), corpus(tmp_path / "corpus"), Tokenizer(other))
    shards, text = TokenShards(packed.path), TextTokenizer.load(model.path)
    with pytest.raises(
        DataError, match=r"not the model's own; pack the corpus with the model: `pack\(corpus, model\)`"
    ):
        shards.check_packed_for(text, 100_000)
    own = TextTokenizer.load(other)
    shards.check_packed_for(own, own.vocab_size)
    with pytest.raises(DataError, match="not the model's own"):  # an embedding with too few rows
        shards.check_packed_for(own, own.vocab_size - 1)


def test_a_tune_of_the_same_vocabulary_reads_the_same_ids(tmp_path: Path) -> None:
    base, chat = imported(tmp_path / "base", chats=False), imported(tmp_path / "chat")
    assert isinstance(base, Checkpoint)
    assert TextTokenizer.load(base.path).fingerprint == TextTokenizer.load(chat.path).fingerprint
    assert folder_of(tmp_path / "less", byte_level(("<|im_end|>",)), OWN | {"pad_token": "<|im_end|>"})
    assert TextTokenizer.load(tmp_path / "less").fingerprint != TextTokenizer.load(chat.path).fingerprint
