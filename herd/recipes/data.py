"""From raw pages to tokens: the part that recipes share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from herd.core.artifacts import Corpus, Crawl, Tokenizer, Tokens
from herd.core.recipe import load_recipe
from herd.core.seeds import spread_seed
from herd.core.settings import PositiveInt, Share, settings
from herd.corpus.columns import ColumnsOrName
from herd.corpus.settings import CurateSettings
from herd.corpus.sources import crawls_of
from herd.corpus.stages import curate
from herd.recipes import recipes
from herd.tokens.stages import pack, train_tokenizer


@settings
class DataSettings:
    """files: a user's own, by the name of the source they belong to; paths, folders, patterns or addresses. columns:
    what tables among them hold where, by source; `default` for the others. base_vocab_size: base tokens of the
    vocabulary."""

    files: dict[str, tuple[str, ...]]
    columns: dict[str, ColumnsOrName] = field(default_factory=dict)
    curate: CurateSettings
    base_vocab_size: PositiveInt
    held_out_share: Share

    @property
    def source_names(self) -> set[str]:
        """The sources that pages will be of."""
        return set(self.files)

    def crawls(self) -> tuple[Crawl, ...]:
        """The raw pages, planned."""
        return crawls_of(self.files, self.columns)


@dataclass(frozen=True)
class PreparedData:
    """What is made of raw pages before anything is trained."""

    crawls: tuple[Crawl, ...]
    corpus: Corpus
    vocabulary: Tokenizer
    tokens: Tokens


def numbers_of(recipe: str) -> Any:
    """The settings of another recipe as its stages get them: all seeds follow the recipe's own. Raises SettingsError
    for a recipe that is not there."""
    return spread_seed(load_recipe(recipe, recipes).settings)


def prepare_data(s: DataSettings) -> PreparedData:
    """Tokens of the pages, planned."""
    crawls = s.crawls()
    corpus = curate(crawls, settings=s.curate)
    vocabulary = train_tokenizer(corpus, vocab_size=s.base_vocab_size, digits_together=False)
    return PreparedData(crawls, corpus, vocabulary, pack(corpus, vocabulary, held_out_share=s.held_out_share))
