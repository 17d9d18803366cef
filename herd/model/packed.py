"""A model that only reads, on a CPU and in fp32: its matrices lie as our kernel wants them, and a step is one call."""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor, nn

from herd.core.errors import DataError
from herd.model.accounting import check_features, check_weights_read, unread_weights
from herd.model.architecture import ROPE_TABLE_FEATURES, SIZE_FEATURES
from herd.model.cache import PagedKVCache
from herd.model.kernels import PagedHeads, address, readable, require_cpu_kernels
from herd.model.transformer import Transformer, TransformerBlock, plain_weights

_LANES = 16  # columns of a panel: kLanes of attention.hpp
# Matrices are held twice; beyond this, one multiplies by them as they are.
_MAX_BYTES = 4 << 30
# All layers read one pair of tables.
SUPPORTED_FEATURES = SIZE_FEATURES | ROPE_TABLE_FEATURES


def packable(model: nn.Module) -> bool:
    """Whether a model can be read with by our kernel: whole, on a CPU, in fp32, not too large to hold twice, and with
    no weight or feature that the kernel would leave out."""
    if type(model) is not Transformer or not model.shape.features <= SUPPORTED_FEATURES:
        return False
    weights = list(model.parameters())
    return readable(weights) and 4 * _count(weights) <= _MAX_BYTES and not unread_weights(model, plain_weights(model))


def _count(weights: list[nn.Parameter]) -> int:
    return sum(weight.numel() for weight in weights)


class _Model(ctypes.Structure):
    """As `reading.hpp` has it: sizes, and tables that are not packed."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("layers", "width", "heads", "groups", "head_dim", "hidden")),
        ("eps", ctypes.c_double),
        *((name, ctypes.c_void_p) for name in ("embedding", "norm", "cosine", "sine")),
    )


class _Layer(ctypes.Structure):
    """As `reading.hpp` has it: a block's gains and packed matrices."""

    _fields_ = tuple(
        (name, ctypes.c_void_p) for name in ("attention_norm", "asked", "output", "forward_norm", "gate_up", "down")
    )


class _Batch(ctypes.Structure):
    """As `reading.hpp` has it: new tokens and the cache they go into."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("rows", "layer", "prompt")),
        *((name, ctypes.c_void_p) for name in ("ids", "starts", "lengths")),
        ("keys", PagedHeads),
        ("values", PagedHeads),
    )


class PackedModel:
    """A snapshot of `model`'s weights; `matches` says whether it still is one. Reads as the model does, but for
    rounding, and a row's answer does not depend on the rows beside it. Raises ArtifactError for a weight or feature it
    would leave out."""

    def __init__(self, model: Transformer) -> None:
        check_features("the packed back-end", SUPPORTED_FEATURES, model.shape.features)
        check_weights_read("the packed back-end", model, plain_weights(model))
        self.shape, self.embedding = model.shape, model.embedding
        self._model, self._versions = model, weight_versions(model)
        self._tensors: list[Tensor] = []
        shape = model.shape
        layers = [self._layer(block) for block in model.blocks if isinstance(block, TransformerBlock)]
        self._layers = (_Layer * len(layers))(*layers)
        self._output = self._pack(model.output_weight)
        self._struct = _Model(
            *(
                shape.n_layers,
                shape.dim,
                shape.n_heads,
                shape.n_kv_heads,
                shape.head_dim,
                shape.ffn_dim,
                shape.norm_eps,
            ),
            *(self._as_it_is(weight) for weight in (model.embedding.weight, model.norm.weight)),
            *(self._as_it_is(table) for table in (model.cos_TE, model.sin_TE)),
        )

    def matches(self, model: nn.Module) -> bool:
        """Whether this is `model` as it is now."""
        return model is self._model and self._versions == weight_versions(model)

    def hidden_states(self, tokens_BT: Tensor, *, cache: PagedKVCache, **_: Any) -> Tensor:
        """The last layer's states after the final norm, [B, T, D]; keys and values go into `cache`."""
        rows, tokens = tokens_BT.shape
        out = self._read(tokens_BT.flatten(), torch.arange(rows + 1) * tokens, cache, prompt=False)
        return out.view(rows, tokens, -1)

    def read_prompts(self, tokens_N: Tensor, starts: Tensor, cache: PagedKVCache) -> Tensor:
        """The same for rows of any lengths, one after another: [N, D], to the bit whichever part of a prompt is read at
        once. starts: where each row begins, and the end, int64."""
        return self._read(tokens_N, starts, cache, prompt=True)

    def _read(self, ids: Tensor, starts: Tensor, cache: PagedKVCache, *, prompt: bool) -> Tensor:
        lowest, highest = int(ids.min()), int(ids.max())
        if lowest < 0 or highest >= self.shape.vocab_size:
            wrong = lowest if lowest < 0 else highest
            raise DataError(f"{wrong} is no token of a vocabulary of {self.shape.vocab_size}")
        tokens = starts.diff()
        if int((cache.lengths_B + tokens).max()) > cache.cache_len:
            raise DataError(f"{int(tokens.max())} more tokens do not fit a cache of {cache.cache_len}")
        ids, lengths, table = ids.contiguous(), cache.lengths_B.contiguous(), cache.table_BN.contiguous()
        out = torch.empty(len(ids), self.shape.dim)
        keys, values = (PagedHeads.of(x[0], table) for x in (cache.keys_LBGSE, cache.values_LBGSE))
        places = ids.data_ptr(), starts.data_ptr(), lengths.data_ptr()
        batch = _Batch(len(lengths), cache.keys_LBGSE.stride(0), prompt, *places, keys, values)
        threads = ctypes.c_int64(torch.get_num_threads())
        require_cpu_kernels().herd_read(
            ctypes.byref(self._struct), self._layers, ctypes.byref(batch), address(out), threads
        )
        return out

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits of states after the final norm: [..., D] to [..., V]."""
        hidden = hidden.contiguous()
        rows, columns = hidden.numel() // self.shape.dim, self.shape.vocab_size
        out = hidden.new_empty(*hidden.shape[:-1], columns)
        sizes = [ctypes.c_int64(size) for size in (rows, self.shape.dim, columns)]
        threads = ctypes.c_int64(torch.get_num_threads())
        require_cpu_kernels().herd_packed_product(address(hidden), *sizes, address(self._output), address(out), threads)
        return out

    def _layer(self, block: TransformerBlock) -> _Layer:
        attention, forward = block.attention, block.feed_forward
        qkv = torch.cat([projection.weight for projection in (attention.query, attention.key, attention.value)])
        gate_up = torch.cat([forward.gate.weight, forward.up.weight])
        packed = [self._pack(matrix) for matrix in (qkv, attention.output.weight, gate_up, forward.down.weight)]
        qkv, output, gate_up, down = (tensor.data_ptr() for tensor in packed)
        norms = self._as_it_is(block.attention_norm.weight), self._as_it_is(block.feed_forward_norm.weight)
        return _Layer(norms[0], qkv, output, norms[1], gate_up, down)

    def _pack(self, matrix: Tensor) -> Tensor:
        columns, depth = matrix.shape
        packed = torch.empty(-(-columns // _LANES) * _LANES * depth)
        matrix = matrix.detach().contiguous()
        require_cpu_kernels().herd_pack(
            address(matrix), ctypes.c_int64(columns), ctypes.c_int64(depth), address(packed)
        )
        self._tensors.append(packed)
        return packed

    def _as_it_is(self, tensor: Tensor) -> int:
        self._tensors.append(tensor.detach().contiguous())
        return self._tensors[-1].data_ptr()


def weight_versions(model: nn.Module) -> list[tuple[int, int]]:
    """What changes when a weight does; of tensors made for inference only, that they were put elsewhere."""
    tensors = (*model.parameters(), *model.buffers())
    return [(tensor.data_ptr(), _version(tensor)) for tensor in tensors]


def _version(tensor: Tensor) -> int:
    try:
        return tensor._version
    except RuntimeError:  # made for inference only, even if it was put elsewhere since
        return 0
