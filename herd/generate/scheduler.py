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
                self.cache.note_read(answer)
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
            # A block more for each at work, or it would be stopped for this one at once.
            if not self.cache.place(group[0], spare=len(self.running)):
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
                self.cache.give_back(answer)
            raise
        rows, admitted = [], []
        for row, (leader, *others) in enumerate(groups):
            self.cache.note_read(leader)
            sharing = [answer for answer in others if self.cache.share(leader, answer)]
            left_over += [answer for answer in others if answer not in sharing]
            admitted += [leader, *sharing]
            rows += [row] * (1 + len(sharing))
        for answer in admitted:
            answer.began, answer.preempted = next(self._admissions), False
            self.running.append(answer)
            self.cache.set_row(len(self.running) - 1, answer.blocks)
        self._note(admitted, self.runner.draw(logits_NV[rows], admitted))
        return admitted, left_over

    def _make_room(self) -> None:
        """A block for each answer whose next token needs one; who was begun last may have to wait for it."""
        full = [answer for answer in self.running if self.cache.is_full(answer)]
        for answer in sorted(full, key=lambda one: one.began):
            while not answer.preempted and not self.cache.extend(self.running.index(answer), answer):
                self._preempt()

    def _preempt(self) -> None:
        """The answer that was begun last waits again, as the first."""
        answer = max(self.running, key=lambda one: one.began)
        self._leave(answer)
        answer.preempted = True
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
        self.cache.give_back(answer)
