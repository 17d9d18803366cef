"""Writes text with a model: many prompts at once, each as long as it needs."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch

from herd.core.errors import DataError
from herd.generate.drawing import GREEDY, Choices, Sampling, draw
from herd.generate.slots import Completion, Reader, Slots
from herd.model.packed import Packed, packable
from herd.model.streamed import Streamed, streamable
from herd.model.transformer import Transformer, check_eager, plainly

# Weights of a model that writes so slowly on a GPU that compiling it is made up for.
_WORTH_COMPILING = 100_000_000

__all__ = ["GREEDY", "Choices", "Completion", "Engine", "Sampling", "draw"]


class Engine:
    """Generation with one model.

    stops: ids that end an answer. rows: prompts at work at once; they are taken longest first, so that those
    together are about as long. compiled: whether the writing of a token is compiled, which takes some seconds once
    and pays from some thousand tokens on; absent, it is for a large model on a GPU, where rows are many, and a CPU
    reads by a kernel of our own.
    """

    def __init__(
        self, model: Transformer, stops: frozenset[int], rows: int = 64, *, compiled: bool | None = None
    ) -> None:
        check_eager(model)
        self.model = model.eval()
        self.stops = stops
        self.rows = rows
        large = model.embedding.weight.device.type == "cuda" and model.shape.weights >= _WORTH_COMPILING
        self._call = torch.compile(plainly) if (large if compiled is None else compiled) else None
        self._packed: Packed | None = None

    def _reader(self) -> Reader:
        """What reads tokens: on a CPU the weights of this moment packed for it, where they may be, and on a GPU where
        they are."""
        if streamable(self.model):
            return Streamed(self.model)
        if self._call is not None or not packable(self.model):
            return self.model
        if self._packed is None or not self._packed.of(self.model):
            self._packed = Packed(self.model)
        return self._packed

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        sampling: Sampling = GREEDY,
        *,
        choices: Choices | None = None,
        workers: int = 1,
        report: Callable[[int, int], None] = lambda done, total: None,
    ) -> list[Completion]:
        """A completion for every prompt, in their order.

        choices: the only answers there may be. workers: threads, each with rows of its own. Draws depend on the seed
        and the prompt's number only. Raises DataError for a prompt that leaves no room for an answer in the model's
        context.
        """
        context = self.model.shape.context
        for number, prompt in enumerate(prompts):
            if not 0 < len(prompt) < context:
                raise DataError(f"prompt {number} has {len(prompt)} tokens; the model reads 1 to {context - 1}")
        order = sorted(range(len(prompts)), key=lambda number: (-len(prompts[number]), tuple(prompts[number]), number))
        waiting = deque(order)
        done: dict[int, Completion] = {}
        reader = self._reader()

        def told(number: int, completion: Completion) -> None:
            done[number] = completion
            report(len(done), len(prompts))

        on_gpu = self.model.embedding.weight.device.type == "cuda"  # where threads would wait for each other
        if workers == 1 or len(prompts) <= self.rows or on_gpu:
            self._work(reader, prompts, waiting, sampling, choices, told)
        else:
            with ThreadPoolExecutor(workers) as threads:
                for future in [
                    threads.submit(self._work, reader, prompts, waiting, sampling, choices, told)
                    for _ in range(workers)
                ]:
                    future.result()
        return [done[number] for number in range(len(prompts))]

    def _work(
        self,
        reader: Reader,
        prompts: Sequence[Sequence[int]],
        waiting: deque[int],
        sampling: Sampling,
        choices: Choices | None,
        told: Callable[[int, Completion], None],
    ) -> None:
        """Takes prompts until none is waiting and all answers are written."""
        longest = len(prompts[waiting[0]]) if waiting else 0
        slots = Slots(
            reader,
            self.stops,
            sampling,
            rows=min(self.rows, max(1, len(waiting))),
            room=min(longest + sampling.max_tokens, self.model.shape.context),
            choices=choices,
            call=self._call,
        )
        with torch.inference_mode():
            while waiting or slots.live:
                # A few rows at a time are read together, which is worth some idle ones.
                if waiting and (slots.free >= max(1, len(slots.rows) // 4) or not slots.live):
                    numbers = _take(waiting, slots.free)
                    if numbers:
                        slots.admit([prompts[number] for number in numbers], numbers)
                if not waiting:
                    slots.shrink()
                if slots.live:
                    for number, completion in slots.step():
                        told(number, completion)

    def stream(self, prompt: Sequence[int], sampling: Sampling) -> Iterator[int]:
        """The ids of one answer as they are drawn, without the stop; for people who watch.

        Raises DataError when the prompt fills the context.
        """
        room = min(len(prompt) + sampling.max_tokens, self.model.shape.context)
        if len(prompt) >= room:
            raise DataError(f"the conversation has {len(prompt)} tokens; the model reads {room - 1}: start anew")
        with torch.inference_mode():
            slots = Slots(self._reader(), self.stops, sampling, rows=1, room=room, call=self._call)
            slots.admit([prompt], [0])
            row = slots.rows[0]
            assert row is not None
            ids = row.completion.ids
            while slots.live:
                written = len(ids)
                slots.step()
                yield from ids[written:]

    @torch.inference_mode()
    def score(self, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]) -> list[float]:
        """The log-probability of every answer after its prompt, in nats, summed over its tokens."""
        found = []
        for start in range(0, len(prompts), self.rows):
            pairs = list(zip(prompts[start : start + self.rows], answers[start : start + self.rows], strict=True))
            texts = [[*prompt, *answer] for prompt, answer in pairs]
            longest = max(map(len, texts))
            tokens_BT = torch.tensor([text + [0] * (longest - len(text)) for text in texts])
            hidden_BTD = self.model.hidden(tokens_BT.to(self.model.embedding.weight.device))
            for row, (prompt, answer) in enumerate(pairs):
                places = slice(len(prompt) - 1, len(prompt) + len(answer) - 1)
                log_probs = self.model.logits(hidden_BTD[row, places]).log_softmax(-1)
                found.append(float(log_probs.gather(-1, torch.tensor(answer)[:, None].to(log_probs.device)).sum()))
        return found


def _take(waiting: deque[int], most: int) -> list[int]:
    """Up to `most` of what waits; other threads may take some meanwhile."""
    numbers = []
    while waiting and len(numbers) < most:
        try:
            numbers.append(waiting.popleft())
        except IndexError:
            break
    return numbers
