"""The transformer against transformers' Llama, against itself with a cache, and under the document mask."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as functional
from hypothesis import given, settings
from hypothesis import strategies as st

from herd.core.errors import DataError, SettingsError
from herd.core.settings import build
from herd.model.cache import PagedKVCache
from herd.model.devices import place_model
from herd.model.sizes import LLAMA_VOCAB_SIZE, SIZES, RopeScaling, Shape, Size, model_size
from herd.model.transformer import Transformer, copy_in, initialize, model_of
from herd.model.weights import load_model, save_model

SMALL = Shape(vocab_size=97, dim=32, n_layers=3, n_heads=4, n_kv_heads=2, ffn_dim=48, max_seq_len=64)


def model(shape: Shape = SMALL, seed: int = 0) -> Transformer:
    made = Transformer(shape)
    initialize(made, std=0.2, layers=shape.n_layers, generator=torch.Generator().manual_seed(seed))
    return made.eval()


def ids(rows: int, length: int, seed: int = 1) -> torch.Tensor:
    return torch.randint(0, SMALL.vocab_size, (rows, length), generator=torch.Generator().manual_seed(seed))


@pytest.mark.row(1, "counts")
@pytest.mark.parametrize(
    ("name", "weights"), [("8b", 8_030_261_248), ("70b", 70_553_706_496), ("405b", 405_853_388_800)]
)
def test_weights_are_counted_exactly(name: str, weights: int, figure) -> None:
    found = model_size(name).shape(vocab_size=LLAMA_VOCAB_SIZE).num_params
    figure(f"{name}: {found:,}")
    assert found == weights


def test_the_count_is_what_the_model_holds() -> None:
    assert sum(weight.numel() for weight in model().parameters()) == SMALL.num_params


@pytest.mark.row(1, "logits")
@pytest.mark.parametrize("scaling", [None, RopeScaling(original_max_position_embeddings=16)])
def test_logits_equal_those_of_transformers(scaling: RopeScaling | None, tmp_path, figure) -> None:
    import transformers

    ours = model(replace(SMALL, rope_scaling=scaling))
    save_model(tmp_path, ours, bos_token_id=1, eos_token_ids=[2], pad_token_id=0)
    theirs: Any = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    with torch.inference_mode():
        difference = (ours(ids(2, 40)) - theirs(ids(2, 40)).logits).abs().max().item()
    figure(f"largest difference of logits {difference:.1e}")
    assert difference < 1e-5


def test_greedy_text_equals_that_of_transformers(tmp_path) -> None:
    import transformers

    from herd.generate.engine import Engine, SamplingParams

    ours = model()
    save_model(tmp_path, ours, bos_token_id=1, eos_token_ids=[2], pad_token_id=0)
    theirs: Any = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    prompt = ids(1, 9)
    wanted = theirs.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=20, do_sample=False)
    found = Engine(ours, frozenset({2})).generate(prompt.tolist(), SamplingParams(max_tokens=20))[0]
    text = wanted[0, 9:].tolist()
    assert found.token_ids == (text[: text.index(2)] if 2 in text else text)


@pytest.mark.row(3, "decoding")
@settings(max_examples=20, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12))
def test_reading_in_two_parts_with_a_cache_changes_nothing(first: int, second: int) -> None:
    made, tokens = model(), ids(2, first + second)
    with torch.inference_mode():
        whole = made(tokens)
        cache = PagedKVCache.empty(SMALL, 2, first + second, torch.float32, torch.device("cpu"))
        parts = [made(tokens[:, :first], cache=cache)]
        cache.lengths_B = cache.lengths_B + first
        for place in range(first, first + second):
            parts.append(made(tokens[:, place : place + 1], cache=cache))
            cache.lengths_B = cache.lengths_B + 1
    assert (torch.cat(parts, 1) - whole).abs().max() < 1e-5


@pytest.mark.row(6)
def test_documents_in_one_row_do_not_see_each_other(figure) -> None:
    made, first, second = model(), ids(1, 11, 5), ids(1, 17, 6)
    row = torch.cat((first, second), 1)
    numbers = torch.tensor([[0] * 11 + [1] * 17])
    with torch.inference_mode():
        packed = made(row, documents_BT=numbers)
        alone = torch.cat((made(first), made(second)), 1)
        difference = (packed - alone).abs().max().item()
        leaking = (made(row) - alone).abs().max().item()
    figure(f"packed and alone differ by {difference:.1e}")
    assert difference < 1e-5
    assert leaking > 1e-3  # without the mask they do


@pytest.mark.row(2, "gradients")
def test_gradients_of_the_feed_forward_are_right() -> None:
    from herd.model.transformer import FeedForward

    layer = FeedForward(replace(SMALL, dim=8, n_heads=2, n_kv_heads=1, ffn_dim=6)).double()
    x = torch.randn(3, 8, dtype=torch.float64, requires_grad=True, generator=torch.Generator().manual_seed(0))
    assert torch.autograd.gradcheck(layer, (x,), atol=1e-4)


class GeluForward(torch.nn.Module):
    """down(gelu(up x)): the network SwiGLU is compared with, as wide as makes the weights as many."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        hidden = shape.ffn_dim * 3 // 2
        self.up, self.down = (
            torch.nn.Linear(shape.dim, hidden, bias=False),
            torch.nn.Linear(hidden, shape.dim, bias=False),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(functional.gelu(self.up(x)))


def held_out_loss(made: Transformer, text: torch.Tensor, *, seed: int) -> float:
    """Nats a byte on the last tenth of `text` after 400 batches of the rest."""
    chance = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(made.parameters(), lr=3e-3, betas=(0.9, 0.95), weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 400)
    split = len(text) * 9 // 10

    def loss(starts: torch.Tensor) -> torch.Tensor:
        rows = torch.stack([text[start : start + 65] for start in starts.tolist()])
        return functional.cross_entropy(made(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())

    for _ in range(400):
        value = loss(torch.randint(0, split - 65, (16,), generator=chance))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        schedule.step()
    with torch.inference_mode():
        return float(loss(torch.arange(split, len(text) - 65, 65)[:1000]))


@pytest.mark.slow
@pytest.mark.row(2, "gelu")
def test_swiglu_learns_real_text_no_worse_than_gelu_at_equal_weights(figure) -> None:
    import argparse
    import asyncio.base_events
    import inspect
    import tarfile

    sources = "".join(inspect.getsource(module) for module in (argparse, asyncio.base_events, tarfile, inspect))
    text = torch.tensor(list(sources.encode()), dtype=torch.long)
    shape = Shape(vocab_size=256, dim=64, n_layers=3, n_heads=4, n_kv_heads=2, ffn_dim=128, max_seq_len=64)
    losses: dict[str, list[float]] = {"swiglu": [], "gelu": []}
    for seed in range(3):
        counts = set()
        for name, found in losses.items():
            made = Transformer(shape)
            if name == "gelu":
                for block in made.blocks:
                    block.feed_forward = GeluForward(shape)
            initialize(made, std=0.05, layers=shape.n_layers, generator=torch.Generator().manual_seed(seed))
            counts.add(sum(weight.numel() for weight in made.parameters()))
            found.append(held_out_loss(made, text, seed=seed))
        assert len(counts) == 1
    swiglu, gelu = (sum(found) / len(found) for found in losses.values())
    figure(f"{swiglu:.3f} nats a byte, {gelu:.3f} with GELU, 3 seeds", seeds=range(3))
    assert swiglu <= gelu + 0.01


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dim": 30}, "dim 30 is not a multiple of n_heads 4; try dim 32"),
        ({"n_kv_heads": 3}, "n_heads 4 is not a multiple of n_kv_heads 3; try n_kv_heads 2"),
        ({"dim": 36, "n_heads": 4}, "is odd"),
    ],
)
def test_impossible_shapes_are_refused_with_a_mend(change: dict[str, int], words: str) -> None:
    numbers = {"dim": 32, "n_layers": 1, "n_heads": 4, "n_kv_heads": 2, "ffn_dim": 48} | change
    with pytest.raises(SettingsError, match=words):
        build(Size, numbers, where="x")


def test_a_size_that_does_not_exist_is_told() -> None:
    assert "405b" in SIZES
    with pytest.raises(SettingsError, match="did you mean '70b'"):
        model_size("70bb")


def test_weights_survive_the_disk(tmp_path) -> None:
    ours = model()
    save_model(tmp_path, ours, bos_token_id=1, eos_token_ids=[2], pad_token_id=0)
    again = load_model(tmp_path)
    assert again.shape == ours.shape
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), again.parameters(), strict=True))


def test_flops_count_what_six_nd_leaves_out() -> None:
    shape = model_size("8b").shape(vocab_size=LLAMA_VOCAB_SIZE)
    matrices = shape.num_params - shape.vocab_size * shape.dim  # the input embedding multiplies nothing
    assert shape.forward_flops(0) == pytest.approx(2 * matrices, rel=1e-4)
    assert shape.forward_flops(8192) > shape.forward_flops(0)


def test_a_row_longer_than_the_context_is_told() -> None:
    made = model()
    with pytest.raises(DataError, match=f"longer than the {made.shape.max_seq_len} the model reads"):
        made(torch.zeros(1, made.shape.max_seq_len + 1, dtype=torch.long))


def test_a_copy_in_another_type_reads_as_a_model_that_was_placed_so() -> None:
    for shape in (SMALL, replace(SMALL, tied_output=True)):
        original = model(shape)
        copied = copy_in(original, torch.bfloat16)
        placed = place_model(model(shape), "cpu", "bf16")
        assert {weight.dtype for weight in copied.parameters()} == {torch.bfloat16}
        assert copied.cos_TE.dtype == torch.float32
        with torch.no_grad():
            assert torch.equal(copied(ids(2, 9)), placed(ids(2, 9)))
            same = copy_in(original, torch.float32)
            same.embedding.weight.zero_()
            assert bool(original.embedding.weight.any())


def test_a_model_of_weights_is_the_model_they_are_of() -> None:
    original = model()
    again = model_of(SMALL, dict(original.state_dict()))
    with torch.no_grad():
        assert torch.equal(again(ids(2, 9)), original(ids(2, 9)))
