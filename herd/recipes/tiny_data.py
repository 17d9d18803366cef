"""From raw pages to tokens: the part that recipes and studies share."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

from herd.core.artifacts import Corpus, Crawl, Tokenizer, Tokens
from herd.core.settings import Positive, Share, settings
from herd.world.python_docs import PythonDocsSettings, python_docs
from herd.corpus.settings import CurateSettings
from herd.corpus.sources import files, world_pages
from herd.corpus.stages import curate
from herd.corpus.wikipedia import WikipediaSettings, wikipedia
from herd.tokens.stages import pack, train_tokenizer
from herd.world.pages import PagesSettings
from herd.world.truth import World


@settings
class DataSettings:
    """sources: the packaged ones to use. files: a user's own, by the name of the source they belong to; paths,
    folders or patterns. pairs: base tokens of the vocabulary."""

    sources: tuple[Literal["python_docs", "wikipedia", "world"], ...]
    files: dict[str, tuple[str, ...]]
    world: World
    python_docs: PythonDocsSettings
    wikipedia: WikipediaSettings
    pages: PagesSettings
    curate: CurateSettings
    pairs: Positive
    held_out_share: Share

    @property
    def known(self) -> set[str]:
        """The sources that pages will be of."""
        known = set(self.files) | {"web" for name in self.sources if name == "python_docs"}
        known |= {"wiki" for name in self.sources if name == "wikipedia"}
        return known | (set(self.pages.documents) if "world" in self.sources else set())


def data_of(recipe: DataSettings, **changed: Any) -> DataSettings:
    """The part of a recipe's settings that is about data, with some of it changed."""
    own = {one.name: getattr(recipe, one.name) for one in fields(DataSettings)}
    return DataSettings(**own | changed)


@dataclass(frozen=True)
class Prepared:
    """What is made of raw pages before anything is trained."""

    crawls: tuple[Crawl, ...]
    corpus: Corpus
    vocabulary: Tokenizer
    tokens: Tokens


def prepared(s: DataSettings) -> Prepared:
    crawls = raw(s)
    corpus = curate(crawls, settings=s.curate)
    vocabulary = train_tokenizer(corpus, pairs=s.pairs, digits_together=False)
    return Prepared(crawls, corpus, vocabulary, pack(corpus, vocabulary, held_out_share=s.held_out_share))


def raw(s: DataSettings) -> tuple[Crawl, ...]:
    """The raw pages: packaged sources, then the user's own files."""
    packaged = {
        "python_docs": lambda: python_docs(settings=s.python_docs),
        "wikipedia": lambda: wikipedia(settings=s.wikipedia),
        "world": lambda: world_pages(world=s.world, settings=s.pages),
    }
    own = [files(*patterns, source=source) for source, patterns in s.files.items()]
    return (*(packaged[name]() for name in s.sources), *own)
