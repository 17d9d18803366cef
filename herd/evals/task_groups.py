"""Names that stand for tasks: groups of several, such as `ruler`, and lm-eval's names of a task with settings or of a
part of one, such as `mmlu_stem` and `gsm8k_llama`."""

from __future__ import annotations

import inspect
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from herd.core.errors import SettingsError
from herd.core.settings import parse_yaml
from herd.evals.mmlu_subjects import MMLU_CATEGORIES, MMLU_SUBJECTS
from herd.evals.tasks import tasks

GroupMember = tuple[str, Mapping[str, Any]]
_RULER = (
    *(f"niah_single_{number}" for number in (1, 2, 3)),
    *(f"niah_multikey_{number}" for number in (1, 2, 3)),
    *("niah_multivalue", "niah_multiquery", "ruler_vt", "ruler_cwe", "ruler_fwe", "ruler_qa_squad", "ruler_qa_hotpot"),
)
# Several tasks each. Source: lm-evaluation-harness 0.4.13, but for the last three, which are all tasks of their names.
GROUPS: dict[str, tuple[GroupMember, ...]] = {
    "ruler": tuple((name, {}) for name in _RULER),
    "ai2_arc": (("arc_easy", {}), ("arc_challenge", {})),
    "truthfulqa": (("truthfulqa_gen", {}), ("truthfulqa_mc1", {}), ("truthfulqa_mc2", {})),
    "openllm": (
        ("arc_challenge", {"num_fewshot": 25}),
        ("hellaswag", {"num_fewshot": 10}),
        ("truthfulqa_mc2", {"num_fewshot": 0}),
        ("mmlu", {"num_fewshot": 5}),
        ("winogrande", {"num_fewshot": 5}),
        ("gsm8k", {"num_fewshot": 5}),
    ),
}
_PREFIX_GROUPS = ("infinitebench", "scrolls", "zeroscrolls")
# One task each, under lm-eval's names.
ALIASES: dict[str, GroupMember] = {
    "mmlu_continuation": ("mmlu", {"scoring": "text"}),
    "mmlu_llama": ("mmlu", {"prompt_style": "llama3"}),
    "mmlu_cot_llama": ("mmlu_cot", {}),
    "mmlu_pro_llama": ("mmlu_pro", {"prompt_style": "llama3"}),
    "arc_challenge_llama": ("arc_challenge", {"prompt_style": "llama3"}),
    "gsm8k_llama": ("gsm8k", {"prompt_style": "llama3"}),
    "gsm8k_cot_llama": ("gsm8k", {"prompt_style": "llama3"}),
    "bbh_cot_fewshot": ("bbh", {}),
    "agieval_en": ("agieval", {}),
    "mgsm_native_cot": ("mgsm", {}),
    "gpqa_main_zeroshot": ("gpqa", {}),
    "gpqa_diamond_zeroshot": ("gpqa_diamond", {}),
    "humaneval_instruct": ("humaneval", {"prompt_style": "llama3"}),
}
_PRO = "biology business chemistry computer_science economics engineering health history law math other philosophy"
_PRO_SUBJECTS = [*_PRO.split(), "physics", "psychology"]
# What tasks of texts are read from that are not theirs alone, and how it may be called in a folder of benchmarks.
RULER_TEXTS: dict[str, tuple[str, ...]] = {
    "essays": ("essays", "paulgrahamessays", "pgessays", "longctxessays"),
    "squad": ("devv20", "squadv2", "squad2", "squad"),
    "hotpot": ("hotpotdevdistractorv1", "hotpotqa", "hotpot"),
}
_TEXTS_OF = {
    **dict.fromkeys(
        ("niah_single_2", "niah_single_3", "niah_multikey_1", "niah_multivalue", "niah_multiquery", "niah",
         "multi_needle"), "essays",
    ),
    "ruler_qa_squad": "squad",
    "ruler_qa_hotpot": "hotpot",
}  # fmt: skip


@dataclass(frozen=True)
class NamedTasks:
    """The tasks that names stand for. texts: each as `name` or `name: {setting: value}`. groups: the tasks of each
    group that was named."""

    texts: tuple[str, ...]
    groups: Mapping[str, tuple[str, ...]]


def expand_tasks(texts: Sequence[str], data: str | None = None) -> NamedTasks:
    """Names of groups and lm-eval's names as the tasks they stand for; others stay. Parts of one task that are named
    one by one, such as `mmlu_stem` and `mmlu_other`, become one task.

    data: the folder in which texts of RULER's and of needles are looked for where their settings name none. A group's
    settings are given to all of its tasks that have them; of `ruler` also `essays`, `squad` and `hotpot`.
    Raises SettingsError for settings that none of its tasks has, texts that are not there, and for one task named twice
    with settings that do not go together.
    """
    chosen: dict[str, dict[str, Any]] = {}
    texts_left: list[str] = []
    named: set[str] = set()
    groups: dict[str, tuple[str, ...]] = {}
    for text in texts:
        name, settings = _read(text)
        members = _members(name)
        if members is None and (name not in _TEXTS_OF or "data" in settings or data is None):
            texts_left.append(text)
            named.add(name)
            continue
        for member, own in _with_settings(name, members or ((name, {}),), settings, data):
            _add(chosen, member, own)
            if member not in texts_left:
                texts_left.append(member)
        if members is not None and len(members) > 1:
            groups[name] = tuple(member for member, _ in members)
    if twice := sorted(named & chosen.keys()):
        raise SettingsError(f"{twice[0]} is named twice; measure it in two commands")
    return NamedTasks(
        tuple(json.dumps({text: chosen[text]}) if chosen.get(text) else text for text in texts_left), groups
    )


def _read(text: str) -> tuple[str, dict[str, Any]]:
    value = parse_yaml(text, where=f"task {text!r}")
    if isinstance(value, dict) and len(value) == 1:
        ((name, settings),) = value.items()
        return str(name), dict(settings) if isinstance(settings, dict) else {}
    return (value, {}) if isinstance(value, str) else ("", {})


def _members(name: str) -> tuple[GroupMember, ...] | None:
    """The tasks that a name stands for; None where it is a task's own, or unknown."""
    if name in GROUPS:
        return GROUPS[name]
    if name in _PREFIX_GROUPS:
        return tuple((task, {}) for task in tasks.all() if task.startswith(f"{name}_"))
    if name in tasks.all():
        return None
    if name in ALIASES:
        return (ALIASES[name],)
    return _part(name)


def _part(name: str) -> tuple[GroupMember, ...] | None:
    """Of a part of a task: the task with the part as its subsets."""
    parts_of: dict[str, Sequence[str]] = {**{subject: [subject] for subject in MMLU_SUBJECTS}, **MMLU_CATEGORIES}
    for prefix, task in (("mmlu_cot_llama", "mmlu_cot"), ("mmlu_llama", "mmlu_llama"), ("mmlu", "mmlu")):
        part = name.removeprefix(f"{prefix}_")
        if part != name and part in parts_of:
            task, settings = ALIASES.get(task, (task, {}))
            return ((task, {**settings, "subsets": list(parts_of[part])}),)
    for prefix in ("mmlu_pro_llama", "mmlu_pro"):
        part = name.removeprefix(f"{prefix}_")
        if part != name and part in _PRO_SUBJECTS:
            task, settings = ALIASES.get(prefix, (prefix, {}))
            return ((task, {**settings, "subsets": [part.replace("_", " ")]}),)
    for prefix, task in (("bbh_cot_fewshot", "bbh"), ("mgsm_native_cot", "mgsm"), ("agieval", "agieval")):
        if name.startswith(f"{prefix}_"):
            part = name.removeprefix(f"{prefix}_")
            return ((task, {"subsets": [part.replace("_", "-") if task == "agieval" else part]}),)
    return None


def _with_settings(
    name: str, members: Sequence[GroupMember], settings: Mapping[str, Any], data: str | None
) -> list[tuple[str, dict[str, Any]]]:
    """The tasks with the settings that each of them has."""
    used: set[str] = set()
    chosen: list[tuple[str, dict[str, Any]]] = []
    for member, own in members:
        accepted = _parameters(member)
        values = {**own, **{key: value for key, value in settings.items() if key in accepted}}
        used |= values.keys()
        texts = _TEXTS_OF.get(member)
        if texts is not None and "data" not in values:
            used.add(texts)
            values["data"] = settings[texts] if texts in settings else find_texts(data, texts, member)
        chosen.append((member, values))
    if unknown := settings.keys() - used:
        raise SettingsError(f"no task of {name} has a setting {min(unknown)}; `herd list tasks` prints them")
    return chosen


def _parameters(task: str) -> set[str]:
    return set(inspect.signature(tasks.get(task)).parameters)


def find_texts(folder: str | None, kind: str, task: str) -> str:
    """A file or folder of essays, SQuAD or HotpotQA in a folder of benchmarks, or one folder deeper. Raises
    SettingsError where there is none."""
    names = RULER_TEXTS[kind]
    entries = [] if folder is None else [*sorted(Path(folder).expanduser().glob("*"))]
    entries += [inner for entry in entries if entry.is_dir() for inner in sorted(entry.glob("*"))]
    for name in names:
        for entry in entries:
            if re.sub(r"[^a-z0-9]", "", entry.name.partition(".j")[0].lower()) == name:
                return str(entry)
    where = "without --data" if folder is None else f"{folder} has no file or folder"
    raise SettingsError(
        f"{task} reads {kind} and {where} ({', '.join(names)}); put it there, or name it as `ruler: {{{kind}: PATH}}` "
        f"or `{task}: {{data: PATH}}`"
    )


def _add(chosen: dict[str, dict[str, Any]], task: str, settings: dict[str, Any]) -> None:
    before = chosen.get(task)
    if before is None:
        chosen[task] = settings
        return
    first, second = ({**task_settings, "subsets": ()} for task_settings in (before, settings))
    if first != second:
        raise SettingsError(f"{task} is named twice, with other settings; measure it in two commands")
    if "subsets" in before and "subsets" in settings:
        before["subsets"] = list(dict.fromkeys([*before["subsets"], *settings["subsets"]]))
    else:
        before.pop("subsets", None)  # one of them asks for all


@dataclass(frozen=True)
class GroupMean:
    """What a group scores: the mean of its tasks, each of which counts as much. by_group: the same of what all tasks
    have as groups, such as RULER's lengths."""

    value: float
    tasks: int
    by_group: Mapping[str, float]

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {value:.3f}" for name, value in self.by_group.items())
        return f"{self.value:.3f}  mean of {self.tasks} tasks" + (f" ({parts})" if parts else "")


def group_mean(rows: Sequence[Mapping[str, Any]]) -> GroupMean | None:
    """Of the results of a group's tasks (`TaskResult` as rows); None where one has no value.

    Source: Hsieh et al. 2024 (RULER), 4, averages its thirteen tasks at each length.
    """
    values = [share for row in rows if (share := row.get("share")) is not None and math.isfinite(share)]
    if not values or len(values) < len(rows):
        return None
    common = [name for name in rows[0].get("groups") or {} if all(name in (row.get("groups") or {}) for row in rows)]
    by_group = {name: sum(row["groups"][name]["share"] for row in rows) / len(rows) for name in common}
    return GroupMean(sum(values) / len(values), len(values), by_group)
