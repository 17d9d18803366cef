"""What lm-evaluation-harness wrote with `--log_samples`, as runs that can be compared.

A folder of its output holds `results_DATE.json` and a `samples_TASK_DATE.jsonl` of every task; each line is an item
under one filter. Of these it is known what was written (cut at the stop string), what a filter read out of it, and the
figures; not how long it was in tokens, nor what ended it. The filters and the exact match of a task are in the results
file; those built of regular expressions are applied anew to answers of another run.

Source: lm-evaluation-harness 0.4.13, `EvaluationTracker.save_results_samples`, `filters/extraction.py`,
`api/metrics.py`.
"""

from __future__ import annotations

import itertools
import json
import re
import string
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from herd.core.errors import DataError
from herd.core.rowfiles import RowError, iter_rows
from herd.evals.answer_runs import AnswerRun, Regrade
from herd.evals.answers import AnswerRecord, text_sha256
from herd.evals.replay import AnswerEnding, ReplayedAnswer
from herd.evals.task import Grade

_SAMPLES = re.compile(r"samples_(?P<task>.+?)_(?P<date>\d{4}-\d\d-\d\dT[\d.:-]+)\.jsonl")
_INVALID = "[invalid]"
Extract = Callable[[str], str]
Row = Mapping[str, Any]


def holds_samples(place: str) -> bool:
    """Whether lm-eval's samples are there. place: a file or folder, which may have `#FILTER` after it."""
    path = Path(place.partition("#")[0])
    return path.suffix == ".jsonl" if path.is_file() else bool(_newest(path))


def _newest(folder: Path) -> dict[str, Path]:
    """The newest file of samples of every task, in a folder or those in it."""
    files: dict[str, Path] = {}
    for file in sorted(folder.rglob("samples_*.jsonl"), key=lambda file: file.name):
        match = _SAMPLES.fullmatch(file.name)
        files[match["task"] if match else file.stem.removeprefix("samples_")] = file
    return files


def sample_runs(place: str) -> dict[str, AnswerRun]:
    """The runs of a file or folder of lm-eval's, by task. place: may end in `#NAME` of a filter (`strict-match`) or of
    a figure (`acc_norm`); the first of each is taken without. Raises DataError for what lm-eval did not write."""
    name, _, chosen = place.partition("#")
    path = Path(name)
    if path.is_file():
        match = _SAMPLES.fullmatch(path.name)
        files = {match["task"] if match else path.stem.removeprefix("samples_"): path}
    else:
        files = _newest(path)
    if not files:
        raise DataError(f"{place} holds no samples_*.jsonl; lm_eval --log_samples --output_path writes them")
    rows = {
        task: [_checked(row, f"{file}, row {number}") for number, row in iter_rows(file)]
        for task, file in files.items()
    }
    comparable = {task: own for task, own in rows.items() if own and all(row["metrics"] for row in own)}
    if not comparable:
        raise DataError(f"{place} has no figure of single items from 0 to 1, such as exact_match or acc")
    return {task: _run_of(files[task], own, task, chosen) for task, own in comparable.items()}


def _run_of(file: Path, rows: Sequence[Row], task: str, chosen: str) -> AnswerRun:
    filters = list(dict.fromkeys(row["filter"] for row in rows))
    metrics = list(dict.fromkeys(itertools.chain.from_iterable(row["metrics"] for row in rows)))
    if chosen and chosen not in (*filters, *metrics):
        raise DataError(
            f"{file} has no filter or figure {chosen!r}; it has filters {', '.join(filters)} and figures "
            f"{', '.join(metrics)}"
        )
    filter_name = chosen if chosen in filters else filters[0]
    metric = chosen if chosen in metrics else metrics[0]
    results = _results_beside(file)
    config = (results.get("configs") or {}).get(task) or {}
    grading = _Grading.of(config, filter_name, metric)
    records = _records(rows, task, filter_name, metric)
    generated = not any(own[0].choices for own in records.values())
    kwargs = _generation_of(rows)
    label = f"{file.parent.name}#{chosen}" if chosen else file.parent.name
    notes = [] if results else [f"{file.name} has no results file beside it, so that shots and template are not known"]
    return AnswerRun(
        task,
        label,
        _model_of(results, file),
        _prompt_of(results, task),
        AnswerEnding(tuple(_texts(kwargs.get("until"))), int(kwargs.get("max_gen_toks") or 0)),
        json.dumps([kwargs.get("do_sample"), kwargs.get("temperature")]),
        1,
        json.dumps(["lm-eval", filter_name, metric, grading.config if grading else {}], sort_keys=True),
        records,
        _regrade(rows, grading, filter_name, metric, generated=generated),
        "generate" if generated else "likelihood",
        tuple(notes),
    )


def _checked(row: object, where: str) -> Row:
    columns = ("doc_id", "target", "resps", "filtered_resps", "arguments")
    if isinstance(row, RowError) or not isinstance(row, Mapping) or any(name not in row for name in columns):
        raise DataError(f"{where} is no sample of lm-eval; name a samples_*.jsonl that --log_samples wrote")
    metrics = row.get("metrics") or [name for name in ("exact_match", "acc", "acc_norm") if name in row]
    return {"filter": "none", **row, "metrics": [name for name in metrics if isinstance(row.get(name), int | float)]}


def _records(rows: Sequence[Row], task: str, filter_name: str, metric: str) -> dict[str, tuple[AnswerRecord, ...]]:
    records: defaultdict[str, list[AnswerRecord]] = defaultdict(list)
    for row in rows:
        if row["filter"] == filter_name and metric in row["metrics"]:
            name = item_name(row)
            records[name] = [replace(_record(row, task, metric), id=name)]
    return {name: tuple(own) for name, own in records.items()}


def item_name(row: Row) -> str:
    """What an item is called: by its number and the hash of its document, so that other items are not taken for it."""
    return f"{row['doc_id']}-{str(row.get('doc_hash', ''))[:12]}".rstrip("-")


def _record(row: Row, task: str, metric: str) -> AnswerRecord:
    arguments = _arguments(row)
    prompt = str(arguments[0][0]) if arguments and arguments[0] else ""
    score = float(row[metric])
    if not 0 <= score <= 1:
        raise DataError(f"{metric} of item {row['doc_id']} is {score}; compare by a figure from 0 to 1")
    common = AnswerRecord(
        task, "", prompt=prompt, prompt_sha256=text_sha256(prompt), target=str(row["target"]), score=score
    )
    likelihoods = _likelihoods(row)
    if likelihoods:
        choices = tuple(str(each[1]) for each in arguments)
        return replace(common, choices=choices, log_likelihoods=likelihoods, response="")
    extracted = _first_text(row["filtered_resps"])
    return replace(
        common,
        response=_first_text(row["resps"]),
        extracted=extracted,
        unparsed=extracted == _INVALID,
        reason=f"{row['filter']}: {metric} {score:g}",
    )


def _arguments(row: Row) -> list[list[Any]]:
    """Prompt and what follows or how to generate, of every request; older versions wrote lists."""
    arguments = row["arguments"]
    if isinstance(arguments, Mapping):
        return [list(each.values()) if isinstance(each, Mapping) else list(each) for each in arguments.values()]
    return [list(each) if isinstance(each, Sequence) and not isinstance(each, str) else [each] for each in arguments]


def _likelihoods(row: Row) -> tuple[float, ...]:
    """Of every choice; nothing where a text was written."""
    values = []
    for each in row["filtered_resps"]:
        pair = each[0] if isinstance(each, list) and each and isinstance(each[0], list) else each
        if not (isinstance(pair, list) and len(pair) == 2 and str(pair[1]) in ("True", "False")):
            return ()
        values.append(float(pair[0]))
    return tuple(values) if len(values) > 1 else ()


def _first_text(responses: Any) -> str:
    while isinstance(responses, list):
        responses = responses[0] if responses else ""
    return str(responses)


def _texts(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [str(each) for each in value or ()]


def _generation_of(rows: Sequence[Row]) -> Row:
    for own in _arguments(rows[0]) if rows else ():
        if len(own) > 1 and isinstance(own[1], Mapping):
            return own[1]
    return {}


def _results_beside(file: Path) -> Row:
    """The results file of the same run: of the same date, else the newest one."""
    match = _SAMPLES.fullmatch(file.name)
    files = sorted(file.parent.glob("results_*.json"))
    own = [each for each in files if match and match["date"] in each.name]
    for each in (*own, *files[::-1]):
        try:
            row = json.loads(each.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(row, dict):
            return row
    return {}


def _model_of(results: Row, file: Path) -> str:
    config = results.get("config") or {}
    names = [results.get("model_source") or config.get("model"), results.get("model_name") or config.get("model_args")]
    return json.dumps(names) if any(names) else str(file.parent)


def _prompt_of(results: Row, task: str) -> dict[str, Any]:
    shots = (results.get("n-shot") or {}).get(task)
    return {
        "chat template": [bool(results.get("chat_template")), results.get("chat_template_sha")],
        "system prompt": [results.get("system_instruction_sha") or results.get("system_instruction")],
        "shots": [shots, (results.get("config") or {}).get("fewshot_seed"), results.get("fewshot_as_multiturn")],
    }


# ---- grading again ----


@dataclass(frozen=True)
class _Grading:
    """A filter and an exact match, as the task's configuration has them."""

    config: Row
    extract: Extract
    same: Callable[[str, str], bool]

    @classmethod
    def of(cls, config: Row, filter_name: str, metric: str) -> _Grading | None:
        """None where one of them is not of the kinds known here."""
        chain: Sequence[Row] | None = None
        for each in config.get("filter_list") or ():
            if each.get("name") == filter_name:
                chain = each.get("filter") or ()
        if filter_name == "none" and not config.get("filter_list"):
            chain = ()
        options = next((each for each in config.get("metric_list") or () if each.get("metric") == metric), None)
        if chain is None or options is None or metric != "exact_match":
            return None
        steps = [_step(each) for each in chain]
        if any(step is None for step in steps):
            return None

        def extract(text: str) -> str:
            for step in steps:
                text = step(text) if step is not None else text
            return text

        return cls({"filter": list(chain), "metric": dict(options)}, extract, _matcher(options))


def _step(row: Row) -> Extract | None:
    """One filter as a function of a text; None for one that is not known here."""
    function = row.get("function")
    if function == "regex":
        pattern = re.compile(row.get("regex_pattern", r"#### (\-?[0-9\.\,]+)"))
        place, fallback = row.get("group_select", 0), row.get("fallback", _INVALID)
        return lambda text: _select(pattern.findall(text), place, fallback)
    simple: dict[str, Extract] = {
        "take_first": lambda text: text,
        "remove_whitespace": str.strip,
        "lowercase": str.lower,
        "uppercase": str.upper,
    }
    return simple.get(str(function))


def _select(matches: Sequence[Any], place: int, fallback: str) -> str:
    if not matches:
        return fallback
    try:
        match = matches[place]
    except IndexError:
        return fallback
    if isinstance(match, tuple):
        match = next((group for group in match if group), fallback)
    return match.strip()


def _matcher(options: Row) -> Callable[[str, str], bool]:
    """lm-eval's exact match: what is to be ignored is taken away on both sides."""
    patterns = [re.compile(each) for each in options.get("regexes_to_ignore") or ()]
    ignored = (string.punctuation if options.get("ignore_punctuation") else "") + (
        string.digits if options.get("ignore_numbers") else ""
    )
    table = str.maketrans("", "", ignored)

    def plain(text: str) -> str:
        for pattern in patterns:
            text = pattern.sub("", text)
        text = text.lower() if options.get("ignore_case") else text
        return text.translate(table)

    return lambda first, second: plain(first) == plain(second)


def _regrade(
    rows: Sequence[Row], grading: _Grading | None, filter_name: str, metric: str, *, generated: bool
) -> Regrade:
    """Grades a text as this run does: as it graded the very text, else by its filter; None where neither can tell."""
    stored = {
        (item_name(row), _first_text(row["resps"]) if generated else _likelihoods(row)): row
        for row in rows
        if row["filter"] == filter_name and metric in row["metrics"]
    }

    def regrade(record: AnswerRecord, answer: ReplayedAnswer) -> Grade | None:
        row = stored.get((record.id, answer.text if generated else record.log_likelihoods))
        if row is not None:
            extracted = _first_text(row["filtered_resps"]) if generated else ""
            return Grade(float(row[metric]), extracted, unparsed=extracted == _INVALID)
        if grading is None or not generated:
            return None
        extracted = grading.extract(answer.text)
        return Grade(float(grading.same(extracted, record.target)), extracted, unparsed=extracted == _INVALID)

    return regrade
