"""Models of other programs are brought in, checked, talked to and given away again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from herd.core.errors import ArtifactError, SettingsError
from herd.core.records import Conversation, Message
from herd.model import weights
from herd.serve import imports
from herd.serve.folders import export
from herd.tokens.jinja import chat_template_of, with_chat_template
from herd.tokens.tokenizer import TextTokenizer
from herd.train.checkpoint import kind_of, write_checkpoint
from tests.imported import imported
from tests.model.test_architecture import FAMILIES
from tests.model.test_architecture import model as model_with_features
from tests.model.test_meta import as_meta
from tests.model.test_transformer import SMALL, model
from tests.serve.test_models_of_others import CHATML_TOKENS, OWN, byte_level, folder_of
from tests.tokens.test_chat import TOKENIZER
from tests.tokens.test_tiktoken import ranks, written


@pytest.fixture
def metas(tmp_path: Path) -> Path:
    folder = tmp_path / "meta"
    folder.mkdir()
    pairs = ranks()
    as_meta(folder, model(replace(SMALL, vocab_size=len(pairs) + 256)), 2)
    written(folder, pairs)
    return folder


def test_metas_folder_becomes_ours_and_goes_on_to_gguf_and_back(metas: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    made = imports.import_model(metas, tmp_path / "ours", report=lambda done, total: told.append((done, total)))
    assert made.difference < 1e-5
    assert told == sorted(told)
    assert told[0][0] == 0 < told[-1][0] < made.shape.num_params == told[-1][1]
    ours = weights.load_transformer(tmp_path / "ours")
    export(tmp_path / "ours", tmp_path / "m.gguf")
    imports.import_model(tmp_path / "m.gguf", tmp_path / "again")
    again = weights.load_transformer(tmp_path / "again")
    for name, weight in ours.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name])
    text = "the fox isn't 12345"
    assert TextTokenizer.load(tmp_path / "ours").encode(text) == TextTokenizer.load(tmp_path / "again").encode(text)


def test_exports_of_another_type_and_in_shards_load_in_transformers(metas: Path, tmp_path: Path) -> None:
    import transformers

    imports.import_model(metas, tmp_path / "ours")
    export(tmp_path / "ours", tmp_path / "half", weight_format="bfloat16", shard_gb=2e-5)
    assert len(list((tmp_path / "half").glob("*.safetensors"))) > 1
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "half")
    assert theirs.dtype == torch.bfloat16
    with pytest.raises(SettingsError, match="no form of weights"):
        export(tmp_path / "ours", tmp_path / "other", weight_format="int3")


@pytest.mark.parametrize("name", ["mistral", "qwen2", "qwen3", "smollm3", "olmo2", "yarn", "longrope"])
def test_models_of_other_families_are_brought_in_and_given_away(name: str, tmp_path: Path) -> None:
    backend = byte_level(CHATML_TOKENS)
    source = folder_of(tmp_path / "source", backend, OWN)
    shape = replace(FAMILIES[name], vocab_size=backend.get_vocab_size(with_added_tokens=True))
    network = model_with_features(shape)
    weights.save_model(source, network, bos_token_id=None, eos_token_ids=[0], pad_token_id=0)
    (source / "generation_config.json").unlink()
    imported = imports.import_model(source, tmp_path / "ours")
    assert (imported.shape, imported.difference < 1e-5) == (shape, True)
    if name == "mistral":
        with pytest.raises(SettingsError, match="a sliding window"):
            export(tmp_path / "ours", tmp_path / "m.gguf")
        assert not list(tmp_path.glob("m.gguf*"))
        return
    export(tmp_path / "ours", tmp_path / "m.gguf")
    assert imports.import_model(tmp_path / "m.gguf", tmp_path / "again").shape == shape
    again = weights.load_transformer(tmp_path / "again").state_dict()
    assert all(torch.equal(weight, again[key]) for key, weight in network.state_dict().items())


def test_a_copy_that_disagrees_is_not_kept(metas: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As if the order of the heads' dimensions had been forgotten.
    monkeypatch.setattr("herd.model.stored.to_halves", lambda rows, head_width: rows)
    with pytest.raises(ArtifactError, match="off those of the original"):
        imports.import_model(metas, tmp_path / "ours")
    assert not (tmp_path / "ours").exists()


def test_what_is_no_model_or_stands_in_the_way_is_told(metas: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="there is no such file or folder"):
        imports.open_any(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArtifactError, match="it is none of these"):
        imports.open_any(tmp_path / "empty")
    with pytest.raises(SettingsError, match="exists; name a folder that does not"):
        imports.import_model(metas, tmp_path / "empty")
    written(metas, [*ranks(), b"another"])
    with pytest.raises(ArtifactError, match="they belong to different models"):
        imports.import_model(metas, tmp_path / "ours")


def test_a_flipped_bit_is_found_when_the_model_is_read(metas: Path, tmp_path: Path) -> None:
    imports.import_model(metas, tmp_path / "ours")
    file = tmp_path / "ours" / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(ArtifactError, match="is damaged: it is not what was written"):
        weights.load_model(tmp_path / "ours")


def test_what_a_model_is_for_survives_an_import(tmp_path: Path) -> None:
    """Every model made here has Llama 3's template, also one that was never taught to chat."""
    shape = replace(SMALL, vocab_size=TOKENIZER.vocab_size)
    for kind in ("base", "chat"):
        (tmp_path / kind).mkdir()
        write_checkpoint(tmp_path / kind, model(shape), TOKENIZER, kind=kind)
        imports.import_model(tmp_path / kind, tmp_path / f"{kind} again")
        assert kind_of(tmp_path / f"{kind} again") == kind


def test_a_model_without_a_chat_template_is_given_one_to_be_taught(tmp_path: Path) -> None:
    import transformers

    base = imported(tmp_path / "base", chats=False)
    imports.import_model(base.path, tmp_path / "plain")
    assert TextTokenizer.load(tmp_path / "plain").template is None
    imports.import_model(base.path, tmp_path / "ours", chat_template="chatml")
    text = TextTokenizer.load(tmp_path / "ours")
    assert text.stop_token_ids == {text.control("<|im_end|>"), text.control("<|endoftext|>")}
    assert kind_of(tmp_path / "ours") == "base"
    theirs: Any = transformers.AutoTokenizer.from_pretrained(tmp_path / "ours")
    asked = Conversation((Message("system", "Be brief."), Message("user", "How?"), Message("assistant", "By water.")))
    rows = [one.to_row() for one in asked.messages]
    assert chat_template_of(text).encode(asked).ids == theirs.apply_chat_template(rows)["input_ids"]
    own = tmp_path / "own.jinja"
    own.write_text("{% for m in messages %}{{ m['content'] + '<|endoftext|>' }}{% endfor %}")
    assert with_chat_template(text, str(own)).special_tokens.eot == "<|endoftext|>"
    own.write_text("{% for m in messages %}{{ m['content'] + '<end>' }}{% endfor %}")
    with pytest.raises(ArtifactError, match="ends with no control token of this model's vocabulary"):
        with_chat_template(text, str(own))
    with pytest.raises(ArtifactError, match="the tokenizer has no <|begin_of_text|>".replace("|", r"\|")):
        with_chat_template(text, "llama3")
    with pytest.raises(SettingsError, match="'vicuna' is no file; name one, or one of chatml, llama3"):
        with_chat_template(text, "vicuna")
