"""Names of the files in a model's folder of Hugging Face's layout, and which of them may be copied."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

from herd.core.errors import ArtifactError

# Source: transformers, `PretrainedConfig`, `GenerationConfig` and `PreTrainedTokenizerBase.save_pretrained`.
CONFIG_FILES = ("config.json", "generation_config.json")
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
    "chat_template.json",
    "additional_chat_templates/*.jinja",
)
TEXT_FILES = (*CONFIG_FILES, *TOKENIZER_FILES)
# Of peft.
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
WEIGHT_FILES = ("model.safetensors", "model-*-of-*.safetensors", "model.safetensors.index.json")


def files_in(folder: Path, *patterns: str) -> Iterator[Path]:
    """The files of `folder` that match, each once. Raises ArtifactError for a link that leads out of it."""
    matches = itertools.chain.from_iterable(sorted(folder.glob(pattern)) for pattern in patterns)
    for file in dict.fromkeys(matches):
        if not _is_inside(file, folder):
            raise ArtifactError(
                f"{file} is a link to {file.resolve()}, outside of the model's folder; put the file itself there, "
                "or take the link away"
            )
        if file.is_file():
            yield file


def _is_inside(file: Path, folder: Path) -> bool:
    root = folder.resolve()
    # The hub's cache keeps the files of all snapshots of a model in one folder beside them.
    blobs = [root.parent.parent / "blobs"] if root.parent.name == "snapshots" else []
    return any(file.resolve().is_relative_to(base) for base in (root, *blobs))
