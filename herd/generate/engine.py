"""One door to a model that writes: requests wait in a queue, each with its own sampling, and are written together."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

import torch

from herd.core.errors import DataError, SettingsError
from herd.generate.kv_cache import KVCacheManager, cache_bounds
from herd.generate.params import GREEDY, SamplingParams
from herd.generate.requests import CompletionOutput, CompletionState, Request, RequestOutput
from herd.generate.runner import InferenceModel, ModelRunner
from herd.generate.sampling import Choices, sample_tokens
from herd.generate.scheduler import Scheduler
from herd.model.collectives import SINGLE_RANK, RankGroup
from herd.model.packed import PackedModel, packable, weight_versions
from herd.model.streamed import StreamedModel, streamable
from herd.model.transformer import Call, Transformer, call_eager, check_eager

# Weights of a model that writes so slowly on a GPU that compiling it is made up for.
_WORTH_COMPILING = 100_000_000

__all__ = ["GREEDY", "Choices", "CompletionOutput", "Engine", "RequestOutput", "SamplingParams", "sample_tokens"]

ProgressCallback = Callable[[int, int], None]
_Pair = tuple[Sequence[int], Sequence[int]]  # a prompt and an answer
_ScoreT = TypeVar("_ScoreT")


class TokenizerProtocol(Protocol):
    """What stop texts, choices in text and `text` of outputs need."""

    def encode(self, text: str) -> list[int]: ...

    def decode(self, ids: Sequence[int]) -> str: ...


@dataclass(frozen=True)
class _QueuedRequest:
    """A request in the queue, with what is given back for it and the answers that are written."""

    request: Request
    output: RequestOutput
    answers: tuple[CompletionState, ...]


class Engine:
    """Generation with one model.

    stop_token_ids: ids that end an answer. max_num_seqs: answers at work at once. compile_decode: whether the writing
    of a token is compiled, which takes some seconds once and pays from some thousand tokens on; absent, it is for a
    large model on a GPU, where rows are many, and a CPU reads by a kernel of our own. tokenizer: for stop texts and the
    text of answers. cache_tokens: how many the KV cache may hold, of prompts and answers at work and of those before
    that may begin alike; absent, `max_num_seqs` whole contexts, or a part of memory, and for one longer text as many as
    there is room for. ranks: processes with an engine of this model each, which `generate` and `score` divide prompts
    over; all ask the same and get everything.

    The weights are looked at when a request is made; what was cached under others is not used.
    """

    def __init__(
        self, model: Transformer, stop_token_ids: frozenset[int], max_num_seqs: int = 64, *,
        compile_decode: bool | None = None,
        tokenizer: TokenizerProtocol | None = None, cache_tokens: int | None = None, ranks: RankGroup = SINGLE_RANK,
    ) -> None:  # fmt: skip
        check_eager(model)
        self.ranks = ranks
        self.model = model.eval()
        self.stop_token_ids, self.max_num_seqs, self.tokenizer = stop_token_ids, max_num_seqs, tokenizer
        weight = model.embedding.weight
        self.cache_tokens, self._most_tokens = cache_bounds(model.shape, max_num_seqs, weight, cache_tokens)
        is_large = weight.device.type == "cuda" and model.shape.num_params >= _WORTH_COMPILING
        self._call = torch.compile(call_eager) if (is_large if compile_decode is None else compile_decode) else None
        self._ids = itertools.count()
        self._queued: dict[str, tuple[Scheduler, RequestOutput]] = {}
        self._schedulers: dict[int, Scheduler] = {}
        self._versioned_model: tuple[object, InferenceModel] | None = None

    def add_request(self, prompt: Sequence[int], params: SamplingParams = GREEDY) -> str:
        """Puts a request into the queue, for `step` to work on; its id. Raises DataError for a prompt that leaves no
        room for an answer in the model's context."""
        return self._enqueue(prompt, params)[1].request_id

    def step(self) -> list[RequestOutput]:
        """Writes a token more of every request at work, or two where it has just begun; those in the queue that
        changed, as far as they are. What is finished leaves the queue."""
        changed = set()
        for scheduler in {scheduler for scheduler, _ in list(self._queued.values())}:
            with scheduler.lock, torch.inference_mode():
                changed |= {answer.request.request_id for answer in scheduler.step()}
        # Others may have driven the step in which a request came to its end.
        queued = [(name, output) for name, (_, output) in list(self._queued.items())]
        for request_id in [name for name, output in queued if output.finished]:
            self._queued.pop(request_id, None)
        return [output for name, output in queued if name in changed or output.finished]

    def has_unfinished_requests(self) -> bool:
        return bool(self._queued)

    def cancel(self, request_id: str) -> None:
        """Ends a request where it is, and frees its rows and blocks at once; nothing when it is finished already."""
        scheduler, _ = self._queued.pop(request_id, (None, None))
        if scheduler is not None:
            with scheduler.lock, torch.inference_mode():
                scheduler.cancel(request_id)

    def stream(self, prompt: Sequence[int], params: SamplingParams = GREEDY) -> Generator[RequestOutput, None, None]:
        """The completions so far, after every new token and when they are finished. A reader that stops early cancels
        the request; other requests in the queue are generated meanwhile. Raises DataError when the prompt leaves no
        room in the context."""
        scheduler, output = self._enqueue(prompt, params)
        try:
            num_streamed = 0
            while not output.finished:
                with scheduler.lock, torch.inference_mode():
                    if _count_tokens(output) == num_streamed and not output.finished:
                        scheduler.step()
                if _count_tokens(output) > num_streamed or output.finished:
                    num_streamed = _count_tokens(output)
                    yield output
        finally:
            self.cancel(output.request_id)

    def generate(
        self,
        prompts: Sequence[Sequence[int]], params: SamplingParams | Sequence[SamplingParams] = GREEDY, *,
        workers: int = 1, report: ProgressCallback = lambda done, total: None, first_number: int = 0,
    ) -> list[CompletionOutput]:  # fmt: skip
        """Completions of every prompt, `params.n` of each, in their order; an answer's draws depend on the seed and its
        place among them only, not on the rank that writes it.

        params: of all, or of each. workers: threads, each with rows of its own. report: called after every answer with
        how many are done, those of other ranks by this one's share. first_number: the place of the first prompt, of a
        part of more. Raises DataError for a prompt that leaves no room for an answer in the model's context.
        """
        params_list = [params] * len(prompts) if isinstance(params, SamplingParams) else params
        pairs = enumerate(zip(prompts, params_list, strict=True), start=first_number)
        queued = [self._new(*pair, number=number) for number, pair in pairs]
        # Longest first, so that those together are about as long, and equal ones beside each other.
        order = sorted(queued, key=lambda entry: (-len(entry.request.prompt_token_ids), entry.request.prompt_token_ids))
        equal = itertools.groupby(order, key=lambda entry: entry.request.prompt_token_ids)
        groups = self.ranks.part([list(group) for _, group in equal])
        pending = deque(map(_answers_of, groups))
        total, own_total = sum(len(entry.answers) for entry in queued), sum(map(len, pending))
        completed = itertools.count(1)

        def note() -> None:
            report(next(completed) * total // own_total, total)

        on_gpu = self.model.embedding.weight.device.type == "cuda"  # where threads would wait for each other
        if workers == 1 or own_total <= self.max_num_seqs or on_gpu:
            _work(self._scheduler(), pending, note)
        else:
            longest = max(len(entry.request.prompt_token_ids) + entry.request.params.max_tokens for entry in queued)
            tokens = max(self.cache_tokens // workers, min(longest, self.max_seq_len))
            schedulers = [self._scheduler(number, tokens) for number in range(workers)]
            with ThreadPoolExecutor(workers) as threads:
                for future in [threads.submit(_work, scheduler, pending, note) for scheduler in schedulers]:
                    future.result()
        own = {entry.request.number: entry.output.outputs for entry in itertools.chain.from_iterable(groups)}
        outputs: dict[int, list[CompletionOutput]] = {}
        for part in self.ranks.gather(own):
            outputs |= part
        return list(itertools.chain.from_iterable(outputs[entry.request.number] for entry in queued))

    def score(
        self, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]],
        report: ProgressCallback = lambda *_: None,
    ) -> list[float]:  # fmt: skip
        """The log-probability of every answer after its prompt, in nats, summed over its tokens."""
        return self.map_pairs(self.score_batch, list(zip(prompts, answers, strict=True)), report)

    def map_pairs(
        self, score_batch: Callable[[Sequence[_Pair]], list[_ScoreT]], pairs: list[_Pair], report: ProgressCallback
    ) -> list[_ScoreT]:
        """What `score_batch` says of every prompt with its answer, of some at once."""
        batches = self.score_batches(pairs)

        def score(number: int) -> list[_ScoreT]:
            scores = score_batch(batches[number])
            report(min((number + 1) * self.max_num_seqs, len(pairs)), len(pairs))
            return scores

        return list(itertools.chain.from_iterable(self.ranks.map(range(len(batches)), score)))

    def score_batches(self, pairs: Sequence[_Pair]) -> list[Sequence[_Pair]]:
        """Prompts and answers that are scored at once, in order."""
        return [pairs[start : start + self.max_num_seqs] for start in range(0, len(pairs), self.max_num_seqs)]

    def score_batch(self, pairs: Sequence[_Pair]) -> list[float]:
        """As `score`, at once and by this rank alone."""
        return _log_probs(self.model, pairs)

    @property
    def max_seq_len(self) -> int:
        """Tokens that a prompt and its answer may have together."""
        return min(self.model.shape.max_seq_len, self._most_tokens)

    @property
    def prefilled_tokens(self) -> int:
        """Tokens of prompts that were read so far; what was cached is not counted."""
        return sum(scheduler.runner.prefilled_tokens for scheduler in self._schedulers.values())

    def _enqueue(self, prompt: Sequence[int], params: SamplingParams) -> tuple[Scheduler, RequestOutput]:
        entry, scheduler = self._new(prompt, params, word_by_word=True), self._scheduler()
        with scheduler.lock:
            scheduler.waiting.extend(entry.answers)
            self._queued[entry.request.request_id] = scheduler, entry.output
        return scheduler, entry.output

    def _new(
        self, prompt: Sequence[int], params: SamplingParams, *, number: int = 0, word_by_word: bool = False
    ) -> _QueuedRequest:
        if not 0 < len(prompt) < self.max_seq_len:
            raise DataError(_length_fault(number, len(prompt), self.max_seq_len, self.model.shape.max_seq_len))
        needed = min(len(prompt) + params.max_tokens, self.max_seq_len)
        if needed > self.cache_tokens:  # who works with the cache of before ends with it
            self.cache_tokens, self._schedulers = needed, {}
        _check_params(params, self.tokenizer, self.model.shape.vocab_size)
        request = Request(f"request-{next(self._ids)}", tuple(prompt), params, number)
        outputs = [CompletionOutput(index) for index in range(params.n)]
        output = RequestOutput(request.request_id, request.prompt_token_ids, outputs)
        stop_token_ids, choices = self.stop_token_ids | set(params.stop_token_ids), _choices(params, self.tokenizer)
        decode = self.tokenizer.decode if self.tokenizer is not None else None
        answers = [
            CompletionState(request, output, index, stop_token_ids, choices, decode, word_by_word=word_by_word)
            for index in range(params.n)
        ]
        return _QueuedRequest(request, output, tuple(answers))

    def _scheduler(self, number: int = 0, tokens: int = 0) -> Scheduler:
        """Worker `number`'s; those beside the first have caches of their own, for so many tokens. After a change of
        weights all are made anew; who works with an old one ends with it."""
        key = weight_versions(self.model)
        if self._versioned_model is None or self._versioned_model[0] != key:
            self._versioned_model = key, _inference_model(self.model, self._call)
            self._schedulers = {}
        scheduler = self._schedulers.get(number)
        if scheduler is None or scheduler.max_seq_len < min(tokens, self.max_seq_len):
            scheduler = self._new_scheduler(self._versioned_model[1], self.cache_tokens if number == 0 else tokens)
            self._schedulers[number] = scheduler
        return scheduler

    def _new_scheduler(self, model: InferenceModel, tokens: int) -> Scheduler:
        weight, shape = self.model.embedding.weight, self.model.shape
        cache = KVCacheManager(shape, self.max_num_seqs, tokens, weight.dtype, weight.device)
        return Scheduler(ModelRunner(model, cache, self._call), self.max_num_seqs, min(shape.max_seq_len, tokens))


def score_greedy(
    engine: Engine, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]],
    report: ProgressCallback = lambda *_: None,
) -> list[tuple[float, bool]]:  # fmt: skip
    """As `Engine.score`, and whether every token of an answer is the likeliest in its place."""
    return engine.map_pairs(partial(_greedy_scores, engine.model), list(zip(prompts, answers, strict=True)), report)


def _inference_model(model: Transformer, call: Call | None) -> InferenceModel:
    """What reads tokens: on a CPU the weights of this moment packed for it, where they may be, and on a GPU where they
    are."""
    if streamable(model):
        return StreamedModel(model)
    if call is not None or not packable(model):
        return model
    return PackedModel(model)


def _length_fault(number: int, tokens: int, most: int, context: int) -> str:
    """most: tokens that can be read here, context: that the model reads."""
    fault = f"prompt {number} has {tokens} tokens; the model reads 1 to {most - 1}"
    if most == context:
        return fault
    return (
        f"{fault} of its {context} here, for which memory holds a KV cache; load it in bf16, or take a larger device "
        "or shorter prompts"
    )


def _choices(params: SamplingParams, tokenizer: TokenizerProtocol | None) -> Choices | None:
    if not params.choices:
        return None
    choices: list[Sequence[int]] = [choice for choice in params.choices if not isinstance(choice, str)]
    if tokenizer is not None:
        choices += [tokenizer.encode(choice) for choice in params.choices if isinstance(choice, str)]
    return Choices.of(choices)


def _log_probs(model: Transformer, pairs: Sequence[_Pair]) -> list[float]:
    """Of every answer after its prompt, in nats."""
    return [_sum_of(log_probs, answer) for log_probs, (_, answer) in _answer_log_probs(model, pairs)]


def _greedy_scores(model: Transformer, pairs: Sequence[_Pair]) -> list[tuple[float, bool]]:
    """The same, and whether every token of an answer is the likeliest in its place."""
    rows = _answer_log_probs(model, pairs)
    return [(_sum_of(row, answer), row.argmax(-1).tolist() == list(answer)) for row, (_, answer) in rows]


def _sum_of(log_probs: torch.Tensor, answer: Sequence[int]) -> float:
    return float(log_probs.gather(-1, torch.tensor(answer)[:, None].to(log_probs.device)).sum())


@torch.inference_mode()
def _answer_log_probs(model: Transformer, pairs: Sequence[_Pair]) -> Iterator[tuple[torch.Tensor, _Pair]]:
    """Log-probabilities `[T, V]` in every place of an answer after its prompt, with both."""
    texts = [[*prompt, *answer] for prompt, answer in pairs]
    max_len = max(map(len, texts))
    tokens_BT = torch.tensor([text + [0] * (max_len - len(text)) for text in texts])
    hidden_BTD = model.hidden_states(tokens_BT.to(model.embedding.weight.device))
    for row, (prompt, answer) in enumerate(pairs):
        places = slice(len(prompt) - 1, len(prompt) + len(answer) - 1)
        yield model.logits(hidden_BTD[row, places]).log_softmax(-1), pairs[row]


def _check_params(params: SamplingParams, tokenizer: TokenizerProtocol | None, vocab_size: int) -> None:
    if tokenizer is None and (params.stop or any(isinstance(choice, str) for choice in params.choices)):
        raise SettingsError("stop texts and choices in text need a tokenizer; make the engine with one")
    if "" in params.stop:
        raise SettingsError("an empty stop text ends every answer before it begins; leave it out")
    if invalid := [token for token in params.logit_bias if not 0 <= token < vocab_size]:
        raise SettingsError(
            f"logit_bias names token {invalid[0]}, which a vocabulary of {vocab_size} has not; leave it out"
        )


def _answers_of(entries: Iterable[_QueuedRequest]) -> list[CompletionState]:
    return list(itertools.chain.from_iterable(entry.answers for entry in entries))


def _count_tokens(output: RequestOutput) -> int:
    return sum(len(completion.token_ids) for completion in output.outputs)


def _work(scheduler: Scheduler, pending: deque[list[CompletionState]], note: Callable[[], None]) -> None:
    """Takes prompts until none is pending and all that were taken are answered; other threads take some meanwhile."""
    assigned: list[CompletionState] = []
    try:
        with torch.inference_mode():
            while True:
                with scheduler.lock:
                    while scheduler.free and (admitted := _next(pending)):
                        scheduler.waiting.extend(admitted)
                        assigned += admitted
                    if scheduler.busy:
                        scheduler.step(more=bool(pending))
                for _ in [answer for answer in assigned if answer.finished]:
                    note()
                assigned = [answer for answer in assigned if not answer.finished]
                if not assigned and not pending:
                    return
    finally:
        with scheduler.lock, torch.inference_mode():
            for request_id in {answer.request.request_id for answer in assigned}:
                scheduler.cancel(request_id)


def _next(pending: deque[list[CompletionState]]) -> list[CompletionState]:
    try:
        return pending.popleft()
    except IndexError:
        return []
