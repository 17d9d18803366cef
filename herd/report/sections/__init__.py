"""The sections of a report: each a function, registered for the types of results it shows, in a file of its own.

    @sections.add(WordCount)
    def words(artifacts: Sequence[Artifact]) -> Section | None:
        titles = artifact_titles(artifacts)
        rows = [(titles[artifact.key], result.words) for artifact, result in artifacts_with(artifacts, WordCount)]
        table = SectionPart("All of them", "", head=("corpus", "words"), rows=rows)
        return Section("words", "Words", render_parts([table]))

A function is called when one of the artifacts recorded such a result. A new file here is found; so is a section in a
file of the user's own that a run loads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

from herd.align.results import ImportedModel
from herd.core.artifacts import Artifact
from herd.core.registry import Registry
from herd.corpus.results import CorpusSize

_ResultT = TypeVar("_ResultT")
LAST = 100.0


@dataclass(frozen=True)
class Section:
    """A part of the page. id: its anchor. name: in the list at the top. html: as `render_parts` or `fill_template` give
    it. title: its heading, the name when absent. top: whether it stands above the bars that the run is held to."""

    id: str
    name: str
    html: Any
    title: str = ""
    top: bool = False


@dataclass(frozen=True)
class SectionPart:
    """A picture, a table or both under a title of their own. drawing: as `plots.svg_markup` gives it."""

    title: str
    words: str
    drawing: Any = ""
    head: Sequence[str] = ()
    rows: Sequence[Sequence[object]] = field(default_factory=tuple)


SectionFunction = Callable[[Sequence[Artifact]], Section | None]


class Sections:
    """The registered sections."""

    def __init__(self) -> None:
        self._registry: Registry[SectionFunction] = Registry("sections", __name__, requires_source=False)
        self._kinds: dict[str, tuple[type[Any], ...]] = {}
        self._order: dict[str, float] = {}

    def add(self, *kinds: type[Any], order: float = LAST) -> Callable[[SectionFunction], SectionFunction]:
        """Registers a function for results of any of these types. order: where on the page, smaller is higher."""

        def register(function: SectionFunction) -> SectionFunction:
            name = function.__name__
            self._registry.add(function)
            self._kinds[name], self._order[name] = kinds, order
            return function

        return register

    def show(self, artifacts: Sequence[Artifact]) -> list[Section]:
        """Those that have something to show of `artifacts`, in the order of the page."""
        functions = sorted(self._registry.all().items(), key=lambda pair: (self._order[pair[0]], pair[0]))
        candidates = (function(artifacts) for name, function in functions if self._has_results(name, artifacts))
        return [section for section in candidates if section is not None]

    def _has_results(self, name: str, artifacts: Sequence[Artifact]) -> bool:
        """Whether one of `artifacts` recorded what the section is registered for."""
        return any(artifact.get_result(kind) is not None for kind, artifact in product(self._kinds[name], artifacts))


sections = Sections()


def artifacts_with(artifacts: Sequence[Artifact], kind: type[_ResultT]) -> Iterator[tuple[Artifact, _ResultT]]:
    """The artifacts that recorded a result of the type, each with it."""
    for artifact in artifacts:
        result = artifact.get_result(kind)
        if result is not None:
            yield artifact, result


def results_of(artifacts: Sequence[Artifact], kind: type[_ResultT]) -> list[_ResultT]:
    return [result for _, result in artifacts_with(artifacts, kind)]


def is_result(artifacts: Sequence[Artifact]) -> bool:
    """Whether what fine-tuning did is what a run was for, and stands on top of its page: of a model made elsewhere, in
    a run that reads no text of its own."""
    return bool(results_of(artifacts, ImportedModel)) and not results_of(artifacts, CorpusSize)


def render_parts(parts: Sequence[SectionPart]) -> Any:
    """The parts as HTML, one below the other."""
    return fill_template(Path(__file__).with_name("parts.html"), parts=parts)


def fill_template(template: Path, **content: Any) -> Any:
    """A Jinja template with `content` as HTML; what stands in `content` is escaped, but for drawings and HTML made by
    this function."""
    from jinja2 import Environment, StrictUndefined, select_autoescape
    from markupsafe import Markup

    rules = Environment(autoescape=select_autoescape(default=True), undefined=StrictUndefined)
    text = rules.from_string(template.read_text(encoding="utf-8")).render(**content)
    return Markup(text)  # noqa: S704 - escaped above
