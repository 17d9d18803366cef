"""Pre-training documents that are read again among the examples of fine-tuning."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

from herd.core.errors import SettingsError, did_you_mean
from herd.core.settings import MixtureWeights, Share, settings
from herd.tokens.shards import TokenShards
from herd.train.rows import DocumentSpan, InputsTargets, SourceRows


@settings
class ReplaySettings:
    """Pre-training text among the examples, against forgetting. share: of all tokens that are read, examples and text
    together. mixture_weights: of the text's sources, by tokens."""

    share: Share
    mixture_weights: MixtureWeights

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise SettingsError(f"share is {self.share:g}; set it above 0 and below 1, or leave `replay` out")


class ReplaySampler:
    """Pieces of pre-training documents, each at most `length` inputs, drawn in an order of the seed.

    A source is read once before any of it is read again, then in another order; its held-out documents never are. A
    document longer than a row is cut as pre-training cuts it. Raises SettingsError for a source that the tokens lack,
    and DataError for one without documents.

    Source: Ouyang et al. 2022 (InstructGPT), 3.5 and appendix C.3, where fine-tuning reads 10 % of pre-training data;
    Scialom et al. 2022 (Fine-tuned Language Models are Continual Learners); Ibrahim et al. 2024 (Simple and Scalable
    Strategies to Continually Pre-train Large Language Models).
    """

    def __init__(self, shards: TokenShards, settings: ReplaySettings, *, length: int, seed: int) -> None:
        self._weights = {name: weight for name, weight in sorted(settings.mixture_weights.items()) if weight > 0}
        for name in self._weights:
            if name not in shards.sources:
                raise SettingsError(
                    f"replay.mixture_weights names {name!r}, which the tokens lack{did_you_mean(name, shards.sources)}"
                )
        self._share, self._example_tokens = settings.share, 0
        self._streams = {name: _SpanStream(SourceRows(name, shards.read(name), length, seed)) for name in self._weights}

    def draw(self, example_tokens: int) -> Iterator[tuple[str, InputsTargets]]:
        """The pieces to read beside further examples of so many tokens, each with its source.

        Of all that were drawn so far, each source's tokens are its share to within half a piece.
        """
        self._example_tokens += example_tokens
        tokens = self._example_tokens * self._share / (1 - self._share)
        for name, stream in self._streams.items():
            for span in stream.draw(tokens * self._weights[name]):
                yield name, stream.rows.text(span)

    def epochs(self) -> dict[str, int]:
        """How often each source that has a weight was drawn in full."""
        return {name: stream.epochs for name, stream in self._streams.items()}


class _SpanStream:
    """The pieces of one source, row after row and epoch after epoch."""

    def __init__(self, rows: SourceRows) -> None:
        self.rows = rows
        self._tokens = 0
        self._upcoming = self._spans()
        self._next_row, self._next = next(self._upcoming)

    def _spans(self) -> Iterator[tuple[int, DocumentSpan]]:
        for number in count():
            for span in self.rows.row(number):
                yield number, span

    def draw(self, tokens: float) -> Iterator[DocumentSpan]:
        """The pieces that come next, while the middle of each lies before `tokens` of the source."""
        while self._tokens + self._next.count / 2 <= tokens:
            self._tokens += self._next.count
            yield self._next
            self._next_row, self._next = next(self._upcoming)

    @property
    def epochs(self) -> int:
        return self.rows.epoch(self._next_row)
