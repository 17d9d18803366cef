"""The tokenizer: byte-level pairs, Llama 3's splitting of text, and its 256 control tokens.

Text that looks like a control token stays text. Only the chat format puts control tokens in, by id.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as Backend

from herd.core.errors import ArtifactError
from herd.core.layout import TEXT_FILES
from herd.core.manifests import check_files
from herd.tokens.template import CHAT_TEMPLATE

# How text is cut before pairs are merged. Source: llama-models, `tokenizer.py`, the same as cl100k's.
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_NAMED = (
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|reserved_special_token_0|>",
    "<|reserved_special_token_1|>",
    "<|finetune_right_pad_id|>",
    "<|step_id|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eom_id|>",
    "<|eot_id|>",
    "<|python_tag|>",
    "<|image|>",
)
# In the order of Llama 3.1; the first one follows the last pair of the vocabulary.
CONTROL_TOKENS = _NAMED + tuple(f"<|reserved_special_token_{n}|>" for n in range(2, 246))


@dataclass(frozen=True)
class Controls:
    """Which tokens of a vocabulary steer. begin: opens a text, None where nothing does. end: of a document.
    end_of_turn: of a message. stops: after which a model has said its piece. pad: fills rows."""

    begin: str | None
    end: str
    end_of_turn: str
    stops: tuple[str, ...]
    pad: str


# Source of the stops: llama-models, `tokenizer.py`.
LLAMA3 = Controls(
    begin="<|begin_of_text|>",
    end="<|end_of_text|>",
    end_of_turn="<|eot_id|>",
    stops=("<|end_of_text|>", "<|eom_id|>", "<|eot_id|>"),
    pad="<|finetune_right_pad_id|>",
)


class TextTokenizer:
    """Text to ids and back.

    template: the chat format as a Jinja template. Raises ArtifactError when the vocabulary lacks a control token.
    """

    def __init__(self, backend: Backend, controls: Controls = LLAMA3, template: str | None = CHAT_TEMPLATE) -> None:
        self._backend, self.controls, self.template = backend, controls, template
        # Otherwise `<|eot_id|>` typed by a user would end the turn.
        backend.encode_special_tokens = True
        wanted = _NAMED[:10] if controls is LLAMA3 else (controls.end, controls.end_of_turn, controls.pad)
        missing = [token for token in wanted if backend.token_to_id(token) is None]
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
        if backend.token_to_id("<|start_header_id|>") is not None or not (folder / _CONFIG).exists():
            return cls(backend)
        return cls(backend, *_read_config(folder))

    def save(self, folder: Path, context: int) -> None:
        """Writes the files Hugging Face's `AutoTokenizer` reads, chat template included."""
        self._backend.save(str(folder / "tokenizer.json"))
        config = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": self.controls.begin,
            "eos_token": self.controls.end_of_turn,
            "pad_token": self.controls.pad,
            "clean_up_tokenization_spaces": False,
            "model_input_names": ["input_ids", "attention_mask"],
            "model_max_length": context,
            "chat_template": self.template,
        }
        config = {name: value for name, value in config.items() if value is not None}
        (folder / _CONFIG).write_text(json.dumps(config, indent=2), encoding="utf-8")

    @property
    def size(self) -> int:
        """Rows of the embedding: pairs and control tokens."""
        return self._backend.get_vocab_size(with_added_tokens=True)

    @property
    def is_llama3(self) -> bool:
        """Whether its chat format is Llama 3's."""
        return self.controls is LLAMA3

    @cached_property
    def begin(self) -> int:
        """Raises ArtifactError for a vocabulary in which nothing opens a text."""
        return self.control(self.controls.begin or LLAMA3.begin or "")

    @cached_property
    def opening(self) -> list[int]:
        """What stands before a text: one id or none."""
        return [] if self.controls.begin is None else [self.begin]

    @cached_property
    def end(self) -> int:
        """Ends a document."""
        return self.control(self.controls.end)

    @cached_property
    def end_of_turn(self) -> int:
        return self.control(self.controls.end_of_turn)

    @cached_property
    def end_of_message(self) -> int:
        return self.control("<|eom_id|>")

    @cached_property
    def pad(self) -> int:
        return self.control(self.controls.pad)

    @cached_property
    def stops(self) -> frozenset[int]:
        """Ids after which a model has said its piece."""
        return frozenset(self.control(token) for token in self.controls.stops)

    @cached_property
    def control_tokens(self) -> tuple[str, ...]:
        """All of them, longest first, for finding them in a template's text."""
        found = [token.content for token in self._backend.get_added_tokens_decoder().values() if token.special]
        return tuple(sorted(found, key=len, reverse=True))

    @property
    def backend_json(self) -> dict[str, Any]:
        """The vocabulary and its merges as `tokenizer.json` holds them."""
        return json.loads(self._backend.to_str())

    @cached_property
    def first_control(self) -> int:
        return self.begin

    def control(self, token: str) -> int:
        """The id of a control token."""
        found = self._backend.token_to_id(token)
        if found is None:
            raise ArtifactError(f"the tokenizer has no {token}; it is not one of Llama 3's kind")
        return found

    def encode(self, text: str) -> list[int]:
        """Ids of `text`, control tokens never among them."""
        return self._backend.encode(text, add_special_tokens=False).ids

    def encode_spans(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Ids of `text`, and from which of its characters to which each of them goes."""
        found = self._backend.encode(text, add_special_tokens=False)
        return found.ids, found.offsets

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        return [found.ids for found in self._backend.encode_batch_fast(texts, add_special_tokens=False)]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`, control tokens left out."""
        return self._backend.decode(list(ids), skip_special_tokens=True)

    def show(self, ids: Iterable[int]) -> str:
        """The text of `ids` with control tokens spelled out."""
        return self._backend.decode(list(ids), skip_special_tokens=False)


_CONFIG = "tokenizer_config.json"


def _read_config(folder: Path) -> tuple[Controls, str | None]:
    """Control tokens and chat template as a Hugging Face folder names them."""

    def read(name: str) -> dict[str, Any]:
        file = folder / name
        try:
            return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        except ValueError as fault:
            raise ArtifactError(f"{file} is not JSON ({fault}); fetch or make the model again") from None

    config = read(_CONFIG)

    def token(name: str) -> str | None:
        value = config.get(name)
        return value["content"] if isinstance(value, dict) else value

    end = token("eos_token")
    if end is None:
        raise ArtifactError(f"{folder / _CONFIG} names no eos_token; herd needs to know what ends a text")
    begin = token("bos_token") if config.get("add_bos_token", "bos_token" in config) else None
    listed = config.get("stop_tokens") or []
    template = config.get("chat_template")
    if template is None and (folder / "chat_template.jinja").exists():
        template = (folder / "chat_template.jinja").read_text(encoding="utf-8")
    stops = tuple(dict.fromkeys((end, *listed)))
    return Controls(begin, end, end, stops, token("pad_token") or end), template
