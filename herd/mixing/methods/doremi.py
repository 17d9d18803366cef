"""DoReMi: weigh what a small model could still learn, judged by a reference."""

from __future__ import annotations

import time
from typing import Literal

import numpy as np
import torch

from herd.core.settings import Positive
from herd.mixing.field import Field, Found, thinned, uniform
from herd.mixing.methods import methods
from herd.mixing.proxies import Apart, evenly, losses_apart, plain_seconds, train_on
from herd.mixing.updates import Numbers
from herd.mixing.updates import doremi as doremi_step
from herd.train.batches import IGNORED
from herd.train.speed import Quick


@methods.add
def doremi(
    given: Field,
    *,
    eta: float = 1.0,
    smoothing: float = 1e-3,
    reference: Literal["uniform", "proportional"] = "uniform",
    rounds: Positive = 1,
    excess: bool = True,
) -> Found:
    """The mean over steps of shares that grow where a proxy loses most beyond a reference model.

    reference: what the reference model is trained on; in later rounds it is the shares found before, until they move by
    less than 1e-3. excess: beyond the reference's loss; without it, hard sources win, learnable or not.
    Source: Xie et al. 2023 (DoReMi), algorithm 1. Differs: eta 1 suits 200,000 steps; a small run wants more of it.
    """
    shares = uniform(len(given.sources)) if reference == "uniform" else given.proportions
    flops = seconds = plain = 0.0
    path: list[Numbers] = []
    step = plain_seconds(given, given.proxy)
    for _ in range(rounds):
        model, _ = train_on(given, given.proxy, evenly(given, given.proxy, given.named(shares)))
        apart = Apart(given, given.proxy)
        began = time.perf_counter()
        path = _search(apart, model if excess else None, eta, smoothing)
        seconds, plain = seconds + time.perf_counter() - began, plain + step * len(path)
        # The proxy reads as many tokens as the reference was trained on, and the reference reads them once more.
        flops += given.flops(given.proxy.tokens) + given.flops(apart.tokens) * (4 / 3 if excess else 1)
        found = np.mean(path, 0)
        still = np.abs(found - shares).max() < 1e-3
        shares = found
        if still:
            break
    kept = tuple(given.named(one) for one in thinned(path))
    return Found(given.named(shares), flops, path=kept, seconds=seconds, plain_seconds=plain)


def _search(apart: Apart, reference: torch.nn.Module | None, eta: float, smoothing: float) -> list[Numbers]:
    """The shares after every step."""
    count = len(apart.given.sources)
    shares, path = uniform(count), []
    asking = None if reference is None else Quick(reference, apart.run)
    for number in range(apart.steps):
        batch = apart.batch(number)
        found = apart.losses(batch)
        theirs = [torch.zeros_like(each) for _, each in found]
        if reference is not None and asking is not None:
            parts = [slice(n * apart.rows, (n + 1) * apart.rows) for n in range(count)]
            with torch.inference_mode(), asking:
                theirs = [each for _, each in losses_apart(reference, batch, parts)]  # type: ignore[arg-type]
        gaps = []
        for n, (ours, known) in enumerate(zip(found, theirs, strict=True)):
            targets = int((apart.source(batch, n).targets_BT != IGNORED).sum())
            # Clipped token by token: a mean below zero would hide what is still to be learnt.
            gaps.append(float((ours[1].detach() - known).clamp(min=0).sum()) / targets)
        shares = doremi_step(shares, gaps, eta=eta, smoothing=smoothing)
        path.append(shares)
        total = sum(float(share) * mean for share, (mean, _) in zip(shares, found, strict=True))
        assert isinstance(total, torch.Tensor)
        apart.step(number, torch.autograd.grad(total, apart.weights))
        apart.given.say((number + 1) / apart.steps)
    return path
