"""The tokenizer: byte-level pairs, Llama 3's splitting of text, and its 256 control tokens.

Text that looks like a control token stays text. Only the chat format puts control tokens in, by id.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

from tokenizers import Tokenizer as Backend

from herd.core.errors import ArtifactError
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


class TextTokenizer:
    """Text to ids and back.

    Raises ArtifactError when the folder holds no tokenizer with Llama 3's control tokens.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        # Otherwise `<|eot_id|>` typed by a user would end the turn.
        backend.encode_special_tokens = True
        missing = [token for token in _NAMED[:10] if backend.token_to_id(token) is None]
        if missing:
            raise ArtifactError(f"the tokenizer has no {missing[0]}; it is not one of Llama 3's kind")

    @classmethod
    def load(cls, folder: Path) -> TextTokenizer:
        file = folder / "tokenizer.json"
        if not file.exists():
            raise ArtifactError(f"{folder} holds no tokenizer.json; name a folder made by herd or Hugging Face")
        try:
            return cls(Backend.from_file(str(file)))
        except ArtifactError:
            raise
        except Exception as fault:  # the library raises plain Exception
            raise ArtifactError(f"{file} is no tokenizer ({fault}); make it again") from None

    def save(self, folder: Path, context: int) -> None:
        """Writes the files Hugging Face's `AutoTokenizer` reads, chat template included."""
        self._backend.save(str(folder / "tokenizer.json"))
        config = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": "<|begin_of_text|>",
            "eos_token": "<|eot_id|>",
            "pad_token": "<|finetune_right_pad_id|>",
            "clean_up_tokenization_spaces": False,
            "model_input_names": ["input_ids", "attention_mask"],
            "model_max_length": context,
            "chat_template": CHAT_TEMPLATE,
        }
        (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")

    @property
    def size(self) -> int:
        """Rows of the embedding: pairs and control tokens."""
        return self._backend.get_vocab_size(with_added_tokens=True)

    @cached_property
    def begin(self) -> int:
        return self.control("<|begin_of_text|>")

    @cached_property
    def end(self) -> int:
        """Ends a document."""
        return self.control("<|end_of_text|>")

    @cached_property
    def end_of_turn(self) -> int:
        return self.control("<|eot_id|>")

    @cached_property
    def end_of_message(self) -> int:
        return self.control("<|eom_id|>")

    @cached_property
    def pad(self) -> int:
        return self.control("<|finetune_right_pad_id|>")

    @property
    def stops(self) -> frozenset[int]:
        """Ids after which a model has said its piece. Source: llama-models, `tokenizer.py`."""
        return frozenset((self.end, self.end_of_message, self.end_of_turn))

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

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        return [found.ids for found in self._backend.encode_batch_fast(texts, add_special_tokens=False)]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`, control tokens left out."""
        return self._backend.decode(list(ids), skip_special_tokens=True)

    def show(self, ids: Iterable[int]) -> str:
        """The text of `ids` with control tokens spelled out."""
        return self._backend.decode(list(ids), skip_special_tokens=False)
