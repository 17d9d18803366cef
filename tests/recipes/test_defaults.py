"""Numbers for whoever names none: held against the report's, and within what a run can take."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.core.settings import build
from herd.mixing.problem import ProxySettings
from herd.model.sizes import SIZES
from herd.pretrain.long_context import LongContextSettings
from herd.recipes.defaults import (
    base_vocab_size,
    batch_size_tokens,
    default_length,
    ladder_of,
    later_lengths,
    peak_lr,
    proxy_run,
)
from herd.scaling.budget import LadderSettings, ladder_runs, models_per_budget


def test_the_rate_goes_through_llama_3s_three() -> None:
    assert peak_lr(8_030_000_000) == 3e-4
    assert peak_lr(70_600_000_000) == pytest.approx(1.5e-4, rel=0.05)
    assert peak_lr(405_000_000_000) == pytest.approx(8e-5, rel=0.05)
    assert peak_lr(1000) == 1e-2


def test_the_sizes_for_ones_own_text_have_rows_and_a_vocabulary_in_keeping() -> None:
    chosen = {
        name: (default_length(SIZES[name]), base_vocab_size(SIZES[name])) for name in ("4m", "30m", "150m", "1b", "8b")
    }
    assert chosen == {
        "4m": (256, 4096), "30m": (512, 16_128), "150m": (2048, 32_512), "1b": (4096, 128_000), "8b": (8192, 128_000),
    }  # fmt: skip


def test_a_batch_grows_with_the_model_and_a_short_run_has_small_ones() -> None:
    assert batch_size_tokens(8_000_000_000, 8192, 15e12) == 2**22
    assert batch_size_tokens(150_000_000, 2048, 3e9) == 2**19
    assert batch_size_tokens(150_000_000, 2048, 3e6) == 8 * 2048


@given(st.integers(1, 10**12), st.integers(16, 10_000), st.floats(1, 1e13), st.integers(1, 64))
def test_a_batch_is_of_whole_rows_for_every_device(weights: int, length: int, tokens: float, devices: int) -> None:
    batch = batch_size_tokens(weights, length, tokens, devices)
    assert batch % length == 0
    assert batch // length >= 8
    assert (batch // length) % devices == 0


@given(st.sampled_from([2**12, 2**16, 2**20]), st.floats(1e4, 1e12))
def test_later_stages_are_settings_whose_tests_fill_their_steps(batch: int, tokens: float) -> None:
    rows = later_lengths([512, 8192], batch, tokens, 3e-4)
    stages = [build(LongContextSettings, row, where="test") for row in rows]
    assert [stage.length for stage in stages] == [512, 8192]
    for stage in stages:
        assert stage.lr == 3e-5
        assert stage.batch_tokens % stage.length == stage.check_tokens % stage.batch_tokens == 0
        most = max(4 * stage.batch_tokens, tokens / 10 + stage.batch_tokens)
        assert stage.checks * stage.check_tokens <= most
    build(ProxySettings, proxy_run(512, tokens), where="test")


@pytest.mark.parametrize(("name", "tokens"), [("4m", 15e6), ("30m", 600e6), ("150m", 3e9), ("1b", 1e11)])
def test_a_ladder_lies_below_its_base_and_brackets_what_is_best(name: str, tokens: float) -> None:
    size = SIZES[name]
    rows = base_vocab_size(size) + 256
    ladder = build(
        LadderSettings, ladder_of(size, vocab_size=rows, length=default_length(size), tokens=tokens), where="ladder"
    )
    flops = tokens * size.shape(vocab_size=rows, max_seq_len=default_length(size)).training_flops(default_length(size))
    runs = ladder_runs(ladder, vocabulary=rows)
    assert sum(run.budget for run in runs) < flops / 3
    assert len(models_per_budget(runs)) == len(ladder.budgets) == 3
    counts = [one.shape(vocab_size=rows, max_seq_len=512).num_params for one in ladder.sizes]
    best = (ladder.budgets[1] / 120) ** 0.5
    assert best < counts[-1]
    assert counts[0] < best or ladder.sizes[0].dim == 32  # of which nearly all is embedding
    assert list(ladder.lr) == sorted(ladder.lr, reverse=True)
