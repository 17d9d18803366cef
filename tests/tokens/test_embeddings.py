"""Static embeddings: of length 1, of the first page only, and near where the words are near."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from herd.core.errors import HerdError
from herd.tokens import embeddings
from herd.tokens.embeddings import MAX_CHARACTERS, embed


@pytest.mark.skipif(importlib.util.find_spec("wordllama") is None, reason="needs the package wordllama")
def test_vectors_are_of_length_1_alone_or_beside_others_and_of_the_first_page() -> None:
    page = "The ferry crosses the strait at noon. " * 200
    assert len(page) > MAX_CHARACTERS
    texts = ["a cat sleeps", "the kitten naps", "interest rates rose", "", page]
    found = embed(texts)
    assert found.dtype == np.float32
    assert found.shape == (5, 256)
    assert np.linalg.norm(found, axis=1).tolist() == pytest.approx([1, 1, 1, 0, 1], abs=1e-5)
    assert np.allclose(embed(texts[1:2])[0], found[1], atol=1e-6)
    assert np.array_equal(embed([page + "Something else entirely."])[0], found[4])
    assert found[0] @ found[1] > found[0] @ found[2]
    # A mean knows no order of tokens.
    assert np.allclose(*embed(["red blue red", "red red blue"]), atol=1e-5)
    assert embed([]).shape == (0, 256)


def test_without_the_package_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None)
    embeddings._model.cache_clear()
    try:
        with pytest.raises(HerdError, match="an embedding of texts needs the package wordllama: `pip install "):
            embed(["a"])
    finally:
        embeddings._model.cache_clear()
