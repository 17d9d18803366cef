"""What all kinds of fine-tuning have in common: how fast they learn, and on how many ranks."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from herd.align.dpo import DpoSettings
from herd.align.losses import losses
from herd.align.reward import RewardSettings
from herd.align.sft import SftSettings
from herd.core.errors import SettingsError
from herd.core.results import results
from herd.model.adapters import is_adapter
from herd.model.weights import load_model
from herd.run.ranks import RankSupervisor
from herd.train.layout import ParallelLayout
from herd.train.log import METRICS_FILE, read_steps
from herd.train.schedule import lr_by_size
from tests.align.ranks import LORA, SHAPE, counted, inputs, tuned

KINDS = ("sft-held", "dpo", "reward-held", "dpo-lora-held", "sft-replay", "sft-partly-muon")


def numbers_in(value: Any, place: str = "") -> dict[str, float]:
    """Every number in plain data, by where it stands."""
    if isinstance(value, int | float):
        return {place: value}
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {name: number for key, one in inner for name, number in numbers_in(one, f"{place}.{key}").items()}


@pytest.mark.parametrize(
    ("num_params", "lr"), [(405_000_000_000, 1e-5), (8_000_000_000, 3.3e-5), (135_000_000, 1.1e-4), (1_000_000, 5e-4)]
)
def test_larger_models_learn_more_slowly(num_params: int, lr: float) -> None:
    assert lr_by_size(num_params) == pytest.approx(lr, rel=0.03)


def test_two_ranks_tune_as_one_does(tmp_path: Path, figure) -> None:
    """Losses, figures and weights, of which each rank computes about a half; of adapters only these are written."""
    inputs(tmp_path)
    command = [sys.executable, "-W", "ignore", "-m", "tests.align.ranks", str(tmp_path), *KINDS]
    RankSupervisor(command, 2, tmp_path / "crew").run(lambda *_: None)
    worst = 0.0
    for kind in KINDS:
        with counted() as seen:
            alone = tuned(tmp_path, kind, ParallelLayout())
        shares = [json.loads((tmp_path / f"{kind}-tokens-{rank}.json").read_text()) / seen[0] for rank in (0, 1)]
        assert all(0.3 < share < 0.7 for share in shares), (kind, shares)
        row = json.loads((tmp_path / f"{kind}.json").read_text())
        wanted = [step.loss for step in read_steps(alone.out / METRICS_FILE)]
        assert len(row["losses"]) == len(wanted) > 1
        worst = max(worst, *(abs(a / b - 1) for a, b in zip(row["losses"], wanted, strict=True)))
        results_alone = numbers_in(results.to_rows(alone.results.values()))
        assert numbers_in(row["results"]) == pytest.approx(results_alone, rel=1e-3)
        assert is_adapter(tmp_path / f"{kind}-2") == ("lora" in kind)
        one, two = load_model(alone.out).state_dict(), load_model(tmp_path / f"{kind}-2").state_dict()
        assert one.keys() == two.keys()
        assert all(torch.allclose(one[name], two[name], atol=2e-4) for name in one)
    figure(f"two ranks: losses of {', '.join(KINDS)} within {worst:.0e} of one's")
    assert worst < 2e-5


def test_muon_trains_a_part_of_a_model_or_adapters_in_every_kind_of_fine_tuning(tmp_path: Path) -> None:
    inputs(tmp_path)
    base = load_model(tmp_path / "base").state_dict()
    for kind in ("sft-partly-muon", "dpo-partly-muon", "reward-partly-muon"):
        work = tuned(tmp_path, kind, ParallelLayout())
        count = 3 * SHAPE.dim * SHAPE.ffn_dim + SHAPE.dim * (2 if kind.startswith("reward") else 1)  # its head too
        assert f"; {count:,} of " in work.headline
        assert " weights trained (" in work.headline
        trained = {name.removeprefix("trunk."): value for name, value in load_model(work.out).state_dict().items()}
        changed = {name for name, value in base.items() if name in trained and not torch.equal(trained[name], value)}
        assert changed == {name for name in base if name.startswith("blocks.1.feed_forward.") or name == "norm.weight"}
    adapters = tuned(tmp_path, "dpo-lora-muon", ParallelLayout())
    assert is_adapter(adapters.out)
    assert not torch.equal(
        load_model(adapters.out).state_dict()["blocks.1.attention.key.weight"], base["blocks.1.attention.key.weight"]
    )


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (lambda: DpoSettings(loss=losses.configure("dpo"), layout=ParallelLayout(tensor=2)), "set layout to {data: 2}"),
        (lambda: DpoSettings(loss=losses.configure("kto"), layout=ParallelLayout(data=2)), "take the loss kto_pair"),
    ],
)
def test_what_cannot_be_spread_is_refused_with_what_can(settings, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        settings()


def test_every_kind_of_fine_tuning_takes_the_same_settings() -> None:
    for made in (SftSettings, RewardSettings, lambda **some: DpoSettings(loss=losses.configure("dpo"), **some)):
        one = made(
            lr=1e-4, batch_size=2, epochs=1, lora=LORA, dtype="bf16", compile=True, recompute=True, micro_batch=1
        )
        assert one.lr_schedule(100)(99) < one.lr_schedule(100)(10)
    with pytest.raises(SettingsError, match="set dtype to bf16"):
        SftSettings(float8=True)
