"""Muon: matrices are moved along their momentum made orthogonal, so that every direction learns as fast.

Source: Jordan et al. 2024 (Muon: an optimizer for hidden layers in neural networks); the scale of updates, and matrices
that ranks divide, Liu et al. 2025 (Muon is scalable for LLM training), sections 2.2 and 2.3.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar, Literal

import torch.optim
from torch import Tensor, nn

from herd.train.regions import is_sharded, local_region, local_tensor

AdjustLr = Literal["match_rms_adamw", "original"]
Coefficients = tuple[float, float, float]
# As `map`: calls a function for each of many things, some at once where it has threads.
MapFn = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]
# The largest slope at zero with which singular values still end between .7 and 1.2 (Jordan et al. 2024).
NS_COEFFICIENTS: Coefficients = (3.4445, -4.7750, 2.0315)

_EPS = 1e-7  # below it a norm counts as zero; that of torch.optim.Muon
_STACK_NUMBERS = 1 << 22  # of small matrices made orthogonal by one call; larger ones fill a device alone
_CPU_STACKS = 2  # into so many the matrices of a shape are split on a CPU, one for each thread of a step


def run_all(updates: Iterable[Callable[[], None]], map_fn: MapFn) -> None:
    """Does what an optimizer's step is made of."""
    for _ in map_fn(lambda update: update(), updates):
        pass


class PlainOptimizer(torch.optim.Optimizer):
    """PyTorch's optimizer, without PyTorch's compiler.

    PyTorch marks these methods for its compiler, and the marks load it at their first call: 1,000 modules, as much time
    again as `import torch`, in every process that trains. Nothing compiles an optimizer here.
    """

    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.Optimizer.zero_grad)
    state_dict = inspect.unwrap(torch.optim.Optimizer.state_dict)
    load_state_dict = inspect.unwrap(torch.optim.Optimizer.load_state_dict)
    # What a step takes from those before, of every weight.
    state_names: ClassVar[tuple[str, ...]]

    def state_names_of(self, weight: Tensor) -> tuple[str, ...]:
        return self.state_names


class Muon(PlainOptimizer):
    """`torch.optim.Muon`, also of matrices that ranks divide; small ones of a shape are worked on together.

    ns_dtype: of the products that make updates orthogonal; when absent bf16 on a GPU, as published, and fp32 on a CPU,
    where bf16 is no faster. Of a matrix that is divided every rank gathers the momentum, makes it orthogonal and keeps
    its own part of the update; the momentum itself stays divided.
    """

    state_names = ("momentum_buffer",)

    def __init__(
        self, matrices: Iterable[nn.Parameter], *, lr: float, weight_decay: float = 0.1, momentum: float = 0.95,
        nesterov: bool = True, ns_coefficients: Coefficients = NS_COEFFICIENTS, ns_steps: int = 5,
        adjust_lr_fn: AdjustLr = "match_rms_adamw", ns_dtype: torch.dtype | None = None,
    ) -> None:  # fmt: skip
        defaults = {
            "lr": lr,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "nesterov": nesterov,
            "ns_coefficients": ns_coefficients,
            "ns_steps": ns_steps,
            "adjust_lr_fn": adjust_lr_fn,
        }
        super().__init__(matrices, defaults)
        self._ns_dtype = ns_dtype

    def step(self, *, map_fn: MapFn = map) -> None:  # type: ignore[override]
        """map_fn: maps the update over stacks of matrices, such as a thread pool's `map`. The stacks are the same with
        any, and so are the bits."""
        run_all(self.updates(), map_fn)

    def updates(self) -> Iterator[Callable[[], None]]:
        """A step in parts that may be done at once."""
        for group in self.param_groups:
            for stack in _stacks(matrix for matrix in group["params"] if matrix.grad is not None):
                yield functools.partial(self._update, group, stack)

    @torch.no_grad()  # it holds for one thread
    def _update(self, group: dict[str, Any], matrices: list[nn.Parameter]) -> None:
        """Moves matrices of one shape."""
        directions = [self._direction(matrix, group["momentum"], nesterov=group["nesterov"]) for matrix in matrices]
        updates = orthogonalize(torch.stack(directions), group["ns_coefficients"], group["ns_steps"])
        scale = lr_scale(matrices[0].shape, group["adjust_lr_fn"])
        for matrix, update in zip(matrices, updates, strict=True):
            if is_sharded(matrix):
                part = local_region(matrix)
                for dim, (start, size) in enumerate(zip(part.offset, part.size, strict=True)):
                    update = update.narrow(dim, start, size)
            local = local_tensor(matrix)
            if group["weight_decay"]:
                local.mul_(1 - group["lr"] * group["weight_decay"])
            local.add_(update.to(local.dtype), alpha=-group["lr"] * scale)

    def _direction(self, matrix: nn.Parameter, momentum: float, *, nesterov: bool) -> Tensor:
        """The momentum after this step's gradient, of the whole matrix, in the type of the products to come."""
        state, gradient = self.state[matrix], matrix.grad
        assert gradient is not None
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        average = state["momentum_buffer"]
        own_gradient, own_average = local_tensor(gradient), local_tensor(average)
        own_average.lerp_(own_gradient, 1 - momentum)
        own_direction = own_gradient.lerp(own_average, momentum) if nesterov else own_average
        dtype = self._ns_dtype or (torch.bfloat16 if own_direction.device.type == "cuda" else torch.float32)
        if not is_sharded(matrix):
            return own_direction.to(dtype)
        direction: Any = torch.zeros_like(average, dtype=dtype)
        local_tensor(direction).copy_(own_direction)
        return direction.full_tensor()


def _stacks(matrices: Iterable[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """Matrices of a shape in lists of up to _STACK_NUMBERS numbers, on a CPU in two lists or more; those of other ranks
    in the same order."""
    by_shape: dict[tuple[int, ...], list[nn.Parameter]] = {}
    for matrix in matrices:
        by_shape.setdefault(tuple(matrix.shape), []).append(matrix)
    for alike in by_shape.values():
        count = max(1, _STACK_NUMBERS // max(1, alike[0].numel()))
        if alike[0].device.type == "cpu":
            count = min(count, -(-len(alike) // _CPU_STACKS))
        for start in range(0, len(alike), count):
            yield alike[start : start + count]


def orthogonalize(
    matrices_NRC: Tensor, coefficients: Coefficients = NS_COEFFICIENTS, steps: int = 5, *, eps: float = _EPS
) -> Tensor:
    """U V^T of each matrix U S V^T, nearly: its singular values become some of .7 to 1.2; [N, R, C] as they were.

    Source: Jordan et al. 2024: Newton-Schulz steps X <- a X + (b A + c A^2) X with A = X X^T.
    """
    a, b, c = coefficients
    turned = matrices_NRC.shape[1] > matrices_NRC.shape[2]
    # The smaller of both products; rows in order, as the products below are fastest with.
    x_NRC = matrices_NRC.mT.contiguous() if turned else matrices_NRC
    # Every singular value is at most the norm of all.
    x_NRC = x_NRC / torch.linalg.vector_norm(x_NRC, dim=(1, 2), keepdim=True).clamp(min=eps)
    for _ in range(steps):
        gram_NRR = torch.bmm(x_NRC, x_NRC.mT)
        polynomial_NRR = torch.baddbmm(gram_NRR, gram_NRR, gram_NRR, beta=b, alpha=c)
        x_NRC = torch.baddbmm(x_NRC, polynomial_NRR, x_NRC, beta=a)
    return x_NRC.mT if turned else x_NRC


def lr_scale(shape: tuple[int, ...], adjust_lr_fn: AdjustLr) -> float:
    """By how much the rate is larger for a matrix of this shape.

    match_rms_adamw: its updates are then as large as AdamW's usually are, .2 a number, so that AdamW's rate and decay
    may be used (Liu et al. 2025, section 2.2). original: as in Jordan et al. 2024.
    """
    rows, columns = shape
    if adjust_lr_fn == "original":
        return math.sqrt(max(1.0, rows / columns))
    return 0.2 * math.sqrt(max(rows, columns))
