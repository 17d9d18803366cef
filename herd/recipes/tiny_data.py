"""The raw pages of `tiny` and of the studies: packaged sources beside a user's own files."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Literal

from herd.core.artifacts import Crawl
from herd.core.settings import settings
from herd.corpus.wikipedia import WikipediaSettings, wikipedia
from herd.recipes.data import DataSettings
from herd.world.pages import PagesSettings
from herd.world.python_docs import PythonDocsSettings, python_docs
from herd.world.sources import world_pages
from herd.world.truth import World


@settings
class TinyDataSettings(DataSettings):
    """sources: the packaged ones to use."""

    sources: tuple[Literal["python_docs", "wikipedia", "world"], ...]
    world: World
    python_docs: PythonDocsSettings
    wikipedia: WikipediaSettings
    pages: PagesSettings

    @property
    def source_names(self) -> set[str]:
        own = {"python_docs": {"web"}, "wikipedia": {"wiki"}, "world": set(self.pages.documents)}
        return set(self.files).union(*(own[name] for name in self.sources))

    def crawls(self) -> tuple[Crawl, ...]:
        packaged = {
            "python_docs": lambda: python_docs(settings=self.python_docs),
            "wikipedia": lambda: wikipedia(settings=self.wikipedia),
            "world": lambda: world_pages(world=self.world, settings=self.pages),
        }
        return (*(packaged[name]() for name in self.sources), *DataSettings.crawls(self))


def data_of(recipe: TinyDataSettings, **changes: Any) -> TinyDataSettings:
    """The part of a recipe's settings that is about data, with some of it changed."""
    own = {field.name: getattr(recipe, field.name) for field in fields(TinyDataSettings)}
    return TinyDataSettings(**own | changes)
