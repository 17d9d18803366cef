"""How well models predict text they were never trained on, and how much text of which source there was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from herd.align.results import FinetuningResult
from herd.core.artifacts import Artifact, Checkpoint
from herd.core.lineage import generations
from herd.core.titles import artifact_titles
from herd.evals.intervals import Interval
from herd.evals.results import EvaluationResult
from herd.report import plots
from herd.report.abilities import MeasuredStep, measured_steps, text_changes
from herd.report.sections import Section, artifacts_with, fill_template, results_of, sections
from herd.report.texts import TextChange, TextLoss, text_losses
from herd.tokens.results import PackingResult
from herd.train.results import TrainingResult

_MOST_NAMED = 6  # texts in one sentence; of more it names the first, and the table has all
_FIRST_NAMED = 3
_MOST_OPEN_ROWS = 24  # of a table that is not folded
_MOST_OPEN_PANELS, _MOST_PANELS = 6, 12
_MOST_GAINS = 4  # sentences that are not folded


@sections.add(EvaluationResult, PackingResult, TrainingResult, order=1)
def text_section(artifacts: Sequence[Artifact]) -> Section | None:
    """What every step did to each text, in words, pictures and a table with intervals; tokens by source. It stands on
    top where a text is predicted worse, where of a source nothing is held out, and where texts are all that models were
    measured on."""
    steps, packed = measured_steps(artifacts), largest_packing(artifacts)
    changes = list(text_changes(steps))
    losses, sizes = _loss_rows(artifacts, changes), _size_rows(artifacts, packed)
    if not losses and not sizes:
        return None
    flags = [*change_sentences((change for change in changes if change.is_worse), "worse"), *_unmeasured(packed)]
    gains = list(change_sentences((change for change in changes if change.is_better), "better"))
    panels = [plots.svg_markup(panel) for panel in _panels(steps, changes)]
    html = fill_template(
        Path(__file__).with_suffix(".html"),
        flags=flags,
        gains=gains,
        fold_gains=len(gains) > _MOST_GAINS,
        none_worse=bool(changes) and not any(change.is_worse for change in changes),
        panels=panels,
        fold_panels=len(panels) > _MOST_OPEN_PANELS,
        losses=losses,
        fold_losses=sum(len(text.cells) for text in losses) > _MOST_OPEN_ROWS,
        compared=bool(changes),
        sizes=sizes,
        fold_sizes=len(sizes) > _MOST_OPEN_ROWS / 2,
        notes=list(_notes(packed)),
    )
    asked = any(step.scores for step in steps.values())
    return Section("text", "Text", html, title="Text: what was read, what is predicted", top=bool(flags) or not asked)


# ---- words ----


def change_sentences(changes: Iterable[TextChange], how: str) -> Iterator[str]:
    """Such as `"after" predicts held-out text worse than "before": wiki 3.910 to 3.950 nats a token (+1.0 % [+0.6 %,
    +1.4 %])`: one for every step and the model it is held against. how: worse or better; the largest changes first."""
    by_pair: dict[tuple[str, str], list[TextChange]] = {}
    for change in changes:
        by_pair.setdefault((change.step, change.earlier), []).append(change)
    for (step, earlier), group in by_pair.items():
        ordered = sorted(group, key=lambda change: -abs(change.rise.value))
        shown = len(ordered) if len(ordered) <= _MOST_NAMED else _FIRST_NAMED
        named = ", ".join(map(_figures, ordered[:shown]))
        rest = f", and {len(ordered) - shown} more in the table" if len(ordered) > shown else ""
        yield f"“{step}” predicts held-out text {how} than “{earlier}”: {named}{rest}"


def _figures(change: TextChange) -> str:
    same_tokens = change.before.tokens and change.before.text == change.after.text
    was, now, unit = (
        (change.before.nats_per_token, change.after.nats_per_token, "nats a token")
        if same_tokens
        else (change.before.bits_per_byte, change.after.bits_per_byte, "bits a byte")
    )
    return f"{change.name} {was:.3f} to {now:.3f} {unit} ({rise_words(change.rise)})"


def rise_words(rise: Interval) -> str:
    """A share with its interval, such as `+1.0 % [+0.6 %, +1.4 %]`."""
    value, low, high = (f"{100 * bound:+.1f} %" for bound in rise)
    return f"{value} [{low}, {high}]"


def _unmeasured(packed: PackingResult | None) -> Iterator[str]:
    """A sentence about the sources of which nothing is held out."""
    if packed is not None and packed.not_held_out:
        yield (
            f"Of {', '.join(packed.not_held_out)} nothing is held out, so how well a model predicts it is not known; "
            "raise held_out_share or add documents"
        )


def _notes(packed: PackingResult | None) -> Iterator[str]:
    if packed is not None and packed.held_out_by_parts:
        yield (
            f"Held out of {', '.join(packed.held_out_by_parts)} are the ends of long documents, whose beginnings were "
            "trained on: the loss there is that of their later parts."
        )


# ---- pictures ----


def _panels(steps: Mapping[str, MeasuredStep], changes: Sequence[TextChange]) -> Iterator[str]:
    """One for every text on which models were compared, those that changed most first."""
    largest: dict[str, float] = {}
    for change in changes:
        largest[change.name] = max(abs(change.rise.value), largest.get(change.name, 0.0))
    for name in sorted(largest, key=lambda name: -largest[name])[:_MOST_PANELS]:
        losses = {label: step.texts.get(name) for label, step in steps.items()}
        worse = [change.step for change in changes if change.name == name and change.is_worse]
        yield plots.text_panel(name, [(label, _drawn(loss)) for label, loss in losses.items()], worse)


def _drawn(loss: TextLoss | None) -> Interval | None:
    return None if loss is None else loss.bits or Interval(*(loss.bits_per_byte,) * 3)


# ---- tables ----


@dataclass(frozen=True)
class _TextRows:
    """A text, and the cells of every model that was measured on it."""

    name: str
    cells: list[dict[str, str]]


def _loss_rows(artifacts: Sequence[Artifact], changes: Sequence[TextChange]) -> list[_TextRows]:
    models = list(_measured_models(artifacts))
    by_step = {(change.step, change.name): change for change in changes}
    names = dict.fromkeys(chain.from_iterable(losses for _, losses in models))
    return [
        _TextRows(
            name,
            [_cells(label, losses[name], by_step.get((label, name))) for label, losses in models if name in losses],
        )
        for name in names
    ]


def _measured_models(artifacts: Sequence[Artifact]) -> Iterator[tuple[str, dict[str, TextLoss]]]:
    """By label what every model was measured on; where none was, what the last that was trained left held out."""
    measured = [
        (result.label, losses)
        for artifact, result in artifacts_with(artifacts, EvaluationResult)
        if (losses := text_losses(result, artifact.metadata["inputs"].get("tokens") or ""))
    ]
    yield from measured
    trained = [pair for pair in artifacts_with(artifacts, TrainingResult) if pair[1].held_out]
    if not measured and trained:
        artifact, result = trained[-1]
        losses = {source: TextLoss.of_source(loss, "") for source, loss in result.held_out.items()}
        yield artifact_titles(artifacts)[artifact.key], losses


def _cells(label: str, loss: TextLoss, change: TextChange | None) -> dict[str, str]:
    mark = "" if change is None else "bad" if change.is_worse else "good" if change.is_better else ""
    perplexity = loss.perplexity_interval
    return {
        "label": label,
        "bits": f"{loss.bits_per_byte:.3f}",
        "bits_interval": f"{loss.bits.low:.3f} to {loss.bits.high:.3f}" if loss.bits else "",
        "nats": f"{loss.nats_per_token:.3f}",
        "perplexity": f"{loss.perplexity:,.4g}",
        "perplexity_interval": f"{perplexity.low:,.4g} to {perplexity.high:,.4g}" if perplexity else "",
        "tokens": f"{loss.tokens:,}" if loss.tokens else "",
        "change": "" if change is None else f"{rise_words(change.rise)} from {change.earlier}",
        "mark": mark,
    }


def largest_packing(artifacts: Sequence[Artifact]) -> PackingResult | None:
    """The packed text that there is most of."""
    return max(results_of(artifacts, PackingResult), key=lambda result: result.tokens, default=None)


def _size_rows(artifacts: Sequence[Artifact], packed: PackingResult | None) -> list[dict[str, Any]]:
    """Of every source how much there is to train on, how much is held out, and how much of it was read."""
    if packed is None:
        return []
    read = _tokens_read(artifacts)
    rows = []
    for source, splits in packed.sources.items():
        train, heldout = splits.get("train"), splits.get("heldout")
        total = train.tokens if train else 0
        rows.append(
            {
                "source": source,
                "train": f"{total:,}",
                "documents": f"{train.documents:,}" if train else "0",
                "heldout": f"{heldout.tokens:,}" if heldout else "0",
                "unmeasured": source in packed.not_held_out,
                "read": f"{read[source]:,}" if read else "",
                "share": f"{read[source] / max(1, read.total()):.1%}" if read else "",
                "times": f"{read[source] / max(1, total):.2f}" if read else "",
            }
        )
    return rows


def _tokens_read(artifacts: Sequence[Artifact]) -> Counter[str]:
    """By source what the last model, and those it was made from, were pre-trained on in this run."""
    by_key = {artifact.key: artifact for artifact in artifacts}
    models = [artifact.key for artifact in artifacts if isinstance(artifact, Checkpoint)]
    measured = [artifact.metadata["inputs"].get("model") for artifact, _ in artifacts_with(artifacts, EvaluationResult)]
    read: Counter[str] = Counter()
    for key in chain.from_iterable(generations((measured or models or [""])[-1] or "", by_key)):
        training = by_key[key].get_result(TrainingResult)
        if training is not None and by_key[key].get_result(FinetuningResult) is None:
            read.update({source: use.tokens for source, use in training.sources.items()})
    return read
