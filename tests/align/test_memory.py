"""Row 48: what CPO holds while it trains, in bytes that were counted, beside losses with a reference."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from herd.align import dpo as stage
from herd.align.dpo import DpoSettings, dpo, objective, reference_log_probs
from herd.align.losses import losses
from herd.train.preferences import PreferenceBatch
from tests.align.latent import Latent, blank, kept, ranked, work

PAIRS = ranked(Latent(), 32, seed=5)


class Held(TorchDispatchMode):
    """Counts the bytes of all tensors made while it lasts, and the most that were alive at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for one in tree_leaves(out):
            if isinstance(one, torch.Tensor) and (storage := one.untyped_storage())._cdata not in self._known:
                self._known.add(storage._cdata)
                self.now += (size := storage.nbytes())
                self.most = max(self.most, self.now)
                weakref.finalize(storage, self._freed, storage._cdata, size)
        return out

    def _freed(self, known: int, size: int) -> None:
        self._known.discard(known)
        self.now -= size


def held(folder: Path, loss: str, monkeypatch: pytest.MonkeyPatch, *, beside: bool = False) -> tuple[int, int]:
    """The most bytes alive in a run of the stage beyond what stood before, and those of the model's weights.

    beside: as usual implementations do it, with the reference model beside the policy at every step.
    """
    folder.mkdir()
    start, given = blank(folder / "model"), kept(folder / "pairs", PAIRS)
    asked: list[int] = []
    made_by = stage.objective

    def with_reference(preference: Any, reference: Any, nll_weight: float, *others: Any) -> Any:
        model = copy.deepcopy(known["policy"]).requires_grad_(False)

        def loss(policy: Any, batch: PreferenceBatch) -> Any:
            asked.append(1)
            table = torch.zeros(len(reference), 2)
            table[batch.numbers] = reference_log_probs(model, batch.preferences, batch.pad)
            return objective(preference, table, nll_weight)(policy, batch)

        return loss

    known: dict[str, Any] = {}
    prepare = stage.load_for_finetuning

    def prepared(*arguments: Any) -> Any:
        made = prepare(*arguments)
        known["policy"] = made.state.model
        return made

    with monkeypatch.context() as patch, Held() as counted:
        patch.setattr(stage, "load_for_finetuning", prepared)
        patch.setattr(stage, "objective", with_reference if beside else made_by)
        dpo.body(work(folder / "run"), start, (given,), settings=DpoSettings(loss=losses.configure(loss), batch_size=8))
    assert bool(asked) == beside
    return counted.most, sum(one.nbytes for one in known["policy"].parameters())


@pytest.mark.row(48, "memory")
def test_cpo_holds_no_reference_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, figure: Callable[[str], None]
) -> None:
    cpo, weights = held(tmp_path / "cpo", "cpo", monkeypatch)
    ours, _ = held(tmp_path / "dpo", "dpo", monkeypatch)
    usual, _ = held(tmp_path / "usual", "dpo", monkeypatch, beside=True)
    told = {"CPO": cpo, "DPO, whose reference was asked before": ours, "DPO with its reference beside it": usual}
    figure("most bytes alive, in weights: " + ", ".join(f"{name} {most / weights:.2f}" for name, most in told.items()))
    assert cpo <= 1.01 * ours
    assert usual - cpo >= 0.95 * weights


@pytest.mark.row(48, "memory")
def test_cpo_does_not_depend_on_any_reference(figure: Callable[[str], None]) -> None:
    """Neither its value nor its slope moves, whatever a reference would have said."""
    from herd.align.losses import PairLogProbs

    pair = [torch.tensor([value], dtype=torch.float64) for value in (-12.0, -15.0, -11.0, -13.0, 10.0, 12.0)]
    for name in ("cpo", "dpo"):
        seen = []
        for moved in (0.0, 5.0, float("nan")):
            policy = [one.clone().requires_grad_() for one in pair[:2]]
            known = [pair[2] + moved, pair[3]]
            value = losses.make(losses.configure(name))(PairLogProbs(*policy, *known, *pair[4:]))
            seen.append((value.item(), *(one.item() for one in torch.autograd.grad(value.sum(), policy))))
        assert (len(set(seen)) == 1) == (name == "cpo")
    figure("value and slopes alike under references that differ, or are no number")
