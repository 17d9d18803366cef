"""Long texts are scored in pieces as they would be at once."""

from __future__ import annotations

import tracemalloc
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from herd.core.errors import ArtifactError
from herd.evals import text_scoring
from herd.evals.task import Perplexity, Prompt
from herd.evals.text_scoring import encode_pieces, rolling_windows, score_texts
from herd.model.collectives import SINGLE_RANK
from tests.evals.test_sized import ACROSS, PIECES
from tests.tokens.test_chat import TOKENIZER

CONTEXT = 65


class Counted:
    """An engine for which each token costs as many nats as its window reads tokens before."""

    max_num_seqs, ranks = 4, SINGLE_RANK
    model = SimpleNamespace(shape=SimpleNamespace(max_seq_len=CONTEXT))

    def __init__(self, value: float | None = None) -> None:
        self.value, self.predicted = value, 0

    def score_batch(self, pairs: Any) -> list[float]:
        values = []
        for before, after in pairs:
            assert len(before) + len(after) <= CONTEXT
            self.predicted += len(after)
            values.append(-float(len(before) * len(after)) if self.value is None else self.value)
        return values


def no_report(done: float, total: float) -> None:
    """Nothing is told."""


def windows_of(ids: list[int], length: int) -> list[Any]:
    return list(rolling_windows(iter(ids), length))


def test_every_token_is_predicted_once_and_the_last_window_is_as_long_as_the_others() -> None:
    assert windows_of([0, 1, 2, 3, 4, 5, 6, 7], 3) == [
        ([0], [1, 2, 3]),
        ([3], [4, 5, 6]),
        ([4, 5, 6], [7]),
    ]
    assert windows_of([0, 1], 3) == [([0], [1])]
    assert windows_of([0], 3) == []


@given(st.integers(0, 60), st.integers(1, 20))
def test_windows_of_a_stream_are_those_of_a_list(count: int, length: int) -> None:
    ids, expected, position = list(range(count)), [], 1
    while position < count:
        end = min(position + length, count)
        expected.append((ids[max(0, end - length - 1) : position], ids[position:end]))
        position = end
    assert windows_of(ids, length) == expected


LINES = st.lists(st.text(alphabet="ab1 .,'\t\n日é", max_size=30), min_size=1, max_size=60)


@pytest.mark.parametrize("name", ["bytes", "pieces", "across words"])
@settings(max_examples=25)
@given(lines=LINES)
def test_pieces_have_the_ids_of_the_whole(name: str, lines: list[str]) -> None:
    tokenizer = {"bytes": TOKENIZER, "pieces": PIECES, "across words": ACROSS}[name]
    text = "\n".join(lines)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_scoring, "_PIECE_CHARACTERS", 40)
        pieces = list(encode_pieces(tokenizer, text))
    assert [number for piece in pieces for number in piece] == tokenizer.encode(text)


def test_a_long_text_is_cut_into_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_scoring, "_PIECE_CHARACTERS", 200)
    pieces = list(encode_pieces(TOKENIZER, "A line of a few words.\n" * 400))
    assert len(pieces) > 20
    assert max(map(len, pieces)) < 1000


def test_a_text_in_pieces_scores_as_one_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = [Prompt.of("A line of a few words, and one é.\n" * count) for count in (1, 90, 7)]
    whole = score_texts(Counted(), TOKENIZER, prompts, Perplexity(), no_report)  # type: ignore[arg-type]
    monkeypatch.setattr(text_scoring, "_PIECE_CHARACTERS", 100)
    assert score_texts(Counted(), TOKENIZER, prompts, Perplexity(), no_report) == whole  # type: ignore[arg-type]
    assert whole.utf8_bytes == tuple(len(prompt.plain.encode()) for prompt in prompts)
    assert whole.tokens == tuple(len(TOKENIZER.encode(prompt.plain)) for prompt in prompts)


def test_only_the_first_tokens_are_scored_where_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_scoring, "_PIECE_CHARACTERS", 100)
    prompts = [Prompt.of("A line of a few words.\n" * 90), Prompt.of("Short.")]
    engine = Counted()
    score = score_texts(engine, TOKENIZER, prompts, Perplexity(limit_tokens=150), no_report)  # type: ignore[arg-type]
    short = len(TOKENIZER.encode("Short."))
    assert score.tokens == (150, short)
    assert engine.predicted == 150 + short
    assert score.utf8_bytes == (len(TOKENIZER.decode(TOKENIZER.encode(prompts[0].plain)[:150]).encode()), 6)


def test_how_far_it_is_is_told_and_ends_at_the_end() -> None:
    told: list[tuple[float, float]] = []
    prompts = [Prompt.of("word " * 2000)]
    score_texts(Counted(), TOKENIZER, prompts, Perplexity(), lambda done, total: told.append((done, total)))  # type: ignore[arg-type]
    assert [done for done, _ in told] == list(range(len(told)))
    assert all(done < total for done, total in told)
    assert len(told) > 10


def test_a_long_text_takes_little_memory_beside_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_scoring, "_PIECE_CHARACTERS", 4_000)
    text = "A line of a few words.\n" * 8_000  # 0.2 MB, some 150,000 tokens
    prompts = [Prompt.of(text)]
    tracemalloc.start()
    score_texts(Counted(), TOKENIZER, prompts, Perplexity(), no_report)  # type: ignore[arg-type]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20  # as a list of ids alone it would be more


def test_numbers_that_are_none_are_refused() -> None:
    with pytest.raises(ArtifactError, match="not finite"):
        score_texts(Counted(float("nan")), TOKENIZER, [Prompt.of("word")], Perplexity(), no_report)  # type: ignore[arg-type]
