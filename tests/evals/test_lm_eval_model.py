"""A model of ours behind lm-eval's requests: the numbers of the model, and what its engine writes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from herd.core.errors import HerdError
from herd.evals.lm_eval_model import Adapter, lm_eval_class, sampling_of
from herd.generate.engine import Engine, SamplingParams
from tests.model.test_transformer import SMALL, model
from tests.serve.test_compare import chat_model
from tests.tokens.test_chat import TOKENIZER

NETWORK = model(replace(SMALL, vocab_size=TOKENIZER.vocab_size, max_seq_len=32))
ENGINE = Engine(NETWORK, TOKENIZER.stop_token_ids, tokenizer=TOKENIZER)
ADAPTER = Adapter(ENGINE, TOKENIZER)


def requests(*rows: tuple) -> list[SimpleNamespace]:
    return [SimpleNamespace(args=row) for row in rows]


def log_prob(ids: list[int], count: int) -> float:
    """Of the last `count` ids, by one reading of all."""
    with torch.inference_mode():
        values = NETWORK(torch.tensor([ids]))[0].log_softmax(-1)
    return sum(float(values[place - 1, ids[place]]) for place in range(len(ids) - count, len(ids)))


def test_continuations_are_scored_after_their_contexts_and_long_ones_cut_on_the_left() -> None:
    found = ADAPTER.loglikelihood(requests(("after one comes ", "two"), ("", "hello"), ("x " * 60, "end")))
    before = [*TOKENIZER.opening, *TOKENIZER.encode("after one comes")]
    whole = [*TOKENIZER.opening, *TOKENIZER.encode("after one comes two")]
    assert found[0][0] == pytest.approx(log_prob(whole, len(whole) - len(before)), abs=1e-4)
    assert found[1][0] < 0
    assert all(isinstance(greedy, bool) for _, greedy in found)
    written = ADAPTER.generate_until(requests(("after one comes", {"until": [], "max_gen_toks": 3})))[0]
    if (
        TOKENIZER.encode(f"after one comes{written}")[: len(TOKENIZER.encode("after one comes"))]
        == TOKENIZER.encode("after one comes")
        and len(TOKENIZER.encode(f"after one comes{written}")) == len(TOKENIZER.encode("after one comes")) + 3
    ):
        assert ADAPTER.loglikelihood(requests(("after one comes", written)))[0][1]


def test_rolling_texts_are_read_whole() -> None:
    text = "one two three " * 12
    ids = [*TOKENIZER.opening, *TOKENIZER.encode(text)]
    assert len(ids) > NETWORK.shape.max_seq_len
    short = "one two three"
    own = [*TOKENIZER.opening, *TOKENIZER.encode(short)]
    found = ADAPTER.loglikelihood_rolling(requests((text,), (short,)))
    assert found[1] == pytest.approx(log_prob(own, len(own) - len(TOKENIZER.opening)), abs=1e-4)
    assert found[0] < found[1]


def test_texts_are_written_up_to_a_stop_string() -> None:
    free = ADAPTER.generate_until(requests(("hello", {"until": [], "max_gen_toks": 8})))[0]
    stop = free[3:5]
    cut = ADAPTER.generate_until(requests(("hello", {"until": [stop], "max_gen_toks": 8}), ("b", {"max_gen_toks": 2})))
    assert cut[0] == free[: free.index(stop)]
    with pytest.raises(HerdError, match="leave no room"):
        ADAPTER.generate_until(requests(("hello", {})))


def test_generation_settings_are_read_as_lm_eval_means_them() -> None:
    assert sampling_of({"until": "\n", "do_sample": False, "temperature": 0.7}) == SamplingParams(
        max_tokens=256, stop=("\n",)
    )
    assert sampling_of({"temperature": 0.5, "max_tokens": 7, "top_p": 0.9}) == SamplingParams(
        max_tokens=7, temperature=0.5, top_p=0.9
    )
    assert sampling_of({"until": ["", "a"], "temperature": 0.0}).stop == ("a",)


def test_a_folder_becomes_a_model_of_lm_eval(tmp_path: Path) -> None:
    class Base:
        def __init__(self) -> None:
            self.rank = 0

        @classmethod
        def create_from_arg_obj(cls, options: dict):
            return cls(**options)

    own = lm_eval_class(Base)
    made: Any = own.create_from_arg_obj(
        {"pretrained": str(chat_model(tmp_path / "m")), "device": "cpu", "batch_size": 4}
    )
    assert made.rank == 0
    assert made.loglikelihood(requests(("a", " b")))[0][0] < 0
    text = made.apply_chat_template([{"role": "user", "content": "hello"}])
    assert "hello" in text
    begun = made.apply_chat_template(
        [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "So"}], add_generation_prompt=False
    )
    assert begun == text + "So"
    assert made.chat_template(True)
    assert made.chat_template() == ""
    assert "/" not in made.tokenizer_name
    assert isinstance(made, Base)
