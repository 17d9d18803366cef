"""Ways to compute attention, each with the mask it wants; a model is given the one that is fastest on its device."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from herd.core.errors import SettingsError, did_you_mean
from herd.model.architecture import ALL_FEATURES, missing_features
from herd.model.kernels import cpu_kernels


class AttentionBackend(Protocol):
    """Attention over whole sequences, as training needs it. supported_features: the features it computes, of
    FEATURES."""

    supported_features: frozenset[str]

    def mask(self, documents_BT: Tensor | None, window: int | None = None) -> Any:
        """What `attend` is given: made once for all layers of that window. documents_BT: None for one document a row,
        which it is not where there is a window."""
        ...

    def positions(self, tokens: int) -> slice | Tensor:
        """Which positions the `tokens` of a row stand at."""
        ...

    def attend(self, q_BHTE: Tensor, k_BGSE: Tensor, v_BGSE: Tensor, mask: Any) -> Tensor:
        """What every token takes from those it may look at: [B, H, T, E]."""
        ...


def make_mask(backend: AttentionBackend, x_BTD: Tensor, documents_BT: Tensor | None, window: int | None) -> Any:
    """What `attention_backend` wants as its mask over rows like `x`; a window is looked up by document, so it needs
    those."""
    if window is not None and documents_BT is None:
        documents_BT = torch.zeros(x_BTD.shape[:2], dtype=torch.long, device=x_BTD.device)
    return backend.mask(documents_BT, window)


def document_mask(documents_BT: Tensor, window: int | None = None) -> Tensor:
    """True where a token may look: not ahead, only inside its own document, and no further back than the window:
    [B, 1, T, T].

    Source: Llama 3, 3.2; Jiang et al. 2023 (Mistral), 2.
    """
    tokens = documents_BT.shape[1]
    same_BTT = documents_BT[:, :, None] == documents_BT[:, None, :]
    causal_TT = torch.ones(tokens, tokens, dtype=torch.bool, device=documents_BT.device).tril()
    if window is not None:
        causal_TT = causal_TT.triu(1 - window)
    return (same_BTT & causal_TT)[:, None]


@dataclass(frozen=True)
class DenseMask:
    """A mask that PyTorch's attention looks up, whichever way the model attends otherwise: true where a token may look,
    [B, 1, T, T]."""

    may_look: Tensor


def branch_mask(documents_BT: Tensor, branches_BT: Tensor, window: int | None = None) -> DenseMask:
    """Branches see the trunk of their document, which is branch 0, and themselves, but not one another. A window counts
    by where tokens stand when their branch follows the trunk at once."""
    own_BTT = branches_BT[:, :, None] == branches_BT[:, None, :]
    trunk_BTT = (branches_BT == 0)[:, None, :]
    may_look = document_mask(documents_BT) & (own_BTT | trunk_BTT)[:, None]
    if window is not None:
        places_BT = may_look[:, 0].sum(-1)
        may_look = may_look & (places_BT[:, :, None] - places_BT[:, None, :] < window)[:, None]
    return DenseMask(may_look)


def branch_positions(documents_BT: Tensor, branches_BT: Tensor) -> Tensor:
    """Where each token stands when its branch follows the trunk at once: [B, T]. Trunks come first in their documents.

    Counted by who a token may look at, itself among them.
    """
    return branch_mask(documents_BT, branches_BT).may_look[:, 0].sum(-1) - 1


# Back-ends of PyTorch's attention, in the order in which they are tried after the first.
_ORDER = (
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.MATH,
)


class _Sequential:
    """Rows that begin at position 0. first: the back-end of PyTorch's that rows of one document each are tried with
    first; absent, PyTorch chooses."""

    first: SDPBackend | None = None
    supported_features: frozenset[str] = ALL_FEATURES

    def positions(self, tokens: int) -> slice:
        return slice(tokens)

    def _attend_causal(self, q_BHTE: Tensor, k_BGTE: Tensor, v_BGTE: Tensor) -> Tensor:
        """Attention in rows of one document each, which no table is needed for."""
        grouped = q_BHTE.shape[1] != k_BGTE.shape[1]
        order = (
            None if self.first is None else [self.first, *(backend for backend in _ORDER if backend is not self.first)]
        )
        with contextlib.nullcontext() if order is None else sdpa_kernel(order, set_priority=True):
            return F.scaled_dot_product_attention(q_BHTE, k_BGTE, v_BGTE, is_causal=True, enable_gqa=grouped)


class Sdpa(_Sequential):
    """PyTorch's own, on every device; a document mask costs a table of T x T."""

    def __init__(self, first: SDPBackend | None = None) -> None:
        self.first = first

    def mask(self, documents_BT: Tensor | None, window: int | None = None) -> Tensor | None:
        return None if documents_BT is None else document_mask(documents_BT, window)

    def attend(self, q_BHTE: Tensor, k_BGSE: Tensor, v_BGSE: Tensor, mask: Tensor | None) -> Tensor:
        if mask is None:
            return self._attend_causal(q_BHTE, k_BGSE, v_BGSE)
        grouped = q_BHTE.shape[1] != k_BGSE.shape[1]
        return F.scaled_dot_product_attention(q_BHTE, k_BGSE, v_BGSE, attn_mask=mask, enable_gqa=grouped)


def attend_last(q_BHTE: Tensor, k_BGSE: Tensor, v_BGSE: Tensor) -> Tensor:
    """Attention of the last T of S tokens, each of which looks at all up to its own: [B, H, T, E]. On a GPU no table of
    T x S is made; heads are repeated, as not every kernel there knows groups."""
    from torch.nn.attention.bias import causal_lower_right  # few read so, and it takes a while

    repeat = q_BHTE.shape[1] // k_BGSE.shape[1]
    keys, values = (x.repeat_interleave(repeat, dim=1) for x in (k_BGSE, v_BGSE))
    may_look: Any = causal_lower_right(q_BHTE.shape[2], keys.shape[2])
    return F.scaled_dot_product_attention(q_BHTE, keys, values, attn_mask=may_look)


class Flex(_Sequential):
    """FlexAttention: blocks outside a document are never touched. It trains on GPUs only.

    Source: Dong et al. 2024 (Flex Attention).
    """

    def __init__(self, *, compiled: bool = True) -> None:
        from torch.nn.attention import flex_attention as module

        self._flex = torch.compile(module.flex_attention, dynamic=False) if compiled else module.flex_attention
        # Compiled, the mask never exists token by token: at 128k that would be 17 GB a row.
        self._blocks = torch.compile(module.create_block_mask) if compiled else module.create_block_mask

    def mask(self, documents_BT: Tensor | None, window: int | None = None) -> Any:
        if documents_BT is None:
            return None
        batch, tokens = documents_BT.shape

        def may_look(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
            allowed = (q >= k) & (documents_BT[b, q] == documents_BT[b, k])
            return allowed if window is None else allowed & (q - k < window)

        return self._blocks(may_look, batch, None, tokens, tokens, device=str(documents_BT.device))

    def attend(self, q_BHTE: Tensor, k_BGSE: Tensor, v_BGSE: Tensor, mask: Any) -> Tensor:
        if mask is None:
            return self._attend_causal(q_BHTE, k_BGSE, v_BGSE)
        grouped = q_BHTE.shape[1] != k_BGSE.shape[1]
        out = self._flex(q_BHTE, k_BGSE, v_BGSE, block_mask=mask, enable_gqa=grouped)
        assert isinstance(out, Tensor)
        return out


class Blockwise(_Sequential):
    """Our own kernel for training in fp32 on a CPU: a token's cost is what its document holds before it."""

    def __init__(self) -> None:
        from herd.model.blockwise import attend

        self._attend = attend

    def mask(self, documents_BT: Tensor | None, window: int | None = None) -> Tensor | None:
        return None if documents_BT is None else starts_of(documents_BT, window)

    def attend(self, q_BHTE: Tensor, k_BGSE: Tensor, v_BGSE: Tensor, mask: Tensor | None) -> Tensor:
        out = self._attend(q_BHTE.float(), k_BGSE.float(), v_BGSE.float(), mask)
        return out.to(q_BHTE.dtype)


def starts_of(documents_BT: Tensor, window: int | None = None) -> Tensor:
    """The first place of its row that each token may look at, where its document or its window begins, int32:
    [B, T]."""
    places_BT = torch.arange(documents_BT.shape[1], device=documents_BT.device).expand(documents_BT.shape)
    new_BT = documents_BT[:, 1:] != documents_BT[:, :-1]
    begun_BT = torch.where(new_BT, places_BT[:, 1:], 0).cummax(1).values
    starts_BT = torch.cat((torch.zeros_like(places_BT[:, :1]), begun_BT), 1)
    return (starts_BT if window is None else starts_BT.maximum(places_BT - window + 1)).int()


def cu_seqlens_of(documents_BT: Tensor) -> Tensor:
    """Where the runs of equal numbers in each row begin, all rows laid end to end, and the end, int32.

    The end is repeated until there are a power of two of them: code is compiled for the count, and empty runs cost
    nothing.
    """
    new_BT = torch.ones_like(documents_BT, dtype=torch.bool)
    new_BT[:, 1:] = documents_BT[:, 1:] != documents_BT[:, :-1]
    starts = new_BT.flatten().nonzero().flatten().int()
    count = 1 << len(starts).bit_length()
    return F.pad(starts, (0, count - len(starts)), value=documents_BT.numel())


class Varlen(_Sequential):
    """Flash attention over documents of different lengths, on GPUs and in 16 bits; no table at all.

    Source: Dao 2023 (FlashAttention-2), by way of torch.nn.attention.varlen.
    """

    supported_features = ALL_FEATURES - {"sliding_window"}

    def __init__(self) -> None:
        from torch.nn.attention.varlen import varlen_attn

        self._varlen: Callable[..., Any] = varlen_attn

    def mask(self, documents_BT: Tensor | None, window: int | None = None) -> Tensor | None:
        assert window is None, "not chosen where there is one"
        return None if documents_BT is None else cu_seqlens_of(documents_BT)

    def attend(self, q_BHTE: Tensor, k_BGSE: Tensor, v_BGSE: Tensor, mask: Tensor | None) -> Tensor:
        if mask is None:
            return self._attend_causal(q_BHTE, k_BGSE, v_BGSE)
        batch, heads, tokens, _ = q_BHTE.shape
        repeat = heads // k_BGSE.shape[1]  # it knows no groups in every version that herd runs on
        flat = [x.transpose(1, 2).flatten(0, 1) for x in (q_BHTE, k_BGSE, v_BGSE)]
        q, k, v = flat[0], *(x.repeat_interleave(repeat, dim=1) for x in flat[1:])
        # No run is longer than a row; the longest of a batch would be another number, to compile for, every time.
        out = self._varlen(q, k, v, mask, mask, tokens, tokens, **_causal_arguments(self._varlen))
        return out.view(batch, tokens, heads, -1).transpose(1, 2)


def _causal_arguments(varlen: Callable[..., Any]) -> dict[str, Any]:
    """How this torch says causal: `is_causal` at first, then a window that looks only back."""
    import inspect

    parameters = inspect.signature(varlen).parameters
    return {"is_causal": True} if "is_causal" in parameters else {"window_size": (-1, 0)}


ATTENTION_BACKENDS: dict[str, type[Sdpa | Blockwise | Flex | Varlen]] = {
    "sdpa": Sdpa,
    "blockwise": Blockwise,
    "flex": Flex,
    "varlen": Varlen,
}
# Tokens of a row from which on a table of all pairs costs more than trying what needs none.
_WORTH_TIMING = 1024
# Those that have a backward pass there.
_TRAINS = {"cpu": ("sdpa", "blockwise"), "cuda": ("sdpa", "flex", "varlen")}


def attention_backend(
    name: str,
    device: torch.device,
    dtype: torch.dtype,
    *,
    shape: tuple[int, int, int, int],
    features: frozenset[str] = frozenset(),
) -> AttentionBackend:
    """The one called `name`; `auto` measures those that train on `device` and takes the fastest.

    shape: query heads, key/value heads, tokens, head width. features: that the model has, of FEATURES. Raises
    SettingsError for another name, and for one that does not compute a feature.
    """
    if name == "auto":
        return fastest_backend(device, dtype, shape=shape, features=features)
    if name not in ATTENTION_BACKENDS:
        raise SettingsError(f"{name!r} is no way to attend{did_you_mean(name, (*ATTENTION_BACKENDS, 'auto'))}")
    if name not in _TRAINS.get(device.type, ("sdpa",)):
        raise SettingsError(f"attention {name!r} does not train on {device.type}; choose 'sdpa' or 'auto'")
    if name == "blockwise" and cpu_kernels() is None:
        raise SettingsError("attention 'blockwise' needs a C++ compiler; choose 'auto'")
    missing = missing_features(ATTENTION_BACKENDS[name].supported_features, features)
    if missing:
        raise SettingsError(f"attention {name!r} does not compute {missing}; choose 'sdpa' or 'auto'")
    return ATTENTION_BACKENDS[name]()


def fastest_backend(
    device: torch.device,
    dtype: torch.dtype,
    *,
    shape: tuple[int, int, int, int],
    features: frozenset[str] = frozenset(),
) -> AttentionBackend:
    """The one whose forward and backward pass over documents of a quarter of a row takes the least time, and over rows
    of one document by the back-end that is fastest there."""
    if device.type == "cpu":  # not timed: a run that goes on must compute as it did before
        return _cpu_backend(dtype)
    if shape[2] < _WORTH_TIMING:
        return Sdpa()
    documents_BT = (torch.arange(shape[2], device=device) * 4 // shape[2])[None]
    factories = [
        ATTENTION_BACKENDS[name]
        for name in _TRAINS.get(device.type, ("sdpa",))
        if features <= ATTENTION_BACKENDS[name].supported_features
    ]
    backend = _fastest_of(factories, device, dtype, shape, documents_BT)

    sdpa_factories = [partial(Sdpa, first) for first in (SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION)]
    backend.first = _fastest_of(sdpa_factories, device, dtype, shape, None).first
    return backend


def _cpu_backend(dtype: torch.dtype) -> AttentionBackend:
    """Our kernel, 2 to 5 times as fast there, unless products are in 16 bits or the machine has no compiler."""
    return Blockwise() if dtype == torch.float32 and cpu_kernels() is not None else Sdpa()


def _fastest_of(
    factories: Sequence[Callable[[], AttentionBackend]], device: torch.device, dtype: torch.dtype,
    shape: tuple[int, int, int, int], documents_BT: Tensor | None,
) -> Any:  # fmt: skip
    """What takes the least time of all that work for this type, version and device."""
    times: list[tuple[float, AttentionBackend]] = []
    for factory in factories:
        try:
            backend = factory()
            times.append((_seconds(backend, device, dtype, shape, documents_BT), backend))
        except (RuntimeError, ImportError, TypeError):
            continue
    return min(times, key=lambda pair: pair[0])[1] if times else Sdpa()


def _seconds(
    backend: AttentionBackend, device: torch.device, dtype: torch.dtype, shape: tuple[int, int, int, int],
    documents_BT: Tensor | None,
) -> float:  # fmt: skip
    heads, kv_heads, tokens, head_dim = shape
    q = torch.randn(1, heads, tokens, head_dim, device=device, dtype=dtype, requires_grad=True)
    k, v = (torch.randn(1, kv_heads, tokens, head_dim, device=device, dtype=dtype, requires_grad=True) for _ in "kv")
    mask = backend.mask(documents_BT)
    best = float("inf")
    for _ in range(4):  # the first compiles
        torch.cuda.synchronize(device)
        began = time.perf_counter()
        backend.attend(q, k, v, mask).sum().backward()
        torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - began)
    return best


@contextlib.contextmanager
def long_rows(model: Any, length: int) -> Iterator[None]:
    """Lets a model that only reads attend, while it lasts, as training does in rows of `length` on its device: on a GPU
    a table of all pairs of tokens in long rows would fill it. On a CPU, and for short rows, nothing changes."""
    weight, shape, before = model.embedding.weight, model.shape, model.attention_backend
    if weight.device.type != "cpu" and length >= _WORTH_TIMING:
        sizes = (shape.n_heads, shape.n_kv_heads, length, shape.head_dim)
        model.set_attention_backend(fastest_backend(weight.device, weight.dtype, shape=sizes, features=shape.features))
    try:
        yield
    finally:
        model.set_attention_backend(before)
