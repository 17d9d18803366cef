"""How likely answers to one prompt are, without reading the prompt for each, nor what prompts have in common."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from herd.generate.engine import Engine
from herd.model.cache import PagedKVCache
from herd.model.transformer import Transformer

_BLOCK_SIZE = 16
_TOKENS = 1024  # read at once, of several prompts with their answers, since a read of few is as long as one of many
_Pair = tuple[Sequence[int], Sequence[int]]  # a prompt and an answer
_Score = tuple[float, bool]
_Group = list[_Pair]  # with one prompt


def can_share_prompts(model: Transformer) -> bool:
    """Whether keys and values of a prompt are those of any longer one, on a device where few rows at once are no
    waste."""
    return model.embedding.weight.device.type == "cpu" and not model.shape.rope_depends_on_length


def score_shared(
    engine: Engine, pairs: Sequence[_Pair], report: Callable[[int, int], None] = lambda count, total: None
) -> list[_Score]:
    """The log-probability of every answer after its prompt, in nats, and whether every token of it is the likeliest.

    Pairs with one prompt should follow one another, and prompts that begin alike too. Equal to `score_greedy` but for
    rounding. Source: the blocks of a prompt are shared as in Kwon et al. 2023 (PagedAttention), 4.4.
    """
    groups = [list(group) for _, group in itertools.groupby(pairs, key=lambda pair: pair[0])]
    batches = _batches(groups)
    ends = list(itertools.accumulate(sum(map(len, batch)) for batch in batches))
    reader = _Reader(engine.model)

    def score(number: int) -> list[_Score]:
        scores = reader.score(batches[number])
        report(ends[number], len(pairs))
        return scores

    return list(itertools.chain.from_iterable(engine.ranks.map(range(len(batches)), score)))


def _batches(groups: Sequence[_Group]) -> list[list[_Group]]:
    """Groups read at once, of about so many tokens beside what all of them begin with, which no group makes much
    shorter."""
    batches: list[list[_Group]] = []
    size = root = 0
    for group in itertools.chain.from_iterable(map(_parts, groups)):
        prompt = group[0][0]
        common = _common(batches[-1][-1][0][0], prompt) if batches else 0
        new = len(prompt) - common + sum(len(answer) for _, answer in group)
        if not batches or size + new > _TOKENS or len(batches[-1]) * (root - common) > _TOKENS // 4:
            batches.append([])
            size, root = 0, len(prompt)
        batches[-1].append(group)
        size, root = size + new, min(root, common) if len(batches[-1]) > 1 else root
    return batches


def _parts(group: _Group) -> list[_Group]:
    """A group of very many answers in several."""
    return [group[start : start + 64] for start in range(0, len(group), 64)]


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    """How many ids both begin with."""
    return len(os.path.commonprefix((tuple(first), tuple(second))))  # noqa: RUF071 - of any sequences


@dataclass(frozen=True)
class _Row:
    """Ids in a cache. blocks: where they lie, in order; length: how many they are."""

    blocks: tuple[int, ...]
    length: int


class _Reader:
    """Reads what prompts of a batch begin with, then what each has beyond it, then their answers: every row in blocks
    of its parent and, from the first that is not full, of its own."""

    def __init__(self, model: Transformer) -> None:
        self._model = model
        self._cache = self._empty(1)
        self._ids: Sequence[int] = ()  # of the beginning of the last batch, whose blocks come first
        self._root = _Row((), 0)
        self._next = 0

    @torch.inference_mode()
    def score(self, batch: Sequence[_Group]) -> list[_Score]:
        """Of every answer of the groups, in order."""
        prompts = [tuple(group[0][0]) for group in batch]
        self._reserve(batch)
        self._read_root(os.path.commonprefix([prompt[:-1] for prompt in prompts]))  # noqa: RUF071
        # What a prompt has beyond the root is read first where answers are several, else together with the one.
        rests = [prompt[self._root.length :] for prompt in prompts]
        several = [len({tuple(answer[:-1]) for _, answer in group}) > 1 for group in batch]
        trunks = [rest[:-1] if more else () for rest, more in zip(rests, several, strict=True)]
        heads = [rest[-1:] if more else rest for rest, more in zip(rests, several, strict=True)]
        parents, _ = self._read([self._root] * len(batch), trunks)
        rows: dict[tuple[int, ...], int] = {}  # equal ones, as of answers of one token, are read once
        for number, group in enumerate(batch):
            for _, answer in group:
                rows.setdefault((number, *heads[number], *answer[:-1]), len(rows))
        _, states = self._read([parents[row[0]] for row in rows], [row[1:] for row in rows])
        scores: list[_Score] = []
        for number, group in enumerate(batch):
            for _, answer in group:
                state_TD = states[rows[number, *heads[number], *answer[:-1]]][len(heads[number]) - 1 :]
                log_probs = self._model.logits(state_TD).log_softmax(-1)
                targets = torch.tensor(answer, device=log_probs.device)
                greedy = bool((log_probs.argmax(-1) == targets).all())
                scores.append((float(log_probs.gather(-1, targets[:, None]).double().sum()), greedy))
        return scores

    def _empty(self, blocks: int) -> PagedKVCache:
        weight = self._model.embedding.weight
        return PagedKVCache.empty(self._model.shape, blocks, _BLOCK_SIZE, weight.dtype, weight.device)

    def _reserve(self, batch: Sequence[_Group]) -> None:
        """Room for all rows of the batch, the root's first."""
        longest = max(len(group[0][0]) for group in batch)
        answers = sum(len(group) * (_blocks(_longest_answer(group)) + 2) for group in batch)
        needed = (len(batch) + 1) * (_blocks(longest) + 2) + answers
        if needed > len(self._cache.keys_LBGSE[0]):
            old, self._cache = self._cache, self._empty(needed)
            for new, before in zip(_tensors(self._cache), _tensors(old), strict=True):
                new[:, : before.shape[1]] = before

    def _read_root(self, ids: Sequence[int]) -> None:
        """Reads what the root does not have of these ids, which all prompts of the batch begin with."""
        cached = _common(self._ids, ids)
        blocks = tuple(range(_blocks(len(ids))))
        self._ids, self._root, self._next = ids, _Row(blocks, len(ids)), len(blocks)
        if cached < len(ids):
            self._run([_Row(blocks, cached)], [ids[cached:]])

    def _read(self, parents: Sequence[_Row], rows: Sequence[Sequence[int]]) -> tuple[list[_Row], list[Tensor]]:
        """Rows that go on from their parents, and their states `[T, D]`. One without ids is its parent."""
        children = [self._child(parent, len(row)) if row else parent for parent, row in zip(parents, rows, strict=True)]
        new = [number for number, row in enumerate(rows) if row]
        if not new:
            return children, [torch.empty(0)] * len(rows)
        starts = [_Row(children[number].blocks, parents[number].length) for number in new]
        states = dict(zip(new, self._run(starts, [rows[number] for number in new]), strict=True))
        return children, [states.get(number, torch.empty(0)) for number in range(len(rows))]

    def _child(self, parent: _Row, tokens: int) -> _Row:
        full, length = parent.length // _BLOCK_SIZE, parent.length + tokens
        own = tuple(range(self._next, self._next + _blocks(length) - full))
        self._next += len(own)
        if parent.length % _BLOCK_SIZE:
            for cache in _tensors(self._cache):
                cache[:, own[0]] = cache[:, parent.blocks[full]]
        return _Row((*parent.blocks[:full], *own), length)

    def _run(self, starts: Sequence[_Row], rows: Sequence[Sequence[int]]) -> list[Tensor]:
        """States of rows that are added to what is there; shorter ones are read with others, and what is written beyond
        their ends is never looked at."""
        longest = max(map(len, rows))
        columns = max(_blocks(start.length + longest) for start in starts)
        spare = len(self._cache.keys_LBGSE[0]) - 1  # for what lies beyond the end of a row
        table = [[*start.blocks, *[spare] * (columns - len(start.blocks))] for start in starts]
        device = self._cache.keys_LBGSE.device
        cache = PagedKVCache(
            *_tensors(self._cache),
            torch.tensor(table, device=device),
            torch.tensor([start.length for start in starts], device=device),
        )
        tokens_BT = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows], device=device)
        hidden_BTD = self._model.hidden_states(tokens_BT, cache=cache)
        return [hidden_BTD[number, : len(row)] for number, row in enumerate(rows)]


def _longest_answer(group: _Group) -> int:
    return max(len(answer) for _, answer in group)


def _tensors(cache: PagedKVCache) -> tuple[Tensor, Tensor]:
    return cache.keys_LBGSE, cache.values_LBGSE


def _blocks(tokens: int) -> int:
    return -(-tokens // _BLOCK_SIZE)
