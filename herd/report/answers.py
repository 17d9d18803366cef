"""The page of an evaluation: scores as intervals by task and group, and every answer to look through."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from herd.evals.answer_runs import AnswerRun, stored_runs
from herd.evals.answers import PAGE_FILE, AnswerRecord
from herd.evals.cells import own_cell
from herd.evals.intervals import Interval, bootstrap_mean, ratio_mean, wilson
from herd.evals.needle_grid import grid_cells
from herd.evals.results import GroupShare
from herd.evals.significance import macro_mean
from herd.report.sections import fill_template
from herd.report.sections.needles import heat_map, render_heat_maps

TAGS = ("right", "wrong", "partly right", "void", "unparsed", "cut off")
_MOST_ITEMS, _MOST_CHARACTERS = 20_000, 24 << 20  # of a page that a browser still opens at once
_PROMPT_CHARACTERS, _ANSWER_CHARACTERS, _HEAD_CHARACTERS = 3_000, 6_000, 140


def write_answers_page(folder: Path) -> Path:
    """The page about the answers in a folder, written into it. Raises ArtifactError where there are none."""
    page = folder / PAGE_FILE
    page.write_text(render_answers(list(stored_runs(folder).values()), folder.name), encoding="utf-8", errors="replace")
    return page


def render_answers(runs: Sequence[AnswerRun], title: str) -> str:
    """One self-contained HTML page about runs on several tasks."""
    rows = list(chain.from_iterable(map(_score_rows, runs)))
    maps = [heat_map(run.task, cells) for run in runs if (cells := grid_cells(_group_shares(run)))]
    needles = render_heat_maps(maps) if maps else ""
    summary = fill_template(Path(__file__).with_name("scores.html"), rows=rows, needles=needles)
    records = chain.from_iterable(chain.from_iterable(run.records.values()) for run in runs)
    items = map(_item, records)
    return render_items(f"Answers of {title}", items, summary, tags=TAGS, tag_label="verdict", notes=())


def render_items(
    title: str,
    items: Iterable[Mapping[str, Any]],
    summary: Any,
    *,
    tags: Sequence[str],
    tag_label: str,
    notes: Sequence[str],
) -> str:
    """A page of items that are searched and filtered.

    items: each with `task`, `id`, `group`, `head`, `tags` and `blocks` of (label, text), all of which go in as text.
    summary: what stands above, as `fill_template` gives it. So many are left out that a browser opens the page, and
    the page says how many.
    """
    chosen, size, count = [], 0, 0
    for item in items:
        count += 1
        size += sum(len(text) for _, text in item["blocks"])
        if len(chosen) < _MOST_ITEMS and size < _MOST_CHARACTERS:
            chosen.append(item)
    present = set(chain.from_iterable(item["tags"] for item in chosen))
    left_out = f"The first {len(chosen):,} of {count:,} answers are on this page." if len(chosen) < count else ""
    return str(
        fill_template(
            Path(__file__).with_name("items.html"),
            title=title,
            notes=notes,
            summary=summary,
            items=chosen,
            tasks=sorted({item["task"] for item in chosen}),
            tags=[tag for tag in tags if tag in present],
            tag_label=tag_label,
            left_out=left_out,
        )
    )


def _group_shares(run: AnswerRun) -> dict[str, GroupShare]:
    """What the run scores in each group, over answers that are not void."""
    values: defaultdict[str, list[float]] = defaultdict(list)
    for name, records in run.records.items():
        cell = own_cell(run, name)
        if cell is not None:
            values[records[0].group].append(cell.value)
    return {group: GroupShare(sum(scores) / len(scores), len(scores)) for group, scores in values.items()}


def _score_rows(run: AnswerRun) -> list[dict[str, Any]]:
    """The task, and below it each of its groups where there are several."""
    by_group: defaultdict[str, list[str]] = defaultdict(list)
    for name, records in run.records.items():
        by_group[records[0].group].append(name)
    rows = [_score_row(run, list(run.records), run.task)]
    if len(by_group) > 1:
        rows += [_macro_row(run, by_group.values())]
        rows += [
            _score_row(run, names, group or "no group") | {"is_group": True}
            for group, names in sorted(by_group.items())
        ]
    return rows


def _macro_row(run: AnswerRun, groups: Iterable[Sequence[str]]) -> dict[str, Any]:
    """The mean over groups, each of which counts as much."""
    values: list[float] = []
    places: list[int] = []
    for place, names in enumerate(groups):
        cells = (own_cell(run, name) for name in names)
        values += [cell.value for cell in cells if cell is not None]
        places += [place] * (len(values) - len(places))
    macro = macro_mean(values, places)
    return {
        "name": "mean of groups",
        "is_group": True,
        "bar": bar_of(macro, 0.0, 1.0) if math.isfinite(macro.value) else None,
        "score": _number(macro.value),
        "interval": f"{_number(macro.low)} to {_number(macro.high)}" if macro.is_bounded else "",
        "count": f"{len(values):,}",
        "void": "",
        "unparsed": "",
        "truncated": "",
    }


def _score_row(run: AnswerRun, names: Sequence[str], title: str) -> dict[str, Any]:
    records = list(chain.from_iterable(run.records[name] for name in names))
    cells = [own_cell(run, name) for name in names]
    values = [cell.value for cell in cells if cell is not None]
    if run.output == "perplexity":
        interval = ratio_mean(
            [-record.log_likelihoods[0] / math.log(2) for record in records],
            [record.utf8_bytes for record in records],
            least=0.0,
        )
    elif len(values) == 1 or all(value in (0, 1) for value in values):
        interval = wilson(sum(values), len(values))
    else:
        interval = bootstrap_mean(values)
    return {
        "name": title,
        "is_group": False,
        "bar": bar_of(interval, 0.0, 1.0) if run.output != "perplexity" and values else None,
        "score": _number(interval.value) + (" bits a byte" if run.output == "perplexity" else ""),
        "interval": f"{_number(interval.low)} to {_number(interval.high)}" if interval.is_bounded else "",
        "count": f"{len(names):,}",
        "void": f"{sum(cell is None for cell in cells):,}" if run.output != "perplexity" else "",
        "unparsed": f"{sum(record.unparsed for record in records):,}",
        "truncated": f"{sum(record.finish_reason == 'length' for record in records):,}",
    }


def _number(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "-"


def bar_of(interval: Interval, least: float, most: float) -> tuple[float, float, float]:
    """Where a bar from `low` to `high` begins, how wide it is, and where its value stands, in percent of an axis."""
    width = most - least or 1.0

    def place(value: float) -> float:
        return round(min(100.0, max(0.0, 100 * (value - least) / width)), 2)

    if not interval.is_bounded:
        return place(interval.value), 0.0, place(interval.value)
    return place(interval.low), round(place(interval.high) - place(interval.low), 2), place(interval.value)


def verdict_tags(record: AnswerRecord) -> list[str]:
    """What an answer is filtered by."""
    if record.score is None:
        verdict = "void" if not record.utf8_bytes else ""
    else:
        verdict = {1.0: "right", 0.0: "wrong"}.get(record.score, "partly right")
    tags = [verdict] if verdict else []
    return tags + ["unparsed"] * record.unparsed + ["cut off"] * (record.finish_reason == "length")


def _item(record: AnswerRecord) -> dict[str, Any]:
    question = record.asked
    return {
        "task": record.task,
        "id": record.id + (f" (sample {record.sample + 1})" if record.sample else ""),
        "group": record.group,
        "head": one_line(question),
        "tags": verdict_tags(record),
        "blocks": answer_blocks(record),
    }


def answer_blocks(record: AnswerRecord) -> list[tuple[str, str]]:
    """What was asked, answered and read out of it, as (label, text); what is empty is left out."""
    choices = "\n".join(
        f"{logp:10.4f}  {choice}" for logp, choice in zip(record.log_likelihoods, record.choices, strict=False)
    )
    blocks = [
        ("asked", shorten(record.prompt, _PROMPT_CHARACTERS, keep_end=True)),
        ("choices, with log-likelihoods in nats", shorten(choices, _ANSWER_CHARACTERS)),
        ("answered", shorten(record.raw or record.response, _ANSWER_CHARACTERS)),
        ("written after it", shorten(record.tail, 400)),
        ("read out of it", shorten(record.extracted, 1_000) if not record.unparsed else "nothing could be read out"),
        ("target", shorten(record.target, 1_000)),
        ("why", shorten(record.reason, 2_000)),
    ]
    return [(label, text) for label, text in blocks if text]


def shorten(text: str, most: int, *, keep_end: bool = False) -> str:
    """At most so many characters, with a word on what is left out."""
    if len(text) <= most:
        return text
    rest = f"{len(text) - most:,} more characters"
    return f"[{rest}]\n{text[-most:]}" if keep_end else f"{text[:most]}\n[{rest}]"


def one_line(text: str) -> str:
    """The end of a text, where its question stands, on one line."""
    words = " ".join(text[-4 * _HEAD_CHARACTERS :].split())
    return words if len(words) <= _HEAD_CHARACTERS else f"… {words[-_HEAD_CHARACTERS:]}"
