"""The tokenizer: byte-level pairs, Llama 3's splitting of text, and its 256 control tokens.

Text that looks like a control token stays text. Only the chat format puts control tokens in, by id.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as Backend
from tokenizers.processors import TemplateProcessing

from herd.core.errors import ArtifactError
from herd.core.manifests import check_files
from herd.core.model_files import TEXT_FILES
from herd.tokens.added import ControlTokenReader, is_control
from herd.tokens.generation_config import GREEDY_CONFIG, GenerationConfig
from herd.tokens.special_tokens import (
    CONTROL_TOKENS,
    LLAMA3,
    TOKENIZER_CONFIG_FILE,
    SpecialTokens,
    filling,
    opening_tokens,
    read_folder,
)
from herd.tokens.template import CHAT_TEMPLATE

__all__ = ["CONTROL_TOKENS", "LLAMA3", "PATTERN", "SpecialTokens", "TextTokenizer"]

# How text is cut before pairs are merged. Source: llama-models, `tokenizer.py`, the same as cl100k's.
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


class TextTokenizer:
    """Text to ids and back, and what else of a model is no weight: control tokens, chat templates, sampling defaults.

    template: the chat format as a Jinja template. other_templates: by name, such as `tool_use`. generation: how answers
    are sampled by default. Raises ArtifactError when the vocabulary lacks a control token.
    """

    def __init__(
        self,
        backend: Backend,
        special_tokens: SpecialTokens = LLAMA3,
        template: str | None = CHAT_TEMPLATE,
        other_templates: Mapping[str, str] | None = None,
        generation: GenerationConfig = GREEDY_CONFIG,
    ) -> None:
        self._backend, self.special_tokens, self.template = backend, special_tokens, template
        self.other_templates = dict(other_templates or {})
        self.generation = generation
        # Otherwise `<|eot_id|>` typed by a user would end the turn.
        backend.encode_special_tokens = True
        # Left on by a program that saved the file; all of a text counts, and nothing else.
        backend.no_truncation()
        backend.no_padding()
        missing = [token for token in special_tokens.required() if backend.token_to_id(token) is None]
        if missing:
            raise ArtifactError(f"the tokenizer has no {missing[0]}; it is not one of Llama 3's kind")

    @classmethod
    def load(cls, folder: Path) -> TextTokenizer:
        """The tokenizer in a folder of Hugging Face's layout: Llama 3's, or one whose files name its control tokens."""
        file = folder / "tokenizer.json"
        check_files(folder, *TEXT_FILES)
        if not file.exists():
            raise ArtifactError(f"{folder} holds no tokenizer.json; name a folder made by herd or Hugging Face")
        try:
            backend = Backend.from_file(str(file))
        except Exception as fault:  # the library raises plain Exception
            raise ArtifactError(f"{file} is no tokenizer ({fault}); make it again") from None
        generation = GenerationConfig.read(folder)
        if not (folder / TOKENIZER_CONFIG_FILE).exists():
            return cls(backend, generation=generation)
        return cls(backend, *read_folder(folder, backend), generation)

    def with_template(self, special_tokens: SpecialTokens, template: str) -> TextTokenizer:
        """The same vocabulary and sampling defaults, another chat format."""
        return TextTokenizer(self._backend, special_tokens, template, None, self.generation)

    def with_pad_apart(self) -> TextTokenizer:
        """The same tokenizer, whose rows are filled by a token that ends no answer, where it has one."""
        pad = filling(self._backend, self.special_tokens.names, self.special_tokens.stops)
        if self.special_tokens.pad not in self.special_tokens.stops or pad is None:
            return self
        named = tuple((dict(self.special_tokens.named) | {"pad_token": pad}).items())
        controls = replace(self.special_tokens, pad=pad, named=named)
        return TextTokenizer(self._backend, controls, self.template, self.other_templates, self.generation)

    def save(self, folder: Path, max_seq_len: int) -> None:
        """Writes the files Hugging Face's `AutoTokenizer` reads, chat template included."""
        bos = self.special_tokens.bos
        if bos is not None and not opening_tokens(self._backend):  # as in a vocabulary out of a GGUF file
            self._backend.post_processor = TemplateProcessing(
                single=f"{bos} $A", pair=f"{bos} $A {bos} $B", special_tokens=[(bos, self.bos_id)]
            )
        self._backend.save(str(folder / "tokenizer.json"))
        own: dict[str, Any] = {
            "bos_token": bos,
            "eos_token": self.special_tokens.eot,
            "pad_token": self.special_tokens.pad,
        }
        own |= dict(self.special_tokens.named)
        templates = {"default": self.template} | self.other_templates
        config = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            **own,
            "clean_up_tokenization_spaces": False,
            "model_input_names": ["input_ids", "attention_mask"],
            "model_max_length": max_seq_len,
            "chat_template": [{"name": name, "template": text} for name, text in templates.items()]
            if self.other_templates
            else self.template,
        }
        config = {name: value for name, value in config.items() if value is not None}
        (folder / TOKENIZER_CONFIG_FILE).write_text(json.dumps(config, indent=2), encoding="utf-8")

    @property
    def vocab_size(self) -> int:
        """Rows of the embedding: pairs and control tokens."""
        return self._backend.get_vocab_size(with_added_tokens=True)

    @property
    def is_llama3(self) -> bool:
        """Whether its chat format is Llama 3's."""
        return self.special_tokens is LLAMA3

    @cached_property
    def bos_id(self) -> int:
        """Raises ArtifactError for a vocabulary in which nothing opens a text."""
        return self.control(self.special_tokens.bos or LLAMA3.bos or "")

    @cached_property
    def opening(self) -> list[int]:
        """What stands before a text: one id or none."""
        return [] if self.special_tokens.bos is None else [self.bos_id]

    @property
    def named_bos_id(self) -> int | None:
        """What the model's files call the beginning of a text, whether or not it is put before texts."""
        name = self.special_tokens.names.get("bos_token")
        return self.control(name) if name else None

    @cached_property
    def eos_id(self) -> int:
        """Ends a document."""
        return self.control(self.special_tokens.eos)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of which token has which id: ids of one tokenizer mean nothing to a model with another."""
        vocabulary = sorted(self._backend.get_vocab(with_added_tokens=True).items())
        return hashlib.sha256(json.dumps(vocabulary).encode()).hexdigest()

    @cached_property
    def eot_id(self) -> int:
        return self.control(self.special_tokens.eot)

    @cached_property
    def eom_id(self) -> int:
        return self.control("<|eom_id|>")

    @cached_property
    def pad_id(self) -> int:
        return self.control(self.special_tokens.pad)

    @cached_property
    def stop_token_ids(self) -> frozenset[int]:
        """Ids after which a model has said its piece."""
        return frozenset(self.control(token) for token in self.special_tokens.stops)

    @cached_property
    def control_tokens(self) -> tuple[str, ...]:
        """All of them, longest first, for finding them in a template's text."""
        added = self._backend.get_added_tokens_decoder().values()
        return tuple(sorted((token.content for token in added if is_control(token)), key=len, reverse=True))

    @cached_property
    def control_reader(self) -> ControlTokenReader:
        """The same vocabulary, for texts in which only some of what looks like a control token is one."""
        return ControlTokenReader(self._backend, self.control_tokens)

    @cached_property
    def _reads_controls(self) -> bool:
        """Whether the vocabulary itself reads a control token in plain text: one that is not flagged as special, or one
        that a piece of the vocabulary spells."""
        numbers = {self.control(token) for token in self.control_tokens}
        probes = [*self.control_tokens, *(f"a{token}a" for token in self.control_tokens)]
        encodings = self._backend.encode_batch_fast(probes, add_special_tokens=False)
        return any(not numbers.isdisjoint(encoding.ids) for encoding in encodings)

    @property
    def backend_json(self) -> dict[str, Any]:
        """The vocabulary and its merges as `tokenizer.json` holds them."""
        return json.loads(self._backend.to_str())

    @cached_property
    def first_control(self) -> int:
        return self.bos_id

    def control(self, token: str) -> int:
        """The id of a control token."""
        token_id = self._backend.token_to_id(token)
        if token_id is None:
            raise ArtifactError(f"the tokenizer has no {token}; it is not one of Llama 3's kind")
        return token_id

    def encode(self, text: str) -> list[int]:
        """Ids of `text`, control tokens never among them."""
        if self._reads_controls:
            return self.control_reader.encode(text)
        return self._backend.encode(text, add_special_tokens=False).ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        if self._reads_controls:
            return [self.control_reader.encode(text) for text in texts]
        return [encoding.ids for encoding in self._backend.encode_batch_fast(texts, add_special_tokens=False)]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`, control tokens left out."""
        return self._backend.decode(list(ids), skip_special_tokens=True)

    def show(self, ids: Iterable[int]) -> str:
        """The text of `ids` with control tokens spelled out."""
        return self._backend.decode(list(ids), skip_special_tokens=False)
