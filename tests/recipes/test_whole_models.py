"""What a stage takes that holds a whole model: weights, what reading takes, what training holds beside it."""

from __future__ import annotations

import pytest

from herd.core.recipe import load_recipe
from herd.core.stage import Plan, walk
from herd.generate.kv_cache import PREFILL_TOKENS, reading_bytes
from herd.model.sizes import SIZES
from herd.recipes import recipes
from herd.recipes.whole_models import WHOLE_MODEL, WholeModel, whole_model

EIGHT = SIZES["8b"].shape(vocab_size=128_256, max_seq_len=131_072)


@pytest.fixture(scope="module")
def plans() -> dict[str, Plan]:
    """The last call of each stage."""
    return {plan.stage.name: plan for plan in walk(load_recipe("llama3-8b", recipes).plan())}


def test_gates_and_evaluation_of_8b_fit_into_80_gb_with_their_cache(plans: dict[str, Plan]) -> None:
    cache = 131_072 * EIGHT.cache_bytes(2)
    assert cache == pytest.approx(17.2e9, rel=0.01)
    for name in ("extend_context", "evaluate_model"):
        needed = whole_model(plans[name], EIGHT, "bf16", training=6e9)
        assert needed is not None
        assert needed.weights == 2 * EIGHT.num_params
        assert needed.length == 131_072
        assert needed.reading >= cache + reading_bytes(EIGHT, PREFILL_TOKENS, 2)
        assert not needed.note(80e9)
    # In fp32 the cache alone is 34 GB, beside 32 GB of weights and what is trained.
    in_fp32 = whole_model(plans["extend_context"], EIGHT, "fp32", training=6e9)
    assert in_fp32 is not None
    assert "the gate before and after it holds the whole model on a device, 32 GB in fp32" in in_fp32.note(80e9)


def test_what_is_read_decides_how_much_is_held(plans: dict[str, Plan]) -> None:
    row = whole_model(plans["pretrain"], EIGHT, "bf16")
    assert row is not None
    assert row.length == 8192
    assert row.reading == reading_bytes(EIGHT, 8192, 2)
    joined = whole_model(plans["anneal"], EIGHT, "bf16")
    assert joined is not None
    assert joined.weights + joined.reading >= 4 * EIGHT.num_params  # members are put together in fp32
    assert whole_model(plans["pack"], EIGHT, "bf16") is None
    if (average := plans.get("average_models")) is not None and not average.inputs["held_out"]:
        assert whole_model(average, EIGHT, "bf16") is None


def test_a_sentence_names_all_parts_where_they_do_not_fit() -> None:
    needed = WholeModel("evaluation", "bf16", 141e9, 131_072, 43e9, 5e9)
    assert needed.total == 189e9
    assert needed.note(80e9) == (
        "evaluation holds the whole model on a device, 141 GB in bf16 with 43 GB to read 131,072 tokens and 5 GB of "
        "training beside, more than fits into 80 GB: herd does not divide that yet"
    )
    assert not needed.note(288e9)
    assert set(WHOLE_MODEL.values()) >= {"evaluation", "sampling"}
