"""Averages of weights are means, taken in fp32."""

from __future__ import annotations

import pytest
import torch

from herd.train.averaging import average_weights


@pytest.mark.row(37, "mean")
def test_an_average_is_the_mean_in_fp32() -> None:
    members = [{"w": torch.full((3,), value, dtype=torch.bfloat16)} for value in (1.0, 2.0, 4.5)]
    assert torch.equal(average_weights(members)["w"], torch.full((3,), 2.5))


def test_small_differences_of_bf16_members_are_not_rounded_away() -> None:
    """Summed in bf16, 256 and 1 are 256."""
    members = [{"w": torch.tensor([value], dtype=torch.bfloat16)} for value in (256.0, 1.0, 1.0)]
    found = average_weights(members)["w"]
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(86.0)


def test_one_member_is_its_own_average_and_members_stay_as_they_are() -> None:
    member = {"a": torch.randn(2, 3, generator=torch.Generator().manual_seed(0)), "b": torch.ones(1)}
    kept = {name: value.clone() for name, value in member.items()}
    found = average_weights([member])
    assert all(torch.equal(found[name], kept[name]) for name in kept)
    found["b"].zero_()
    assert torch.equal(member["b"], kept["b"])


def test_members_of_another_shape_or_with_a_weight_missing_are_no_members() -> None:
    with pytest.raises(KeyError):
        average_weights([{"a": torch.ones(1)}, {"b": torch.ones(1)}])
    with pytest.raises(RuntimeError):
        average_weights([{"a": torch.ones(1)}, {"a": torch.ones(2)}])
