"""A block as one operation gives what its parts give."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from herd.model.attention_backends import Blockwise, Sdpa
from herd.model.fused import call_fused, fusable, fused_kernels
from herd.model.sizes import Shape
from herd.model.transformer import Transformer, call_eager


def model(width: int = 24, heads: tuple[int, int] = (4, 2), hidden: int = 37, seed: int = 0) -> Transformer:
    shape = Shape(
        dim=width, n_layers=2, n_heads=heads[0], n_kv_heads=heads[1], ffn_dim=hidden, vocab_size=31, max_seq_len=64
    )
    made = Transformer(shape)
    chance = torch.Generator().manual_seed(seed)
    for weight in made.parameters():
        nn.init.normal_(weight, float(weight.dim() == 1), 0.2, generator=chance)
    made.set_attention_backend(Blockwise())
    return made


def outcome(made: Transformer, call, tokens_BT: Tensor, documents_BT: Tensor | None) -> list[Tensor]:
    """The last states, and the slopes of a sum over them by every weight that learns."""
    made.call = call
    hidden = made.hidden_states(tokens_BT, documents_BT=documents_BT)
    named = made.named_parameters()
    weights = [weight for name, weight in named if weight.requires_grad and name != "output.weight"]
    weighed = (hidden * torch.linspace(-1, 1, hidden.numel()).view(hidden.shape)).sum()
    return [hidden, *torch.autograd.grad(weighed, weights)]


@given(
    st.sampled_from([(8, (1, 1)), (24, (4, 2)), (32, (2, 1)), (96, (6, 2)), (72, (3, 3))]),
    st.integers(1, 70),
    st.integers(1, 3),
    st.integers(1, 64),
    st.integers(0, 3),
    st.integers(0, 2**31),
)
@settings(max_examples=40)
def test_a_block_and_its_slopes_are_those_of_its_parts(
    widths: tuple[int, tuple[int, int]], hidden: int, rows: int, tokens: int, documents: int, seed: int
) -> None:
    made = model(*widths, hidden, seed)
    chance = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, 31, (rows, tokens), generator=chance)
    inside = torch.randint(0, documents + 1, (rows, tokens), generator=chance).sort(-1).values if documents else None
    wanted, found = (outcome(made, call, ids, inside) for call in (call_eager, call_fused))
    for ours, theirs in zip(found, wanted, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-5 + 1e-4 * float(theirs.detach().abs().max()))


def test_what_does_not_learn_gets_no_slope_and_changes_none() -> None:
    made, ids = model(), torch.arange(20)[None]
    made.blocks[0].requires_grad_(False)
    made.embedding.requires_grad_(False)
    made.blocks[1].feed_forward.gate.requires_grad_(False)  # type: ignore[union-attr]
    wanted, found = (outcome(made, call, ids, None) for call in (call_eager, call_fused))
    for ours, theirs in zip(found, wanted, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-5 + 1e-4 * float(theirs.detach().abs().max()))


def test_other_ways_to_attend_are_kept() -> None:
    made, ids = model(), torch.arange(20)[None]
    made.set_attention_backend(Sdpa())
    wanted, found = (outcome(made, call, ids, None) for call in (call_eager, call_fused))
    for ours, theirs in zip(found, wanted, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-5 + 1e-4 * float(theirs.detach().abs().max()))


@pytest.mark.parametrize("kind", ["16 bits", "an adapter", "no compiler"])
def test_what_is_not_a_plain_model_in_fp32_is_not_taken(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = model()
    assert fusable(made)
    if kind == "16 bits":
        made.to(torch.bfloat16)
    elif kind == "an adapter":

        class Adapted(nn.Linear):
            pass

        made.blocks[1].attention.query = Adapted(24, 24, bias=False)  # type: ignore[union-attr]
    else:
        monkeypatch.setattr("herd.model.kernels.cpu_kernels", lambda: None)
    assert not fusable(made)


def test_a_model_is_called_quickly_for_a_while_and_then_as_before() -> None:
    made, ids = model(), torch.arange(20)[None]
    made.set_attention_backend(Sdpa())
    before, kept = made.hidden_states(ids), (made.call, made.attention_backend)
    with fused_kernels(made):
        assert made.call is call_fused
        assert torch.allclose(made.hidden_states(ids), before, atol=1e-5, rtol=1e-4)
    assert (made.call, made.attention_backend) == kept
    with fused_kernels(made.to(torch.bfloat16)):  # which does not fit
        assert made.call is kept[0]
