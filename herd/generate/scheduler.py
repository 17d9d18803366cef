"""Who is written next: requests wait, are read in when rows and blocks are free, and leave as soon as they are done."""

from __future__ import annotations

import itertools
import threading
from collections import deque

from herd.generate.blocks import block_hash
from herd.generate.kv_cache import KVCacheManager
from herd.generate.requests import CompletionState
from herd.generate.runner import ModelRunner, SampledToken


class Scheduler:
    """Continuous batching of up to `max_num_seqs` answers. max_seq_len: tokens that one may have with its prompt. Who
    calls it from several threads holds its lock.

    Source: Yu et al. 2022 (Orca), 3.2; Kwon et al. 2023 (PagedAttention), 4.5: an answer for which no block is left is
    stopped, the one begun last first, and read in again later.
    """

    def __init__(self, runner: ModelRunner, max_num_seqs: int, max_seq_len: int) -> None:
        self.runner, self.max_num_seqs, self.max_seq_len = runner, max_num_seqs, max_seq_len
        self.waiting: deque[CompletionState] = deque()
        self.running: list[CompletionState] = []
        self.lock = threading.RLock()
        self._admissions = itertools.count(1)

    @property
    def cache(self) -> KVCacheManager:
        return self.runner.cache

    @property
    def busy(self) -> bool:
        return bool(self.waiting or self.running)

    @property
    def free(self) -> int:
        """Rows for answers that nobody waits for yet."""
        return max(0, self.max_num_seqs - len(self.running) - len(self.waiting))

    def cancel(self, request_id: str) -> None:
        """Ends the answers of a request where they are; their blocks are free at once."""
        for answer in [
            candidate for candidate in (*self.running, *self.waiting) if candidate.request.request_id == request_id
        ]:
            answer.abort()
            if answer in self.running:
                self._remove(answer)
            else:
                self.waiting.remove(answer)

    def step(self, *, more: bool = False) -> list[CompletionState]:
        """Writes a token more of every answer at work; those that got one. more: whether others will come soon, for
        which it is worth to wait with prompts and read some together."""
        advanced = self._admit() if self._admits(more) else []
        if self.running:
            self._make_room()
            sampled = self.runner.decode(self.running)
            advanced += self.running
            for answer in self.running:
                self.cache.mark_read(answer)
            self._record(list(self.running), sampled)
        return advanced

    def _admits(self, more: bool) -> bool:
        """A few prompts at a time are read together, which is worth some idle rows."""
        free = self.max_num_seqs - len(self.running)
        too_few = free < max(1, self.max_num_seqs // 4) and (more or len(self.waiting) > free)
        return bool(self.waiting) and free > 0 and not (too_few and self.running)

    def _admit(self) -> list[CompletionState]:
        """Reads in as many as there are rows and blocks for; those that got their first token."""
        batch = [self.waiting.popleft() for _ in range(min(len(self.waiting), self.max_num_seqs - len(self.running)))]
        admitted: list[CompletionState] = []
        while batch:
            wave, batch = self._first_of_their_kind(batch)
            try:
                started, left_over = self._prefill(wave)
            except Exception:
                for answer in (*wave, *batch):
                    answer.abort()  # nobody shall wait for them
                raise
            admitted += started
            if left_over:
                self.waiting.extendleft(reversed(left_over + batch))
                break
        return admitted

    def _first_of_their_kind(self, batch: list[CompletionState]) -> tuple[list[CompletionState], list[CompletionState]]:
        """Those to be read now, and those that begin with a block that one of these reads: they find it afterwards.
        Equal ones are read together, once."""
        size, pool = self.cache.pool.block_size, self.cache.pool
        wave, later = [], []
        planned: set[tuple[bytes, tuple[int, ...]]] = set()
        leaders: set[tuple[int, ...]] = set()
        for answer in batch:
            tokens = tuple(answer.tokens)
            parent, keys, shared = b"", [], False
            for start in range(0, len(tokens) - size, size) if tokens not in leaders else ():
                key = parent, tokens[start : start + size]
                shared = shared or (key in planned and not pool.holds(*key))
                keys.append(key)
                parent = block_hash(*key)
            (later if shared else wave).append(answer)
            if not shared:
                planned.update(keys)
                leaders.add(tokens)
        return wave, later

    def _prefill(self, wave: list[CompletionState]) -> tuple[list[CompletionState], list[CompletionState]]:
        """Reads prompts, equal ones once; those that got their first token, and those for which no blocks are free."""
        by_tokens: dict[tuple[int, ...], list[CompletionState]] = {}
        for answer in wave:
            by_tokens.setdefault(tuple(answer.tokens), []).append(answer)
        groups, left_over = list(by_tokens.values()), []
        for number, group in enumerate(groups):
            # A block more for each at work, or it would be stopped for this one at once.
            if not self.cache.allocate(group[0], spare=len(self.running)):
                left_over = list(itertools.chain.from_iterable(groups[number:]))
                groups = groups[:number]
                break
        if not groups:
            return [], left_over
        leaders = [group[0] for group in groups]
        try:
            logits_NV = self.runner.prefill(leaders)
        except Exception:
            for answer in leaders:
                self.cache.release(answer)
            raise
        rows, admitted = [], []
        for row, (leader, *followers) in enumerate(groups):
            self.cache.mark_read(leader)
            sharing = [answer for answer in followers if self.cache.share(leader, answer)]
            left_over += [answer for answer in followers if answer not in sharing]
            admitted += [leader, *sharing]
            rows += [row] * (1 + len(sharing))
        for answer in admitted:
            answer.admission, answer.preempted = next(self._admissions), False
            self.running.append(answer)
            self.cache.set_row(len(self.running) - 1, answer.blocks)
        self._record(admitted, self.runner.sample(logits_NV[rows], admitted))
        return admitted, left_over

    def _make_room(self) -> None:
        """A block for each answer whose next token needs one; who was begun last may have to wait for it."""
        full = [answer for answer in self.running if self.cache.is_full(answer)]
        for answer in sorted(full, key=lambda candidate: candidate.admission):
            while not answer.preempted and not self.cache.extend(self.running.index(answer), answer):
                self._preempt()

    def _preempt(self) -> None:
        """The answer that was begun last waits again, as the first."""
        answer = max(self.running, key=lambda candidate: candidate.admission)
        self._remove(answer)
        answer.preempted = True
        self.waiting.appendleft(answer)

    def _record(self, answers: list[CompletionState], sampled: list[SampledToken]) -> None:
        for answer, (token, logprob, top) in zip(answers, sampled, strict=True):
            answer.add(token, logprob, top, self.max_seq_len)
        for answer in answers:
            if answer.finished:
                answer.end()
                self._remove(answer)

    def _remove(self, answer: CompletionState) -> None:
        """The last row takes the place of one that leaves."""
        row, last = self.running.index(answer), len(self.running) - 1
        self.cache.move_row(row, last)
        self.running[row] = self.running[last]
        self.running.pop()
        self.cache.release(answer)
