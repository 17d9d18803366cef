"""Triton's kernels of products and norms against PyTorch, run by Triton's interpreter, which needs no GPU."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as functional

from herd.model import streamed
from herd.model.norm import RMSNorm


def interpret(module: str) -> str:
    """What `interpreted` of a module prints, in a process whose kernels are interpreted."""
    program = f"from {module} import interpreted; interpreted()"
    told = os.environ | {"TRITON_INTERPRET": "1"}
    done = subprocess.run([sys.executable, "-c", program], env=told, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def apart(width: int, rows: int) -> float:
    """The largest difference, for widths that fill no power of two."""
    chance = torch.Generator().manual_seed(width)
    x, added = (torch.randn(rows, size, generator=chance) for size in (width, 12))
    a, b, c = (torch.randn(size, width, generator=chance) for size in (12, 6, 4))
    gain = RMSNorm(width, 1e-5)
    torch.nn.init.normal_(gain.weight, 1.0, 0.2, generator=chance)
    pairs = [
        (streamed._project(x, (a, b, c)), x @ torch.cat((a, b, c)).T),
        (streamed._project(x, (a, b, c), norm=gain), gain(x) @ torch.cat((a, b, c)).T),
        (streamed._project(x, (a,), added=added), added + x @ a.T),
        (
            streamed._project(x, (a, a + 1), norm=gain, gated=True),
            functional.silu(gain(x) @ a.T) * (gain(x) @ (a + 1).T),
        ),
        (streamed._norm(x, gain), gain(x)),
    ]
    return max(float(((found - wanted).abs() / (1 + wanted.abs())).max()) for found, wanted in pairs)


@torch.inference_mode()
def interpreted() -> None:
    streamed._DEPTH = 16  # so that rows are read in several steps
    print(max(apart(20, 1), apart(33, 3)))


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs the package triton, of torch for GPUs")
def test_products_and_norms_are_pytorchs() -> None:
    assert float(interpret("tests.model.test_triton_kernels")) < 1e-4
