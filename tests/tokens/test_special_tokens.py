"""What the files of a folder say of tokens that steer and of templates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, models, pre_tokenizers, processors
from tokenizers import Tokenizer as Backend

from herd.core.errors import ArtifactError
from herd.tokens.special_tokens import CONTROL_TOKENS, LLAMA3, SpecialTokens, is_llama3, opening_tokens, read_folder
from herd.tokens.template import CHAT_TEMPLATE


def letters(*tokens: str) -> Backend:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Backend(models.BPE({letter: number for number, letter in enumerate(alphabet)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.add_tokens([AddedToken(token, special=True, normalized=False) for token in tokens])
    return made


def opened_by(backend: Backend, *tokens: str, closed: str = "") -> Backend:
    single = [*tokens, "$A", *([closed] if closed else [])]
    named = [(token, backend.token_to_id(token)) for token in (*tokens, *([closed] if closed else []))]
    backend.post_processor = processors.TemplateProcessing(single=single, pair="$A $B", special_tokens=named)  # type: ignore[call-arg]
    return backend


def write(folder: Path, name: str = "tokenizer_config.json", **values: Any) -> Path:
    (folder / name).write_text(json.dumps(values))
    return folder


def test_tokens_and_templates_are_those_of_the_files(tmp_path: Path) -> None:
    backend = opened_by(letters("<s>", "</s>", "<end>", "<pad>"), "<s>")
    write(tmp_path, bos_token="<s>", eos_token={"content": "<end>"}, pad_token="<pad>", chat_template="{{ 1 }}")
    write(
        tmp_path, "generation_config.json", eos_token_id=[backend.token_to_id("<end>"), backend.token_to_id("</s>"), -1]
    )
    write(tmp_path, "config.json", eos_token_id=backend.token_to_id("<pad>"))  # not asked: the other names some
    controls, template, others = read_folder(tmp_path, backend)
    assert controls == SpecialTokens("<s>", "<end>", "<end>", ("<end>", "</s>"), "<pad>")
    assert controls.names == {"bos_token": "<s>", "eos_token": "<end>", "pad_token": "<pad>"}
    assert controls.required() == ("<end>", "<pad>")
    assert (template, others) == ("{{ 1 }}", {})


def test_a_filling_token_that_is_not_there_is_the_ending(tmp_path: Path) -> None:
    write(tmp_path, eos_token="</s>", pad_token="<nowhere>")
    controls, template, _ = read_folder(tmp_path, letters("</s>"))
    assert controls == SpecialTokens(None, "</s>", "</s>", ("</s>",), "</s>")
    assert template is None


def test_tokens_that_only_the_configuration_adds_are_added(tmp_path: Path) -> None:
    listed = {"257": {"content": "<b>", "special": True}, "256": {"content": "<a>", "special": False}}
    backend = letters()
    write(tmp_path, eos_token="<b>", added_tokens_decoder=listed)
    read_folder(tmp_path, backend)
    assert [backend.token_to_id(token) for token in ("<a>", "<b>")] == [256, 257]
    found = backend.get_added_tokens_decoder()
    assert (found[256].special, found[257].special) == (False, True)
    read_folder(tmp_path, backend)  # once more adds nothing
    assert backend.get_vocab_size() == 258


def test_without_listed_tokens_the_older_map_is_read_too(tmp_path: Path) -> None:
    write(tmp_path, eos_token="</s>")
    write(tmp_path, "special_tokens_map.json", eos_token="<end>")
    assert read_folder(tmp_path, letters("</s>", "<end>"))[0].eos == "<end>"
    write(tmp_path, eos_token="</s>", added_tokens_decoder={})
    assert read_folder(tmp_path, letters("</s>", "<end>"))[0].eos == "</s>"


@pytest.mark.parametrize("listed", [True, False])
def test_named_templates_are_read_and_files_come_before_the_configuration(listed: bool, tmp_path: Path) -> None:
    named = {"default": "d", "tool_use": "t"}
    write(
        tmp_path,
        eos_token="</s>",
        chat_template=[{"name": k, "template": v} for k, v in named.items()] if listed else named,
    )
    assert read_folder(tmp_path, letters("</s>"))[1:] == ("d", {"tool_use": "t"})
    (tmp_path / "chat_template.jinja").write_text("own")
    (tmp_path / "additional_chat_templates").mkdir()
    (tmp_path / "additional_chat_templates" / "rag.jinja").write_text("r")
    assert read_folder(tmp_path, letters("</s>"))[1:] == ("own", {"rag": "r"})


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, "names no eos_token"),
        ({"eos_token": "<nowhere>"}, "the vocabulary has no '<nowhere>', the eos_token"),
        ({"eos_token": "</s>", "bos_token": "<b>"}, "the vocabulary has no '<b>', the bos_token"),
        ({"eos_token": "</s>", "chat_template": [{"name": "tool_use", "template": "t"}]}, "none named default"),
        ({"eos_token": "</s>", "chat_template": 3}, "neither a text nor a list of named texts"),
        ({"eos_token": "</s>", "chat_template": [{"name": "x"}]}, "neither a text nor a list of named texts"),
    ],
)
def test_files_that_do_not_belong_together_are_told(config: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=words):
        read_folder(write(tmp_path, **config), letters("</s>"))


@pytest.mark.parametrize("value", ["2", [True], [1.5], {"a": 1}])
def test_an_ending_that_is_no_id_is_told(value: Any, tmp_path: Path) -> None:
    write(write(tmp_path, eos_token="</s>"), "config.json", eos_token_id=value)
    with pytest.raises(ArtifactError, match="eos_token_id is .*, which is no token and no list of some"):
        read_folder(tmp_path, letters("</s>"))


@pytest.mark.parametrize(("text", "words"), [("{", "is not JSON"), ("[]", "holds a list, not an object")])
def test_files_that_are_no_tables_are_told(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text(text)
    with pytest.raises(ArtifactError, match=words):
        read_folder(tmp_path, letters("</s>"))


def test_what_opens_a_text_is_what_its_own_file_puts_there(tmp_path: Path) -> None:
    assert opening_tokens(letters("<s>")) == []
    assert opening_tokens(opened_by(letters("<s>", "</s>"), "<s>", closed="</s>")) == ["<s>"]
    two = opened_by(letters("<s>", "<l>", "</s>"), "<s>", "<l>")
    assert opening_tokens(two) == ["<s>", "<l>"]
    with pytest.raises(ArtifactError, match="opens texts with <s> <l>"):
        read_folder(write(tmp_path, eos_token="</s>"), two)


def test_llama_3_is_known_by_its_tokens_and_its_template_or_ending(tmp_path: Path) -> None:
    backend, stop = letters(*CONTROL_TOKENS), LLAMA3.eot
    assert is_llama3(backend, CHAT_TEMPLATE, ())
    assert is_llama3(backend, None, [stop])
    assert not is_llama3(backend, None, ["<|end_of_text|>"])
    assert not is_llama3(backend, "{{ 1 }}", [stop])
    assert not is_llama3(letters(stop), None, [stop])
    assert read_folder(write(tmp_path, eos_token=stop), backend) == (LLAMA3, CHAT_TEMPLATE, {})
    assert set(LLAMA3.required()) < set(CONTROL_TOKENS)
    assert len(set(CONTROL_TOKENS)) == 256
