"""What a run left behind, as the page shows it: plain rows of text for the template."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from herd.core.artifacts import Artifact, Checkpoint
from herd.core.manifests import check_files
from herd.report import plots
from herd.report.alignment import alignment
from herd.report.mixes import mixing
from herd.report.plots import drawn
from herd.report.verdicts import Verdict
from herd.train.log import METRICS, Foretold, Step, read_steps

SECTIONS = {
    "verdicts": "What was to be shown",
    "stages": "Time and cost",
    "funnels": "Funnel",
    "compression": "Tokenizer",
    "scaling": "Scaling law",
    "mixing": "Data mix",
    "alignment": "Alignment",
    "curves": "Losses",
    "needles": "Needles",
    "evaluation": "Evaluation",
    "samples": "Samples",
}
_IDS = {"funnels": "funnel", "compression": "tokenizer", "curves": "losses"}


def render(title: str, made: Sequence[Artifact], verdicts: Sequence[Verdict], note: str = "") -> str:
    """The page about the artifacts `made`, one self-contained HTML text. Parts nothing was made for stay out. note:
    what its readers have to know first."""
    from jinja2 import Environment, StrictUndefined, select_autoescape

    content: dict[str, Any] = {
        "title": title,
        "note": note,
        "tiles": tiles(made, verdicts),
        "verdicts": [asdict(one) for one in verdicts],
        "stages": stage_rows(made),
        "foretold": foretold(made),
        "funnels": list(funnels(made)),
        "compression": compression(made),
        "scaling": scaling(made),
        "mixing": mixing(made),
        "alignment": alignment(made),
        "curves": list(curves(made)),
        "held_out": held_out(made),
        "needles": list(needle_grids(made)),
        "evaluation": evaluation(made),
        "samples": samples(made),
    }
    content["sections"] = [(_IDS.get(key, key), name) for key, name in SECTIONS.items() if content[key]]
    template = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    rules = Environment(autoescape=select_autoescape(default=True), undefined=StrictUndefined)
    return rules.from_string(template).render(**content)


def tiles(made: Sequence[Artifact], verdicts: Sequence[Verdict]) -> list[dict[str, str]]:
    """The few numbers people look for first."""
    found = [("bars that hold", f"{sum(one.holds for one in verdicts)} of {len(verdicts)}")] if verdicts else []
    found += [("core-seconds of work", f"{sum(one.card['cost']['cpu_seconds'] for one in made):,.0f}")]
    found += [("largest stage in memory", f"{max(one.card['cost']['peak_bytes'] for one in made) / 1e9:.1f} GB")]
    for name, words in (("documents", "documents kept"), ("vocabulary", "tokens in the vocabulary")):
        values = [one.figures[name] for one in made if name in one.figures]
        found += [(words, f"{max(values):,}")] if values else []
    weights = [one.figures["weights"] for one in made if "weights" in one.figures]
    found += [("weights", f"{max(weights):,}")] if weights else []
    flops = sum(one.figures.get("flops", 0) for one in made)
    found += [("training FLOPs", f"{flops:.2e}")] if flops else []
    return [{"name": name, "value": value} for name, value in found]


def stage_rows(made: Sequence[Artifact]) -> list[dict[str, Any]]:
    longest = max((one.card["cost"]["seconds"] for one in made), default=1.0) or 1.0
    return [
        {
            "key": one.key,
            "paper": one.card["paper"],
            "headline": one.figures.get("headline", ""),
            "seconds": f"{one.card['cost']['seconds']:.1f}",
            "cpu": f"{one.card['cost']['cpu_seconds']:.1f}",
            "megabytes": f"{one.card['cost']['peak_bytes'] / 1e6:,.0f}",
            "width": round(80 * one.card["cost"]["seconds"] / longest, 1),
        }
        for one in made
    ]


def foretold(made: Sequence[Artifact]) -> dict[str, Any] | None:
    """What `herd plan --rehearse` said of training, and what it was; None where nothing was foretold."""
    rows, steps_took, all_took = [], [0.0, 0.0], [0.0, 0.0]  # foretold and measured
    for one in made:
        steps = _steps(one)
        found = Foretold.of(one.card["cost"], steps)
        if found is not None:
            for n in (0, 1):
                steps_took[n] += len(steps) * found.core_seconds[n]
                all_took[n] += found.stage_seconds[n]
            rows.append(
                {
                    "key": one.key,
                    "steps": f"{len(steps):,}",
                    "pairs": [
                        [*(f"{scale * value:,.1f}" for value in pair), f"{pair[1] / pair[0] - 1:+.0%}"]
                        for scale, pair in (
                            (1e3, found.core_seconds),
                            (1e-6, found.held_bytes),
                            (1e-6, found.peak_bytes),
                        )
                    ],
                }
            )
    if not rows:
        return None
    words = (
        f"All steps together took {_beside(*steps_took)}; with tests, measuring and writing, the stages took "
        f"{_beside(*all_took)}."
    )
    return {"rows": rows, "words": words}


def _beside(told: float, took: float) -> str:
    return f"{took:,.0f} core-seconds where {told:,.0f} were foretold ({took / told - 1:+.1%})"


def funnels(made: Sequence[Artifact]) -> Iterator[dict[str, Any]]:
    for figures in (one.figures for one in made if "funnel" in one.figures):
        pages = max(1, figures["pages"])
        rows = [
            {
                "step": row["step"],
                "came": f"{row['in']:,}",
                "dropped": f"{row['dropped']:,}",
                "alone": f"{row['alone']:,}" if "alone" in row else "",
                "left": f"{row['in'] - row['dropped']:,}",
                "width": round(90 * (row["in"] - row["dropped"]) / pages, 1),
                "examples": row["examples"],
            }
            for row in figures["funnel"]
        ]
        languages = ", ".join(f"{name or 'unknown'} {count:,}" for name, count in figures["languages"].items())
        words = f"{figures['documents']:,} of {figures['pages']:,} pages were kept. Languages: {languages}."
        if figures["broken_files"]:
            words += f" Files that broke off: {'; '.join(figures['broken_files'])}."
        yield {"words": words, "rows": rows, "steps": list(step_figures(figures.get("dedup", {})))}


def step_figures(together: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """What steps over all documents found: numbers in a sentence, and samples such as the largest clusters."""
    for step, figures in together.items():
        told, samples = [], []
        for name, value in figures.items():
            if isinstance(value, list):
                samples += [", ".join(f"{key} {_shown(held)}" for key, held in row.items()) for row in value[:10]]
            elif isinstance(value, dict):
                told.append(f"{name}: " + ", ".join(f"{key}: {count:,}" for key, count in value.items() if count))
            else:
                told.append(f"{name} {value:,}")
        if told:
            yield {"step": step, "told": "; ".join(told), "samples": samples}


def _shown(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def compression(made: Sequence[Artifact]) -> list[dict[str, Any]]:
    rates = next((one.figures["compression"] for one in made if "compression" in one.figures), {})
    best = max((row["characters_per_token"] for row in rates.values()), default=1.0)
    return [
        {
            "group": group,
            "characters": f"{row['characters']:,}",
            "tokens": f"{row['tokens']:,}",
            "rate": f"{row['characters_per_token']:.2f}",
            "width": round(80 * row["characters_per_token"] / best, 1),
        }
        for group, row in rates.items()
    ]


def scaling(made: Sequence[Artifact]) -> dict[str, Any] | None:
    result = next((one.figures["scaling"] for one in made if "scaling" in one.figures), None)
    if result is None:
        return None
    law = result["law"]
    if law is None:
        words = "Fewer than two curves have their minimum inside the sizes trained, so there is no law to draw."
    else:
        low, high = law["exponent_interval"] or (law["exponent"], law["exponent"])
        words = (
            f"Best tokens = {law['factor']:.3g} x FLOPs^{law['exponent']:.3f} (95 % interval of the exponent "
            f"{low:.3f} to {high:.3f}; Llama 3 found 0.537). For the base run's {result['target_flops']:.2e} FLOPs "
            f"it says {law['best_tokens']:,.0f} tokens."
        )
    return {"words": words, "drawing": drawn(plots.scaling(result)), "rows": [_curve(row) for row in result["curves"]]}


def _curve(row: Mapping[str, Any]) -> dict[str, str]:
    return {
        "flops": f"{row['flops']:.1e}",
        "models": str(len(row["tokens"])),
        "fit": f"{row['fit']:.3f}",
        "tokens": f"{row['best_tokens']:,.0f}" if row["inside"] else "outside the sizes trained",
        "loss": f"{row['best_loss']:.3f}" if row["inside"] else "",
    }


# ---- losses ----

_PRETRAINING = ("pretrain", "extend_context", "anneal")


def curves(made: Sequence[Artifact]) -> Iterator[dict[str, Any]]:
    """The losses of the one chain of pre-training, then those of each stage of alignment."""
    trained = [one for one in made if isinstance(one, Checkpoint) and METRICS in one.card["files"]]
    chain = [one for one in trained if one.card["stage"] in _PRETRAINING and not _is_rung(one, made)]
    if chain:
        svg = plots.loss_curves([_run(one) for one in chain], "training tokens with a target")
        yield {"title": "Pre-training, longer contexts, annealing", "drawing": drawn(svg)}
    for stage, unit in (("train_reward", "pairs"), ("sft", "tokens learnt"), ("dpo", "pairs")):
        runs = [one for one in trained if one.card["stage"] == stage]
        if runs:
            yield {
                "title": f"{stage}, run after run",
                "drawing": drawn(plots.loss_curves([_run(r) for r in runs], unit)),
            }


def _steps(one: Artifact) -> list[Step]:
    """What every step of a stage did, compared with its hash: it need not be an input of the report's own."""
    check_files(one.path, METRICS)
    return read_steps(one.path / METRICS)


def _is_rung(one: Artifact, made: Sequence[Artifact]) -> bool:
    """Whether the only use of a model was to fit a law."""
    uses = [other for other in made if one.key in _inputs(other)]
    return bool(uses) and all("scaling" in other.figures for other in uses)


def _inputs(one: Artifact) -> list[str]:
    values = one.card["inputs"].values()
    return [key for value in values for key in (value if isinstance(value, list) else [value]) if key]


def _run(one: Artifact) -> tuple[str, list[float], list[float]]:
    steps = _steps(one)
    return one.key, [step.weight for step in steps], [step.loss for step in steps]


# ---- measurements ----


def measured(made: Sequence[Artifact]) -> list[dict[str, Any]]:
    """What the `measure` stages found, in the order of the run."""
    return [one.figures["measured"] for one in made if "measured" in one.figures]


def held_out(made: Sequence[Artifact]) -> dict[str, Any] | None:
    found = measured(made)
    sources = sorted({source for one in found for source in one["held_out"]})
    if not sources:
        return None
    rows = [
        {
            "source": source,
            "cells": [
                f"{one['held_out'][source]['bits_per_byte']:.3f}" if source in one["held_out"] else "" for one in found
            ],
        }
        for source in sources
    ]
    return {"labels": [one["label"] for one in found], "rows": rows}


def needle_grids(made: Sequence[Artifact]) -> Iterator[dict[str, Any]]:
    for one in made:
        if "gate" in one.figures:
            gate = "passed" if one.figures["gate"]["passed"] else "not passed"
            words = f"{one.key}: before ({'switched' if one.figures['switched'] else 'not switched'})"
            yield _grid(words, one.figures["needle_before"])
            yield _grid(f"{one.key}: after, gate {gate}", one.figures["needle"])
    for found in measured(made):
        if found["needle"]:
            yield _grid(f"{found['label']}, measured", found["needle"])


def _grid(label: str, cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    depths = sorted({cell["depth"] for cell in cells})
    rows = []
    for length in sorted({cell["length"] for cell in cells}):
        own = {cell["depth"]: cell for cell in cells if cell["length"] == length}
        found, asked = sum(c["found"] for c in own.values()), sum(c["asked"] for c in own.values())
        rows.append(
            {"length": f"{length:,}", "cells": [_cell(own[depth]) for depth in depths], "all": f"{found / asked:.1%}"}
        )
    return {"label": label, "depths": [f"{depth:.2f}" for depth in depths], "rows": rows}


def _cell(cell: Mapping[str, Any]) -> dict[str, str]:
    share = cell["found"] / cell["asked"]
    # From a pale red by way of a pale yellow to a pale green; dark text is readable on all of them.
    return {"text": f"{share:.0%}", "colour": f"hsl({round(120 * share)} 55% 80%)"}


def evaluation(made: Sequence[Artifact]) -> dict[str, Any] | None:
    found = measured(made)
    names = list(dict.fromkeys(task for one in found for task in one["tasks"]))
    if not names:
        return None
    labels = [one["label"] for one in found]
    table = {name: [one["tasks"].get(name) for one in found] for name in names}
    rows = [
        {
            "task": name,
            "questions": max(row["questions"] for row in cells if row),
            "cells": [_share(row) for row in cells],
        }
        for name, cells in table.items()
    ]
    shares = {name: cells for name, cells in table.items() if all(row is None or "share" in row for row in cells)}
    return {"labels": labels, "rows": rows, "drawing": drawn(plots.scores(labels, shares)) if shares else ""}


def _share(row: Mapping[str, Any] | None) -> dict[str, str]:
    if row is None:
        return {"share": "", "interval": ""}
    if "share" not in row:
        words = f"{row['bits_per_byte']:.3f} bits a byte"
        return {"share": words, "interval": f"{row['low']:.3f} to {row['high']:.3f}"}
    return {"share": f"{row['share']:.1%}", "interval": f"{row['low']:.1%} to {row['high']:.1%}"}


def samples(made: Sequence[Artifact]) -> list[dict[str, Any]]:
    """The same first questions of every task, and what each model answered."""
    found = measured(made)
    shown = []
    for name in dict.fromkeys(task for one in found for task in one["tasks"]):
        asked: dict[int, dict[str, Any]] = {}
        for one in found:
            for number, sample in enumerate(one["tasks"].get(name, {}).get("samples", [])):
                entry = asked.setdefault(number, {"asked": sample["asked"], "answers": []})
                if one["chat"]:  # a chat model is asked the bare question
                    entry["asked"] = sample["asked"]
                entry["answers"].append({"label": one["label"], "text": sample["answer"], "right": sample["right"]})
        shown.append({"name": name, "questions": list(asked.values())})
    return shown
