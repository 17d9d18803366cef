"""What a ladder foretells of its base: the law of its loss, and scores where its models are asked tasks."""

from __future__ import annotations

from herd.core.artifacts import Law, Scores
from herd.core.errors import SettingsError
from herd.evals.stages import EvaluationSettings, evaluate_model
from herd.recipes.pretraining import Ladder, scaling_law
from herd.scaling.budget import LadderRun
from herd.scaling.tasks import forecast_tasks


def forecasts_of(ladder: Ladder) -> tuple[Law, *tuple[Scores, ...]]:
    """The law, and what the base will score where the ladder has tasks; planned. Raises SettingsError for a base
    without a size of its own."""
    law = scaling_law(ladder)
    return (law, forecast_base_scores(law, ladder)) if ladder.settings.tasks else (law,)


def forecast_base_scores(law: Law, ladder: Ladder, *, others: str | None = None) -> Scores:
    """What the base run will score on the ladder's tasks (3.2.1), planned; `law` is that of the same ladder. others: a
    table of what further models scored.

    The base is compared with it in the report where it is evaluated with the same tasks and `gold_nll`. Raises
    SettingsError for a ladder without tasks.
    """
    if not ladder.settings.tasks:
        raise SettingsError("the ladder's models are asked nothing; write ladder.tasks, or take the forecast away")
    asked = EvaluationSettings(tasks=ladder.settings.tasks, gold_nll=True)
    scores = tuple(
        evaluate_model(model, label=_label(run), settings=asked)
        for run, model in zip(ladder.runs, ladder.models, strict=True)
    )
    return forecast_tasks(law, ladder.models, scores, others=others)


def _label(run: LadderRun) -> str:
    return f"width {run.size.dim}, {run.budget:.1e} FLOPs"
