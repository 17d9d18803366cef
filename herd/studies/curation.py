"""Which curation gives the pages that a model learns most from, and do people's labels tell?"""

from __future__ import annotations

from dataclasses import replace

from herd.core.artifacts import Corpus, Report, Scores
from herd.core.settings import settings
from herd.corpus.quality import KeepBestSettings, QualitySettings, keep_best, train_quality
from herd.corpus.settings import CurateSettings
from herd.corpus.stages import curate
from herd.mixing.corpora import CorpusTrial, compare_corpora, try_corpus
from herd.recipes.data import numbers_of, prepare_data
from herd.recipes.tiny_data import TinyDataSettings, data_of
from herd.report.stages import write_report
from herd.report.verdicts import Criteria
from herd.studies import studies
from herd.tokens.stages import pack
from herd.world import NOTE
from herd.world.audit import audit
from herd.world.pages import PagesSettings
from herd.world.sources import world_pages
from herd.world.tasks import in_world
from herd.world.truth import World

NO_RULES = CurateSettings(rules={"default": ()})


@settings
class FilterSet:
    """One way of curating: by rules and steps over all documents, then by a quality model where `best` says so."""

    curate: CurateSettings = NO_RULES
    best: KeepBestSettings | None = None


@settings
class CurationStudySettings:
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
def curation(s: CurationStudySettings) -> Report:
    """The same training on what each of several curations keeps of one pool (DataComp-LM)."""
    data = numbers_of(s.data)
    assert isinstance(data, TinyDataSettings)
    clean = prepare_data(data_of(data, pages=replace(s.pages, near_copies=0.0, spam_pages=0.0, advert_pages=0.0)))
    pool = data_of(data, pages=s.pages).crawls()
    everything = curate(pool, settings=NO_RULES)
    good = curate((world_pages(world=s.good_world, settings=s.good),), settings=NO_RULES)
    trial = replace(s.trial, tasks=in_world(s.trial.tasks, data.world))
    model = train_quality(good, everything, settings=s.quality)
    trials: list[Scores] = []
    audits: list[Scores] = []
    for label, filter_set in s.sets.items():
        curated: Corpus = curate(pool, settings=filter_set.curate)
        if filter_set.best is not None:
            curated = keep_best(curated, model, settings=filter_set.best)
        audits.append(audit(curated, pool))
        tokens = pack(curated, clean.vocabulary, held_out_share=data.held_out_share)
        trials += [
            try_corpus(tokens, clean.tokens, clean.vocabulary, label=label, trial=trial, seed=seed) for seed in s.seeds
        ]
    table = compare_corpora(tuple(trials), tuple(audits), labels=tuple(s.sets), control=s.control)
    return write_report((), (table, model), title=s.title, criteria=Criteria(), note=NOTE)
