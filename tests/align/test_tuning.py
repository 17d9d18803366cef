"""What all kinds of fine-tuning have in common."""

from __future__ import annotations

import pytest

from herd.train.schedule import lr_by_size


@pytest.mark.parametrize(
    ("weights", "rate"), [(405_000_000_000, 1e-5), (8_000_000_000, 3.3e-5), (135_000_000, 1.1e-4), (1_000_000, 5e-4)]
)
def test_larger_models_learn_more_slowly(weights: int, rate: float) -> None:
    assert lr_by_size(weights) == pytest.approx(rate, rel=0.03)
