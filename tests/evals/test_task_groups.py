"""Names that stand for tasks: groups, and lm-eval's names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from herd.core.errors import SettingsError
from herd.core.settings import parse_yaml
from herd.evals.task_groups import ALIASES, GROUPS, expand_tasks, find_texts, group_mean
from herd.evals.tasks import tasks


def texts_in(folder: Path) -> Path:
    (folder / "PaulGrahamEssays").mkdir(parents=True)
    (folder / "PaulGrahamEssays" / "a.txt").write_text("One. Two.")
    (folder / "squad").mkdir()
    (folder / "squad" / "dev-v2.0.json").write_text("{}")
    (folder / "hotpot_dev_distractor_v1.json").write_text("[]")
    return folder


def test_ruler_is_its_thirteen_tasks_with_their_texts(tmp_path: Path) -> None:
    named = expand_tasks(["ruler: {max_seq_lengths: [512, 1024], limit: 3}", "gsm8k"], str(texts_in(tmp_path)))
    assert len(named.groups["ruler"]) == 13
    assert named.texts[-1] == "gsm8k"
    uses = [tasks.parse(parse_yaml(text, where="a test")) for text in named.texts[:-1]]
    assert {use.name for use in uses} == set(named.groups["ruler"])
    assert all(use.settings["max_seq_lengths"] == (512, 1024) and use.settings["limit"] == 3 for use in uses)
    places = {use.name: use.settings["data"].partition("#")[0] for use in uses if "data" in use.settings}
    assert places["niah_multiquery"].startswith(str(tmp_path / "PaulGrahamEssays"))
    assert places["ruler_qa_squad"].startswith(str(tmp_path / "squad" / "dev-v2.0.json"))
    assert places["ruler_qa_hotpot"].startswith(str(tmp_path / "hotpot_dev_distractor_v1.json"))
    (alone,) = expand_tasks(["niah_single_2"], str(tmp_path)).texts
    assert json.loads(alone) == {"niah_single_2": {"data": str(tmp_path / "PaulGrahamEssays")}}
    assert expand_tasks(["niah_single_2"]).texts == ("niah_single_2",)  # refused where its settings are read


def test_texts_that_are_not_there_are_named(tmp_path: Path) -> None:
    (tmp_path / "essays").mkdir()
    with pytest.raises(SettingsError, match=r"ruler_qa_squad reads squad.*`ruler: \{squad: PATH\}`"):
        expand_tasks(["ruler"], str(tmp_path))
    with pytest.raises(SettingsError, match="without --data"):
        expand_tasks(["ruler"])
    named = expand_tasks(["ruler: {squad: a.json, hotpot: b.json}"], str(tmp_path))
    assert {"ruler_qa_hotpot": {"data": "b.json"}} in [json.loads(text) for text in named.texts if "{" in text]
    assert find_texts(str(tmp_path), "essays", "niah").endswith("essays")
    with pytest.raises(SettingsError, match="no task of ruler has a setting shots"):
        expand_tasks(["ruler: {shots: 3, squad: a, hotpot: b}"], str(tmp_path))


@pytest.mark.parametrize(
    ("name", "task", "settings"),
    [
        ("mmlu_anatomy", "mmlu", {"subsets": ("anatomy",)}),
        ("mmlu_llama", "mmlu", {"prompt_style": "llama3"}),
        ("mmlu_llama_anatomy", "mmlu", {"prompt_style": "llama3", "subsets": ("anatomy",)}),
        ("mmlu_cot_llama_virology", "mmlu_cot", {"subsets": ("virology",)}),
        ("mmlu_pro_computer_science", "mmlu_pro", {"subsets": ("computer science",)}),
        ("mmlu_pro_llama", "mmlu_pro", {"prompt_style": "llama3"}),
        ("mmlu_pro_llama_law", "mmlu_pro", {"prompt_style": "llama3", "subsets": ("law",)}),
        ("bbh_cot_fewshot_navigate", "bbh", {"subsets": ("navigate",)}),
        ("agieval_lsat_ar", "agieval", {"subsets": ("lsat-ar",)}),
        ("mgsm_native_cot_de", "mgsm", {"subsets": ("de",)}),
        ("gsm8k_llama: {limit: 5}", "gsm8k", {"prompt_style": "llama3", "limit": 5}),
    ],
)
def test_names_of_lm_eval_are_tasks_with_settings(name: str, task: str, settings: dict[str, object]) -> None:
    (text,) = expand_tasks([name]).texts
    use = tasks.parse(parse_yaml(text, where="a test"))
    assert use.name == task
    assert {key: use.settings[key] for key in settings} == settings


def test_every_name_stands_for_tasks_that_there_are() -> None:
    for members in [*GROUPS.values(), *((alias,) for alias in ALIASES.values())]:
        for task, settings in members:
            if task not in ("ruler_qa_squad", "ruler_qa_hotpot") and not task.startswith("niah_"):
                tasks.configure(task, **settings)
    assert not (GROUPS.keys() | ALIASES.keys()) & tasks.all().keys()
    assert len(expand_tasks(["mmlu_stem"]).texts) == 1
    assert all(name.startswith("zeroscrolls_") for name in expand_tasks(["zeroscrolls"]).groups["zeroscrolls"])


def test_parts_of_one_task_become_one(tmp_path: Path) -> None:
    (text,) = expand_tasks(["mmlu_stem", "mmlu_virology", "mmlu_anatomy"]).texts
    subsets = json.loads(text)["mmlu"]["subsets"]
    assert len(subsets) == 20
    assert subsets[-1] == "virology"
    with pytest.raises(SettingsError, match="mmlu is named twice"):
        expand_tasks(["mmlu_stem", "mmlu_llama"])
    with pytest.raises(SettingsError, match="mmlu is named twice"):
        expand_tasks(["mmlu: {num_fewshot: 0}", "mmlu_stem"])
    assert expand_tasks(["mmlu_xyz", "gsm8k"]).texts == ("mmlu_xyz", "gsm8k")  # refused as no task, with the nearest


def test_a_groups_score_is_the_mean_of_its_tasks() -> None:
    rows = [
        {"share": share, "groups": {"4096": {"share": share, "questions": 1}, own: {"share": 0.0, "questions": 1}}}
        for share, own in ((0.5, "a"), (1.0, "b"))
    ]
    mean = group_mean(rows)
    assert mean is not None
    assert (mean.value, mean.tasks, mean.by_group) == (0.75, 2, {"4096": 0.75})
    assert str(mean) == "0.750  mean of 2 tasks (4096 0.750)"
    assert group_mean([*rows, {"share": None}]) is None
    assert group_mean([]) is None
