"""How likely a model holds texts, however long: a long one is encoded and scored piece by piece, and its tokens are
never all held at once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice

from herd.core.errors import ArtifactError, DataError
from herd.evals.scores import TextScore
from herd.evals.task import Perplexity, Prompt
from herd.generate.engine import Engine, ProgressCallback
from herd.tokens.tokenizer import TextTokenizer

_SCORED_TOKENS = 8_192  # at once
_PIECE_CHARACTERS = 1 << 18  # of a text that are encoded at once
_NEAR_CHARACTERS = 256  # around a cut, by which it is judged
_MOST_CUTS = 64  # that are tried one after another
_CHARACTERS_PER_TOKEN = 4  # about, to say how much is left
_Window = tuple[list[int], list[int]]


def score_texts(
    engine: Engine, tokenizer: TextTokenizer, prompts: Sequence[Prompt], perplexity: Perplexity,
    report: ProgressCallback,
) -> TextScore:  # fmt: skip
    """How well the model predicts each text. report: called with how many batches of tokens are scored, of about how
    many.

    Raises DataError for an empty text, ArtifactError for a model whose numbers are not finite.
    """
    first = tokenizer.opening or [tokenizer.eos_id]
    length = engine.model.shape.max_seq_len - 1
    # Few at once, so that what is left can be told of a long text too.
    at_once = max(1, min(engine.max_num_seqs, _SCORED_TOKENS // length))
    limit = perplexity.limit_tokens
    expected = [_expected_tokens(prompt.plain, limit) for prompt in prompts]
    nats: list[float] = []
    tokens: list[int] = []
    sizes: list[int] = []
    scored = 0
    for number, prompt in enumerate(prompts):
        pieces = _first_pieces(tokenizer, prompt.plain, limit)
        ids = chain(first, chain.from_iterable(pieces))
        windows = rolling_windows(ids, length)
        total, count = 0.0, 0
        later = -(-sum(expected[number + 1 :]) // (length * at_once))
        while block := list(islice(windows, at_once * max(1, engine.ranks.size))):
            batches = [block[start : start + at_once] for start in range(0, len(block), at_once)]
            own = -(-max(0, expected[number] - count) // (length * at_once))

            def score(place: int, batches=batches, before=scored, after=own + later) -> list[float]:  # noqa: ANN001
                report(before + place, before + max(after, len(batches)))
                return engine.score_batch(batches[place])

            for values in engine.ranks.map(range(len(batches)), score):
                for value in check_finite(values):
                    total += value
            count += sum(len(after) for _, after in block)
            scored += len(batches)
        if not count:
            raise DataError(f"text {number + 1} of the task is empty; leave it out")
        nats.append(-total)
        tokens.append(count)
        sizes.append(_scored_bytes(tokenizer, prompt.plain, limit))
    return TextScore(tuple(nats), tuple(tokens), tuple(sizes))


def check_finite(logps: list[float]) -> list[float]:
    """The numbers. Raises ArtifactError for a model whose numbers are none."""
    if any(math.isnan(logp) for logp in logps):
        raise ArtifactError("the model's numbers are not finite, so it can say nothing; take another checkpoint")
    return logps


def _expected_tokens(text: str, limit: int) -> int:
    about = len(text) // _CHARACTERS_PER_TOKEN + 1
    return min(about, limit) if limit else about


def _first_pieces(tokenizer: TextTokenizer, text: str, limit: int) -> Iterator[list[int]]:
    """The ids of a text in pieces; of its first `limit` tokens, where there is one."""
    remaining = limit
    for ids in encode_pieces(tokenizer, text):
        if limit and len(ids) >= remaining:
            yield ids[:remaining]
            return
        remaining -= len(ids)
        yield ids


def _scored_bytes(tokenizer: TextTokenizer, text: str, limit: int) -> int:
    """The bytes of what is scored of a text."""
    if not limit:
        return sum(len(text[start : start + 1_000_000].encode()) for start in range(0, len(text), 1_000_000))
    return sum(len(tokenizer.decode(ids).encode()) for ids in _first_pieces(tokenizer, text, limit))


def encode_pieces(tokenizer: TextTokenizer, text: str) -> Iterator[list[int]]:
    """The ids of a text, some at a time, the same as of the whole: it is cut after line ends where the tokenizer puts
    no token across them. A tokenizer that has no such place gets the rest at once."""
    start = 0
    while len(text) - start > 2 * _PIECE_CHARACTERS:
        cut = _cut_after(tokenizer, text, start + _PIECE_CHARACTERS)
        if cut is None:
            break
        yield tokenizer.encode(text[start:cut])
        start = cut
    yield tokenizer.encode(text[start:])


def _cut_after(tokenizer: TextTokenizer, text: str, start: int) -> int | None:
    """The first place from `start` on at which the text can be cut: after a line end, before a word."""
    place = start
    for _ in range(_MOST_CUTS):
        place = text.find("\n", place) + 1
        if not place or place == len(text):
            return None
        if text[place].isspace():
            continue
        before, after = text[place - _NEAR_CHARACTERS : place], text[place : place + _NEAR_CHARACTERS]
        if tokenizer.encode(before + after) == [*tokenizer.encode(before), *tokenizer.encode(after)]:
            return place
    return None


def rolling_windows(ids: Iterable[int], length: int) -> Iterator[_Window]:
    """(what is read, what is predicted) such that every id but the first is predicted once: windows of `length` ids
    one after another; the last one reads further back, so that it is as long as the others.

    Source: lm-evaluation-harness, `get_rolling_token_windows` with a context of 1.
    """
    source = iter(ids)
    # Ids that may still be read: of the window before, and one more, and those that are to be predicted.
    recent = list(islice(source, 1))
    while after := list(islice(source, length)):
        before = recent[-1:] if len(after) == length else recent[-(length + 1 - len(after)) :]
        yield before, after
        recent = [*recent, *after][-(length + 1) :]
