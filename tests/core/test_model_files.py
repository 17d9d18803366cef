"""The files of a model's folder: which are its own, each once, and none from behind a link that leads out of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import transformers

from herd.core.errors import ArtifactError
from herd.core.model_files import CONFIG_FILES, TEXT_FILES, TOKENIZER_FILES, WEIGHT_FILES, files_in


def names(folder: Path, *patterns: str) -> list[str]:
    return [str(file.relative_to(folder)) for file in files_in(folder, *patterns)]


def test_files_come_in_the_order_of_the_patterns_and_each_once(tmp_path: Path) -> None:
    for name in ("tokenizer.json", "config.json", "notes.json", "model-00002-of-00002.safetensors"):
        (tmp_path / name).touch()
    (tmp_path / "model-00001-of-00002.safetensors").touch()
    (tmp_path / "additional_chat_templates").mkdir()
    (tmp_path / "additional_chat_templates" / "tools.jinja").touch()
    (tmp_path / "vocab.json").mkdir()  # a folder is no file
    assert names(tmp_path, *TEXT_FILES) == ["config.json", "tokenizer.json", "additional_chat_templates/tools.jinja"]
    assert names(tmp_path, *WEIGHT_FILES) == [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    assert names(tmp_path, "c*.json", "config.json", "*.json") == ["config.json", "notes.json", "tokenizer.json"]


def test_links_out_of_the_folder_are_refused_and_those_within_it_read(tmp_path: Path) -> None:
    folder, secret = tmp_path / "model", tmp_path / "secret"
    folder.mkdir()
    secret.touch()
    (folder / "config.json").touch()
    (folder / "generation_config.json").symlink_to(folder / "config.json")
    (folder / "vocab.json").symlink_to(folder / "nowhere")
    assert names(folder, *TEXT_FILES) == ["config.json", "generation_config.json"]
    (folder / "tokenizer.json").symlink_to(secret)
    assert names(folder, *CONFIG_FILES) == ["config.json", "generation_config.json"]  # asked for nothing else
    with pytest.raises(ArtifactError, match=r"tokenizer\.json is a link to .*secret, outside of the model's folder"):
        names(folder, *TOKENIZER_FILES)


def test_only_the_hubs_cache_may_keep_files_in_a_folder_beside(tmp_path: Path) -> None:
    for kind in ("snapshots", "copies"):
        folder, blobs = tmp_path / kind / kind / "1", tmp_path / kind / "blobs"
        folder.mkdir(parents=True)
        blobs.mkdir()
        (blobs / "0").touch()
        (folder / "config.json").symlink_to(blobs / "0")
    assert names(tmp_path / "snapshots" / "snapshots" / "1", "config.json") == ["config.json"]
    with pytest.raises(ArtifactError, match="outside of the model's folder"):
        names(tmp_path / "copies" / "copies" / "1", "config.json")


def test_the_names_are_those_that_transformers_writes() -> None:
    utils = transformers.utils
    assert {utils.CONFIG_NAME, utils.GENERATION_CONFIG_NAME} == set(CONFIG_FILES)
    assert {utils.SAFE_WEIGHTS_NAME, utils.SAFE_WEIGHTS_INDEX_NAME} < set(WEIGHT_FILES)
    base = transformers.tokenization_utils_base
    hub: Any = utils
    written = {
        base.FULL_TOKENIZER_FILE,
        base.TOKENIZER_CONFIG_FILE,
        base.SPECIAL_TOKENS_MAP_FILE,
        base.ADDED_TOKENS_FILE,
        hub.CHAT_TEMPLATE_FILE,
        f"{hub.CHAT_TEMPLATE_DIR}/*.jinja",
    }
    assert written < set(TOKENIZER_FILES)
