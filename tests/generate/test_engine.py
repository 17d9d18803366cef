"""Generation: batches change nothing, draws follow the seed, and the nucleus is what it says."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from herd.core.errors import DataError, SettingsError
from herd.generate import engine as engine_module
from herd.generate import kv_cache
from herd.generate.engine import Choices, Engine, RequestOutput, SamplingParams, sample_tokens
from herd.model import cache as cache_module
from herd.model.packed import PackedModel
from tests.model.test_transformer import SMALL, model

PROMPTS = [[5, 6, 7], [8], [9, 10, 11, 12, 13, 14], [3, 3]]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_batch_gives_what_each_prompt_alone_gives(temperature: float) -> None:
    sampling = SamplingParams(max_tokens=12, temperature=temperature)
    together = Engine(model(), frozenset({2}), max_num_seqs=3).generate(PROMPTS, sampling)
    one_by_one = Engine(model(), frozenset({2}), max_num_seqs=1).generate(PROMPTS, sampling)
    threaded = Engine(model(), frozenset({2}), max_num_seqs=1).generate(PROMPTS, sampling, workers=2)
    assert (
        [one.token_ids for one in together]
        == [one.token_ids for one in one_by_one]
        == [one.token_ids for one in threaded]
    )


def test_streaming_gives_the_same_ids() -> None:
    engine = Engine(model(), frozenset({2}))
    for sampling in (SamplingParams(max_tokens=15), SamplingParams(max_tokens=15, temperature=0.9, seed=4)):
        seen = [list(output.outputs[0].token_ids) for output in engine.stream(PROMPTS[0], sampling)]
        assert seen[-1] == engine.generate(PROMPTS[:1], sampling)[0].token_ids
        assert len(seen) >= 14  # the first comes with the second
        assert all(seen[-1][: len(ids)] == ids for ids in seen)


def test_log_probs_are_those_of_a_forward_pass() -> None:
    made = model()
    found = Engine(made, frozenset()).generate([PROMPTS[0]], SamplingParams(max_tokens=6, temperature=1.0))[0]
    row = torch.tensor([PROMPTS[0] + found.token_ids])
    with torch.inference_mode():
        log_probs = made(row)[0].log_softmax(-1)
    wanted = [float(log_probs[2 + n, token]) for n, token in enumerate(found.token_ids)]
    assert found.logprobs == pytest.approx(wanted, abs=1e-4)


def test_a_stop_ends_an_answer_and_the_context_does_too() -> None:
    everything = frozenset(range(SMALL.vocab_size))
    found = Engine(model(), everything).generate([[1]], SamplingParams(max_tokens=5))[0]
    assert found.stopped
    assert found.token_ids == []
    long = Engine(model(), frozenset()).generate([list(range(60))], SamplingParams(max_tokens=50))[0]
    assert len(long.token_ids) == SMALL.max_seq_len - 60 + 1  # the last one written need not be read again
    assert not long.stopped


@pytest.mark.parametrize("prompt", [[], list(range(64))])
def test_a_prompt_without_room_is_told(prompt: list[int]) -> None:
    with pytest.raises(DataError, match="the model reads 1 to 63"):
        Engine(model(), frozenset()).generate([prompt])


def test_seeds_change_draws_and_equal_seeds_do_not() -> None:
    engine = Engine(model(), frozenset())
    draws = [
        engine.generate([[4]], SamplingParams(max_tokens=20, temperature=1.5, seed=seed))[0].token_ids
        for seed in (0, 0, 1)
    ]
    assert draws[0] == draws[1] != draws[2]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=2, max_size=9), st.floats(0.1, 0.99), st.floats(0, 0.999))
def test_draws_stay_in_the_nucleus(logits: list[float], top_p: float, noise: float) -> None:
    row = torch.tensor([logits])
    token, _ = sample_tokens(
        row, SamplingParams(temperature=1.0, top_p=top_p), torch.tensor([noise], dtype=torch.float64)
    )
    probs = row.softmax(-1)[0]
    likelier = probs[probs > probs[token]].sum()
    assert likelier < top_p + 1e-6


def test_draws_come_as_often_as_their_probability() -> None:
    row = torch.tensor([[0.0, 1.0, 2.0]])
    noise = torch.linspace(0, 0.99999, 20_000, dtype=torch.float64)
    tokens, _ = sample_tokens(row.expand(20_000, 3), SamplingParams(temperature=1.0), noise)
    shares = torch.bincount(tokens, minlength=3) / 20_000
    assert torch.allclose(shares, row.softmax(-1)[0], atol=1e-3)


# ---- rows that take the next prompt, prefixes read once, choices ----


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_more_prompts_than_rows_change_nothing(data: st.DataObject) -> None:
    lengths = data.draw(st.lists(st.integers(1, 30), min_size=1, max_size=9))
    prompts = [[(3 * n + 5 * i) % 90 + 3 for i in range(length)] for n, length in enumerate(lengths)]
    stops = frozenset(range(data.draw(st.integers(0, 40))))
    sampling = SamplingParams(max_tokens=10, temperature=1.0, seed=data.draw(st.integers(0, 3)))
    wanted = Engine(model(), stops, max_num_seqs=1).generate(prompts, sampling)
    found = Engine(model(), stops, max_num_seqs=data.draw(st.integers(2, 5))).generate(prompts, sampling)
    assert [(one.token_ids, one.stop_reason) for one in found] == [(one.token_ids, one.stop_reason) for one in wanted]


def test_equal_prompts_and_equal_beginnings_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    start = list(range(3, 33))
    prompts = [[*start, 40], [*start, 41, 42], [*start, 40], [*start, 50]]
    sampling = SamplingParams(max_tokens=5, temperature=1.0)
    wanted = [Engine(model(), frozenset(), max_num_seqs=1).generate([p], sampling)[0].token_ids for p in prompts[:1]]
    read: list[int] = []
    plain = PackedModel.read_prompts
    monkeypatch.setattr(
        PackedModel,
        "read_prompts",
        lambda self, tokens, *rest: (read.append(len(tokens)), plain(self, tokens, *rest))[1],
    )
    engine = Engine(model(), frozenset(), max_num_seqs=4)
    found = engine.generate(prompts, sampling)
    assert found[0].token_ids == wanted[0]
    assert read == [32, 2]  # the longest, and two different ends of the others
    assert engine.prefilled_tokens == 34
    assert len({tuple(one.token_ids) for one in (found[0], found[2])}) == 2  # equal prompts draw differently


def test_samples_of_a_prompt_are_those_of_a_prompt_asked_often() -> None:
    prompt = list(range(3, 40))
    engine, sampling = (
        Engine(model(), frozenset({2}), max_num_seqs=3),
        SamplingParams(max_tokens=9, temperature=1.0, seed=5),
    )
    often = Engine(model(), frozenset({2})).generate([prompt] * 7, sampling)
    samples = engine.generate([prompt], replace(sampling, n=7))
    assert [one.token_ids for one in samples] == [one.token_ids for one in often]
    assert [one.index for one in samples] == list(range(7))
    # Once in all; a sample for which there was no row at first reads the last token again, for what comes after it.
    assert len(prompt) <= engine.prefilled_tokens <= len(prompt) + 4


def test_the_next_turn_of_a_conversation_reads_only_what_is_new() -> None:
    engine = Engine(model(), frozenset(), max_num_seqs=2)
    first = list(range(3, 24))
    answer = engine.generate([first], SamplingParams(max_tokens=9))[0].token_ids
    assert engine.prefilled_tokens == 21
    second = [*first, *answer, 50, 51, 52]
    output = list(engine.stream(second, SamplingParams(max_tokens=4)))[-1]
    # The last token of the answer was drawn, but never read.
    assert engine.prefilled_tokens - 21 == 1 + 3
    assert output.num_cached_tokens == len(second) - 4
    wanted = Engine(model(), frozenset()).generate([second], SamplingParams(max_tokens=4))[0]
    assert output.outputs[0].token_ids == wanted.token_ids
    assert output.outputs[0].logprobs == pytest.approx(wanted.logprobs, abs=1e-4)


def test_a_cached_beginning_changes_no_bit() -> None:
    prompt = [(7 * place) % 90 + 3 for place in range(40)]
    wanted = Engine(model(), frozenset()).generate([prompt], SamplingParams(max_tokens=3))[0]
    for cached in (1, 15, 16, 17, 33, 38, 39):
        engine = Engine(model(), frozenset())
        engine.generate([prompt[:cached]], SamplingParams(max_tokens=1))
        assert engine.generate([prompt], SamplingParams(max_tokens=3))[0].logprobs == wanted.logprobs


def test_requests_of_all_kinds_side_by_side_get_what_each_gets_alone() -> None:
    kinds = [
        SamplingParams(max_tokens=8),
        SamplingParams(max_tokens=12, temperature=1.0, seed=3),
        SamplingParams(max_tokens=12, temperature=0.7, top_p=0.8, top_k=20, min_p=0.02, seed=4),
        SamplingParams(max_tokens=12, temperature=1.0, repetition_penalty=1.3, presence_penalty=0.4, logprobs=2),
        SamplingParams(max_tokens=12, frequency_penalty=0.8, logit_bias={5: 2.0, 9: -100.0}),
        SamplingParams(max_tokens=12, choices=((7, 8, 9), (7, 10), (11,))),
        SamplingParams(max_tokens=12, stop_token_ids=tuple(range(40, 97))),
    ]
    prompts = [PROMPTS[number % len(PROMPTS)] for number in range(len(kinds))]
    together = Engine(model(), frozenset({2}), max_num_seqs=4)
    ids = [together.add_request(prompt, params) for prompt, params in zip(prompts, kinds, strict=True)]
    outputs: dict[str, RequestOutput] = {}
    while together.has_unfinished_requests():
        outputs |= {output.request_id: output for output in together.step()}
    for request_id, prompt, params in zip(ids, prompts, kinds, strict=True):
        wanted = Engine(model(), frozenset({2})).generate([prompt], params)[0]
        found = outputs[request_id].outputs[0]
        assert (found.token_ids, found.stop_reason) == (wanted.token_ids, wanted.stop_reason)
        assert found.finish_reason == wanted.finish_reason
        assert found.logprobs == pytest.approx(wanted.logprobs, abs=1e-5)
        assert [list(top) for top in found.top_logprobs] == [list(top) for top in wanted.top_logprobs]


def test_a_reader_that_goes_frees_rows_and_blocks_at_once() -> None:
    engine = Engine(model(), frozenset())
    stream = engine.stream(list(range(3, 40)), SamplingParams(max_tokens=20, n=3))
    output = next(stream)
    pool = engine._scheduler().cache.pool
    assert pool.free < len(pool) - 1
    stream.close()
    assert pool.free == len(pool) - 1
    assert not engine.has_unfinished_requests()
    assert {one.finish_reason for one in output.outputs} == {"abort"}
    engine.cancel(output.request_id)  # once more is no fault


def test_two_readers_are_served_side_by_side() -> None:
    engine, sampling = Engine(model(), frozenset()), SamplingParams(max_tokens=10)
    streams = [engine.stream(prompt, sampling) for prompt in PROMPTS[:2]]
    seen = next(zip(*streams, strict=True))  # what is read of both grows with every step
    assert all(0 < len(output.outputs[0].token_ids) < 10 for output in seen)
    for stream in reversed(streams):
        list(stream)
    wanted = Engine(model(), frozenset()).generate(PROMPTS[:2], sampling)
    assert [output.outputs[0].token_ids for output in seen] == [one.token_ids for one in wanted]


def test_readers_in_threads_get_what_each_gets_alone() -> None:
    engine, sampling = Engine(model(), frozenset(), max_num_seqs=2), SamplingParams(max_tokens=10, temperature=1.0)

    def read(prompt: list[int]) -> list[int]:
        return list(engine.stream(prompt, sampling))[-1].outputs[0].token_ids

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(read, PROMPTS))
    assert found == [Engine(model(), frozenset()).generate([one], sampling)[0].token_ids for one in PROMPTS]


def test_memory_is_bounded_and_answers_stopped_for_want_of_it_go_on() -> None:
    prompts = [[(3 * n + 5 * i) % 90 + 3 for i in range(5 + n)] for n in range(12)]
    sampling = SamplingParams(max_tokens=40, temperature=1.0)
    engine = Engine(model(), frozenset(), max_num_seqs=8, cache_tokens=96)
    assert [one.token_ids for one in engine.generate(prompts, sampling)] == [
        one.token_ids for one in Engine(model(), frozenset()).generate(prompts, sampling)
    ]
    cache = engine._scheduler().cache
    assert len(cache.pool) - 1 <= 96 // cache.pool.block_size
    assert cache.nbytes == len(cache.pool) * cache.pool.block_size * SMALL.cache_bytes(4)
    assert engine.prefilled_tokens > sum(map(len, prompts))  # some were read in again


def test_log_probs_are_the_models_own_whatever_is_drawn_from() -> None:
    made = model()
    wishes = {"logit_bias": {20: 100.0}, "repetition_penalty": 2.0, "logprobs": 3}
    found = Engine(made, frozenset()).generate([PROMPTS[0]], SamplingParams(max_tokens=4, **wishes))[0]  # type: ignore[arg-type]
    assert found.token_ids == [20] * 4
    with torch.inference_mode():
        log_probs = made(torch.tensor([PROMPTS[0] + found.token_ids]))[0].log_softmax(-1)
    assert found.logprobs == pytest.approx(log_probs[2:-1, 20].tolist(), abs=1e-4)
    for top, row in zip(found.top_logprobs, log_probs[2:], strict=False):
        values, ids = row.topk(3)
        assert list(top) == ids.tolist()
        assert list(top.values()) == pytest.approx(values.tolist(), abs=1e-4)


def letters(ids: Sequence[int]) -> str:
    return "".join(chr(96 + token) for token in ids)


class Letters:
    def encode(self, text: str) -> list[int]:
        return [ord(letter) - 96 for letter in text]

    def decode(self, ids: Sequence[int]) -> str:
        return letters(ids)


def test_a_text_ends_an_answer_also_across_tokens() -> None:
    engine = Engine(model(), frozenset(), tokenizer=Letters())
    whole = engine.generate([PROMPTS[0]], SamplingParams(max_tokens=12))[0]
    assert whole.text == letters(whole.token_ids)
    stop = whole.text[4:7]
    wanted = whole.text[: whole.text.index(stop)]
    found = engine.generate([PROMPTS[0]], SamplingParams(max_tokens=12, stop=("never so", stop)))[0]
    assert (found.text, found.finish_reason, found.stop_reason) == (wanted, "stop", stop)
    params = SamplingParams(max_tokens=12, stop=("never so", stop))
    seen = [one.outputs[0].text for one in engine.stream(PROMPTS[0], params)]
    assert seen[-1] == wanted
    assert all(wanted.startswith(text) for text in seen)  # what may begin a stop is held back


def test_an_answer_is_one_of_the_choices() -> None:
    engine = Engine(model(), frozenset({2}), tokenizer=Letters())
    choices = ((7, 8), (7, 9, 10), "k", (11, 12))  # k is 11
    for seed in range(6):
        params = SamplingParams(max_tokens=5, temperature=2.0, seed=seed, choices=choices)
        for one in engine.generate(PROMPTS, params):
            assert one.stopped
            assert one.token_ids in ([7, 8], [7, 9, 10], [11], [11, 12])
    greedy = engine.generate([PROMPTS[0]], SamplingParams(choices=((7,), (8,), (9,))))[0]
    marks = engine.score([PROMPTS[0]] * 3, [[7], [8], [9]])
    assert greedy.token_ids == [[7], [8], [9]][marks.index(max(marks))]
    for wrong in ([], [[]]):
        with pytest.raises(DataError, match="choice"):
            Choices.of(wrong)


@pytest.mark.parametrize("params", [{"stop": ("x",)}, {"choices": ("x",)}, {"logit_bias": {97: 1.0}}])
def test_what_cannot_be_done_is_refused(params: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=r"tokenizer|vocabulary of 97"):
        Engine(model(), frozenset()).generate([[5]], SamplingParams(**params))
    with pytest.raises(SettingsError, match="empty stop"):
        Engine(model(), frozenset(), tokenizer=Letters()).generate([[5]], SamplingParams(stop=("",)))


def test_scores_are_sums_of_log_probs() -> None:
    engine = Engine(model(), frozenset())
    made = engine.generate([PROMPTS[0]], SamplingParams(max_tokens=6))[0]
    assert engine.score([PROMPTS[0], [8]], [made.token_ids, [1]])[0] == pytest.approx(sum(made.logprobs), abs=1e-4)


def test_every_prompt_has_its_answer_or_nothing_is_scored() -> None:
    engine, done = Engine(model(), frozenset(), max_num_seqs=2), []
    scores = engine.score([[8], [9], [7]], [[1], [2], [3]], lambda *counts: done.append(counts))
    assert scores == pytest.approx(
        [engine.score([[prompt]], [[answer]])[0] for prompt, answer in ((8, 1), (9, 2), (7, 3))]
    )
    assert done == [(2, 3), (3, 3)]
    with pytest.raises(ValueError, match="longer"):
        engine.score([[8], [9]], [[1], [2], [3]])


def test_pytorch_writes_what_our_kernel_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = [*PROMPTS, [5] * 20]
    sampling = SamplingParams(max_tokens=12, temperature=1.0)
    ours = Engine(model(), frozenset({2})).generate(prompts, sampling)
    monkeypatch.setattr(engine_module, "packable", lambda model: False)
    monkeypatch.setattr(cache_module, "cpu_kernels", lambda: None)
    theirs = Engine(model(), frozenset({2})).generate(prompts, sampling)
    assert [one.token_ids for one in theirs] == [one.token_ids for one in ours]
    for one, other in zip(theirs, ours, strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)


def test_a_changed_weight_is_read_with_at_once() -> None:
    made = model()
    engine = Engine(made, frozenset())
    before = engine.generate(PROMPTS)
    with torch.no_grad():
        made.output_weight.neg_()
    after, fresh = engine.generate(PROMPTS), Engine(made, frozenset()).generate(PROMPTS)
    assert [one.token_ids for one in after] == [one.token_ids for one in fresh] != [one.token_ids for one in before]


def test_compiled_writing_gives_the_same_answers() -> None:
    prompts = PROMPTS * 2
    plain = Engine(model(), frozenset({2})).generate(prompts, SamplingParams(max_tokens=12))
    quick = Engine(model(), frozenset({2}), compile_decode=True).generate(prompts, SamplingParams(max_tokens=12))
    assert [one.token_ids for one in plain] == [one.token_ids for one in quick]


def test_only_the_likeliest_k_are_drawn() -> None:
    row = torch.tensor([[0.0, 3.0, 2.0, 1.0]])
    drawn = {
        int(sample_tokens(row, SamplingParams(temperature=1.0, top_k=2), torch.tensor([x / 100]))[0])
        for x in range(100)
    }
    assert drawn == {1, 2}


def test_a_cache_grows_for_a_prompt_that_is_longer_than_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    sampling, long = SamplingParams(max_tokens=5), list(range(50))
    expected = Engine(model(), frozenset()).generate([long, [3]], sampling)
    monkeypatch.setattr(kv_cache, "default_cache_tokens", lambda *arguments: 16)
    monkeypatch.setattr(kv_cache, "longest_cache_tokens", lambda *arguments: 60)
    engine = Engine(model(), frozenset())
    assert engine.generate([[3]], sampling)[0].token_ids == expected[1].token_ids
    assert engine.cache_tokens == 16
    found = engine.generate([long, [3]], sampling)
    assert [completion.token_ids for completion in found] == [completion.token_ids for completion in expected]
    assert engine.cache_tokens == 55
    # No further than memory allows, and not at all where a bound was said.
    with pytest.raises(DataError, match=r"has 61 tokens; the model reads 1 to 59 of its 64 here, .* load it in bf16"):
        engine.generate([list(range(61))], sampling)
    with pytest.raises(DataError, match="the model reads 1 to 15 of its 64 here"):
        Engine(model(), frozenset(), cache_tokens=16).generate([long], sampling)
