"""What the streaming back-end takes itself, what it leaves to the model, and what it refuses; its kernels are asked in
tests/generate/test_on_gpu.py and test_streaming.py."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from herd.core.errors import ArtifactError
from herd.model.architecture import Architecture
from herd.model.cache import PagedKVCache
from herd.model.streamed import ROWS_AT_ONCE, StreamedModel, streamable
from tests.model.test_transformer import SMALL, ids, model


def empty(rows: int) -> PagedKVCache:
    return PagedKVCache.empty(SMALL, rows, 16, torch.float32, torch.device("cpu"))


@pytest.mark.parametrize(("rows", "tokens"), [(1, 2), (ROWS_AT_ONCE, 7), (ROWS_AT_ONCE + 1, 1)])
@torch.inference_mode()
def test_prompts_and_many_rows_are_the_models_own_work(rows: int, tokens: int) -> None:
    network = model()
    streamed, caches = StreamedModel(network), (empty(rows), empty(rows))
    found = streamed.hidden_states(ids(rows, tokens), cache=caches[0])
    assert torch.equal(found, network.hidden_states(ids(rows, tokens), cache=caches[1]))
    assert torch.equal(caches[0].keys_LBGSE, caches[1].keys_LBGSE)
    assert streamed.takes(rows) == (rows <= ROWS_AT_ONCE)
    if not streamed.takes(rows):
        assert torch.equal(streamed.logits(found[:, -1]), network.logits(found[:, -1]))


def test_a_model_that_it_would_read_wrongly_is_refused_and_not_chosen() -> None:
    assert not streamable(model())  # on a CPU
    assert not streamable(torch.nn.Linear(2, 2))
    for own, words in (
        (Architecture(nope_layers=(1,)), "layers without positions"),
        (Architecture(qk_norm="head"), "a norm of"),
    ):
        other = model(replace(SMALL, architecture=own))
        assert not streamable(other)
        with pytest.raises(ArtifactError, match=f"{words}.*which the streaming back-end does not compute"):
            StreamedModel(other)
