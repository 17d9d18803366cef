"""Texts as vectors, by the mean of their tokens' static embeddings: no network to run, thousands of texts a second."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from herd.core.extras import ExtraPackage, folder_of_extra

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Vectors = NDArray[np.float32]
WORDLLAMA = ExtraPackage("wordllama", "semantic", "an embedding of texts")
MAX_CHARACTERS = 4_000  # of a text that are read: what it is about shows in its first page
_WEIGHTS, _TOKENIZER = "l2_supercat_256.safetensors", "l2_supercat_tokenizer_config.json"


def embed(texts: Sequence[str]) -> Vectors:
    """A vector of length 1 for each text, [N, 256]; zeros for a text without a token.

    The embeddings of the package wordllama (MIT): of 32,000 tokens, distilled from large models' own. Raises
    HerdError when it is not installed.
    """
    tokenizer, weights = _model()
    encoded = tokenizer.encode_batch([text[:MAX_CHARACTERS] for text in texts], add_special_tokens=False)
    out = np.zeros((len(texts), weights.shape[1]), np.float32)
    for row, encoding in enumerate(encoded):
        if encoding.ids:
            mean = weights[encoding.ids].mean(axis=0)
            out[row] = mean / max(1e-9, float(np.linalg.norm(mean)))
    return out


@cache
def _model() -> tuple[Tokenizer, Vectors]:
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    # The package itself is not imported: it would look for its files on the network.
    folder = folder_of_extra(WORDLLAMA)
    weights = next(iter(load_file(next(folder.rglob(_WEIGHTS))).values()))
    tokenizer = Tokenizer.from_file(str(next(folder.rglob(_TOKENIZER))))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer, weights.astype(np.float32)
