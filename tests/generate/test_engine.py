"""Generation: batches change nothing, draws follow the seed, and the nucleus is what it says."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from herd.core.errors import DataError
from herd.generate import engine as engine_module
from herd.generate.engine import Choices, Engine, Sampling, draw
from herd.model import cache as cache_module
from herd.model.packed import Packed
from tests.model.test_transformer import SMALL, model

PROMPTS = [[5, 6, 7], [8], [9, 10, 11, 12, 13, 14], [3, 3]]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_batch_gives_what_each_prompt_alone_gives(temperature: float) -> None:
    sampling = Sampling(max_tokens=12, temperature=temperature)
    together = Engine(model(), frozenset({2}), rows=3).generate(PROMPTS, sampling)
    one_by_one = Engine(model(), frozenset({2}), rows=1).generate(PROMPTS, sampling)
    threaded = Engine(model(), frozenset({2}), rows=1).generate(PROMPTS, sampling, workers=2)
    assert [one.ids for one in together] == [one.ids for one in one_by_one] == [one.ids for one in threaded]


def test_streaming_gives_the_same_ids() -> None:
    engine = Engine(model(), frozenset({2}))
    for sampling in (Sampling(max_tokens=15), Sampling(max_tokens=15, temperature=0.9, seed=4)):
        assert list(engine.stream(PROMPTS[0], sampling)) == engine.generate(PROMPTS[:1], sampling)[0].ids


def test_log_probs_are_those_of_a_forward_pass() -> None:
    made = model()
    found = Engine(made, frozenset()).generate([PROMPTS[0]], Sampling(max_tokens=6, temperature=1.0))[0]
    row = torch.tensor([PROMPTS[0] + found.ids])
    with torch.inference_mode():
        log_probs = made(row)[0].log_softmax(-1)
    wanted = [float(log_probs[2 + n, token]) for n, token in enumerate(found.ids)]
    assert found.log_probs == pytest.approx(wanted, abs=1e-4)


def test_a_stop_ends_an_answer_and_the_context_does_too() -> None:
    everything = frozenset(range(SMALL.vocabulary))
    found = Engine(model(), everything).generate([[1]], Sampling(max_tokens=5))[0]
    assert found.finished
    assert found.ids == []
    long = Engine(model(), frozenset()).generate([list(range(60))], Sampling(max_tokens=50))[0]
    assert len(long.ids) == SMALL.context - 60 + 1  # the last one written need not be read again
    assert not long.finished


@pytest.mark.parametrize("prompt", [[], list(range(64))])
def test_a_prompt_without_room_is_told(prompt: list[int]) -> None:
    with pytest.raises(DataError, match="the model reads 1 to 63"):
        Engine(model(), frozenset()).generate([prompt])


def test_seeds_change_draws_and_equal_seeds_do_not() -> None:
    engine = Engine(model(), frozenset())
    draws = [engine.generate([[4]], Sampling(max_tokens=20, temperature=1.5, seed=seed))[0].ids for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=2, max_size=9), st.floats(0.1, 0.99), st.floats(0, 0.999))
def test_draws_stay_in_the_nucleus(logits: list[float], top_p: float, noise: float) -> None:
    row = torch.tensor([logits])
    token, _ = draw(row, Sampling(temperature=1.0, top_p=top_p), torch.tensor([noise], dtype=torch.float64))
    probs = row.softmax(-1)[0]
    likelier = probs[probs > probs[token]].sum()
    assert likelier < top_p + 1e-6


def test_draws_come_as_often_as_their_probability() -> None:
    row = torch.tensor([[0.0, 1.0, 2.0]])
    noise = torch.linspace(0, 0.99999, 20_000, dtype=torch.float64)
    tokens, _ = draw(row.expand(20_000, 3), Sampling(temperature=1.0), noise)
    shares = torch.bincount(tokens, minlength=3) / 20_000
    assert torch.allclose(shares, row.softmax(-1)[0], atol=1e-3)


# ---- rows that take the next prompt, prefixes read once, choices ----


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_more_prompts_than_rows_change_nothing(data: st.DataObject) -> None:
    lengths = data.draw(st.lists(st.integers(1, 30), min_size=1, max_size=9))
    prompts = [[(3 * n + 5 * i) % 90 + 3 for i in range(length)] for n, length in enumerate(lengths)]
    stops = frozenset(range(data.draw(st.integers(0, 40))))
    sampling = Sampling(max_tokens=10, temperature=1.0, seed=data.draw(st.integers(0, 3)))
    wanted = Engine(model(), stops, rows=1).generate(prompts, sampling)
    found = Engine(model(), stops, rows=data.draw(st.integers(2, 5))).generate(prompts, sampling)
    assert [(one.ids, one.stop) for one in found] == [(one.ids, one.stop) for one in wanted]


def test_equal_prompts_and_equal_beginnings_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    start = list(range(3, 33))
    prompts = [[*start, 40], [*start, 41, 42], [*start, 40], [*start, 50]]
    sampling = Sampling(max_tokens=5, temperature=1.0)
    wanted = [Engine(model(), frozenset(), rows=1).generate([p], sampling)[0].ids for p in prompts[:1]]
    read: list[int] = []
    plain = Packed.hidden
    monkeypatch.setattr(
        Packed, "hidden", lambda self, tokens, **words: (read.append(tokens.numel()), plain(self, tokens, **words))[1]
    )
    found = Engine(model(), frozenset(), rows=4).generate(prompts, sampling)
    assert found[0].ids == wanted[0]
    assert read[0] == 30  # what all begin with
    assert read[1] == 3 * 2  # three different ends, padded
    assert len({tuple(one.ids) for one in (found[0], found[2])}) == 2  # equal prompts draw differently


def test_an_answer_is_one_of_the_choices() -> None:
    choices = Choices.of([[7, 8], [7, 9, 10], [11], [11, 12]])
    engine = Engine(model(), frozenset({2}))
    for seed in range(6):
        for one in engine.generate(PROMPTS, Sampling(max_tokens=5, temperature=2.0, seed=seed), choices=choices):
            assert one.finished
            assert one.ids in ([7, 8], [7, 9, 10], [11], [11, 12])
    greedy = engine.generate([PROMPTS[0]], choices=Choices.of([[7], [8], [9]]))[0]
    marks = engine.score([PROMPTS[0]] * 3, [[7], [8], [9]])
    assert greedy.ids == [[7], [8], [9]][marks.index(max(marks))]
    for wrong in ([], [[]]):
        with pytest.raises(DataError, match="choice"):
            Choices.of(wrong)


def test_scores_are_sums_of_log_probs() -> None:
    engine = Engine(model(), frozenset())
    made = engine.generate([PROMPTS[0]], Sampling(max_tokens=6))[0]
    assert engine.score([PROMPTS[0], [8]], [made.ids, [1]])[0] == pytest.approx(sum(made.log_probs), abs=1e-4)


def test_pytorch_writes_what_our_kernel_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = [*PROMPTS, [5] * 20]
    sampling = Sampling(max_tokens=12, temperature=1.0)
    ours = Engine(model(), frozenset({2})).generate(prompts, sampling)
    monkeypatch.setattr(engine_module, "packable", lambda model: False)
    monkeypatch.setattr(cache_module, "library", lambda: None)
    theirs = Engine(model(), frozenset({2})).generate(prompts, sampling)
    assert [one.ids for one in theirs] == [one.ids for one in ours]
    for one, other in zip(theirs, ours, strict=True):
        assert one.log_probs == pytest.approx(other.log_probs, abs=1e-4)


def test_a_changed_weight_is_read_with_at_once() -> None:
    made = model()
    engine = Engine(made, frozenset())
    before = engine.generate(PROMPTS)
    with torch.no_grad():
        made.output_weight.neg_()
    after, fresh = engine.generate(PROMPTS), Engine(made, frozenset()).generate(PROMPTS)
    assert [one.ids for one in after] == [one.ids for one in fresh] != [one.ids for one in before]


def test_compiled_writing_gives_the_same_answers() -> None:
    prompts = PROMPTS * 2
    plain = Engine(model(), frozenset({2})).generate(prompts, Sampling(max_tokens=12))
    quick = Engine(model(), frozenset({2}), compiled=True).generate(prompts, Sampling(max_tokens=12))
    assert [one.ids for one in plain] == [one.ids for one in quick]


def test_only_the_likeliest_k_are_drawn() -> None:
    row = torch.tensor([[0.0, 3.0, 2.0, 1.0]])
    drawn = {int(draw(row, Sampling(temperature=1.0, top_k=2), torch.tensor([x / 100]))[0]) for x in range(100)}
    assert drawn == {1, 2}
