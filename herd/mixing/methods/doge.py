"""DoGE: weigh a source by how much its gradient helps all the others."""

from __future__ import annotations

import time
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from herd.mixing.methods import methods
from herd.mixing.problem import MixProblem, MixResult, subsample, uniform_weights
from herd.mixing.proxies import PerSourceTrainer, baseline_step_seconds
from herd.mixing.updates import FloatArray, doge_scores, doge_scores_as_coded
from herd.mixing.updates import doge_update as doge_step


@methods.add
def doge(
    problem: MixProblem,
    *,
    form: Literal["code", "paper"] = "code",
    mu: float = 0.01,
    smoothing: float = 0.0,
    clip: float = 5.0,
    targets: tuple[str, ...] = (),
) -> MixResult:
    """The mean over steps of shares that grow where a step on a source lowers the loss on all, to first order.

    form: the paper's formula, or what the authors' program does (each gradient clipped to `clip`, no product with
    itself, over the mean norm, clipped below at zero). The two rank sources differently. targets: the sources whose
    loss counts; all when absent. Source: Fan et al. 2024 (DoGE), algorithm 1, and their repository.
    """
    trainer = PerSourceTrainer(problem, problem.proxy)
    aims = np.array([not targets or name in targets for name in problem.sources])
    weights, path = uniform_weights(len(problem.sources)), []
    began = time.perf_counter()
    for number in range(trainer.steps):
        gradients_kP = _gradients(trainer, number)
        gram = (gradients_kP @ gradients_kP.T).double().cpu().numpy()
        lr = trainer.lr_schedule(number * problem.proxy.steps // trainer.steps)
        weights = doge_step(weights, _scores(gram, lr, form, aims, clip), mu=mu, smoothing=smoothing)
        path.append(weights)
        trainer.step(number, _as_weights(trainer, torch.from_numpy(weights).to(gradients_kP) @ gradients_kP))
        problem.on_progress((number + 1) / trainer.steps)
    seconds = time.perf_counter() - began
    baseline = baseline_step_seconds(problem, problem.proxy) * len(path)
    trajectory = tuple(problem.named(step_weights) for step_weights in subsample(path))
    return MixResult(
        problem.named(np.mean(path, 0)),
        problem.flops(trainer.tokens),
        path=trajectory,
        seconds=seconds,
        baseline_seconds=baseline,
    )


def _scores(gram: FloatArray, lr: float, form: str, aims: NDArray[np.bool_], clip: float) -> FloatArray:
    if form == "code":
        shrunk = np.minimum(1.0, clip / np.maximum(np.sqrt(np.diag(gram)), 1e-12))
        gram = gram * np.outer(shrunk, shrunk)
    if aims.all():
        return doge_scores_as_coded(gram, lr) if form == "code" else doge_scores(gram, lr)
    # With targets of its own, the program leaves the product with itself in.
    scores = doge_scores(gram[:, aims], lr)
    if form == "code":
        scores = np.clip(scores / (np.sqrt(np.diag(gram)).mean() + 1e-6), 0.0, 5.0 * lr)
    return scores


def _gradients(trainer: PerSourceTrainer, number: int) -> Tensor:
    """Of every source's mean loss by all weights, at the same weights: [k, P]."""
    batch = trainer.batch(number)
    rows = []
    for source in range(len(trainer.problem.sources)):
        ((mean, _),) = trainer.losses(trainer.source(batch, source))
        gradients = torch.autograd.grad(mean, trainer.params)
        rows.append(torch.cat([gradient.flatten() for gradient in gradients]))
    return torch.stack(rows)


def _as_weights(trainer: PerSourceTrainer, flat_P: Tensor) -> list[Tensor]:
    sizes = [weight.numel() for weight in trainer.params]
    return [part.view_as(weight) for part, weight in zip(flat_P.split(sizes), trainer.params, strict=True)]
