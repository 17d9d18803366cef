"""Which curation gives the pages that a model learns most from, and do people's labels tell?"""

from __future__ import annotations

from dataclasses import replace

from herd.core.artifacts import Corpus, Report, Scores
from herd.core.recipe import load_recipe
from herd.core.settings import settings
from herd.corpus.quality import KeepSettings, QualitySettings, keep_best, train_quality
from herd.corpus.settings import CurateSettings
from herd.corpus.stages import curate
from herd.mixing.corpora import CorpusTrial, compare_corpora, try_corpus
from herd.recipes import recipes
from herd.recipes.data import prepared
from herd.recipes.tiny_data import TinyDataSettings, data_of
from herd.report.stages import write_report
from herd.report.verdicts import Bars
from herd.studies import studies
from herd.tokens.stages import pack
from herd.world import NOTE
from herd.world.audit import audit
from herd.world.pages import PagesSettings
from herd.world.sources import world_pages
from herd.world.tasks import in_world
from herd.world.truth import World

AS_IT_IS = CurateSettings(rules={"default": ()})


@settings
class FilterSet:
    """One way of curating: by rules and steps over all documents, then by a quality model where `best` says so."""

    curate: CurateSettings = AS_IT_IS
    best: KeepSettings | None = None


@settings
class CurationSettings:
    """data: the recipe whose sources are used. pages: of its world, junk among them. good, good_world: what the quality
    model is shown as good, from a world of its own; as bad it is shown the pool. control: a set's name."""

    title: str
    data: str
    pages: PagesSettings
    good: PagesSettings
    good_world: World
    quality: QualitySettings
    sets: dict[str, FilterSet]
    control: str
    trial: CorpusTrial
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)


@studies.add
def curation(s: CurationSettings) -> Report:
    """The same training on what each of several curations keeps of one pool (DataComp-LM)."""
    data = load_recipe(s.data, recipes).settings
    assert isinstance(data, TinyDataSettings)
    clean = prepared(data_of(data, pages=replace(s.pages, near_copies=0.0, spam_pages=0.0, advert_pages=0.0)))
    pool = data_of(data, pages=s.pages).crawls()
    everything = curate(pool, settings=AS_IT_IS)
    good = curate((world_pages(world=s.good_world, settings=s.good),), settings=AS_IT_IS)
    trial = replace(s.trial, tasks=in_world(s.trial.tasks, data.world))
    model = train_quality(good, everything, settings=s.quality)
    trials: list[Scores] = []
    audits: list[Scores] = []
    for label, chosen in s.sets.items():
        kept: Corpus = curate(pool, settings=chosen.curate)
        if chosen.best is not None:
            kept = keep_best(kept, model, settings=chosen.best)
        audits.append(audit(kept, pool))
        tokens = pack(kept, clean.vocabulary, held_out_share=data.held_out_share)
        trials += [
            try_corpus(tokens, clean.tokens, clean.vocabulary, label=label, trial=trial, seed=seed) for seed in s.seeds
        ]
    table = compare_corpora(tuple(trials), tuple(audits), labels=tuple(s.sets), control=s.control)
    return write_report((), (table, model), title=s.title, bars=Bars(), note=NOTE)
