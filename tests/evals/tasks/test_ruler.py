"""RULER's thirteen tasks: prompts fill their length, hold what is asked for as often as they should, and are graded as
the official code grades."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from herd.core.errors import DataError, SettingsError
from herd.core.records import Message
from herd.evals.harness import TaskScore, evaluate
from herd.evals.sized import PromptReader, SizedTask
from herd.evals.task import ModelAnswer, Task
from herd.evals.tasks import tasks
from herd.tokens.tokenizer import TextTokenizer
from tests.evals.models import Scripted
from tests.tokens.test_chat import TOKENIZER

NEEDLES = {
    "niah_single_1": (1, 1),
    "niah_single_2": (1, 1),
    "niah_single_3": (1, 1),
    "niah_multikey_1": (4, 1),
    "niah_multikey_2": (1, 1),
    "niah_multikey_3": (1, 1),
    "niah_multivalue": (4, 4),
    "niah_multiquery": (4, 4),
}  # needles hidden beside the haystack's own, and values asked for
OTHERS = ("ruler_vt", "ruler_cwe", "ruler_fwe", "ruler_qa_squad", "ruler_qa_hotpot")
ESSAYS = {"niah_single_2", "niah_single_3", "niah_multikey_1", "niah_multivalue", "niah_multiquery"}
LENGTH = {"ruler_vt": 6000, "ruler_cwe": 9000}
NEEDLE = re.compile(r"One of the special magic (?:numbers|uuids) for (\S+) is: (\S+)\.")


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Essays, words, SQuAD and HotpotQA in their released forms, small."""
    folder = tmp_path_factory.mktemp("ruler")
    essays = folder / "essays"
    essays.mkdir()
    for essay in range(3):
        lines = [f"Sentence {n} of essay {essay} has {'more ' * (n % 7)}words." for n in range(40)]
        (essays / f"{essay}.txt").write_text("\n".join(lines))
    words = [first + last for first in ("ba", "du", "ki", "lo", "mi", "pe", "ru", "so", "ta", "vu") for last in
             ("bel", "con", "dar", "fen", "gol", "han", "jor", "kis", "lum", "mon", "nar", "pol")]  # fmt: skip
    (folder / "words.txt").write_text("\n".join(words))
    articles = [
        {
            "paragraphs": [
                {
                    "context": f"Town {a}{p} lies on river {a}. {'It is old. ' * (p + 1)}".strip(),
                    "qas": [
                        {"question": f"Where lies town {a}{p}?", "answers": [{"text": f"river {a}"}] * 2},
                        {"question": "Who knows?", "answers": [], "is_impossible": True},
                    ],
                }
                for p in range(4)
            ]
        }
        for a in range(12)
    ]
    (folder / "squad.json").write_text(json.dumps({"version": "v2.0", "data": articles}))
    hotpot = [
        {
            "question": f"Which town is on river {n}?",
            "answer": f"Town {n}",
            "context": [[f"River {n}", ["A river. ", f"Town {n} is on it."]], [f"Lake {n}", [f"Lake {n} is deep."]]],
        }
        for n in range(40)
    ]
    (folder / "hotpot.json").write_text(json.dumps(hotpot))
    return {
        "essays": str(essays),
        "words": str(folder / "words.txt"),
        "ruler_qa_squad": str(folder / "squad.json"),
        "ruler_qa_hotpot": str(folder / "hotpot.json"),
    }


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERD_CACHE", str(tmp_path / "cache"))


def settings_of(name: str, files: dict[str, str]) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    if name in ESSAYS:
        settings["data"] = files["essays"]
    elif name.startswith("ruler_qa"):
        settings["data"] = files[name]
    if name in NEEDLES or name == "ruler_cwe":
        settings["words"] = files["words"]
    return settings


def built(
    name: str, files: dict[str, str], *, chat: bool = False, tokenizer: TextTokenizer = TOKENIZER, **settings: Any
) -> Task:
    own = {"max_seq_lengths": (LENGTH.get(name, 2400),), "limit": 4} | settings_of(name, files) | settings
    task = tasks.make(tasks.configure(name, **own))()
    assert isinstance(task, SizedTask)
    return task.build(PromptReader(tokenizer, chat, 1 << 20))


def answered(task: Task, number: int, text: str) -> float | None:
    return task.judge(task.examples[number], ModelAnswer(text, Message("assistant", text))).score


def expected(task: Task, number: int) -> list[str]:
    """What a right answer holds, as the grader says."""
    reason = task.judge(task.examples[number], ModelAnswer("", Message("assistant", ""))).reason
    return reason.removeprefix("the answer is ").split(", ")


@pytest.mark.parametrize("chat", [False, True])
@pytest.mark.parametrize("name", [*NEEDLES, *OTHERS])
def test_prompts_fill_their_length_and_no_more(name: str, chat: bool, files: dict[str, str]) -> None:
    task = built(name, files, chat=chat)
    length, max_tokens = LENGTH.get(name, 2400), getattr(task.output_type, "max_tokens", 0)
    reader = PromptReader(TOKENIZER, chat, 1 << 20)
    for example in task.examples:
        tokens = reader.count(task.prompt_for(example))
        assert tokens <= example.row["tokens"] <= tokens + 2
        assert tokens <= length - max_tokens
        assert tokens > 0.8 * (length - max_tokens)
    assert task.group is not None
    assert {task.group(example) for example in task.examples} == {f"{length:06d} tokens"}


@pytest.mark.parametrize("name", NEEDLES)
def test_needles_stand_where_they_should_as_often_as_they_should(name: str, files: dict[str, str]) -> None:
    hidden, values = NEEDLES[name]
    for number, example in enumerate((task := built(name, files)).examples):
        prompt = task.prompt_for(example)
        needles = NEEDLE.findall(prompt.plain)
        question = prompt.plain.rpartition("\n")[2]
        golds = expected(task, number)
        assert len(golds) == values
        asked = [(key, value) for key, value in needles if value in golds]
        assert len(asked) == values  # each once
        assert all(key in question for key, _ in asked)
        others = [key for key, _ in needles if key not in {key for key, _ in asked}]
        assert not any(f" {key} " in question for key in others)
        assert len(needles) == hidden or name.startswith(("niah_multikey_2", "niah_multikey_3"))
        assert len({key for key, _ in needles}) == len(needles) or name == "niah_multivalue"
        assert prompt.response_prefix.endswith("are" if values > 1 else "is")
        assert answered(task, number, f" {', and '.join(golds)}.") == 1
        assert answered(task, number, golds[0].upper()) == pytest.approx(1 / values)
        assert answered(task, number, "I do not know.") == 0


@pytest.mark.parametrize("name", sorted(ESSAYS))
def test_no_sentence_is_split(name: str, files: dict[str, str]) -> None:
    task = built(name, files)
    text = " ".join(" ".join(file.read_text().split()) for file in sorted(Path(files["essays"]).iterdir()))
    for example in task.examples:
        context = task.prompt_for(example).plain.split("\n", 1)[1].rpartition("\n")[0]
        assert text.startswith(" ".join(NEEDLE.sub("", context).split())[:1500])
        assert context.endswith(".")


def test_a_chain_of_variables_leads_to_its_value(files: dict[str, str]) -> None:
    task = built("ruler_vt", files)
    for number, example in enumerate(task.examples):
        prompt = task.prompt_for(example)
        shown, _, asked = prompt.plain.rpartition("Memorize and track")
        assert shown.count("Question:") == 1
        value = re.search(r"assigned the value (\d{5})", asked)
        assert value is not None
        links = re.findall(r"VAR (\w+) = (?:VAR )?(\w+)", asked)
        chain, current = [], value[1]
        while following := [name for name, of in links if of == current]:
            chain.append(current := following[0])
        assert chain == expected(task, number)
        assert len(chain) == len(links) == 5
        assert all(len(name) == 5 for name in chain)
        assert answered(task, number, " ".join(chain[:4])) == pytest.approx(0.8)


def test_common_words_are_the_common_ones(files: dict[str, str]) -> None:
    task = built("ruler_cwe", files)
    for number, example in enumerate(task.examples):
        shown, _, asked = task.prompt_for(example).plain.rpartition("Below is a numbered list")
        assert shown.rstrip().endswith(".") is False  # the example ends with its last common word
        listed = re.findall(r"(\d+)\. (\w+)", asked)
        assert [int(place) for place, _ in listed] == list(range(1, len(listed) + 1))
        counts = Counter(word for _, word in listed)
        golds = expected(task, number)
        assert {counts[word] for word in golds} == {30}
        assert all(count == 3 for word, count in counts.items() if word not in golds)
        assert answered(task, number, " ".join(golds)) == 1


def test_frequent_words_are_the_frequent_ones(files: dict[str, str]) -> None:
    task = built("ruler_fwe", files)
    for number, example in enumerate(task.examples):
        text = task.prompt_for(example).plain.split("coded words. ")[1].split("\nQuestion")[0]
        counts = Counter(text.split(" "))
        (dots, _), *ranked = counts.most_common()
        assert dots == "..."
        assert [word for word, _ in ranked[:3]] == expected(task, number)
        assert ranked[2][1] > ranked[3][1]  # the third is told from the fourth


@pytest.mark.parametrize("name", ["ruler_qa_squad", "ruler_qa_hotpot"])
def test_questions_have_their_documents_among_others(name: str, files: dict[str, str]) -> None:
    task = built(name, files)
    for number, example in enumerate(task.examples):
        prompt = task.prompt_for(example)
        documents = re.findall(r"Document (\d+):\n", prompt.plain)
        assert [int(place) for place in documents] == list(range(1, len(documents) + 1))
        assert len(documents) > 5
        gold = expected(task, number)[0]
        assert gold in prompt.plain
        assert answered(task, number, f"It is {gold}.") == 1
        bodies = re.split(r"Document \d+:\n", prompt.plain)[1:]
        assert len({body.strip() for body in bodies[:-1]}) == len(bodies) - 1  # none stands twice
    places = {task.prompt_for(example).plain.index(expected(task, n)[0]) for n, example in enumerate(task.examples)}
    assert len(places) > 1


def test_the_same_prompts_come_again_and_those_of_another_seed_are_others(files: dict[str, str]) -> None:
    first, second = built("niah_multikey_2", files), built("niah_multikey_2", files)
    other = built("niah_multikey_2", files, seed=7)
    texts = [[task.prompt_for(example).plain for example in task.examples] for task in (first, second, other)]
    assert texts[0] == texts[1]
    assert not set(texts[0]) & set(texts[2])
    assert len(set(texts[0])) == len(texts[0])


def test_an_oracle_is_right_and_a_parrot_wrong(files: dict[str, str]) -> None:
    def oracle(asked: str) -> str:
        key = re.findall(r"magic number for (\S+) mentioned", asked)[-1]
        return dict(NEEDLE.findall(asked))[key]

    task = tasks.make(tasks.configure("niah_multikey_2", max_seq_lengths=(1500, 2400), limit=3, words=files["words"]))()
    for say, score in ((oracle, 1.0), (lambda asked: "One of the special magic numbers", 0.0)):
        found = evaluate(Scripted(TOKENIZER, say), TOKENIZER, task, chat=False)
        assert isinstance(found, TaskScore)
        assert found.interval.value == score
        assert list(found.by_group) == ["001500 tokens", "002400 tokens"]


def test_what_cannot_be_asked_is_said(files: dict[str, str], tmp_path: Path) -> None:
    task = tasks.make(tasks.configure("ruler_fwe", max_seq_lengths=(4096, 8192), limit=1))()
    with pytest.raises(SettingsError, match=r"asks at 8,192 tokens and the model reads 4,096; leave that length out"):
        evaluate(Scripted(TOKENIZER, str), TOKENIZER, task, chat=False)
    with pytest.raises(DataError, match="ask at longer lengths"):
        built("niah_single_1", files, max_seq_lengths=(300,))
    (tmp_path / "few.txt").write_text("one\ntwo")
    with pytest.raises(DataError, match="2 words"):
        built("niah_single_1", files, words=str(tmp_path / "few.txt"))
    for name in ("ruler_qa_squad", "ruler_qa_hotpot"):
        wrong = tmp_path / "rows.json"
        wrong.write_text(json.dumps([{"question": "?", "answers": []}]))
        with pytest.raises(DataError, match="as it is released"):
            built(name, files, data=str(wrong))
