"""A ladder whose models are asked what the base will be asked, and the base's scores as they foretell them."""

from __future__ import annotations

from herd.core.artifacts import Law, Mix, Scores, Tokenizer, Tokens
from herd.core.errors import SettingsError
from herd.evals.stages import EvaluationSettings, evaluate_model
from herd.pretrain.pretrain import PretrainSettings
from herd.recipes.pretraining import train_ladder
from herd.scaling.budget import LadderRun, LadderSettings, ladder_runs
from herd.scaling.tasks import forecast_tasks


def forecast_base_scores(
    law: Law,
    tokens: Tokens,
    vocabulary: Tokenizer,
    ladder: LadderSettings,
    base: PretrainSettings,
    mix: Mix | None = None,
    *,
    vocab_size: int,
    others: str | None = None,
) -> Scores:
    """What the base run will score on the ladder's tasks (3.2.1), planned; `law` is that of the same ladder. mix: a
    found one, as the ladder has it. others: a table of what further models scored.

    The base is compared with it in the report where it is evaluated with the same tasks and `gold_nll`. Raises
    SettingsError for a ladder without tasks.
    """
    if not ladder.tasks:
        raise SettingsError("the ladder's models are asked nothing; write ladder.tasks, or take the forecast away")
    models = train_ladder(tokens, vocabulary, ladder, base, mix, vocab_size=vocab_size)
    asked = EvaluationSettings(tasks=ladder.tasks, gold_nll=True)
    scores = tuple(
        evaluate_model(model, label=_label(rung), settings=asked)
        for rung, model in zip(ladder_runs(ladder, vocabulary=vocab_size), models, strict=True)
    )
    return forecast_tasks(law, models, scores, others=others)


def _label(rung: LadderRun) -> str:
    return f"width {rung.size.dim}, {rung.budget:.1e} FLOPs"
