"""Sampling defaults of a model: read as transformers reads them, kept by whatever trains it on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from herd.core.errors import ArtifactError
from herd.generate.params import SamplingParams
from herd.model.weights import load_transformer
from herd.serve import imports
from herd.tokens.generation_config import GenerationConfig
from herd.tokens.tokenizer import TextTokenizer
from herd.train.checkpoint import write_checkpoint
from tests.imported import GENERATION, imported


def kept(folder: Path) -> dict:
    return json.loads((folder / "generation_config.json").read_text())


def test_settings_and_endings_survive_an_import_and_training(tmp_path: Path) -> None:
    import transformers

    model = imported(tmp_path / "model")
    imports.import_model(model.path, tmp_path / "ours")
    text = TextTokenizer.load(tmp_path / "ours")
    (tmp_path / "tuned").mkdir()
    write_checkpoint(tmp_path / "tuned", load_transformer(tmp_path / "ours"), text, kind="chat")
    ends = {text.control("<|im_end|>"), text.control("<|endoftext|>")}
    for folder in ("ours", "tuned"):
        row = kept(tmp_path / folder)
        assert {name: row[name] for name in GENERATION} == GENERATION
        assert set(row["eos_token_id"]) == ends
        assert TextTokenizer.load(tmp_path / folder).stop_token_ids == ends
        theirs = transformers.GenerationConfig.from_pretrained(tmp_path / folder)
        assert (theirs.do_sample, theirs.temperature, theirs.top_p, theirs.top_k) == (True, 0.6, 0.9, 40)


def test_sampling_is_the_models_unless_another_temperature_is_named(tmp_path: Path) -> None:
    own = GenerationConfig.read(imported(tmp_path / "model").path)
    of = SamplingParams.from_generation_config
    assert of(own, max_tokens=9) == SamplingParams(
        temperature=0.6, top_p=0.9, top_k=40, repetition_penalty=1.1, max_tokens=9
    )
    assert of(own, max_tokens=9, temperature=0.0, seed=3) == SamplingParams(
        temperature=0.0, top_p=0.9, top_k=40, repetition_penalty=1.1, max_tokens=9, seed=3
    )
    assert own.ignored_fields == {}
    assert GenerationConfig({"num_beams": 4, "min_p": 0.1}).ignored_fields == {"num_beams": 4}
    assert of(GenerationConfig(), max_tokens=64) == SamplingParams()
    # A temperature beside `do_sample: false` counts for nothing in transformers; one that draws takes 50 by default.
    assert of(GenerationConfig({"temperature": 0.6}), max_tokens=64) == SamplingParams()
    assert GenerationConfig({"do_sample": True}).top_k == 50


@pytest.mark.parametrize(
    ("text", "words"),
    [("[]", "holds a list"), ("{", "is not JSON"), ('{"top_p": "all"}', "top_p is 'all', which is no number")],
)
def test_a_file_that_is_none_is_named(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "generation_config.json").write_text(text)
    with pytest.raises(ArtifactError, match=words):
        GenerationConfig.read(tmp_path)
