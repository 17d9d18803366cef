"""Batches of answers to one prompt, ranked: for reward models and for preference losses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from herd.core.errors import DataError
from herd.core.records import Message, Preference
from herd.core.seeds import rng
from herd.model.sizes import Shape
from herd.tokens.chat import EncodedConversation
from herd.tokens.jinja import ChatTemplate
from herd.train.batches import IGNORE_INDEX, PADDING_DOCUMENT, step_rows
from herd.train.rows import DocumentSpan, named_rng, pack_best_fit, row_length


@dataclass(frozen=True)
class EncodedPreference:
    """Answers to one prompt, best first, each with the prompt before it. number: its place among all kept; row: its
    place among all that were given. prompt: how many tokens the prompt has."""

    number: int
    row: int
    prompt: int
    answers: tuple[EncodedConversation, ...]

    @property
    def longest(self) -> int:
        return max(map(len, self.answers))

    @property
    def shared_tokens(self) -> int:
        """Tokens of the prompt and of all answers after it."""
        return self.prompt + sum(len(answer) - self.prompt for answer in self.answers)

    def lengths(self, share_prompt: bool) -> list[int]:
        """Tokens of each text that sees itself alone."""
        return [self.shared_tokens] if share_prompt else [len(answer) for answer in self.answers]


@dataclass(frozen=True)
class PackedPreferences:
    """Answers in rows, each [R, T], numbered in the order of their ranks, prompt after prompt.

    tokens_RT: ids. documents_RT: tokens of one number see each other. targets_RT: the next id where it is an answer's
    own, no header, and an ending only where that was asked for, else IGNORE_INDEX. answers_N: which answer each target
    is of, row by row. ends_A: where each answer ends, counted along the rows. counts: answers of each prompt.
    branches_RT: which of a shared prompt's answers a token is of, from 1 on; 0 in prompts, and everywhere when none is
    shared.
    """

    tokens_RT: Tensor
    documents_RT: Tensor
    branches_RT: Tensor
    targets_RT: Tensor
    answers_N: Tensor
    ends_A: Tensor
    counts: tuple[int, ...]

    @property
    def attention_documents(self) -> Tensor | None:
        """The documents as attention wants them: None when each row holds one."""
        first = self.documents_RT[:, :1]
        is_single = (self.documents_RT == first) | (self.documents_RT == PADDING_DOCUMENT)
        return None if bool(is_single.all()) else self.documents_RT

    def sums(self, each_N: Tensor) -> Tensor:
        """What targets have, summed over each answer: [A]."""
        return each_N.new_zeros(len(self.ends_A)).index_add(0, self.answers_N, each_N)

    @property
    def lengths(self) -> Tensor:
        """How many targets each answer has: [A]."""
        return torch.bincount(self.answers_N, minlength=len(self.ends_A))


@dataclass(frozen=True)
class PreferenceBatch:
    """Ranked answers of a step. length: the most tokens of a row. share_prompt: each prompt stands once, before all of
    its answers; `seed` draws their order. include_eos: what ends an answer is a target too."""

    preferences: tuple[EncodedPreference, ...]
    pad: int
    length: int
    share_prompt: bool = False
    seed: int = 0
    include_eos: bool = False
    device: torch.device | str = "cpu"

    @property
    def loss_denominator(self) -> float:
        return float(len(self.preferences))

    @property
    def numbers(self) -> list[int]:
        return [preference.number for preference in self.preferences]

    def parts(self, count: int) -> list[PreferenceBatch]:
        size = -(-len(self.preferences) // count)
        return [
            replace(self, preferences=self.preferences[start : start + size])
            for start in range(0, len(self.preferences), size)
        ]

    def to(self, device: torch.device) -> PreferenceBatch:
        return replace(self, device=device)

    @property
    def packed_bound(self) -> tuple[int, int]:
        """How many rows of how many tokens `packed` has at most; nothing is packed for it."""
        lengths = [length for preference in self.preferences for length in preference.lengths(self.share_prompt)]
        spans, room = _spans(lengths), _room(lengths, self.length)
        count = len(pack_best_fit(spans, room))
        return (count, room) if count > 1 else (1, sum(lengths))

    @cached_property
    def packed(self) -> PackedPreferences:
        """The answers in as few and short rows as they fit into: none is cut, and little is padding."""
        documents = list(self._documents())
        rows = _rows([len(document) for document, _ in documents], self.length)
        width = max(map(row_length, rows))
        tokens_RT = torch.full((len(rows), width), self.pad)
        documents_RT = torch.full((len(rows), width), PADDING_DOCUMENT)
        targets_RT = torch.full((len(rows), width), IGNORE_INDEX)
        answers_RT, branches_RT = (torch.zeros((len(rows), width), dtype=torch.long) for _ in range(2))
        counts = tuple(len(preference.answers) for preference in self.preferences)
        ends = [0] * sum(counts)
        for number, row in enumerate(rows):
            at = 0
            for span in row:
                document, spans = documents[span.document]
                ids = torch.tensor(document.ids)
                own = torch.tensor(document.loss_mask) & ~(torch.tensor(document.format_mask) & (not self.include_eos))
                columns = slice(at, at + len(document))
                tokens_RT[number, columns], documents_RT[number, columns] = ids, span.document
                targets_RT[number, at : at + len(document) - 1] = torch.where(own, ids, IGNORE_INDEX)[1:]
                for branch, (answer, start, end) in enumerate(spans, start=1):
                    if self.share_prompt:
                        branches_RT[number, at + start : at + end] = branch
                    # The place before a token is the one that predicts it.
                    answers_RT[number, at + max(0, start - 1) : at + end - 1] = answer
                    ends[answer] = number * width + at + end - 1
                at += len(document)
        has_target = targets_RT != IGNORE_INDEX
        return PackedPreferences(
            tokens_RT.to(self.device),
            documents_RT.to(self.device),
            branches_RT.to(self.device),
            targets_RT.to(self.device),
            answers_RT[has_target].to(self.device),
            torch.tensor(ends, device=self.device),
            counts,
        )

    def _documents(self) -> Iterator[tuple[EncodedConversation, list[tuple[int, int, int]]]]:
        """What sees itself alone, and where in it each answer lies: its number, start and end."""
        first = 0
        for preference in self.preferences:
            numbers = range(first, first + len(preference.answers))
            first += len(preference.answers)
            if not self.share_prompt:
                for number, answer in zip(numbers, preference.answers, strict=True):
                    yield answer, [(number, preference.prompt, len(answer))]
                continue
            document, spans = _part(preference.answers[0], 0, preference.prompt), []
            for slot in named_rng(self.seed, "slots", preference.number).permutation(len(preference.answers)).tolist():
                start = len(document)
                document += _part(preference.answers[slot], preference.prompt, None)
                spans.append((numbers[slot], start, len(document)))
            yield document, spans


def _part(encoded: EncodedConversation, start: int, end: int | None) -> EncodedConversation:
    return EncodedConversation(encoded.ids[start:end], encoded.loss_mask[start:end], encoded.format_mask[start:end])


# Tokens: what attention costs on a CPU grows with the square of a row, whose documents do not see each other.
_WIDEST = 1024


def _spans(lengths: Sequence[int]) -> list[DocumentSpan]:
    return [DocumentSpan(number, 0, length) for number, length in enumerate(lengths)]


def _room(lengths: Sequence[int], max_length: int) -> int:
    """The most tokens that a row with documents of these lengths may have."""
    return max(min(max_length, _WIDEST), *lengths)


def _rows(lengths: Sequence[int], max_length: int) -> list[tuple[DocumentSpan, ...]]:
    """Documents in rows of at most `max_length` tokens, or of `_WIDEST` where none is longer: in so few rows as they
    fit into, and those of about one length."""
    spans, room, longest = _spans(lengths), _room(lengths, max_length), max(lengths)
    count = len(pack_best_fit(spans, room))
    width = max(longest, -(-sum(lengths) // count))
    while width < room:
        rows = pack_best_fit(spans, width)
        if len(rows) <= count:
            return rows
        width += max(1, width // 50)
    return pack_best_fit(spans, room)


@dataclass(frozen=True)
class EncodedPreferences:
    """Ranked answers that fit, and how many prompts were left out because one did not, or all say the same, or others
    of their source make up for as many of the sources they are balanced with."""

    preferences: list[EncodedPreference]
    too_long: int
    duplicates: int
    unbalanced: int = 0


def encode_preferences(
    preferences: Sequence[Preference],
    chat_template: ChatTemplate,
    *,
    context: int,
    max_answers: int | None = None,
    share_prompt: bool = False,
    balanced_sources: Sequence[str] = (),
    seed: int = 0,
) -> EncodedPreferences:
    """The answers of each preference, or the best `max_answers` of them. share_prompt: a prompt and all its answers are
    one row. balanced_sources: of these equally many preferences are left, drawn by `seed`.

    What is longer than `context` is left out, never cut. Raises DataError when nothing is left.
    """
    fitting: list[EncodedPreference] = []
    too_long = duplicates = 0
    for row, preference in enumerate(preferences):
        encoded = [
            encode_answer(preference, answer, chat_template) for answer in preference.ranked_answers[:max_answers]
        ]
        answers = {tuple(completion.ids): completion for completion in encoded}
        candidate = EncodedPreference(
            len(fitting), row, _prompt(preference, chat_template, list(answers.values())), tuple(answers.values())
        )
        if len(candidate.answers) < 2:
            duplicates += 1
        elif (candidate.shared_tokens if share_prompt else candidate.longest) > context:
            too_long += 1
        else:
            fitting.append(candidate)
    balanced = balance(fitting, [preferences[encoded.row].prompt.source for encoded in fitting], balanced_sources, seed)
    if not balanced:
        raise DataError(
            f"none of {len(preferences)} preferences is left: {too_long} are longer than {context} tokens, of "
            f"{duplicates} the answers are alike, {len(fitting)} have no counterpart in another of "
            "balanced_sources; lengthen the context, or give other rows"
        )
    return EncodedPreferences(balanced, too_long, duplicates, len(fitting) - len(balanced))


def balance(
    preferences: Sequence[EncodedPreference], sources: Sequence[str], balanced_sources: Sequence[str], seed: int
) -> list[EncodedPreference]:
    """Of each of `balanced_sources` as many as the smallest of them has, drawn by `seed`, and all of other sources,
    numbered anew. sources: of every preference."""
    by_source: dict[str, list[int]] = {source: [] for source in balanced_sources}
    for index, source in enumerate(sources):
        if source in by_source:
            by_source[source].append(index)
    count, dropped = min(map(len, by_source.values()), default=0), set[int]()
    for source, indexes in by_source.items():
        rng(seed, "balanced_sources", source).shuffle(indexes)
        dropped.update(indexes[count:])
    balanced = [preference for index, preference in enumerate(preferences) if index not in dropped]
    return [replace(preference, number=number) for number, preference in enumerate(balanced)]


def mismatched_completions(preferences: Sequence[EncodedPreference], context: int) -> dict[int, EncodedPreference]:
    """By its number each prompt with the answers to another one: the nearest before it (before the first stands the
    last) that asks something else, and whose answers fit into `context` here. Prompts that have none are left out.
    """
    swapped: dict[int, EncodedPreference] = {}
    for index, preference in enumerate(preferences):
        prompt = _part(preference.answers[0], 0, preference.prompt)
        for donor in (preferences[index - back] for back in range(1, len(preferences))):
            fits = preference.prompt + donor.longest - donor.prompt <= context
            if fits and donor.answers[0].ids[: donor.prompt] != prompt.ids:
                answers = [_part(answer, donor.prompt, None) for answer in donor.answers]
                swapped[preference.number] = replace(preference, answers=tuple(prompt + answer for answer in answers))
                break
    return swapped


def encode_answer(
    preference: Preference, answer: tuple[Message, ...], chat_template: ChatTemplate
) -> EncodedConversation:
    """The prompt, of which nothing is learnt, and an answer to it."""
    prompt = preference.prompt
    silent = tuple(replace(message, train=False) for message in prompt.messages)
    return chat_template.encode(replace(prompt, messages=silent).with_messages(*answer))


def _prompt(preference: Preference, chat_template: ChatTemplate, answers: Sequence[EncodedConversation]) -> int:
    """How many tokens all answers have in common because the prompt has them. A template may write a prompt that is
    answered in another way than one that is not: then what is not learnt."""
    ids = chat_template.encode(preference.prompt).ids
    if all(answer.ids[: len(ids)] == ids for answer in answers):
        return len(ids)
    return min(answer.loss_mask.index(True) if any(answer.loss_mask) else 0 for answer in answers)


class PreferenceBatches:
    """`epochs` passes over ranked answers, in an order of its own each time, `size` prompts a step; or exactly `steps`
    steps. ranks: that share a step. drop_last: whether the prompts of a pass that fill no step are left unread; else
    they make a smaller one, of as many as ranks share evenly. epoch_ends: the numbers of the steps, from 1, with which
    a pass is over, the last step's among them."""

    def __init__(
        self,
        preferences: Sequence[EncodedPreference],
        *,
        size: int,
        epochs: int,
        seed: int,
        pad: int,
        length: int,
        share_prompt: bool = False,
        include_eos: bool = False,
        steps: int | None = None,
        ranks: int = 1,
        drop_last: bool = True,
    ) -> None:
        self.preferences, self.seed = preferences, seed
        self.size = step_rows(len(preferences), size, ranks)
        self.pad, self.length, self.share_prompt, self.include_eos = pad, length, share_prompt, include_eos
        last = 0 if drop_last else len(preferences) % self.size
        self._rows_read = len(preferences) // self.size * self.size + last - last % ranks  # of a pass
        self.per_epoch = -(-self._rows_read // self.size)
        self.steps = steps or epochs * self.per_epoch

    def __len__(self) -> int:
        return self.steps

    @property
    def epoch_ends(self) -> tuple[int, ...]:
        return tuple(dict.fromkeys((*range(self.per_epoch, self.steps + 1, self.per_epoch), self.steps)))

    def epoch_of(self, step: int) -> float:
        """How often everything has been read after so many steps."""
        return step / self.per_epoch

    @property
    def unread(self) -> int:
        """How many prompts of a pass fill no step, and so are not read in it."""
        return len(self.preferences) - self._rows_read

    @property
    def pass_tokens(self) -> int:
        """Tokens that one pass over all reads, without padding."""
        if self.share_prompt:
            return sum(preference.shared_tokens for preference in self.preferences)
        return sum(len(answer) for preference in self.preferences for answer in preference.answers)

    def forward_flops(self, shape: Shape, *, scores: bool = False) -> float:
        """FLOPs of one forward pass over all, without padding, at the mean length of a sequence. scores: a number comes
        out in the place of logits, as of a reward model."""
        sequences = len(self.preferences)
        if not self.share_prompt:
            sequences = sum(len(preference.answers) for preference in self.preferences)
        per_token = shape.forward_flops(round(self.pass_tokens / sequences))
        return self.pass_tokens * (per_token - (2 * shape.vocab_size * shape.dim if scores else 0))

    def training_flops(self, shape: Shape, steps: int, *, scores: bool = False) -> float:
        """FLOPs of so many steps, forward and backward: each draws other answers, of the mean length of all."""
        passes, index = divmod(steps, self.per_epoch)
        rows = passes * self._rows_read + index * self.size
        return 3 * self.forward_flops(shape, scores=scores) * rows / len(self.preferences)

    def batch(self, step: int) -> PreferenceBatch:
        epoch, index = divmod(step, self.per_epoch)
        order = named_rng(self.seed, "pairs", epoch).permutation(len(self.preferences))
        own = order[index * self.size : min((index + 1) * self.size, self._rows_read)]
        picked = tuple(self.preferences[n] for n in own)
        return PreferenceBatch(picked, self.pad, self.length, self.share_prompt, self.seed + epoch, self.include_eos)


def eval_batches(
    preferences: Sequence[EncodedPreference],
    *,
    pad: int,
    length: int,
    share_prompt: bool = False,
    include_eos: bool = False,
    size: int = 32,
    max_tokens: int | None = None,
) -> Iterator[PreferenceBatch]:
    """All of them once, in order: for measuring. max_tokens: of a batch, unless a single prompt has more."""
    batch: list[EncodedPreference] = []
    tokens = 0
    for preference in preferences:
        own = sum(preference.lengths(share_prompt))
        if batch and (len(batch) == size or (max_tokens is not None and tokens + own > max_tokens)):
            yield PreferenceBatch(tuple(batch), pad, length, share_prompt, include_eos=include_eos)
            batch, tokens = [], 0
        batch.append(preference)
        tokens += own
    if batch:
        yield PreferenceBatch(tuple(batch), pad, length, share_prompt, include_eos=include_eos)


def most_measured_tokens(device: torch.device) -> int | None:
    """Of a batch that is only measured: what an 8B reads in some 8 GB of a GPU beside its weights; no bound on a CPU,
    where batches stay what they were."""
    return None if device.type == "cpu" else 32_768
