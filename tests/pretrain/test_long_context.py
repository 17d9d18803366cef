"""A switch to a longer context: what it changes of the shape, how long it may train, and what it says."""

from __future__ import annotations

from dataclasses import replace

from herd.model.sizes import RopeScaling
from herd.pretrain.long_context import LongContextSettings, _longer, _ramp
from tests.model.test_transformer import SMALL

SETTINGS = LongContextSettings(
    length=128, batch_tokens=512, check_tokens=2048, lr=1e-3, mixture_weights={"a": 1.0}, text_sources=("a",), checks=3
)


def test_a_switch_changes_the_context_and_of_positions_what_is_asked_for() -> None:
    assert _longer(SMALL, SETTINGS) == replace(SMALL, max_seq_len=128)
    theta = _longer(SMALL, replace(SETTINGS, rope_theta=2e6))
    assert theta == replace(SMALL, max_seq_len=128, rope_theta=2e6)
    scaling = RopeScaling(factor=2.0, original_max_position_embeddings=64)
    assert _longer(SMALL, replace(SETTINGS, rope_scaling=scaling)).rope_scaling == scaling
    # What the shape had stays where nothing is said.
    assert _longer(replace(SMALL, rope_theta=7.0), SETTINGS).rope_theta == 7.0


def test_it_trains_as_long_as_there_are_tests_and_no_longer() -> None:
    """Three tests, four steps of 512 tokens between two of them."""
    ramp = _ramp(SETTINGS, 128, 4)
    assert ramp.steps == 3 * 4
    assert len(ramp.rows_of(0)) * 128 == 512
    assert _ramp(SETTINGS, 64, 4).steps == ramp.steps  # of shorter rows more
    assert _ramp(SETTINGS, 64, 4).rows == 2 * ramp.rows


def test_a_short_warm_up_and_a_constant_rate_are_what_it_takes_by_itself() -> None:
    rate = SETTINGS.lr_schedule(40)
    assert [rate(step) for step in (0, 4, 9, 39)] == [1e-4, 5e-4, 1e-3, 1e-3]
