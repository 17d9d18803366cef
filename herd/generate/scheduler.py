"""Who is written next: requests wait, are read in when rows and blocks are free, and leave as soon as they are done."""

from __future__ import annotations

import itertools
import threading
from collections import deque

from herd.generate.blocks import chain
from herd.generate.kv_cache import KVCache
from herd.generate.requests import Answer
from herd.generate.runner import Drawn, Runner


class Scheduler:
    """Continuous batching of up to `rows` answers. context: tokens that one may have with its prompt. Who calls it from
    several threads holds its lock.

    Source: Yu et al. 2022 (Orca), 3.2; Kwon et al. 2023 (PagedAttention), 4.5: an answer for which no block is left is
    stopped, the one begun last first, and read in again later.
    """

    def __init__(self, runner: Runner, rows: int, context: int) -> None:
        self.runner, self.rows, self.context = runner, rows, context
        self.waiting: deque[Answer] = deque()
        self.running: list[Answer] = []
        self.lock = threading.RLock()
        self._admissions = itertools.count(1)

    @property
    def cache(self) -> KVCache:
        return self.runner.cache

    @property
    def busy(self) -> bool:
        return bool(self.waiting or self.running)

    @property
    def free(self) -> int:
        """Rows for answers that nobody waits for yet."""
        return max(0, self.rows - len(self.running) - len(self.waiting))

    def cancel(self, request_id: str) -> None:
        """Ends the answers of a request where they are; their blocks are free at once."""
        for answer in [one for one in (*self.running, *self.waiting) if one.request.request_id == request_id]:
            answer.abort()
            if answer in self.running:
                self._leave(answer)
            else:
                self.waiting.remove(answer)

    def step(self, *, more: bool = False) -> list[Answer]:
        """Writes a token more of every answer at work; those that got one. more: whether others will come soon, for
        which it is worth to wait with prompts and read some together."""
        written = self._admit() if self._admits(more) else []
        if self.running:
            self._make_room()
            drawn = self.runner.decode(self.running)
            written += self.running
            for answer in self.running:
                self._read(answer, len(answer.tokens))
            self._note(list(self.running), drawn)
        return written

    def _admits(self, more: bool) -> bool:
        """A few prompts at a time are read together, which is worth some idle rows."""
        free = self.rows - len(self.running)
        few = free < max(1, self.rows // 4) and (more or len(self.waiting) > free)
        return bool(self.waiting) and free > 0 and not (few and self.running)

    def _admit(self) -> list[Answer]:
        """Reads in as many as there are rows and blocks for; those that got their first token."""
        batch = [self.waiting.popleft() for _ in range(min(len(self.waiting), self.rows - len(self.running)))]
        written: list[Answer] = []
        while batch:
            wave, batch = self._first_of_their_kind(batch)
            try:
                some, left_over = self._prefill(wave)
            except Exception:
                for answer in (*wave, *batch):
                    answer.abort()  # nobody shall wait for them
                raise
            written += some
            if left_over:
                self.waiting.extendleft(reversed(left_over + batch))
                break
        return written

    def _first_of_their_kind(self, batch: list[Answer]) -> tuple[list[Answer], list[Answer]]:
        """Those to be read now, and those that begin with a block that one of these reads: they find it afterwards.
        Equal ones are read together, once."""
        size, pool = self.cache.pool.block_size, self.cache.pool
        wave, later = [], []
        planned: set[tuple[bytes, tuple[int, ...]]] = set()
        leaders: set[tuple[int, ...]] = set()
        for answer in batch:
            tokens = tuple(answer.tokens)
            before, own, shared = b"", [], False
            for start in range(0, len(tokens) - size, size) if tokens not in leaders else ():
                key = before, tokens[start : start + size]
                shared = shared or (key in planned and not pool.holds(*key))
                own.append(key)
                before = chain(*key)
            (later if shared else wave).append(answer)
            if not shared:
                planned.update(own)
                leaders.add(tokens)
        return wave, later

    def _prefill(self, wave: list[Answer]) -> tuple[list[Answer], list[Answer]]:
        """Reads prompts, equal ones once; those that got their first token, and those for which no blocks are free."""
        kinds: dict[tuple[int, ...], list[Answer]] = {}
        for answer in wave:
            kinds.setdefault(tuple(answer.tokens), []).append(answer)
        groups, left_over = list(kinds.values()), []
        for number, group in enumerate(groups):
            if not self._place(group[0]):
                left_over = [answer for some in groups[number:] for answer in some]
                groups = groups[:number]
                break
        if not groups:
            return [], left_over
        leaders = [group[0] for group in groups]
        try:
            logits_NV = self.runner.prefill(leaders)
        except Exception:
            for answer in leaders:
                self._give_back(answer)
            raise
        for leader in leaders:
            self._read(leader, len(leader.tokens))
        rows, admitted = self._fork(groups, left_over)
        for answer in admitted:
            answer.began = next(self._admissions)
            self.running.append(answer)
            self.cache.set_row(len(self.running) - 1, answer.blocks)
        self._note(admitted, self.runner.draw(logits_NV[rows], admitted))
        return admitted, left_over

    def _place(self, answer: Answer) -> bool:
        """Gives an answer blocks for all its tokens, those that are cached among them; False when there are too few."""
        pool, size = self.cache.pool, self.cache.pool.block_size
        prefix = pool.match(answer.tokens[:-1])  # the last is read in any case, for what comes after it
        partial = [prefix.partial_block] if prefix.partial_tokens else []
        pool.acquire([*prefix.blocks, *partial])
        needed = -(-len(answer.tokens) // size) - len(prefix.blocks)
        # A block more for each at work, or it would be stopped for this one at once.
        if not self.cache.reserve(needed + len(self.running)):
            pool.release([*prefix.blocks, *partial])
            return False
        own = [pool.allocate() for _ in range(needed)]
        self.cache.copy([(block, own[0]) for block in partial])
        pool.release(partial)
        answer.blocks = [*prefix.blocks, *own]
        answer.cached = len(prefix.blocks) * size + prefix.partial_tokens
        answer.output.num_cached_tokens += answer.cached
        self._extend_chains(answer)
        return True

    def _fork(self, groups: list[list[Answer]], left_over: list[Answer]) -> tuple[list[int], list[Answer]]:
        """Lets equal prompts share the full blocks of the one that was read, and copies the last; which row of logits
        each has, and the answers."""
        pool, size = self.cache.pool, self.cache.pool.block_size
        rows, admitted, copies = [], [], []
        for row, (leader, *others) in enumerate(groups):
            full = leader.blocks[: len(leader.tokens) // size]
            rest = leader.blocks[len(full) :]
            rows.append(row)
            admitted.append(leader)
            for answer in others:
                if not self.cache.reserve(len(rest)):
                    left_over.append(answer)
                    continue
                own = [pool.allocate() for _ in rest]
                copies += zip(rest, own, strict=True)
                pool.acquire(full)
                answer.blocks, answer.cached, answer.chains = full + own, leader.cached, list(leader.chains)
                answer.output.num_cached_tokens += leader.cached
                rows.append(row)
                admitted.append(answer)
        self.cache.copy(copies)
        return rows, admitted

    def _read(self, answer: Answer, tokens: int) -> None:
        """Takes down that the cache holds so many tokens, and lets others find the blocks."""
        size, first = self.cache.pool.block_size, answer.cached // self.cache.pool.block_size
        decoded = tokens - answer.cached == 1
        answer.cached = tokens
        if decoded and tokens % size:
            return
        for number in range(first, -(-tokens // size)):
            part = tuple(answer.tokens[number * size : min((number + 1) * size, tokens)])
            self.cache.pool.index(answer.blocks[number], answer.chains[number], part)
            if len(part) == size:
                answer.chains.append(chain(answer.chains[number], part))

    def _extend_chains(self, answer: Answer) -> None:
        size = self.cache.pool.block_size
        for number in range(len(answer.chains) - 1, answer.cached // size):
            answer.chains.append(chain(answer.chains[number], answer.tokens[number * size : (number + 1) * size]))

    def _make_room(self) -> None:
        """A block for each answer whose next token needs one; who was begun last may have to wait for it."""
        size = self.cache.pool.block_size
        for answer in sorted(self.running, key=lambda one: one.began):
            while answer.blocks and answer.cached == len(answer.blocks) * size:
                if self.cache.reserve(1):
                    answer.blocks.append(self.cache.pool.allocate())
                    self.cache.add_block(self.running.index(answer), len(answer.blocks) - 1, answer.blocks[-1])
                else:
                    self._preempt()

    def _preempt(self) -> None:
        """The answer that was begun last waits again, as the first."""
        answer = max(self.running, key=lambda one: one.began)
        self._leave(answer)
        self.waiting.appendleft(answer)

    def _note(self, answers: list[Answer], drawn: list[Drawn]) -> None:
        for answer, (token, logprob, top) in zip(answers, drawn, strict=True):
            answer.add(token, logprob, top, self.context)
        for answer in answers:
            if answer.done:
                answer.end()
                self._leave(answer)

    def _leave(self, answer: Answer) -> None:
        """The last row takes the place of one that leaves."""
        row, last = self.running.index(answer), len(self.running) - 1
        self.cache.move_row(row, last)
        self.running[row] = self.running[last]
        self.running.pop()
        self._give_back(answer)

    def _give_back(self, answer: Answer) -> None:
        size = self.cache.pool.block_size
        if tail := answer.cached % size:
            number = answer.cached // size
            part = tuple(answer.tokens[answer.cached - tail : answer.cached])
            self.cache.pool.index(answer.blocks[number], answer.chains[number], part)
        self.cache.pool.release(answer.blocks)
        answer.blocks, answer.cached, answer.chains = [], 0, answer.chains[:1]
