"""Sizes as recipes write them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from herd.core.errors import SettingsError
from herd.core.settings import build, dump, settings
from herd.model.architecture import Architecture
from herd.model.sizes import SIZES, SizeOrName


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
