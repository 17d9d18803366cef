"""How often each word comes in a corpus: counted part by part and added up on disk, so that memory does not grow with
the text.

A word is what the tokenizer's pattern cuts a text into, in the letters that byte-level pairs are made of.
"""

from __future__ import annotations

import heapq
import itertools
import json
import shutil
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Regex, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as Backend

from herd.core.executor import Executor
from herd.core.storage import DocumentPart
from herd.tokens.tokenizer import PATTERN

Progress = Callable[[float, float, str], None]

_TEXT_BYTES = 4_000_000  # counted at once
_RUN_WORDS = 300_000  # distinct words in memory before they go to disk
_BUCKET_BYTES = 64_000_000  # of text, whose words one worker adds up
_MOST_BUCKETS = 512  # a file each is open at the end


@dataclass(frozen=True)
class WordCounts:
    """The most frequent words of a corpus, each with how often it comes. distinct: how many there are in all. share: of
    all that is written, what these words make up."""

    words: dict[str, int]
    distinct: int
    share: float


def splitter(*, digits_together: bool) -> pre_tokenizers.PreTokenizer:
    """Llama 3's splitting of text into words, as letters for bytes. digits_together: whether up to three digits are one
    word, or each is its own."""
    split = pre_tokenizers.Split(Regex(PATTERN), "isolated")
    digits = [] if digits_together else [pre_tokenizers.Digits(individual_digits=True)]
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre_tokenizers.Sequence([split, *digits, to_bytes])


def count_texts(texts: Iterable[str], *, digits_together: bool) -> Counter[str]:
    """How often each word comes in `texts`."""
    backend = Backend(models.WordLevel(unk_token=""))
    backend.pre_tokenizer = splitter(digits_together=digits_together)
    # The library counts words, in one pass outside Python, for a vocabulary of one that nobody uses.
    counter = trainers.WordLevelTrainer(vocab_size=1, show_progress=False)
    backend.train_from_iterator(texts, counter)
    return Counter(json.loads(counter.__getstate__())["WordLevelTrainer"]["words"])


def count_corpus_words(
    parts: Sequence[DocumentPart],
    place: Executor,
    folder: Path,
    *,
    digits_together: bool,
    max_words: int,
    progress: Progress = lambda done, total, words: None,
) -> WordCounts:
    """The `max_words` most frequent words of all parts; of equal ones those that come first in order.

    folder: for what is counted so far; emptied before and after. The result follows from the texts alone.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    buckets = min(_MOST_BUCKETS, 1 + sum(part.text_bytes for part in parts) // _BUCKET_BYTES)
    jobs = [
        _CountJob(part, buckets, folder / f"{number:06}.runs", digits_together) for number, part in enumerate(parts)
    ]
    runs: list[_Run] = []
    for completed, part_runs in enumerate(place.map(_count, jobs), 1):
        runs += part_runs
        progress(completed, len(jobs), "parts of the corpus counted")
    added = [_AddJob(bucket, tuple(runs), folder / f"{bucket:06}.words", max_words) for bucket in range(buckets)]
    sums = list(place.map(_add, added))
    merged = heapq.merge(*(_read_counts(job.out) for job in added), key=_by_count)
    words = dict(itertools.islice(merged, max_words))
    del merged  # with the files it holds open
    shutil.rmtree(folder)
    total = sum(bucket_sum.total for bucket_sum in sums)
    return WordCounts(words, sum(bucket_sum.distinct for bucket_sum in sums), sum(words.values()) / max(1, total))


@dataclass(frozen=True)
class _CountJob:
    """A part to be counted. out: for its counts, run after run, each a line of JSON per bucket of words."""

    part: DocumentPart
    buckets: int
    out: Path
    digits_together: bool


@dataclass(frozen=True)
class _Run:
    """Where the counts of each bucket stand in a file."""

    file: Path
    ends: tuple[int, ...]

    def read(self, bucket: int) -> dict[str, int]:
        start = self.ends[bucket]
        with self.file.open("rb") as stream:
            stream.seek(start)
            return json.loads(stream.read(self.ends[bucket + 1] - start))


def _count(job: _CountJob) -> list[_Run]:
    """The counts of a part; several runs where it has many words."""
    counts: Counter[str] = Counter()
    runs: list[_Run] = []
    with job.out.open("wb") as out:

        def spill() -> None:
            buckets: list[dict[str, int]] = [{} for _ in range(job.buckets)]
            for word, count in counts.items():
                buckets[zlib.crc32(word.encode()) % job.buckets][word] = count
            counts.clear()
            ends = [out.tell()]
            for bucket in buckets:
                out.write(json.dumps(bucket, ensure_ascii=False).encode())
                ends.append(out.tell())
            runs.append(_Run(job.out, tuple(ends)))

        for texts in _batches(document.text for document in job.part.read()):
            counts.update(count_texts(texts, digits_together=job.digits_together))
            if len(counts) > _RUN_WORDS:
                spill()
        spill()
    return runs


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for text in texts:
        batch.append(text)
        size += len(text)
        if size > _TEXT_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


@dataclass(frozen=True)
class _AddJob:
    """A bucket of words, to be added up over all runs. out: for the most frequent, a line each."""

    bucket: int
    runs: tuple[_Run, ...]
    out: Path
    max_words: int


@dataclass(frozen=True)
class _Sum:
    """Of a bucket: words, and how often they come together."""

    distinct: int
    total: int


def _add(job: _AddJob) -> _Sum:
    counts: Counter[str] = Counter()
    for run in job.runs:
        counts.update(run.read(job.bucket))
    with job.out.open("w", encoding="utf-8") as out:
        # Neither a tab nor the end of a line is among the letters for bytes.
        out.writelines(
            f"{word}\t{count}\n" for word, count in heapq.nsmallest(job.max_words, counts.items(), _by_count)
        )
    return _Sum(len(counts), counts.total())


def _read_counts(file: Path) -> Iterator[tuple[str, int]]:
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            word, _, count = line.rpartition("\t")
            yield word, int(count)


def _by_count(entry: tuple[str, int]) -> tuple[int, str]:
    return -entry[1], entry[0]
