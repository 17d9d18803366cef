"""Every architecture against transformers, and every back-end over every feature."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from herd.core.errors import ArtifactError, SettingsError
from herd.core.settings import build
from herd.generate.engine import Engine, SamplingParams
from herd.model import fused, packed, reference, streamed, weights
from herd.model.architecture import ALL_FEATURES, FEATURES, Architecture, RopeScaling, RopeType
from herd.model.attention_backends import Blockwise, Flex, Sdpa, Varlen, attention_backend
from herd.model.cache import PagedKVCache
from herd.model.families import FAMILY_BY_MODEL_TYPE
from herd.model.heads import RewardModel
from herd.model.sizes import Shape, Size
from herd.model.stored import StoredModel
from herd.model.transformer import Transformer, call_eager, check_eager
from herd.model.weight_names import weight_names, weight_shapes
from herd.train.layout import UNSUPPORTED_FEATURES, ParallelLayout

PLAIN = Shape(vocab_size=61, dim=32, n_layers=4, n_heads=4, n_kv_heads=2, ffn_dim=48, max_seq_len=64, rope_theta=1e4)
TIED = replace(PLAIN, tied_output=True)


def having(shape: Shape = PLAIN, **own: Any) -> Shape:
    return replace(shape, architecture=Architecture(**own))


def stretched(rope_type: RopeType, **more: Any) -> Shape:
    return replace(
        PLAIN, rope_scaling=RopeScaling(rope_type=rope_type, factor=4.0, original_max_position_embeddings=16, **more)
    )


LONG: dict[str, Any] = {"short_factor": (1.0, 1.1, 1.2, 1.3), "long_factor": (1.0, 2.0, 3.5, 4.0)}
BIASES: dict[str, Any] = {"qkv_bias": True, "output_bias": True}

# As transformers names the family, and what is odd about it.
FAMILIES: dict[str, Shape] = {
    "llama 2": replace(PLAIN, n_kv_heads=4),
    "llama 3.1": stretched("llama3"),
    "llama with biases": having(**BIASES, ffn_bias=True, head_dim=12),
    "mistral": having(sliding_window=7),
    "mistral with heads of another width": having(sliding_window=7, head_dim=12),
    "qwen2": having(TIED, qkv_bias=True),
    "qwen2 with windows": having(qkv_bias=True, sliding_window=7, window_layers=(2, 3)),
    "qwen3": having(TIED, qk_norm="head", head_dim=12),
    "qwen3 with windows": having(**BIASES, qk_norm="head", sliding_window=9, window_layers=(1, 3)),
    "smollm2": replace(TIED, n_heads=8, n_kv_heads=2),
    "smollm3": having(TIED, nope_layers=(3,)),
    "smollm3 with windows": having(nope_layers=(1,), sliding_window=5, window_layers=(1, 2)),
    "olmo2": having(replace(PLAIN, n_kv_heads=4), qk_norm="width", post_norm=True),
    "olmo2 with groups": having(qk_norm="width", post_norm=True),
    "linear": stretched("linear"),
    "dynamic": stretched("dynamic"),
    "yarn": stretched("yarn"),
    "yarn with all": stretched("yarn", beta_fast=8.0, beta_slow=2.0, truncate=False, attention_factor=1.3),
    "longrope": stretched("longrope", **LONG),
}


def model(shape: Shape, seed: int = 0) -> Transformer:
    """Weights large enough that every feature shows."""
    network = Transformer(shape)
    chance = torch.Generator().manual_seed(seed)
    for name, weight in network.named_parameters():
        nn.init.normal_(weight, float("norm" in name), 0.2, generator=chance)
    return network.eval()


def ids(rows: int, length: int, seed: int = 1) -> Tensor:
    """Without those that end or fill: transformers' embedding learns nothing of a filling token."""
    return torch.randint(3, PLAIN.vocab_size, (rows, length), generator=torch.Generator().manual_seed(seed))


def saved(folder: Path, ours: Transformer) -> Path:
    folder.mkdir()
    weights.save_model(folder, ours, bos_token_id=1, eos_token_ids=[2], pad_token_id=0)
    return folder


# ---- against transformers ----


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_computes_what_transformers_does(name: str, tmp_path: Path) -> None:
    """Export, logits, slopes by all weights, import, and greedy tokens."""
    import transformers

    shape = FAMILIES[name]
    ours = model(shape)
    folder = saved(tmp_path / "ours", ours)
    load: Callable[..., Any] = transformers.AutoModelForCausalLM.from_pretrained
    theirs = load(folder, dtype=torch.float32)
    family = name.split()[0]
    assert theirs.config.model_type == (family if family in FAMILY_BY_MODEL_TYPE else "llama")
    tokens = ids(2, 40)
    expected, computed = theirs(tokens).logits, ours(tokens)
    assert (expected - computed).abs().max() < 1e-5
    weighed = torch.linspace(-1, 1, computed.numel()).view(computed.shape)
    (expected * weighed).sum().backward()
    (computed * weighed).sum().backward()
    table, slopes = weight_names(shape, "hugging_face"), {n: w.grad for n, w in theirs.named_parameters()}
    for own, weight in ours.named_parameters():
        other = slopes[table[own]]
        assert weight.grad is not None
        assert (weight.grad - other).abs().max() < 1e-5 * max(1.0, float(other.abs().max())), own

    theirs.save_pretrained(tmp_path / "theirs")
    again = weights.load_transformer(tmp_path / "theirs")
    assert again.shape == shape
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), again.parameters(), strict=True))

    prompts = [ids(1, length, length)[0].tolist() for length in (11, 27)]
    theirs = load(folder, dtype=torch.float32)  # those that turn by length remember the longest they saw
    answers = Engine(ours, frozenset()).generate(prompts, SamplingParams(max_tokens=24))
    for prompt, answer in zip(prompts, answers, strict=True):
        asked = torch.tensor([prompt])
        text = theirs.generate(asked, max_new_tokens=24, do_sample=False, eos_token_id=None, pad_token_id=0)
        assert answer.token_ids == text[0, len(prompt) :].tolist()


def test_a_reward_model_of_another_family_is_read_by_transformers(tmp_path: Path) -> None:
    import transformers

    ours = RewardModel(FAMILIES["qwen3"])
    nn.init.normal_(ours.score.weight, generator=torch.Generator().manual_seed(0))
    weights.save_model(tmp_path, ours, bos_token_id=1, eos_token_ids=[2], pad_token_id=0)
    theirs: Any = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path, dtype=torch.float32)
    assert isinstance(weights.load_model(tmp_path), RewardModel)
    tokens = ids(1, 12)
    with torch.inference_mode():
        assert abs(float(ours(tokens)[0, -1]) - float(theirs.eval()(tokens).logits[0, 0])) < 1e-5


def test_the_count_of_weights_is_what_the_model_holds() -> None:
    for shape in FAMILIES.values():
        network = Transformer(shape)
        assert sum(weight.numel() for weight in network.parameters()) == shape.num_params
        assert {name: tuple(weight.shape) for name, weight in network.named_parameters()} == weight_shapes(shape)
        check_eager(network)


# ---- windows ----


def test_a_window_takes_less_work() -> None:
    windowed = having(sliding_window=16, window_layers=(0, 1))
    pairs = sum(min(place, 16) for place in range(1, 257)) - 256 / 2  # half of itself, as the causal square counts
    saved_pairs = 2 * (256 * 256 / 2 - pairs) / 256
    saved_flops = PLAIN.forward_flops(256) - windowed.forward_flops(256)
    assert saved_flops == pytest.approx(4 * PLAIN.n_heads * PLAIN.head_dim * saved_pairs, rel=0.02)


@pytest.mark.parametrize("name", ["mistral", "smollm3 with windows"])
def test_documents_and_branches_in_one_row_keep_their_windows(name: str) -> None:
    shape = FAMILIES[name]
    network, first, second = model(shape), ids(1, 17, 5), ids(1, 23, 6)
    numbers = torch.tensor([[0] * 17 + [1] * 23])
    with torch.inference_mode():
        together = network(torch.cat((first, second), 1), documents_BT=numbers)
        alone = torch.cat((network(first), network(second)), 1)
    assert (together - alone).abs().max() < 1e-5
    reward = RewardModel(shape)
    reward.trunk.load_state_dict({n: w for n, w in network.state_dict().items() if not n.startswith("output")})
    nn.init.normal_(reward.score.weight, generator=torch.Generator().manual_seed(0))
    trunk, left, right = ids(1, 10, 7), ids(1, 12, 8), ids(1, 9, 9)
    branches = torch.tensor([[0] * 10 + [1] * 12 + [2] * 9])
    with torch.inference_mode():
        both = reward(torch.cat((trunk, left, right), 1), branches_BT=branches)[0, [21, 30]]
        each = [reward(torch.cat((trunk, answer), 1))[0, -1] for answer in (left, right)]
    assert (both - torch.stack(each)).abs().max() < 1e-5


def test_a_cache_longer_than_the_window_looks_no_further_back() -> None:
    network, changed, tokens = model(having(PLAIN, sliding_window=4)), ids(1, 30), ids(1, 30)
    changed[0, :3] = (changed[0, :3] + 1) % PLAIN.vocab_size
    last = []
    for row in (tokens, changed):
        cache = PagedKVCache.empty(network.shape, 1, 30, torch.float32, torch.device("cpu"))
        with torch.inference_mode():
            last.append(network(row, cache=cache)[0])
    # Four layers of windows of 4 reach 12 tokens back, and no further.
    assert torch.equal(last[0][15:], last[1][15:])
    assert not torch.allclose(last[0][14], last[1][14])


# ---- every back-end over every feature ----

ONE: dict[str, Shape] = {
    "head_dim": having(head_dim=12),
    "qkv_bias": having(qkv_bias=True),
    "output_bias": having(output_bias=True),
    "ffn_bias": having(ffn_bias=True),
    "qk_norm_head": having(qk_norm="head"),
    "qk_norm_width": having(qk_norm="width"),
    "post_norm": having(post_norm=True),
    "sliding_window": having(sliding_window=7, window_layers=(1, 2)),
    "nope": having(nope_layers=(1, 3)),
    "tied_output": TIED,
    "rope_linear": stretched("linear"),
    "rope_dynamic": stretched("dynamic"),
    "rope_yarn": stretched("yarn"),
    "rope_llama3": stretched("llama3"),
    "rope_longrope": stretched("longrope", **LONG),
}


def formulas(network: Transformer, tokens: Tensor) -> np.ndarray:
    state = network.state_dict()
    stored = StoredModel("memory", network.shape, lambda name: state[name], rope_interleaved=False, dtype=torch.float32)
    return reference.logits(stored, tokens[0].tolist())


def eager(network: Transformer, tokens: Tensor) -> Tensor:
    return network(tokens)


def cached(reader: Any, tokens: Tensor) -> Tensor:
    """Read in one piece and then token by token, which is one text to a model that turns by its length."""
    split = tokens.shape[1] - 6
    if reader.shape.rope_scaling is not None and reader.shape.rope_scaling.depends_on_length:
        split = tokens.shape[1]
    cache = PagedKVCache.empty(reader.shape, 1, tokens.shape[1], torch.float32, torch.device("cpu"))
    parts = [reader.hidden_states(tokens[:, :split], cache=cache)]
    for place in range(split, tokens.shape[1]):
        cache.lengths_B[:] = place
        parts.append(reader.hidden_states(tokens[:, place : place + 1], cache=cache))
    return reader.logits(torch.cat(parts, 1))


@contextlib.contextmanager
def calling(network: Transformer, call: Any = call_eager, way: Any = None) -> Iterator[Transformer]:
    network.call = call
    network.set_attention_backend(way or Sdpa())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # FlexAttention says that it is slow without being compiled
        yield network


def by_attending(way: Any) -> Callable[[Transformer, Tensor], Tensor]:
    def run(network: Transformer, tokens: Tensor) -> Tensor:
        with calling(network, way=way):
            return network(tokens)

    return run


def by_fused(network: Transformer, tokens: Tensor) -> Tensor:
    with fused.fused_kernels(network):
        assert network.call is fused.call_fused
        return network(tokens)


def by_compiled(network: Transformer, tokens: Tensor) -> Tensor:
    # Traced whole; what a compiler makes of the graph is the compiler's.
    torch.compiler.reset()  # each feature is another model
    with calling(network, torch.compile(call_eager, backend="eager", fullgraph=True)):
        return network(tokens)


def refuse_attending(name: str) -> Callable[[Transformer], None]:
    def run(network: Transformer) -> None:
        sizes = (4, 2, 64, 8)
        attention_backend(name, torch.device("cuda"), torch.bfloat16, shape=sizes, features=network.shape.features)

    return run


Run = Callable[[Transformer, Tensor], Tensor]
# Each back-end: the features it has, how it computes (None: not on this machine), whether it is chosen, and what is
# called to be error by name that it does not.
BACK_ENDS: dict[str, tuple[frozenset[str], Run | None, Callable[[Any], bool] | None, Callable[[Any], Any] | None]] = {
    "eager": (ALL_FEATURES, eager, None, None),
    "eager with a cache": (ALL_FEATURES, cached, None, None),
    "compiled": (ALL_FEATURES, by_compiled, None, None),
    "sdpa": (Sdpa.supported_features, by_attending(Sdpa()), None, None),
    "blockwise": (Blockwise.supported_features, by_attending(Blockwise()), None, None),
    "flex": (Flex.supported_features, by_attending(Flex(compiled=False)), None, None),
    "varlen": (Varlen.supported_features, None, None, refuse_attending("varlen")),
    "fused": (fused.SUPPORTED_FEATURES, by_fused, fused.fusable, None),
    "packed": (
        packed.SUPPORTED_FEATURES,
        lambda network, t: cached(packed.PackedModel(network), t),
        packed.packable,
        packed.PackedModel,
    ),
    "Triton": (streamed.SUPPORTED_FEATURES, None, None, streamed.StreamedModel),
}


@pytest.mark.parametrize("back_end", BACK_ENDS)
def test_a_back_end_computes_every_feature_it_has_and_is_not_taken_for_others(back_end: str) -> None:
    assert set(ONE) == set(FEATURES), "a new feature needs a shape that has it here"
    has, run, chosen, refuses = BACK_ENDS[back_end]
    plain = model(PLAIN)
    tokens = ids(1, 40, 4)
    other = formulas(plain, tokens)
    for feature, shape in ONE.items():
        assert shape.features == {feature}
        network = model(shape)
        if feature not in has:
            assert chosen is None or (chosen(plain) and not chosen(network)), feature
            assert chosen or refuses, f"{back_end} lacks {feature} and nothing keeps it from being taken"
            if refuses:
                with pytest.raises((SettingsError, ArtifactError), match=FEATURES[feature]) as error:
                    refuses(network)
                assert "does not compute" in str(error.value)
        elif run is not None:
            with torch.inference_mode():
                computed = run(network, tokens)[0].numpy()
            expected = formulas(network, tokens)
            # As a share of the largest logit, as an import is checked.
            assert np.abs(computed - expected).max() < 1e-5 * np.abs(expected).max(), feature
            # The shape says something: a plain model gives other logits.
            assert feature in ("tied_output", "head_dim") or np.abs(other - expected).max() > 1e-3, feature


@pytest.mark.parametrize("dimension", UNSUPPORTED_FEATURES)
def test_ranks_that_cannot_share_a_feature_say_so(dimension: str) -> None:
    layout = ParallelLayout(**{dimension: 2})
    layout.check(PLAIN, length=64)
    for feature, shape in ONE.items():
        if feature in UNSUPPORTED_FEATURES[dimension]:
            with pytest.raises(SettingsError, match=f"{FEATURES[feature]} cannot be shared over {dimension} ranks"):
                layout.check(shape, length=64)
        else:
            layout.check(shape, length=64)


@pytest.mark.parametrize("feature", sorted(fused.SUPPORTED_FEATURES))
def test_slopes_of_fused_blocks_are_those_of_their_parts(feature: str) -> None:
    network, tokens = model(ONE[feature]), ids(2, 40)
    documents = torch.tensor([[0] * 13 + [1] * 27, [0] * 40])
    computed = []
    for call in (call_eager, fused.call_fused):
        with calling(network, call, Blockwise()):
            hidden = network.hidden_states(tokens, documents_BT=documents)
        learnt = [weight for name, weight in network.named_parameters() if name != "output.weight"]
        weighed = (hidden * torch.linspace(-1, 1, hidden.numel()).view(hidden.shape)).sum()
        computed.append([hidden, *torch.autograd.grad(weighed, learnt)])
    for ours, theirs in zip(*computed, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-5 + 1e-4 * float(theirs.detach().abs().max()))


# ---- settings ----


def test_a_recipes_size_says_features_and_scalings() -> None:
    numbers: dict[str, Any] = {
        "dim": 32,
        "n_layers": 4,
        "n_heads": 4,
        "n_kv_heads": 2,
        "ffn_dim": 48,
        "tied_output": True,
    }
    numbers |= {"rope_theta": 1e4, "architecture": {"nope_layers": [3]}}
    assert build(Size, numbers, where="x").shape(vocab_size=61, max_seq_len=64) == FAMILIES["smollm3"]
    scaled = numbers | {"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}}
    assert build(Size, scaled, where="x").features == {"tied_output", "nope", "rope_yarn"}


@pytest.mark.parametrize(
    ("own", "words"),
    [
        ({"nope_layers": (4,)}, "nope_layers has 4, and the 4 layers are numbered from 0"),
        ({"window_layers": (0,)}, "give that too"),
        ({"head_dim": 7}, "head_dim 7 is odd"),
    ],
)
def test_features_that_do_not_go_together_are_refused(own: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        having(**own)


def test_scalings_that_say_too_much_or_too_little_are_refused() -> None:
    with pytest.raises(SettingsError, match="low_freq_factor is nothing that rope_type 'linear' reads"):
        RopeScaling(rope_type="linear", low_freq_factor=2.0)
    with pytest.raises(SettingsError, match="short_factor and long_factor to be as long"):
        RopeScaling(rope_type="longrope", short_factor=(1.0,))
    with pytest.raises(SettingsError, match="longrope has 1 factors and heads have 4 pairs"):
        stretched("longrope", short_factor=(1.0,), long_factor=(2.0,))
    with pytest.raises(SettingsError, match="reads 64, and max_seq_len is 48"):
        replace(stretched("dynamic"), max_seq_len=48)
