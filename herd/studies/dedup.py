"""Does it help to leave out dialogues that say nearly the same?"""

from __future__ import annotations

from dataclasses import replace

from herd.align.comparing import compare_sets
from herd.align.curation import CurationSettings, curate_dialogues, sample_dialogues
from herd.align.sft import SftSettings, sft
from herd.core.artifacts import Dialogues, Report, Scores
from herd.core.settings import NonNegativeInt, PositiveInt, Share, settings
from herd.evals.stages import EvaluationSettings, evaluate_model
from herd.recipes.tiny import AlignmentBase, asking_about
from herd.report.stages import write_report
from herd.report.verdicts import Criteria
from herd.studies import studies
from herd.world import NOTE


@settings
class DedupSettings:
    """of: a recipe, whose base model and world are taken. pool: dialogues by kind, before any are left out.
    similarities: above which of two dialogues one is left out; 1 keeps all, and comes first. size: how many dialogues
    every model learns from, drawn from what is left."""

    title: str
    of: str
    pool: dict[str, NonNegativeInt]
    curt_share: Share
    similarities: tuple[Share, ...]
    size: PositiveInt
    sft: SftSettings
    measure: EvaluationSettings
    seeds: tuple[int, ...] = (0, 1, 2)


@studies.add
def dedup(s: DedupSettings) -> Report:
    """The ablation that the report leaves out: semantic deduplication at several thresholds, at equal size."""
    ground = AlignmentBase.of(s.of)
    world = ground.numbers.world
    pool = ground.demonstrations(s.pool, s.curt_share, "pool")
    sets: list[Dialogues] = []
    scores: list[Scores] = []
    for similarity in s.similarities:
        sets.append(curate_dialogues((pool,), settings=CurationSettings(keep="all", similarity=similarity)))
        for seed in s.seeds:
            subset = sample_dialogues(sets[-1], count=s.size, seed=seed)
            model = sft(ground.base, (subset,), settings=replace(s.sft, seed=seed))
            label = f"{similarity:g}, seed {seed}"
            scores.append(evaluate_model(model, ground.tokens, label=label, settings=asking_about(world, s.measure)))
    labels = tuple("all" if threshold == 1 else f"up to {threshold:g}" for threshold in s.similarities)
    tasks = tuple(use.name for use in s.measure.tasks)
    table = compare_sets(tuple(scores), tuple(sets), labels=labels, tasks=tasks)
    return write_report((), (table,), title=s.title, criteria=Criteria(), note=NOTE)
