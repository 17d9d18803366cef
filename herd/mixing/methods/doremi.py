"""DoReMi: weigh what a small model could still learn, judged by a reference."""

from __future__ import annotations

import time
from typing import Literal

import numpy as np
import torch

from herd.core.settings import PositiveInt
from herd.mixing.methods import methods
from herd.mixing.problem import MixProblem, MixResult, subsample, uniform_weights
from herd.mixing.proxies import (
    PerSourceTrainer,
    baseline_step_seconds,
    per_source_losses,
    stratified_batches,
    train_proxy,
)
from herd.mixing.updates import FloatArray
from herd.mixing.updates import doremi_update as doremi_step
from herd.train.batches import IGNORE_INDEX
from herd.train.compute import ComputeContext


@methods.add
def doremi(
    problem: MixProblem,
    *,
    eta: float = 1.0,
    smoothing: float = 1e-3,
    reference: Literal["uniform", "proportional"] = "uniform",
    rounds: PositiveInt = 1,
    excess: bool = True,
) -> MixResult:
    """The mean over steps of shares that grow where a proxy loses most beyond a reference model.

    reference: what the reference model is trained on; in later rounds it is the shares found before, until they move by
    less than 1e-3. excess: beyond the reference's loss; without it, hard sources win, learnable or not.
    Source: Xie et al. 2023 (DoReMi), algorithm 1. Differs: eta 1 suits 200,000 steps; a small run wants more of it.
    """
    weights = uniform_weights(len(problem.sources)) if reference == "uniform" else problem.proportions
    flops = seconds = baseline = 0.0
    path: list[FloatArray] = []
    step = baseline_step_seconds(problem, problem.proxy)
    for _ in range(rounds):
        model, _ = train_proxy(
            problem, problem.proxy, stratified_batches(problem, problem.proxy, problem.named(weights))
        )
        trainer = PerSourceTrainer(problem, problem.proxy)
        began = time.perf_counter()
        path = _search(trainer, model if excess else None, eta, smoothing)
        seconds, baseline = seconds + time.perf_counter() - began, baseline + step * len(path)
        # The proxy reads as many tokens as the reference was trained on, and the reference reads them once more.
        flops += problem.flops(problem.proxy.tokens) + problem.flops(trainer.tokens) * (4 / 3 if excess else 1)
        mean_weights = np.mean(path, 0)
        converged = np.abs(mean_weights - weights).max() < 1e-3
        weights = mean_weights
        if converged:
            break
    trajectory = tuple(problem.named(step_weights) for step_weights in subsample(path))
    return MixResult(problem.named(weights), flops, path=trajectory, seconds=seconds, baseline_seconds=baseline)


def _search(
    trainer: PerSourceTrainer, reference: torch.nn.Module | None, eta: float, smoothing: float
) -> list[FloatArray]:
    """The shares after every step."""
    count = len(trainer.problem.sources)
    weights, path = uniform_weights(count), []
    reference_context = None if reference is None else ComputeContext(reference, trainer.run)
    for number in range(trainer.steps):
        batch = trainer.batch(number)
        losses = trainer.losses(batch)
        reference_nats = [torch.zeros_like(token_nats) for _, token_nats in losses]
        if reference is not None and reference_context is not None:
            parts = [slice(n * trainer.rows, (n + 1) * trainer.rows) for n in range(count)]
            with torch.inference_mode(), reference_context:
                reference_nats = [token_nats for _, token_nats in per_source_losses(reference, batch, parts)]  # type: ignore[arg-type]
        excess_losses = []
        for n, (proxy_loss, expected_nats) in enumerate(zip(losses, reference_nats, strict=True)):
            targets = int((trainer.source(batch, n).targets_BT != IGNORE_INDEX).sum())
            # Clipped token by token: a mean below zero would hide what is still to be learnt.
            excess_losses.append(float((proxy_loss[1].detach() - expected_nats).clamp(min=0).sum()) / targets)
        weights = doremi_step(weights, excess_losses, eta=eta, smoothing=smoothing)
        path.append(weights)
        total = sum(float(weight) * mean for weight, (mean, _) in zip(weights, losses, strict=True))
        assert isinstance(total, torch.Tensor)
        trainer.step(number, torch.autograd.grad(total, trainer.params))
        trainer.problem.on_progress((number + 1) / trainer.steps)
    return path
