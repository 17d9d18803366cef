"""What each step of alignment gained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from herd.align.results import (
    AlignmentComparison,
    DialogueCount,
    DialogueSetComparison,
    FinetuningResult,
    InterpolatedModel,
    JudgeScore,
    KnowledgeProbe,
    ModelInterpolation,
    RejectionSampling,
    RewardModelResult,
    RoundComparison,
)
from herd.core.artifacts import Artifact
from herd.core.titles import artifact_titles
from herd.evals.intervals import Interval
from herd.report import plots
from herd.report.sections import Section, SectionPart, artifacts_with, is_result, render_parts, results_of, sections
from herd.train.results import TrainingResult

_Point = tuple[float, float, float, float]  # place, value, low, high


@sections.add(
    AlignmentComparison,
    DialogueSetComparison,
    RoundComparison,
    KnowledgeProbe,
    ModelInterpolation,
    RewardModelResult,
    RejectionSampling,
    FinetuningResult,
    order=50,
)
def alignment_section(artifacts: Sequence[Artifact]) -> Section | None:
    """Tables of what a model knows, of steps and of methods that learn from preferences, the picture of best-of-K, sets
    of dialogues, rounds one against another, models between two, and what fine-tuning read again of pre-training."""
    shown_parts: list[SectionPart] = []
    for probe in results_of(artifacts, KnowledgeProbe):
        shown_parts += _knowledge(probe)
    for comparison in results_of(artifacts, AlignmentComparison):
        shown_parts += _steps(comparison)
    for comparison in results_of(artifacts, DialogueSetComparison):
        shown_parts += _sets(comparison)
    for comparison in results_of(artifacts, RoundComparison)[-1:]:  # those before chose within a round
        shown_parts += _rounds(comparison)
    for interpolation in results_of(artifacts, ModelInterpolation):
        shown_parts += _interpolation(interpolation)
    shown_parts += _reward_models(artifacts)
    shown_parts += _sampled(artifacts)
    shown_parts += _replay(artifacts)
    if not shown_parts:
        return None
    return Section("alignment", "Alignment", render_parts(shown_parts), top=is_result(artifacts))


def _reward_models(artifacts: Sequence[Artifact]) -> Iterator[SectionPart]:
    rows, titles = [], artifact_titles(artifacts)
    for artifact, result in artifacts_with(artifacts, RewardModelResult):
        by_source = result.sources if len(result.sources) > 1 else {}
        for source, pairs in {**by_source, "all": result.held_out}.items():
            right = Interval(pairs.right / max(1, pairs.pairs), pairs.low, pairs.high)
            rows.append((titles[artifact.key], source or "no source named", pairs.pairs, _share(right)))
    if rows:
        yield SectionPart(
            title="What reward models can rank",
            words="Pairs of answers that were held out, by source of their prompts: how many the reward model ranks as "
            "people do; 95 % intervals over pairs.",
            head=("model", "source", "pairs", "ranked right"),
            rows=rows,
        )


def _sampled(artifacts: Sequence[Artifact]) -> Iterator[SectionPart]:
    """Of how many prompts rejection sampling kept an answer, and why not of the others."""
    rows, titles = [], artifact_titles(artifacts)
    for artifact, _ in artifacts_with(artifacts, RejectionSampling):
        kept = artifact.get_result(DialogueCount)
        if kept is not None and kept.left_out:
            total = kept.dialogues + sum(kept.left_out.values())
            reasons = ", ".join(f"{reason}: {count:,}" for reason, count in kept.left_out.items())
            rows.append((titles[artifact.key], f"{total:,}", f"{kept.dialogues:,}", reasons))
    if rows:
        yield SectionPart(
            title="Prompts without an answer to learn from",
            words="Rejection sampling asks every prompt several times and keeps the best answer that came to an end "
            "and that no verifier found wrong. Answers are cut off at `max_tokens`.",
            head=("stage", "prompts", "answers kept", "why none was kept of the others"),
            rows=rows,
        )


def _replay(artifacts: Sequence[Artifact]) -> Iterator[SectionPart]:
    rows, titles = [], artifact_titles(artifacts)
    for artifact, result in artifacts_with(artifacts, FinetuningResult):
        training = artifact.get_result(TrainingResult)
        for name, source in training.sources.items() if training is not None else ():
            learnt = result.shares.get(f"replay/{name}", 0.0)
            rows.append(
                (
                    titles[artifact.key],
                    name,
                    f"{source.tokens:,}",
                    f"{source.share:.1%}",
                    f"{learnt:.1%}",
                    f"{source.epochs:g}",
                )
            )
    if rows:
        yield SectionPart(
            title="Replayed pre-training text",
            words="Documents of pre-training that fine-tuning read among the dialogues: the share of all tokens read, "
            "and of all that were learnt, since prompts are not; how often the source was read in full.",
            head=("model", "source", "tokens", "share read", "share learnt", "epochs"),
            rows=rows,
        )


def _sets(result: DialogueSetComparison) -> Iterator[SectionPart]:
    tasks = list(result.rows[0].right)
    rows = []
    for number, row in enumerate(result.rows):
        shares = [_share(row.right[task], "seed") for task in tasks]
        rows.append((row.set, f"{row.dialogues:,}", *shares, _gain(row.gain["mean"]) if number else ""))
    yield SectionPart(
        title="Sets of dialogues, at equal size",
        words=f"{result.seeds} seeds; right of every task, with Student's 95 % intervals; the gain is that of the "
        "mean over tasks, over the first set, paired by seed. Dialogues: how many the whole set has.",
        head=("set", "dialogues", *tasks, "gain"),
        rows=rows,
    )
    right = {task: _task_column(result, task) for task in tasks}
    yield SectionPart(
        title="Right, set by set",
        words="The same, as a picture.",
        drawing=plots.svg_markup(plots.scores([row.set for row in result.rows], right)),
    )


def _task_column(result: DialogueSetComparison, task: str) -> list[Interval | None]:
    return [row.right[task] for row in result.rows]


def _rounds(result: RoundComparison) -> Iterator[SectionPart]:
    yield SectionPart(
        title="Round against round",
        words="Prompts that are held out, answered greedily. A win is a prompt that only the later model has right, "
        f"a tie counts half; 95 % intervals over prompts. Number {result.chosen + 1} is kept.",
        head=("model", "right", "win rate over the one before", "tokens an answer"),
        rows=[
            (number, _share(row.right), _share(row.win_rate) if row.win_rate else "", f"{row.tokens:.1f}")
            for number, row in enumerate(result.rounds, 1)
        ],
    )
    curve = {"right": [_point(float(number), row.right) for number, row in enumerate(result.rounds, 1)]}
    yield SectionPart(
        title="Right, model by model",
        words="The same, as a picture.",
        drawing=plots.svg_markup(plots.curve_with_band(curve, "model", "right")),
    )


def _knowledge(result: KnowledgeProbe) -> Iterator[SectionPart]:
    truncated = f" {result.truncated_share:.1%} of the answers had no end." if result.truncated_share else ""
    yield SectionPart(
        title="What the model knows",
        words="Questions asked several times, by how often the model's own answers are right: known ones are taught "
        f"with their answer, unknown ones with a refusal, the others not at all.{truncated}",
        head=("source", "questions", "known", "unknown", "uncertain", "answers right"),
        rows=[
            (source, f"{row.known + row.unknown + row.uncertain:,}", row.known, row.unknown, row.uncertain,
             f"{row.right:.1%}")
            for source, row in result.sources.items()
        ],
    )  # fmt: skip
    yield SectionPart(
        title="Right answers to a question",
        words=f"Of {len(result.by_right) - 1} answers to a question so many are right.",
        head=("right", "questions", "share of questions"),
        rows=[
            (right, count, f"{count / sum(result.by_right):.1%}") for right, count in enumerate(result.by_right)
        ],
    )  # fmt: skip


def _interpolation(result: ModelInterpolation) -> Iterator[SectionPart]:
    sources = list(result.models[0].right)
    targets = ", ".join(f"{source} {target:.0%}" for source, target in result.targets.items())
    yield SectionPart(
        title="Between two models, and beyond",
        words="Weights first + alpha (last - first): 0 is the model before, 1 the one after. Held-out prompts answered "
        f"greedily; 95 % intervals over prompts. Alpha {result.alpha:g} is kept: "
        + (f"its worst margin over the targets ({targets}) is the highest." if targets else "its mean is the highest."),
        head=("alpha", *sources, "tokens an answer"),
        rows=[
            (f"{model.alpha:g}", *map(_share, model.right.values()), f"{model.tokens:.1f}") for model in result.models
        ],
    )
    models = sorted(result.models, key=lambda model: model.alpha)
    curves = {source: _alpha_curve(models, source) for source in sources}
    yield SectionPart(
        title="Right, by alpha",
        words="The same, as a picture.",
        drawing=plots.svg_markup(plots.curve_with_band(curves, "alpha", "right")),
    )


def _alpha_curve(models: Sequence[InterpolatedModel], source: str) -> list[_Point]:
    return [_point(model.alpha, model.right[source]) for model in models]


def _steps(result: AlignmentComparison) -> Iterator[SectionPart]:
    yield SectionPart(
        title=f"Steps, by {result.task}",
        words=f"{result.seeds} seeds; gains over the step before, paired by seed, with Student's 95 % intervals.",
        head=("step", "right", "gain"),
        rows=[(row.step, f"{row.share:.1%}", _gain(row.gain)) for row in result.rows],
    )
    yield SectionPart(
        title="Ways to learn from the same preferences",
        words="How far the log-probability of chosen and of rejected answers moved from where the method began, in "
        "nats, and the gain over that model and over the first method, paired by seed.",
        head=("method", "chosen", "rejected", "gain", "over the first"),
        rows=[
            (
                *(row.method, _gain(row.chosen), _gain(row.rejected), _gain(row.gain)),
                _gain(row.over_first) if number else "",
            )
            for number, row in enumerate(result.methods)
        ],
    )
    yield SectionPart(
        title="What they do to endings",
        words="How far the log-probability of what ends chosen and rejected answers moved, in nats; the share of "
        "answers that did not come to an end, and tokens an answer.",
        head=("method", "end of chosen", "end of rejected", "truncated", "tokens"),
        rows=[
            (
                *(row.method, _gain(row.eos.chosen), _gain(row.eos.rejected)),
                *(f"{row.truncated_share:.1%}", f"{row.tokens:.1f}"),
            )
            for row in result.methods
        ],
    )
    if result.judges:
        yield SectionPart(
            title="Judges",
            words="How many of held-out pairs each ranks as people do, and the gain over the first.",
            head=("judge", "ranked right", "gain"),
            rows=[
                (row.judge, _share(row.right), _gain(row.gain) if number else "")
                for number, row in enumerate(result.judges)
            ],
        )
    if curves := _best_of_curves(result.judges):
        yield SectionPart(
            title="The best of K answers",
            words="The share of prompts for which the answer that the reward model likes best is right, over how "
            "many answers it chooses from.",
            drawing=plots.svg_markup(plots.curve_with_band(curves, "answers", "right")),
        )


def _best_of_curves(judges: Sequence[JudgeScore]) -> dict[str, list[_Point]]:
    """By label, the share right of the best of K for every K, of each judge and measure of it."""
    curves = {}
    for judge in judges:
        for name in ("gold", "right"):
            if judge.best_of and name in judge.best_of[0].values:
                label = f"{judge.judge}: {name}" if len(judges) > 1 else name
                curves[label] = [_point(point.k, point.values[name]) for point in judge.best_of]
    return curves


def _point(x: float, interval: Interval) -> _Point:
    return x, interval.value, interval.low, interval.high


def _share(interval: Interval, unit: str = "example") -> str:
    return interval.words(".1%", unit)


def _gain(interval: Interval) -> str:
    """A difference over seeds."""
    return interval.words("+.3f", "seed")
