"""Prompts of a length: the largest that fits, for tokenizers whose counts add up and for those whose do not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, pre_tokenizers, trainers

from herd.core.errors import DataError, SettingsError
from herd.evals.sized import (
    PromptDraw,
    PromptPlan,
    PromptReader,
    PromptSize,
    SizedPrompt,
    TokenCounts,
    fit_prompts,
    most_that_fit,
    task_for,
)
from herd.evals.task import Generate, Grade, Task
from herd.evals.tasks import Example
from herd.tokens.special_tokens import SpecialTokens
from herd.tokens.tokenizer import TextTokenizer
from tests.hub import TEXTS, metaspace_vocabulary
from tests.tokens.test_chat import TOKENIZER

LINES = ("a line that says little", "and another one of them", "words", "the end of it all is near")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERD_CACHE", str(tmp_path / "cache"))


def own_tokenizer(backend: Backend) -> TextTokenizer:
    backend.add_special_tokens(["<end>"])
    return TextTokenizer(backend, SpecialTokens(None, "<end>", "<end>", ("<end>",), "<end>"), None)


def across_words() -> TextTokenizer:
    """A vocabulary whose pieces reach over spaces, so that the counts of parts do not add up."""
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    text = "\n".join(LINES * 3)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    backend.train_from_iterator([text, *LINES], trainer)
    return own_tokenizer(backend)


class Lines:
    """Lines in an order of the draw's own. counted: how often sizes were looked for."""

    least_units = 1
    most_units = 10_000

    def __init__(self, lines: Sequence[str] = LINES) -> None:
        self.lines, self.counted = lines, 0

    def _order(self, draw: PromptDraw, units: int) -> list[str]:
        chance = draw.chance()
        return [chance.choice(self.lines) for _ in range(units)]

    def fit(self, draw: PromptDraw, budget: int, counts: TokenCounts) -> tuple[int, int]:
        self.counted += 1
        costs = counts.of([f"\n{line}" for line in self._order(draw, max(1, budget))], before="x")
        units = max(1, most_that_fit(costs, budget))
        return units, int(costs[:units].sum())

    def render(self, draw: PromptDraw, units: int) -> SizedPrompt:
        return SizedPrompt("\n".join(["Read:x", *self._order(draw, units), "What?"]), ("near",), "It is")


def fitted(generator: Any, tokenizer: TextTokenizer, length: int, limit: int = 3, chat: bool = False) -> Any:
    plan = PromptPlan("lines", (length,), limit, 1, 20)
    reader = PromptReader(tokenizer, chat, 1 << 20)
    sizes = fit_prompts(plan, lambda length: generator, reader)[length]
    texts = [generator.render(draw, size.units).put() for draw, size in zip(plan.draws(length), sizes, strict=True)]
    larger = [
        generator.render(draw, size.units + 1).put() for draw, size in zip(plan.draws(length), sizes, strict=True)
    ]
    return sizes, [reader.count(text) for text in texts], [reader.count(text) for text in larger]


PIECES, ACROSS = own_tokenizer(metaspace_vocabulary(TEXTS, 200)), across_words()


@pytest.mark.parametrize("name", ["bytes", "pieces", "across words"])
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(length=st.integers(150, 900), limit=st.integers(1, 4))
def test_a_prompt_fits_and_one_unit_more_does_not(name: str, length: int, limit: int) -> None:
    tokenizer = {"bytes": TOKENIZER, "pieces": PIECES, "across words": ACROSS}[name]
    sizes, tokens, larger = fitted(Lines(), tokenizer, length, limit)
    assert len(sizes) == limit
    for size, own, more in zip(sizes, tokens, larger, strict=True):
        assert own <= size.tokens <= own + 2
        assert own <= length - 20 < more + 2


def test_counts_that_do_not_add_up_are_not_trusted() -> None:
    counts = TokenCounts(ACROSS)
    parts = int(counts.of([f"\n{line}" for line in LINES]).sum())
    assert parts != len(ACROSS.encode("." + "".join(f"\n{line}" for line in LINES))) - 1
    sizes, tokens, _ = fitted(Lines(), ACROSS, 400)
    assert [size.tokens for size in sizes] == tokens


def test_a_text_counts_for_what_it_takes_where_it_stands() -> None:
    counts = TokenCounts(TOKENIZER)
    assert counts.total(["."] * 3, before="there") == 3
    assert counts.of([" hello"], before="there")[0] == len(TOKENIZER.encode("there hello")) - len(
        TOKENIZER.encode("there")
    )


def test_a_second_run_counts_nothing_and_another_model_or_length_does() -> None:
    first, again = Lines(), Lines()
    sizes, _, _ = fitted(first, TOKENIZER, 300)
    assert first.counted
    assert fitted(again, TOKENIZER, 300)[0] == sizes
    assert not again.counted
    for tokenizer, length, limit, chat in (
        (PIECES, 300, 3, False),
        (TOKENIZER, 301, 3, False),
        (TOKENIZER, 300, 3, True),
    ):
        other = Lines()
        fitted(other, tokenizer, length, limit, chat)
        assert other.counted


@pytest.mark.parametrize("broken", ["", "[[1, 2]]", "[1]", '[["a", "b"]]'])
def test_sizes_that_were_not_kept_whole_are_found_again(broken: str, tmp_path: Path) -> None:
    sizes, _, _ = fitted(Lines(), TOKENIZER, 300)
    (file,) = (tmp_path / "cache" / "prompts").iterdir()
    assert json.loads(file.read_text()) == [[size.units, size.tokens] for size in sizes]
    file.write_text(broken)
    again = Lines()
    assert fitted(again, TOKENIZER, 300)[0] == sizes
    assert again.counted


def test_a_home_that_cannot_be_written_to_costs_time_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HERD_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "prompts").write_text("no folder")
    assert fitted(Lines(), TOKENIZER, 300)[0]


def test_lengths_that_cannot_be_are_said() -> None:
    with pytest.raises(DataError, match=r"lines: the shortest prompt takes \d+ tokens and the answer up to 20"):
        fitted(Lines(), TOKENIZER, 40)
    with pytest.raises(DataError, match="more than the length 30; ask at longer lengths"):
        fitted(Lines(), ACROSS, 30)
    plan = PromptPlan("lines", (300, 600), 1, 1, 20)
    with pytest.raises(SettingsError, match="lines asks at 600 tokens and the model reads 512"):
        fit_prompts(plan, lambda length: Lines(), PromptReader(TOKENIZER, False, 512))


def test_a_task_of_no_size_stays_as_it_is() -> None:
    task = Task([Example("1")], lambda example: "?", Generate(), lambda example, answer: Grade(1.0))
    assert task_for(task, PromptReader(TOKENIZER, False, 100)) is task


def test_sizes_compare_by_what_they_are() -> None:
    assert PromptSize(1, 2) == PromptSize(1, 2)
    assert PromptDraw("a", 1, 2, 3).chance().random() == PromptDraw("a", 1, 2, 3).chance().random()
    assert PromptDraw("a", 1, 2, 3).chance().random() != PromptDraw("a", 1, 2, 4).chance().random()
