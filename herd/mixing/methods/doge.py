"""DoGE: weigh a source by how much its gradient helps all the others."""

from __future__ import annotations

import time
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from herd.mixing.field import Field, Found, thinned, uniform
from herd.mixing.methods import methods
from herd.mixing.proxies import Apart, plain_seconds
from herd.mixing.updates import Numbers, doge_scores, doge_scores_as_coded
from herd.mixing.updates import doge as doge_step


@methods.add
def doge(
    given: Field,
    *,
    form: Literal["code", "paper"] = "code",
    mu: float = 0.01,
    smoothing: float = 0.0,
    clip: float = 5.0,
    targets: tuple[str, ...] = (),
) -> Found:
    """The mean over steps of shares that grow where a step on a source lowers the loss on all, to first order.

    form: the paper's formula, or what the authors' program does (each gradient clipped to `clip`, no product with
    itself, over the mean norm, clipped below at zero). The two rank sources differently. targets: the sources whose
    loss counts; all when absent. Source: Fan et al. 2024 (DoGE), algorithm 1, and their repository.
    """
    apart = Apart(given, given.proxy)
    aims = np.array([not targets or name in targets for name in given.sources])
    shares, path = uniform(len(given.sources)), []
    began = time.perf_counter()
    for number in range(apart.steps):
        gradients_kP = _gradients(apart, number)
        gram = (gradients_kP @ gradients_kP.T).double().cpu().numpy()
        rate = apart.rate(number * given.proxy.steps // apart.steps)
        shares = doge_step(shares, _scores(gram, rate, form, aims, clip), mu=mu, smoothing=smoothing)
        path.append(shares)
        apart.step(number, _as_weights(apart, torch.from_numpy(shares).to(gradients_kP) @ gradients_kP))
        given.say((number + 1) / apart.steps)
    seconds = time.perf_counter() - began
    plain = plain_seconds(given, given.proxy) * len(path)
    kept = tuple(given.named(one) for one in thinned(path))
    return Found(
        given.named(np.mean(path, 0)), given.flops(apart.tokens), path=kept, seconds=seconds, plain_seconds=plain
    )


def _scores(gram: Numbers, rate: float, form: str, aims: NDArray[np.bool_], clip: float) -> Numbers:
    if form == "code":
        shrunk = np.minimum(1.0, clip / np.maximum(np.sqrt(np.diag(gram)), 1e-12))
        gram = gram * np.outer(shrunk, shrunk)
    if aims.all():
        return doge_scores_as_coded(gram, rate) if form == "code" else doge_scores(gram, rate)
    # With targets of its own, the program leaves the product with itself in.
    scores = doge_scores(gram[:, aims], rate)
    if form == "code":
        scores = np.clip(scores / (np.sqrt(np.diag(gram)).mean() + 1e-6), 0.0, 5.0 * rate)
    return scores


def _gradients(apart: Apart, number: int) -> Tensor:
    """Of every source's mean loss by all weights, at the same weights: [k, P]."""
    batch = apart.batch(number)
    rows = []
    for source in range(len(apart.given.sources)):
        ((mean, _),) = apart.losses(apart.source(batch, source))
        found = torch.autograd.grad(mean, apart.weights)
        rows.append(torch.cat([one.flatten() for one in found]))
    return torch.stack(rows)


def _as_weights(apart: Apart, flat_P: Tensor) -> list[Tensor]:
    sizes = [weight.numel() for weight in apart.weights]
    return [part.view_as(weight) for part, weight in zip(flat_P.split(sizes), apart.weights, strict=True)]
