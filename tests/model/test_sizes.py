"""Sizes as recipes write them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.core.errors import SettingsError
from herd.core.settings import build, dump, settings
from herd.model.architecture import Architecture
from herd.model.sizes import SIZES, Size, SizeOrName, parse_size


@settings
class Holder:
    """A size as stages hold one: named, written out, or none."""

    size: SizeOrName | None = None


@pytest.mark.parametrize("name", ["1m", "8b"])
def test_a_name_is_its_numbers(name: str) -> None:
    assert build(Holder, {"size": name}, where="test").size == SIZES[name]


def test_what_is_written_is_read_again_with_its_lists() -> None:
    own = Architecture(sliding_window=8, window_layers=(0, 2), nope_layers=(1,))
    holder = Holder(size=replace(SIZES["1m"], architecture=own))
    assert build(Holder, dump(holder), where="test") == holder


def test_a_name_that_is_none_is_refused_with_the_nearest() -> None:
    with pytest.raises(SettingsError, match="did you mean"):
        build(Holder, {"size": "1mm"}, where="test")


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("350m", "next to it are '150m' and '1b', or say its numbers, such as width=1024,layers=24"),
        ("500k", "next to it are '1m', or"),
        ("900b", "next to it are '405b', or"),
        ("1.5B", "next to it are '1b' and '8b', or"),
        ("tinny", "did you mean 'tiny'"),
    ],
)
def test_a_number_of_weights_that_is_no_size_is_told_those_next_to_it(name: str, near: str) -> None:
    with pytest.raises(SettingsError) as told:
        parse_size(name)
    assert near in str(told.value)


def test_a_command_line_names_a_size_by_name_by_numbers_or_by_file(tmp_path: Path) -> None:
    assert parse_size("8b") == SIZES["8b"]
    written = parse_size("width=2048, layers=16,heads=32,kv_heads=8,ffn=8192,tied=true")
    assert written == SIZES["1b"]
    (tmp_path / "own.yaml").write_text("dim: 2048\nn_layers: 16\nn_heads: 32\nn_kv_heads: 8\nffn_dim: 8192\ntied: true")
    assert parse_size(str(tmp_path / "own.yaml")) == written
    assert build(Holder, {"size": "width=64,layers=2"}, where="test").size == parse_size("width=64,layers=2")


def test_what_is_not_said_of_a_size_follows_from_its_width() -> None:
    assert parse_size("width=4096,layers=32") == Size(dim=4096, n_layers=32, n_heads=64, n_kv_heads=16, ffn_dim=11008)
    assert parse_size("width=4096,layers=32,heads=32").n_kv_heads == 8


@given(st.integers(1, 4000).map(lambda half: 2 * half), st.integers(1, 130))
def test_any_even_width_makes_a_size(width: int, layers: int) -> None:
    size = parse_size(f"width={width},layers={layers}")
    assert (size.dim, size.n_layers) == (width, layers)
    assert size.head_dim >= 64 or size.n_heads == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("width=64", "says no layers"),
        ("layers=2", "says no width"),
        ("width=64,layers=2,dim=64", "said twice"),
        ("width=64,layers", "names no number"),
        ("width=64,layers=2,head=4", "did you mean"),
        ("width=wide,layers=2", "dim is"),
        ("width=64,layers=2,heads=0", "n_heads is 0"),
        ("absent.yaml", "cannot be read"),
    ],
)
def test_what_is_no_size_is_refused_in_a_sentence(text: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        parse_size(text)


@pytest.mark.parametrize(
    ("name", "vocab_size", "params"),
    [("4m", 4352, 2.46e6), ("30m", 16_384, 31_990_272), ("150m", 32_768, 151e6), ("1b", 128_256, 1.236e9)],
)
def test_the_sizes_for_ones_own_text_have_as_many_weights_as_they_are_called(
    name: str, vocab_size: int, params: float
) -> None:
    assert SIZES[name].shape(vocab_size=vocab_size, max_seq_len=512).num_params == pytest.approx(params, rel=0.005)
