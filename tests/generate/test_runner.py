"""What is read of answers, and what is drawn after them, is what the model alone gives."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from herd.core.errors import ArtifactError
from herd.generate import runner as module
from herd.generate.kv_cache import KVCacheManager
from herd.generate.params import SamplingParams
from herd.generate.requests import CompletionOutput, CompletionState, Request, RequestOutput
from herd.generate.runner import InferenceModel, ModelRunner
from herd.generate.sampling import Choices
from herd.model import cache as cache_module
from herd.model.packed import PackedModel, packable
from tests.model.test_transformer import SMALL, model

MODEL = model()
READERS: dict[str, InferenceModel] = {"plain": MODEL}
if packable(MODEL):
    READERS["packed"] = PackedModel(MODEL)


def answer(tokens: list[int], choices: Choices | None = None, **params: Any) -> CompletionState:
    request = Request("request", tuple(tokens), SamplingParams(**params))
    output = RequestOutput("request", request.prompt_token_ids, [CompletionOutput()])
    return CompletionState(request, output, 0, frozenset({2}), choices, None, word_by_word=False)


def runner_of(reader: InferenceModel) -> ModelRunner:
    return ModelRunner(reader, KVCacheManager(SMALL, 4, 400, torch.float32, torch.device("cpu")), None)


def expected(tokens: list[int]) -> torch.Tensor:
    with torch.inference_mode():
        return MODEL(torch.tensor([tokens]))[0, -1]


def begin(runner: ModelRunner, answers: list[CompletionState]) -> torch.Tensor:
    """As the scheduler does."""
    for row, one in enumerate(answers):
        assert runner.cache.allocate(one, spare=0)
        runner.cache.set_row(row, one.blocks)
    logits = runner.prefill(answers)
    for one in answers:
        runner.cache.mark_read(one)
    return logits


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=4), st.integers(1, 40))
@torch.inference_mode()
def test_prompts_of_any_lengths_read_in_any_parts_give_the_models_logits(
    name: str, lengths: list[int], at_once: int
) -> None:
    prompts = [[(7 * row + 5 * at) % 90 + 3 for at in range(length)] for row, length in enumerate(lengths)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_PREFILL_TOKENS", at_once)
        runner = runner_of(READERS[name])
        answers = [answer(prompt) for prompt in prompts]
        parts = runner._prefill_batches(answers)
        assert [one for part in parts for one in part] == answers
        assert all(len(part) == 1 or sum(len(one.tokens) for one in part) <= at_once for part in parts)
        logits = begin(runner, answers)
    assert runner.prefilled_tokens == sum(lengths)
    for found, prompt in zip(logits, prompts, strict=True):
        assert torch.allclose(found, expected(prompt), atol=1e-4)


@pytest.mark.parametrize("name", READERS)
@torch.inference_mode()
def test_what_is_written_token_by_token_is_what_the_model_says_each_time(name: str) -> None:
    runner = runner_of(READERS[name])
    answers = [answer([5, 6, 7]), answer(list(range(3, 17)), temperature=1.0, seed=4)]
    drawn = runner.sample(begin(runner, answers), answers)
    for _ in range(6):  # beyond the end of a block, for the second
        for row, (one, (token, logprob, top)) in enumerate(zip(answers, drawn, strict=True)):
            wanted = expected(one.tokens).log_softmax(-1)
            assert logprob == pytest.approx(float(wanted[token]), abs=1e-4)
            assert top is None
            assert row or token == int(wanted.argmax())
            one.add(token, logprob, top, SMALL.max_seq_len)
            if runner.cache.is_full(one):
                assert runner.cache.extend(row, one)
        drawn = runner.decode(answers)
        for one in answers:
            runner.cache.mark_read(one)


def test_bias_penalties_and_choices_change_the_draw_and_not_the_log_probability() -> None:
    logits = torch.tensor([[2.0, 1.0, 0.0, -1.0]])
    logits = torch.nn.functional.pad(logits, (0, 5), value=-9.0).repeat(4, 1)
    asked = [
        answer([1], logit_bias={3: 10.0}, logprobs=2),
        answer([0], repetition_penalty=4.0),
        answer([1], Choices.of([(2,), (3,)])),
        answer([1]),
    ]
    drawn = runner_of(MODEL).sample(logits, asked)
    assert [token for token, _, _ in drawn] == [3, 1, 2, 0]
    own = logits[0].log_softmax(-1)
    assert [logprob for _, logprob, _ in drawn] == pytest.approx([float(own[token]) for token, _, _ in drawn])
    top = drawn[0][2]
    assert top is not None
    assert list(top) == [0, 1]
    assert list(top.values()) == pytest.approx(own[:2].tolist())
    assert [one[2] for one in drawn[1:]] == [None] * 3


def test_what_is_impossible_stays_impossible_whatever_the_bias() -> None:
    one = answer([1], Choices.of([(5, 6), (5,), (7,)]), logit_bias={1: 100.0})
    runner, logits = runner_of(MODEL), torch.zeros(1, SMALL.vocab_size)
    assert runner.sample(logits, [one])[0][0] in (5, 7)
    one.choice = Choices.of([(5, 6), (5,)]).children[5]
    logits[0, 2] = 1.0
    assert runner.sample(logits, [one])[0][0] == 2  # an answer may stop where one of the choices ends


def test_numbers_that_are_none_are_told() -> None:
    broken = model()
    broken.norm.weight.data.fill_(float("nan"))
    with pytest.raises(ArtifactError, match="not finite"):
        begin(runner_of(broken), [answer([3, 4])])


@pytest.mark.parametrize("kernel", [True, False])
@settings(max_examples=8, deadline=None)
@given(st.integers(1, 60), st.integers(1, 16), st.integers(0, 30))
@torch.inference_mode()
def test_a_long_prompt_read_in_pieces_gives_the_models_logits(kernel: bool, tokens: int, size: int, again: int) -> None:
    """With our kernel and, as on a GPU, without; from the beginning and after what is cached of another prompt."""
    prompt = list(range(3, 3 + tokens))
    with pytest.MonkeyPatch.context() as patch:
        if not kernel:
            patch.setattr(cache_module, "cpu_kernels", lambda: None)
        runner = runner_of(MODEL)
        assert runner.piece_tokens is None  # on a CPU
        runner.piece_tokens = size
        for text in (prompt, [*prompt[: min(again, tokens)], 90, 91]):
            logits = begin(runner, [one := answer(text)])
            assert torch.allclose(logits[0], expected(text), atol=1e-4)
            runner.cache.release(one)
