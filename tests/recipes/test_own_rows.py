"""Rows of one's own are split before anything is learnt, whichever way they are held out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from herd.core.artifacts import Artifact
from herd.core.errors import DataError, SettingsError
from herd.core.stage import plan_of, walk
from herd.core.storage import read_conversations
from herd.recipes.own_rows import NamedFiles, OwnRowsSettings, ready_text
from herd.run.runner import run_stages
from tests.serve.test_compare import chat_model


def rows(file: Path, count: int = 20) -> str:
    file.write_text("".join(json.dumps({"prompt": f"say {n}", "response": "hello"}) + "\n" for n in range(count)))
    return str(file)


def pairs(file: Path, count: int = 20) -> str:
    rows = [{"prompt": f"say {n}", "chosen": "hello", "rejected": "no"} for n in range(count)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(file)


def own(model: str = "model", **changes: object) -> OwnRowsSettings:
    return OwnRowsSettings(**({"title": "Own", "model": model} | changes))  # type: ignore[arg-type]


def test_both_parts_are_of_the_same_rows_and_tests_are_kept_out_of_them(tmp_path: Path) -> None:
    settings = own(tests=(rows(tmp_path / "tests.jsonl"),), held_out_share=0.2)
    train, held_out = settings.dialogues_of((rows(tmp_path / "rows.jsonl"),))
    assert held_out is not None
    plans = [plan_of(train), plan_of(held_out)]
    assert [plan.settings["part"] for plan in plans] == ["train", "held_out"]
    assert plans[0].input_keys == plans[1].input_keys
    assert sum(plan.stage.name == "load_dialogues" for plan in walk(train)) == 2


def test_a_file_of_its_own_is_held_out_in_the_place_of_a_share(tmp_path: Path) -> None:
    settings = own(held_out=(pairs(tmp_path / "apart.jsonl"),))
    train, held_out = settings.preferences_of((pairs(tmp_path / "rows.jsonl", 3),))
    assert held_out is not None
    assert plan_of(train).input_keys["held_out"] == held_out.key


@pytest.mark.parametrize("apart", [True, False], ids=["held out by name", "held out by share"])
def test_a_folder_with_splits_gives_its_train_split_to_learn_from_alone(tmp_path: Path, apart: bool) -> None:
    """One folder as everything: what is learnt is `train`, what is measured on and tested are the others."""
    folder = tmp_path / "set"
    folder.mkdir()
    for name in ("train", "test"):
        (folder / f"{name}.jsonl").write_text(json.dumps({"prompt": name, "response": "hello"}) + "\n")
    place = str(folder)
    train, held_out = own(held_out=(place,) if apart else (), held_out_share=0.0).dialogues_of((place,))
    expected = {"train": ["train"]} | ({"test": ["test"]} if apart else {})
    for name, artifact in (("train", train), ("test", held_out)):
        if artifact is not None:
            made = run_stages(artifact, tmp_path / "run", jobs=0)
            assert [row.messages[0].content for row in read_conversations(made.path)] == expected[name]
    tested, _ = own(tests=(place,), held_out_share=0.0).dialogues_of((place,))
    (tests,) = (plan for plan in walk(tested) if plan.settings.get("source") == "tests")
    made = run_stages(Artifact.from_plan(tests), tmp_path / "run", jobs=0)
    assert [row.messages[0].content for row in read_conversations(made.path)] == ["test"]


def test_without_a_share_all_is_learnt(tmp_path: Path) -> None:
    train, held_out = own(held_out_share=0.0).dialogues_of((rows(tmp_path / "rows.jsonl"),))
    assert held_out is None
    assert plan_of(train).stage.name == "load_dialogues"


def test_models_are_measured_where_there_is_something_to_measure(tmp_path: Path) -> None:
    from herd.align.loading import load_pretrained

    start = load_pretrained(folder=str(chat_model(tmp_path / "model")))
    assert own().before_and_after(start, start) == ()
    tasks = {"tasks": [{"short_answer": {"data": rows(tmp_path / "rows.jsonl")}}]}
    from herd.core.settings import build

    settings = build(OwnRowsSettings, {"title": "Own", "model": "m", "measure": tasks}, where="here")
    assert [plan_of(one).settings["label"] for one in settings.before_and_after(start, start)] == ["before", "after"]


def test_text_is_packed_for_the_model_as_it_is(tmp_path: Path) -> None:
    from herd.align.loading import load_pretrained

    (tmp_path / "own.txt").write_text("Some text. " * 30)
    start = load_pretrained(folder=str(chat_model(tmp_path / "model")))
    tokens = ready_text({"own": (str(tmp_path / "own.txt"),)}, start, held_out_share=0.1)
    assert tokens is not None
    assert [plan.stage.name for plan in walk(tokens)] == ["load_files", "curate", "load_pretrained", "pack"]
    assert ready_text({}, start, held_out_share=0.1) is None


def test_what_is_not_said_is_asked_for() -> None:
    with pytest.raises(SettingsError, match="model is not said; write a YAML file with `recipe: sft` and your model"):
        own(model="").require("sft", "model")


def test_rows_that_are_learnt_and_held_out_at_once_are_refused_while_planning(tmp_path: Path) -> None:
    file = rows(tmp_path / "rows.jsonl")
    other = tmp_path / "link.jsonl"
    other.symlink_to(file)
    for held_out in (file, str(other)):
        with pytest.raises(SettingsError, match=r"are all named as held_out too, so that none would be learnt; name"):
            own(held_out=(held_out,)).dialogues_of((file,))
    more = rows(tmp_path / "more.jsonl", 30)
    own(held_out=(file,)).dialogues_of((more, file))  # whose prompts are left out of what is learnt


def test_rows_that_nothing_can_be_learnt_from_are_told_while_planning(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"body": "hello"}) + "\n")
    with pytest.raises(DataError, match="columns body make no dialogue; it wants messages"):
        own().dialogues_of((str(file),))
    with pytest.raises(DataError, match="no preferences, only conversations"):
        own().preferences_of((rows(tmp_path / "said.jsonl"),))
    with pytest.raises(DataError, match="no conversations, only preferences"):
        own(held_out=(pairs(tmp_path / "pairs.jsonl"),)).dialogues_of((rows(tmp_path / "said.jsonl"),))


def test_files_without_names_are_called_as_they_are_and_many_of_a_folder_as_it_is() -> None:
    assert NamedFiles.of(("x/dolly.jsonl.gz", "s3://set/Own Rows.parquet")).sources == ("dolly", "own-rows")
    many = tuple(f"x/shards/{n}.jsonl" for n in range(9))
    assert NamedFiles.of((*many, "y/own.jsonl")).sources == (*["shards"] * 9, "own")
    named = NamedFiles.of({"a": ("1.jsonl", "2.jsonl"), "b": ("3.jsonl",)})
    assert (named.files, named.sources, named.row_sources) == (
        ("1.jsonl", "2.jsonl", "3.jsonl"),
        ("a", "a", "b"),
        False,
    )
