"""Vocabularies in GGUF files: the ids are the model's own, or the file is not written."""

from __future__ import annotations

from typing import Any

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from herd.core.errors import ArtifactError
from herd.tokens import bpe
from herd.tokens.gguf import from_gguf, to_gguf
from herd.tokens.pretokenizers import PRE_TOKENIZERS, PROBES
from herd.tokens.template import CHAT_TEMPLATE
from herd.tokens.tokenizer import CONTROL_TOKENS, PATTERN, SpecialTokens, TextTokenizer

ENDING = "<|im_end|>"
CHATML = SpecialTokens(None, ENDING, ENDING, (ENDING,), ENDING)
# Enough pairs that every way of cutting leaves its mark: digits with blanks and letters, capitals, contractions.
TEXT = ["It's 1234 HTTPServers at 56 and 78, IT'S x123y", "naïve café don't Don'T   blanks 12 12 1234 1234"] * 20
ASKED = "Hello there, be short. 12 345 6789  CAPITALS iPhone naïve cafés\n\n潮汐 ひらがな 🙂 don't DON'T"


def byte_level(pre_tokenizer: Any, **how: Any) -> TextTokenizer:
    backend = Tokenizer(models.BPE(**how))
    backend.pre_tokenizer, backend.decoder = pre_tokenizer, decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=420, initial_alphabet=alphabet, show_progress=False)
    backend.train_from_iterator(TEXT, trainer)
    backend.add_special_tokens([AddedToken(ENDING, special=True, normalized=False)])
    return TextTokenizer(backend, CHATML, None)


def sentencepiece(normalizer: Any = None) -> TextTokenizer:
    backend = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    prefix = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.normalizer = normalizer or prefix
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    special = ["<unk>", "<s>", "</s>", *(f"<0x{n:02X}>" for n in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=special, show_progress=False)
    backend.train_from_iterator(TEXT, trainer)
    return TextTokenizer(backend, SpecialTokens("<s>", "</s>", "</s>", ("</s>",), "<unk>"), None)


@pytest.mark.parametrize("name", ["llama-bpe", "gpt-2", "smollm", "qwen2", "gpt-4o", "tekken", "deepseek-coder"])
def test_the_way_text_is_cut_is_named_by_the_ids_it_gives(name: str) -> None:
    made = byte_level(PRE_TOKENIZERS[name].build(add_prefix_space=False))
    fields = to_gguf(made, made.vocab_size)
    assert (fields["tokenizer.ggml.model"], fields["tokenizer.ggml.pre"]) == ("gpt2", name)
    back = from_gguf(fields, "a file")
    for text in (*PROBES, *TEXT[:2], ASKED):
        assert back.encode(text) == made.encode(text)


def test_a_way_that_has_no_name_is_not_written_under_another() -> None:
    halves = pre_tokenizers.Split(Regex(r"\p{N}{2}| ?\p{L}{1,4}|\s+|[^\s\p{L}\p{N}]"), "isolated")
    cut = pre_tokenizers.Sequence([halves, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    made = byte_level(cut)
    with pytest.raises(ArtifactError, match="cuts or joins text in a way of its own"):
        to_gguf(made, made.vocab_size)


def test_a_blank_in_front_and_changed_letters_are_refused_by_name() -> None:
    prefix = byte_level(pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=True))
    with pytest.raises(ArtifactError, match="add_prefix_space"):
        to_gguf(prefix, prefix.vocab_size)
    made = byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True))
    made._backend.normalizer = normalizers.Lowercase()
    with pytest.raises(ArtifactError, match=r"changes text before it is cut \(Lowercase\)"):
        to_gguf(made, made.vocab_size)


def test_a_blank_in_front_is_kept_when_it_is_read() -> None:
    plain = byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True))
    fields = to_gguf(plain, plain.vocab_size) | {"tokenizer.ggml.add_space_prefix": True}
    assert from_gguf(fields, "a file").encode("Hello there") == plain.encode(" Hello there")


@pytest.mark.parametrize("prefix", [True, False])
def test_sentencepieces_pairs_are_written_as_scores_and_read_back(prefix: bool) -> None:
    made = sentencepiece(None if prefix else normalizers.Replace(" ", "▁"))
    fields = to_gguf(made, made.vocab_size + 2)
    assert fields["tokenizer.ggml.model"] == "llama"
    assert fields["tokenizer.ggml.add_space_prefix"] is prefix
    kinds = dict(zip(fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"], strict=True))
    assert (kinds["<unk>"], kinds["<s>"], kinds["<0x41>"]) == (2, 3, 6)
    back = from_gguf(fields, "a file")
    assert (back.opening, back.stop_token_ids, back.pad_id) == (made.opening, made.stop_token_ids, made.pad_id)
    for text in (*PROBES, *TEXT[:2], ASKED):
        assert back.encode(text) == made.encode(text)


def test_a_vocabulary_of_another_kind_is_refused() -> None:
    backend = Tokenizer(models.WordLevel({"a": 0, ENDING: 1}, unk_token="a"))
    with pytest.raises(ArtifactError, match="of the kind WordLevel"):
        to_gguf(TextTokenizer(backend, CHATML, None), 2)


def test_added_tokens_that_are_words_stay_words() -> None:
    made = byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True))
    made._backend.add_tokens([AddedToken("<think>", special=False, normalized=False)])
    fields = to_gguf(made, made.vocab_size)
    kinds = dict(zip(fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"], strict=True))
    assert (kinds["<think>"], kinds[ENDING]) == (4, 3)
    back = from_gguf(fields, "a file")
    text = f"<think>well</think>{ENDING}"
    assert back.encode(text) == made.encode(text)
    assert back.decode(back.encode("<think>well")) == "<think>well"
    made._backend.add_tokens([AddedToken("<pad me>", special=False, lstrip=True)])
    with pytest.raises(ArtifactError, match="'<pad me>' takes blanks beside it"):
        to_gguf(made, made.vocab_size)


# ---- control tokens and templates ----


def llama3(**more: Any) -> dict[str, Any]:
    """Fields of a file with Llama 3's vocabulary."""
    made = bpe.train_bpe(iter(TEXT), vocab_size=300, digits_together=True)
    fields = to_gguf(made, made.vocab_size + 2)
    fields["tokenizer.ggml.tokens"][-2:] = ["<|im_start|>", ENDING]
    fields["tokenizer.ggml.token_type"][-2:] = [3, 3]
    named = {f"tokenizer.ggml.{name}_token_id": fields["tokenizer.ggml.tokens"].index(token)
             for name, token in more.items() if name != "template"}  # fmt: skip
    for name in ("eot", "padding"):
        fields.pop(f"tokenizer.ggml.{name}_token_id")
    fields.pop("tokenizer.chat_template")
    return fields | named | ({"tokenizer.chat_template": more["template"]} if "template" in more else {})


def test_a_tune_on_llama_3s_vocabulary_keeps_its_own_template_and_ending() -> None:
    own = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    found = from_gguf(llama3(eos=ENDING, template=own), "a file")
    assert found.template == own
    assert not found.is_llama3
    assert found.stop_token_ids == {found.control(ENDING)}
    assert found.pad_id == found.control(ENDING)
    theirs = from_gguf(llama3(eos="<|eot_id|>", template=CHAT_TEMPLATE), "a file")
    assert theirs.is_llama3


def test_a_base_model_on_llama_3s_vocabulary_has_no_template() -> None:
    assert from_gguf(llama3(eos="<|end_of_text|>"), "a file").template is None
    assert from_gguf(llama3(eos="<|eot_id|>"), "a file").template == CHAT_TEMPLATE


def test_the_first_llama_3s_control_tokens_are_read() -> None:
    fields = llama3(eos="<|eot_id|>", template="<|start_header_id|>{{ messages[0].content }}<|eot_id|>")
    renamed = dict(zip(CONTROL_TOKENS[4:6], ("<|reserved_3|>", "<|reserved_4|>"), strict=True))
    fields["tokenizer.ggml.tokens"] = [renamed.get(token, token) for token in fields["tokenizer.ggml.tokens"]]
    found = from_gguf(fields, "a file")
    assert found.stop_token_ids == {found.control("<|eot_id|>")}
    assert found.pad_id == found.control("<|eot_id|>")
    assert found.template == fields["tokenizer.chat_template"]


def test_more_endings_than_the_format_has_are_refused() -> None:
    backend = byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True))._backend
    endings = ("<a>", "<b>", "<c>")
    backend.add_special_tokens(list(endings))
    made = TextTokenizer(backend, SpecialTokens(None, ENDING, ENDING, (ENDING, *endings), ENDING), None)
    with pytest.raises(ArtifactError, match="names three endings, and <b> would be left out"):
        to_gguf(made, made.vocab_size)


def test_an_id_that_is_no_tokens_is_told() -> None:
    with pytest.raises(ArtifactError, match="eos_token_id is 99999"):
        from_gguf(llama3() | {"tokenizer.ggml.eos_token_id": 99999}, "a file")
    assert PATTERN in PRE_TOKENIZERS["llama-bpe"].patterns
