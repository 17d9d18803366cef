"""RULER: thirteen tasks on texts of any length, made for the tokenizer of the model that is asked.

Every task asks `limit` prompts at each of `max_seq_lengths` tokens: prompt, chat format and answer together fill the
length, as far as whole sentences, lines or documents can. Scores are given by length, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from herd.core.settings import InputFile, NonNegativeInt, PositiveInt
from herd.evals.ruler_documents import DocumentPrompts, read_hotpot, read_squad
from herd.evals.ruler_needles import (
    DistractorHaystack,
    LineHaystack,
    NeedleKind,
    NeedlePrompts,
    NeedleWords,
    SentenceHaystack,
    VariablePrompts,
)
from herd.evals.ruler_words import CommonWordsPrompts, FrequentWordsPrompts
from herd.evals.sized import PromptGenerator, PromptPlan, SizedTask, sized_task
from herd.evals.tasks import tasks
from herd.evals.texts import english_words, read_texts, read_words, split_sentences

Lengths = tuple[PositiveInt, ...]
_LENGTHS: Lengths = (4096,)  # lm-evaluation-harness's
_LIMIT = 500  # RULER's
_SEED = 42  # RULER's


@tasks.add
def niah_single_1(
    *, max_seq_lengths: Lengths = _LENGTHS, limit: PositiveInt = _LIMIT, words: InputFile | None = None,
    seed: NonNegativeInt = _SEED,
) -> SizedTask:  # fmt: skip
    """A number that belongs to a key, hidden in one line repeated.

    max_seq_lengths: in tokens, answer included. limit: prompts at each. words: a file of words, one a line, that keys
    are made of; common English ones when absent. Source: Hsieh et al. 2024 (RULER), 3.1.
    """

    def make(length: int) -> PromptGenerator:
        return NeedlePrompts(LineHaystack(), key_words(words), keys="words", values="numbers")

    return _needles("niah_single_1", make, max_seq_lengths, limit, seed, {"words": words})


@tasks.add
def niah_single_2(
    *, data: InputFile, max_seq_lengths: Lengths = _LENGTHS, limit: PositiveInt = _LIMIT,
    words: InputFile | None = None, seed: NonNegativeInt = _SEED,
) -> SizedTask:  # fmt: skip
    """A number that belongs to a key, hidden in essays.

    data: a file or folder of texts, or of rows with a column `text`. The others: as of `niah_single_1`.
    Source: Hsieh et al. 2024 (RULER), 3.1.
    """
    return _in_essays("niah_single_2", data, max_seq_lengths, limit, words, seed)


@tasks.add
def niah_single_3(
    *, data: InputFile, max_seq_lengths: Lengths = _LENGTHS, limit: PositiveInt = _LIMIT,
    words: InputFile | None = None, seed: NonNegativeInt = _SEED,
) -> SizedTask:  # fmt: skip
    """A UUID that belongs to a key, hidden in essays. Settings: as of `niah_single_2`.

    Source: Hsieh et al. 2024 (RULER), 3.1.
    """
    return _in_essays("niah_single_3", data, max_seq_lengths, limit, words, seed, values="uuids")


@tasks.add
def niah_multikey_1(
    *, data: InputFile, max_seq_lengths: Lengths = _LENGTHS, limit: PositiveInt = _LIMIT,
    words: InputFile | None = None, seed: NonNegativeInt = _SEED,
) -> SizedTask:  # fmt: skip
    """Four keys with a number each, hidden in essays; one of them is asked for. Settings: as of `niah_single_2`.

    Source: Hsieh et al. 2024 (RULER), 3.1.
    """
    return _in_essays("niah_multikey_1", data, max_seq_lengths, limit, words, seed, num_keys=4)


@tasks.add
def niah_multikey_2(
    *, max_seq_lengths: Lengths = _LENGTHS, limit: PositiveInt = _LIMIT, words: InputFile | None = None,
    seed: NonNegativeInt = _SEED,
) -> SizedTask:  # fmt: skip
    """A number that belongs to a key, hidden among those of other keys. Settings: as of `niah_single_1`.

    Source: Hsieh et al. 2024 (RULER), 3.1.
    """
    return _among_needles("niah_multikey_2", max_seq_lengths, limit, words, seed, "words", "numbers")


@tasks.add
def niah_multikey_3(
    *, max_seq_lengths: Lengths = _LENGTHS, limit: PositiveInt = _LIMIT, words: InputFile | None = None,
    seed: NonNegativeInt = _SEED,
) -> SizedTask:  # fmt: skip
    """A UUID that belongs to a UUID, hidden among others. Settings: as of `niah_single_1`.

    Source: Hsieh et al. 2024 (RULER), 3.1.
    """
    return _among_needles("niah_multikey_3", max_seq_lengths, limit, words, seed, "uuids", "uuids")


@tasks.add
def niah_multivalue(
    *, data: InputFile, max_seq_lengths: Lengths = _LENGTHS, limit: PositiveInt = _LIMIT,
    words: InputFile | None = None, seed: NonNegativeInt = _SEED,
) -> SizedTask:  # fmt: skip
    """Four numbers that belong to one key, hidden in essays. Settings: as of `niah_single_2`.

    Source: Hsieh et al. 2024 (RULER), 3.1.
    """
    return _in_essays("niah_multivalue", data, max_seq_lengths, limit, words, seed, num_values=4)


@tasks.add
def niah_multiquery(
    *, data: InputFile, max_seq_lengths: Lengths = _LENGTHS, limit: PositiveInt = _LIMIT,
    words: InputFile | None = None, seed: NonNegativeInt = _SEED,
) -> SizedTask:  # fmt: skip
    """Four keys with a number each, hidden in essays; all are asked for. Settings: as of `niah_single_2`.

    Source: Hsieh et al. 2024 (RULER), 3.1.
    """
    return _in_essays("niah_multiquery", data, max_seq_lengths, limit, words, seed, num_queries=4)


@tasks.add
def ruler_vt(
    *, max_seq_lengths: Lengths = _LENGTHS, limit: PositiveInt = _LIMIT, seed: NonNegativeInt = _SEED
) -> SizedTask:
    """All variables of a chain of assignments. Settings: as of `niah_single_1`.

    Source: Hsieh et al. 2024 (RULER), 3.2 (variable tracking).
    """

    def make(length: int) -> PromptGenerator:
        return VariablePrompts(seed)

    return sized_task(PromptPlan("ruler_vt", max_seq_lengths, limit, seed, 30, {}), make)


@tasks.add
def ruler_cwe(
    *, max_seq_lengths: Lengths = _LENGTHS, limit: PositiveInt = _LIMIT, words: InputFile | None = None,
    seed: NonNegativeInt = _SEED,
) -> SizedTask:  # fmt: skip
    """The ten most common words of a numbered list. Settings: as of `niah_single_1`.

    Source: Hsieh et al. 2024 (RULER), 3.3 (common words extraction).
    """

    def make(length: int) -> PromptGenerator:
        return CommonWordsPrompts(_all_words(words), length=length, seed=seed)

    return sized_task(PromptPlan("ruler_cwe", max_seq_lengths, limit, seed, 120, {"words": words}), make)


@tasks.add
def ruler_fwe(
    *, max_seq_lengths: Lengths = _LENGTHS, limit: PositiveInt = _LIMIT, seed: NonNegativeInt = _SEED
) -> SizedTask:
    """The three most frequent words of a text of made-up words. Settings: as of `niah_single_1`.

    Source: Hsieh et al. 2024 (RULER), 3.3 (frequent words extraction).
    """

    def make(length: int) -> PromptGenerator:
        return FrequentWordsPrompts(length=length, seed=seed)

    return sized_task(PromptPlan("ruler_fwe", max_seq_lengths, limit, seed, 50, {}), make)


@tasks.add
def ruler_qa_squad(
    *, data: InputFile, max_seq_lengths: Lengths = _LENGTHS, limit: PositiveInt = _LIMIT, seed: NonNegativeInt = _SEED
) -> SizedTask:
    """Questions of SQuAD, the paragraph that answers one among others.

    data: SQuAD 2 as it is released, such as dev-v2.0.json. The others: as of `niah_single_1`.
    Source: Hsieh et al. 2024 (RULER), 3.4; Rajpurkar et al. 2018 (SQuAD 2).
    """

    @cache  # one for all lengths
    def make() -> PromptGenerator:
        return DocumentPrompts(*read_squad(data), seed=seed)

    return sized_task(
        PromptPlan("ruler_qa_squad", max_seq_lengths, limit, seed, 32, {"data": data}),
        lambda length: make(),
        match="part",
    )


@tasks.add
def ruler_qa_hotpot(
    *, data: InputFile, max_seq_lengths: Lengths = _LENGTHS, limit: PositiveInt = _LIMIT, seed: NonNegativeInt = _SEED
) -> SizedTask:
    """Questions of HotpotQA, the two paragraphs that answer one among others.

    data: HotpotQA as it is released, such as hotpot_dev_distractor_v1.json. The others: as of `niah_single_1`.
    Source: Hsieh et al. 2024 (RULER), 3.4; Yang et al. 2018 (HotpotQA).
    """

    @cache  # one for all lengths
    def make() -> PromptGenerator:
        return DocumentPrompts(*read_hotpot(data), seed=seed)

    return sized_task(
        PromptPlan("ruler_qa_hotpot", max_seq_lengths, limit, seed, 32, {"data": data}),
        lambda length: make(),
        match="part",
    )


def _in_essays(
    name: str, data: str, lengths: Lengths, limit: int, words: str | None, seed: int, values: NeedleKind = "numbers",
    **counts: int,
) -> SizedTask:  # fmt: skip
    @cache  # one for all lengths
    def make() -> PromptGenerator:
        haystack = SentenceHaystack(split_sentences(read_texts(data)))
        return NeedlePrompts(haystack, key_words(words), keys="words", values=values, **counts)

    return _needles(name, lambda length: make(), lengths, limit, seed, {"data": data, "words": words})


def _among_needles(
    name: str, lengths: Lengths, limit: int, words: str | None, seed: int, keys: NeedleKind, values: NeedleKind
) -> SizedTask:
    def make(length: int) -> PromptGenerator:
        own = key_words(words)
        return NeedlePrompts(DistractorHaystack(own, keys, values, length, seed), own, keys=keys, values=values)

    return _needles(name, make, lengths, limit, seed, {"words": words})


def _needles(
    name: str, make: Callable[[int], PromptGenerator], lengths: Lengths, limit: int, seed: int,
    identity: Mapping[str, Any],
) -> SizedTask:  # fmt: skip
    return sized_task(PromptPlan(name, lengths, limit, seed, 128, identity), make)


def key_words(words: str | None) -> NeedleWords:
    """What keys are made of: the words of a file, or common English ones."""
    if words is None:
        return NeedleWords(english_words("adjective"), english_words("noun"))
    listed = read_words(words)
    return NeedleWords(listed, listed)


def _all_words(words: str | None) -> list[str]:
    if words is not None:
        return read_words(words)
    return sorted({*english_words("noun"), *english_words("adjective"), *english_words("verb")})
