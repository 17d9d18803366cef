"""AdamW as language models use it, alone or beside Muon."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Literal, Protocol

import torch.optim
from torch import Tensor, nn

from herd.core.settings import PositiveFloat, PositiveInt, Share, settings
from herd.train.muon import NS_COEFFICIENTS, AdjustLr, MapFn, Muon, PlainOptimizer, run_all
from herd.train.regions import named_weights


@settings
class AdamWSettings:
    """Source: Loshchilov and Hutter 2019. The report gives no betas and no max_grad_norm; these are Llama 2's."""

    beta1: Share = 0.9
    beta2: Share = 0.95
    eps: PositiveFloat = 1e-8
    weight_decay: Share = 0.1
    max_grad_norm: PositiveFloat = 1.0


@settings
class OptimizerSettings(AdamWSettings):
    """name: `adamw` for all weights, or `muon` for the matrices of the blocks with AdamW for all others: embedding,
    output, gains and biases; both decay matrices by `weight_decay`. adamw_lr_ratio: beside Muon, AdamW's rate as a
    share of the schedule's. The rest is Muon's alone, by the names of `torch.optim.Muon`. momentum, nesterov: of the
    gradients. ns_steps, ns_coefficients: of the Newton-Schulz iteration. adjust_lr_fn: how a matrix's rate depends on
    its shape; `match_rms_adamw` takes the rate and decay that suit AdamW.
    Source: Jordan et al. 2024 (Muon); Liu et al. 2025 (Muon is scalable for LLM training), section 2.2.
    """

    name: Literal["adamw", "muon"] = "adamw"
    adamw_lr_ratio: PositiveFloat = 1.0
    momentum: Share = 0.95
    nesterov: bool = True
    ns_steps: PositiveInt = 5
    ns_coefficients: tuple[float, float, float] = NS_COEFFICIENTS
    adjust_lr_fn: AdjustLr = "match_rms_adamw"

    def is_muons(self, name: str, dims: int) -> bool:
        """Whether Muon moves this weight. name: in the whole model. Adapters of the blocks are matrices too."""
        return self.name == "muon" and dims == 2 and "blocks." in name


class Optimizer(Protocol):
    """What training wants of one. state: of every weight what the next step takes from those before, by name. A step
    may do what can be done at once by `map_fn`, which changes no bit of it."""

    param_groups: list[dict[str, Any]]
    state: Any

    def step(self, *, map_fn: MapFn = map) -> Any: ...
    def zero_grad(self, set_to_none: bool = True) -> None: ...
    def state_names_of(self, weight: Tensor) -> tuple[str, ...]: ...


_adamw_step = torch.no_grad()(inspect.unwrap(torch.optim.AdamW.step))


class AdamW(PlainOptimizer, torch.optim.AdamW):
    """PyTorch's AdamW, without PyTorch's compiler."""

    state_names = ("exp_avg", "exp_avg_sq", "step")

    def step(self, *, map_fn: MapFn = map) -> None:  # type: ignore[override]
        """One fused kernel for each group of weights; `map_fn` has nothing to do."""
        _adamw_step(self)

    def updates(self) -> Iterator[Callable[[], None]]:
        """A step in parts that may be done at once: in one."""
        yield functools.partial(_adamw_step, self)


class OptimizersContainer:
    """Several optimizers, each of weights of its own, called as one."""

    def __init__(self, *optimizers: AdamW | Muon) -> None:
        self.optimizers = optimizers
        self._owners: dict[Tensor, AdamW | Muon] = {}
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                self._owners |= dict.fromkeys(group["params"], optimizer)
        # The very dicts that each reads and fills.
        self.param_groups = list(chain.from_iterable(optimizer.param_groups for optimizer in optimizers))
        self.state: dict[Tensor, Any] = {weight: owner.state[weight] for weight, owner in self._owners.items()}

    def step(self, *, map_fn: MapFn = map) -> None:
        """The parts of all of them at once, so that none waits for the last part of another."""
        run_all(chain.from_iterable(optimizer.updates() for optimizer in self.optimizers), map_fn)

    def zero_grad(self, set_to_none: bool = True) -> None:
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none)

    def state_names_of(self, weight: Tensor) -> tuple[str, ...]:
        return self._owners[weight].state_names_of(weight)


def build_optimizer(model: nn.Module, settings: OptimizerSettings) -> Optimizer:
    """The optimizer of the weights that are not frozen; their rates are set at every step, by `set_lr`."""
    if settings.name == "adamw":
        return adamw(model, settings)
    matrices, others = [], []
    for name, weight in named_weights(model):
        if weight.requires_grad:
            (matrices if settings.is_muons(name, weight.dim()) else others).append(weight)
    optimizers: list[AdamW | Muon] = []
    if matrices:
        optimizers.append(_muon(matrices, settings))
    if others:
        optimizers.append(_adamw(others, settings, lr_ratio=settings.adamw_lr_ratio))
    return OptimizersContainer(*optimizers)


def set_lr(optimizer: Optimizer, lr: float) -> None:
    """Gives every group of weights its rate. lr: the schedule's."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("lr_ratio", 1.0)


def adamw(model: nn.Module, settings: AdamWSettings) -> AdamW:
    """AdamW that decays matrices only; the step's rate is set by the loop, and decay scales with it. Frozen weights are
    none of its business."""
    return _adamw([weight for weight in model.parameters() if weight.requires_grad], settings)


def _muon(matrices: Iterable[nn.Parameter], settings: OptimizerSettings) -> Muon:
    return Muon(
        matrices,
        lr=0.0,
        weight_decay=settings.weight_decay,
        momentum=settings.momentum,
        nesterov=settings.nesterov,
        ns_coefficients=settings.ns_coefficients,
        ns_steps=settings.ns_steps,
        adjust_lr_fn=settings.adjust_lr_fn,
    )


def _adamw(weights: Sequence[nn.Parameter], settings: AdamWSettings, *, lr_ratio: float = 1.0) -> AdamW:
    matrices = [weight for weight in weights if weight.dim() >= 2]
    vectors = [weight for weight in weights if weight.dim() < 2]
    groups = ({"params": matrices, "weight_decay": settings.weight_decay}, {"params": vectors, "weight_decay": 0.0})
    return AdamW(
        [group | {"lr_ratio": lr_ratio} for group in groups if group["params"]],
        lr=0.0,
        betas=(settings.beta1, settings.beta2),
        eps=settings.eps,
        fused=True,
    )
