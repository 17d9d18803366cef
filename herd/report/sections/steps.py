"""What went into a run, what came out, and each ability before and after every step: the top of the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

from herd.align.results import DialogueCount, ImportedModel, PreferenceCount
from herd.core.artifacts import Artifact, Checkpoint, Dialogues, Preferences
from herd.core.lineage import generations
from herd.core.terminal import count_of
from herd.corpus.results import CorpusSize
from herd.evals.results import EvaluationResult
from herd.pretrain.results import ContextExtension
from herd.report import plots
from herd.report.abilities import Loss, MeasuredStep, losses_of, measured_steps
from herd.report.sections import Section, artifacts_with, fill_template, results_of, sections
from herd.tokens.results import PackingResult, SplitSize

STORY = "steps"  # the anchor of the section, which begins with what went in
_MOST_SOURCES = 6  # that one sentence tells of; the table of text by source has all


@sections.add(EvaluationResult, order=0)
def steps_section(artifacts: Sequence[Artifact]) -> Section | None:
    """The story of a run in which a model was measured before and after; a panel for every ability."""
    steps = measured_steps(artifacts)
    abilities = list(dict.fromkeys(chain.from_iterable(step.scores for step in steps.values())))
    if len(steps) < 2 or not abilities:
        return None
    losses = list(losses_of(steps))
    panels = [plots.svg_markup(_panel(ability, steps, losses)) for ability in abilities]
    html = fill_template(
        Path(__file__).with_suffix(".html"),
        paragraphs=[text for text in (what_went_in(artifacts), what_came_out(steps)) if text],
        losses=[loss_sentence(loss) for loss in losses],
        gates=list(open_gates(artifacts)),
        panels=panels,
    )
    return Section(STORY, "Step by step", html, title="What each step did", top=True)


def _panel(ability: str, steps: Mapping[str, MeasuredStep], losses: Sequence[Loss]) -> str:
    scores = {label: step.scores.get(ability) for label, step in steps.items()}
    rows = [(label, score.interval if score else None) for label, score in scores.items()]
    return plots.ability_panel(ability, rows, [loss.step for loss in losses if loss.ability == ability])


def loss_sentence(loss: Loss) -> str:
    """Such as `DPO 1 made tools worse: 98% to 88% of 200 questions`."""
    before, after = loss.before.interval, loss.after.interval
    return (
        f"{loss.step} made {loss.ability} worse: {before.value:.0%} to {after.value:.0%} of "
        f"{count_of(loss.after.questions, 'question')}"
    )


def open_gates(artifacts: Sequence[Artifact]) -> Iterator[str]:
    """A sentence about each longer context whose needle test was not passed."""
    for result in results_of(artifacts, ContextExtension):
        if not (result.switched and result.gate.passed):
            kept = "" if result.switched else f", and it stays {result.length}"
            yield (
                f"The gate of the context of {result.target} tokens was not passed{kept}: at {result.length} tokens "
                f"the needle test finds {result.gate.recall:.0%} in its worst cell"
            )


def what_went_in(artifacts: Sequence[Artifact]) -> str:
    """The data and the models from outside that a run began with, as a sentence; empty where nothing is counted."""
    parts = [
        f"a model of {model.num_params:,} weights made elsewhere" for model in results_of(artifacts, ImportedModel)
    ]
    sizes = results_of(artifacts, CorpusSize)
    if sizes:
        largest = max(sizes, key=lambda size: size.pages)
        parts.append(
            f"{largest.pages:,} pages, of which curation left {largest.documents:,} documents"
            if largest.pages != largest.documents
            else f"{largest.documents:,} documents"
        )
    packed = results_of(artifacts, PackingResult)
    if packed:
        parts.append(_packed_words(max(packed, key=lambda result: result.tokens)))
    dialogues, pairs = _rows_brought(artifacts)
    parts += [count_of(dialogues, "dialogue or prompt", "dialogues and prompts")] if dialogues else []
    parts += [count_of(pairs, "ranked pair of answers", "ranked pairs of answers")] if pairs else []
    return f"What went in: {'; '.join(parts)}." if parts else ""


def _rows_brought(artifacts: Sequence[Artifact]) -> tuple[int, int]:
    """How many dialogues and pairs a run began with, each counted where it came in: what a model of the run wrote, and
    what was chosen from other rows, did not."""
    by_key = {artifact.key: artifact for artifact in artifacts}
    made = {key for key, artifact in by_key.items() if isinstance(artifact, (Checkpoint, Dialogues, Preferences))}
    ranked = {key for key, artifact in by_key.items() if isinstance(artifact, Preferences)}

    def ancestors(key: str) -> set[str]:
        return set(chain.from_iterable(generations(key, by_key)))

    dialogues = sum(
        count.dialogues
        for artifact, count in artifacts_with(artifacts, DialogueCount)
        if made.isdisjoint(chain.from_iterable(map(ancestors, _row_inputs(artifact))))
    )
    # Answers of a model of the run that people ranked came in with their ranks.
    pairs = sum(
        count.pairs
        for artifact, count in artifacts_with(artifacts, PreferenceCount)
        if ranked.isdisjoint(_row_inputs(artifact))
    )
    return dialogues, pairs


def _row_inputs(artifact: Artifact) -> list[str]:
    """The keys of what an artifact was made of, but for tests, which only keep rows out."""
    inputs = {name: value for name, value in artifact.metadata["inputs"].items() if name != "tests"}
    return [key for value in inputs.values() for key in (value if isinstance(value, list) else [value]) if key]


def _packed_words(packed: PackingResult) -> str:
    """How many tokens there are, of which source where these are few, and how many of them are held out."""
    words = f"{packed.tokens:,} tokens of text"
    if len(packed.sources) > _MOST_SOURCES:
        return words
    sources = [
        f"{sum(size.tokens for size in splits.values()):,} of {name} ({_held_out_words(splits)})"
        for name, splits in packed.sources.items()
    ]
    return f"{words}, {' and '.join([', '.join(sources[:-1]), sources[-1]] if sources[1:] else sources)}"


def _held_out_words(splits: Mapping[str, SplitSize]) -> str:
    held_out = splits["heldout"].tokens if "heldout" in splits else 0
    return f"{held_out:,} held out" if held_out else "nothing held out"


def what_came_out(steps: Mapping[str, MeasuredStep]) -> str:
    """What the last model can do, as a sentence."""
    *_, last = steps
    figures = ", ".join(f"{name} {score.interval.value:.0%}" for name, score in steps[last].scores.items())
    return f"What came out: {last}, the last of {len(steps)} measured models. Right of held-out questions: {figures}."
