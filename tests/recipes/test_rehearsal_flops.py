"""FLOPs of a recipe's numbers: each training by the size it has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from herd.core.recipe import load_recipe, recipe_from
from herd.model.sizes import SIZES
from herd.recipes import recipes
from herd.recipes.rehearsal_flops import new_sizes, rehearsal_flops
from herd.tokens.tokenizer import CONTROL_TOKENS

PROXY = {"size": "3.2-1b", "length": 512, "tokens": 1_000_000, "batch_tokens": 8192, "lr": 1e-3}
LADDER = (
    "ladder={budgets: [6.0e18, 1.0e19], sizes: [3.2-1b, 3.2-3b, 8b, 70b], length: 4096, batch_tokens: 1048576, "
    "lr: 3.0e-4, mixture_weights: {general: 1.0}}"
)


def base_model(tmp_path: Path, **numbers: Any) -> Any:
    row = {"recipe": "base_model", "files": {"books": [str(tmp_path)]}, **numbers}
    return recipe_from(row, recipes, where=tmp_path / "mine.yaml").settings


def test_a_ladder_counts_its_budgets_and_the_base_its_own_size() -> None:
    plain, laddered = (load_recipe("llama3-8b", recipes, sets).settings for sets in ([], [LADDER]))
    assert next(new_sizes(laddered)) == SIZES["3.2-1b"]  # found first, and not the base's
    assert rehearsal_flops(plain) == pytest.approx(8.03e23 + 0.86e23, rel=0.05)  # base, and 800B tokens at length
    assert rehearsal_flops(laddered) - rehearsal_flops(plain) == pytest.approx(4 * 1.6e19, rel=1e-3)


@pytest.mark.parametrize(
    ("search", "tokens"),
    [
        ({"method": {"regmix": {"runs": 200}}}, 200 * 8192),
        ({"method": {"regmix": {"runs": 64}}}, 1_000_000),
        ({"method": {"doremi": {"rounds": 2}}}, 6_000_000),
        ({"method": "doge"}, 3_000_000),
        (
            {
                "candidates": {"a": {"books": 1.0}, "b": {"books": 1.0}},
                "rungs": [{"size": "3.2-1b", "tokens": 1000 * n, "lr": 1e-3} for n in (1, 2, 3)],
                "seeds": [0],
            },
            12_000,
        ),
    ],
)
def test_a_search_for_a_mix_counts_its_small_runs(search: dict[str, Any], tokens: int, tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text("Some text.")
    plain = base_model(tmp_path)
    searched = base_model(tmp_path, mix_search={"proxy": PROXY, **search})
    shape = SIZES["3.2-1b"].shape(vocab_size=plain.tokenizer.vocab_size + len(CONTROL_TOKENS))
    expected = tokens * shape.training_flops(512)
    assert rehearsal_flops(searched) - rehearsal_flops(plain) == pytest.approx(expected, rel=1e-6)
