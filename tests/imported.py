"""Small models of random weights as others lay them out: a tokenizer, a chat template and settings of their own."""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from herd.core.artifacts import ArtifactMetadata, Checkpoint, Corpus, write_metadata
from herd.core.records import Document
from herd.core.stage import Work
from herd.core.storage import write_documents
from herd.run.executors import LocalExecutor
from tests.serve.test_models_of_others import CHATML_TOKENS, OWN, byte_level, folder_of

GENERATION = {"do_sample": True, "temperature": 0.6, "top_p": 0.9, "top_k": 40, "repetition_penalty": 1.1}
TEXTS = tuple(f"How does the water work? It is number {n}, and the user of system {n * n} knows." for n in range(60))


def imported(folder: Path, *, chats: bool = True) -> Checkpoint:
    """A chat model in ChatML, or one of the same vocabulary that continues text."""
    config = OWN if chats else {"eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    backend = byte_level(CHATML_TOKENS)
    folder_of(folder, backend, config)
    ends = [backend.token_to_id(token) for token in ("<|im_end|>", "<|endoftext|>")]
    ends = ends if chats else ends[1:]
    (folder / "generation_config.json").write_text(json.dumps(GENERATION | {"eos_token_id": ends}))
    return Checkpoint(folder)


def made(model: Checkpoint, folder: Path, stage: str = "sft") -> Checkpoint:
    """A copy in `folder` as a run would have made it, called by the folder's name."""
    shutil.copytree(model.path, folder)
    write_metadata(folder, ArtifactMetadata("Checkpoint", folder.name, stage, 1, "-", "-", {}, {}))
    return Checkpoint(folder)


def theirs(folder: Path) -> tuple[Any, Any]:
    """Model and tokenizer in `folder` as transformers reads them."""
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model.eval(), transformers.AutoTokenizer.from_pretrained(folder)


def work(folder: Path) -> Work:
    """For calling the body of a stage."""
    for name in ("out", "scratch"):
        (folder / name).mkdir(parents=True)
    return Work(folder / "out", folder / "scratch", LocalExecutor(lambda: 1))


@functools.cache
def _documents() -> tuple[Document, ...]:
    return tuple(Document(text=text, id=f"{number}", source="text") for number, text in enumerate(TEXTS))


def corpus(folder: Path, documents: Iterable[Document] | None = None) -> Corpus:
    """Documents as what curation makes."""
    folder.mkdir()
    kept = tuple(documents or _documents())
    write_documents(folder, kept)
    write_metadata(folder, ArtifactMetadata("Corpus", "corpus", "curate", 1, "-", "-", {}, {}))
    return Corpus(folder)
