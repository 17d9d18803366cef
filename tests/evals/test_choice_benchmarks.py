"""Benchmarks with choices, on rows written by hand in every shape their releases have."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from herd.core.errors import DataError
from herd.core.records import Message
from herd.evals.task import Generate, LogLikelihood, ModelAnswer, Task
from herd.evals.tasks import tasks

SHARED = Path(__file__).parents[3] / "shared" / "data"


def rows_in(folder: Path, name: str, rows: list[Any]) -> Path:
    """The folder, with rows in a file of this name."""
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return folder


def made(name: str, data: Path, **settings: Any) -> Task:
    return tasks.make(tasks.configure(name, data=str(data), **settings))()


def first(task: Task) -> tuple[str, list[str], str]:
    """What is asked first, its choices, and the right one."""
    assert isinstance(task.output_type, LogLikelihood)
    example = task.examples[0]
    return task.prompt_for(example).plain, list(task.output_type.choices(example)), example.target


def answered(text: str) -> ModelAnswer:
    return ModelAnswer(text, Message("assistant", text))


ARC = {"id": "q", "question": "Which flies?", "answerKey": "B"}
LABELLED = {"text": ["a stone", "a bird"], "label": ["A", "B"]}
STEM = {"stem": "Which flies?", "choices": [{"text": "a stone", "label": "A"}, {"text": "a bird", "label": "B"}]}
QUERY = {"query": "Question: Which flies?", "choices": ["a stone", "a bird"], "gold": 1}
BIRD = [" a stone", " a bird"]
FLIES = "Question: Which flies?\nAnswer:"


@pytest.mark.parametrize("name", ["arc_easy", "arc_challenge"])
@pytest.mark.parametrize(
    ("file", "row"),
    [
        ("ARC-{}/test-00000-of-00001.jsonl", {**ARC, "choices": LABELLED}),
        ("ARC-{}/ARC-{}-Test.jsonl", {**ARC, "question": STEM}),
        ("rows.jsonl", QUERY),
    ],
)
def test_arc_in_every_shape_is_asked_alike(name: str, file: str, row: Any, tmp_path: Path) -> None:
    part = name.partition("_")[2].capitalize()
    other = "Easy" if part == "Challenge" else "Challenge"
    if "{}" in file:
        rows_in(tmp_path, file.replace("{}", other), [{**row, "answerKey": "A"}])
    assert first(made(name, rows_in(tmp_path, file.replace("{}", part), [row]))) == (FLIES, BIRD, " a bird")
    lettered = first(made(name, tmp_path, scoring="letters"))
    assert lettered == ("Which flies?\nA. a stone\nB. a bird\nAnswer:", [" A", " B"], " B")


def test_arc_of_llama3_names_a_letter_of_four(tmp_path: Path) -> None:
    four = {"text": ["a", "b", "c", "d"], "label": ["1", "2", "3", "4"]}
    rows = [
        {"id": "x", "question": "Which flies?", "choices": LABELLED, "answerKey": "B"},
        {"id": "y", "question": "Which is third?", "choices": four, "answerKey": "3"},
    ]
    task = made("arc_challenge", rows_in(tmp_path, "test.jsonl", rows), prompt_style="llama3")
    assert [example.id for example in task.examples] == ["y"]
    assert "1 questions without four choices were left out" in task.notes[-1]
    assert task.prompt_for(task.examples[0]).response_prefix == "The best answer is"
    assert task.judge(task.examples[0], answered(" C")).score == 1.0
    assert made("arc_challenge", tmp_path).examples[1].target == " c"


MMLU_ROW = {"question": " Which? ", "choices": ["w", "x", "y", "z"], "answer": 2, "subject": "anatomy"}


def mmlu_of_the_hub(folder: Path) -> Path:
    rows_in(folder, "all/dev.jsonl", [{**MMLU_ROW, "answer": n} for n in (0, 1)])
    rows_in(folder, "anatomy/test.jsonl", [MMLU_ROW])  # the same again, which is not read
    return rows_in(folder, "all/test.jsonl", [MMLU_ROW])


def mmlu_of_the_release(folder: Path) -> Path:
    for split, answers in (("dev", "AB"), ("test", "C")):
        (folder / "data" / split).mkdir(parents=True)
        lines = [f" Which? ,w,x,y,z,{answer}" for answer in answers]
        (folder / "data" / split / f"anatomy_{split}.csv").write_text("\n".join(lines) + "\n")
    return folder


def mmlu_of_numbered_columns(folder: Path) -> Path:
    for split, answers in (("dev", "01"), ("test", "2")):
        (folder / split).mkdir()
        lines = [
            "question,choice0,choice1,choice2,choice3,answer",
            *(f" Which? ,w,x,y,z,{answer}" for answer in answers),
        ]
        (folder / split / f"anatomy_{split}.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.mark.parametrize("write", [mmlu_of_the_hub, mmlu_of_the_release, mmlu_of_numbered_columns])
def test_mmlu_in_every_shape_is_asked_alike(write: Any, tmp_path: Path) -> None:
    data = write(tmp_path)
    listed = "Which?\nA. w\nB. x\nC. y\nD. z\nAnswer:"
    about = "The following are multiple choice questions (with answers) about anatomy.\n\n"
    task = made("mmlu", data, num_fewshot=2)
    assert first(task) == (f"{about}{listed} A\n\n{listed} B\n\n{listed}", [" A", " B", " C", " D"], " C")
    assert task.group is not None
    assert task.group(task.examples[0]) == "anatomy"
    assert any("of the 14,042" in note for note in task.notes)
    chat = task.prompt_for(task.examples[0]).chat.messages
    assert [message.role for message in chat] == ["system", "user", "assistant", "user", "assistant", "user"]
    texts = first(made("mmlu", data, num_fewshot=0, scoring="text"))
    assert texts[1:] == ([" w", " x", " y", " z"], " y")
    assert texts[0].endswith("about anatomy.\n\nQuestion: Which?\nAnswer:")


def test_mmlu_has_the_scores_of_its_categories(tmp_path: Path) -> None:
    rows = [
        {"question": "q", "subject": subject, "choices": list("abcd"), "answer": 1}
        for subject in ("anatomy", "astronomy", "virology")
    ]
    data = rows_in(tmp_path, "test.jsonl", rows)
    for name, style in (("mmlu", "classic"), ("mmlu", "llama3"), ("mmlu_cot", "llama3")):
        task = made(name, data, num_fewshot=0, prompt_style=style)
        assert set(task.metrics) - {"acc", "acc_norm", "acc_bytes"} == {"stem", "other"}
        right, wrong = ("B", "C") if style == "llama3" else (" B", " C")
        answers = [right, wrong, right]
        if name == "mmlu_cot":
            answers = [f"The best answer is {letter}." for letter in answers]
        grades = [[task.judge(task.examples[n], replace(answered(text), choice=" BC".find(text[-1]) or None,
                   log_likelihoods=(-2.0, -1.0 if "B" in text else -3.0, -1.5, -4.0)))] for n, text in
                  enumerate(answers)]  # fmt: skip
        assert (task.metrics["stem"](grades).value, task.metrics["other"](grades).value) == (0.5, 1.0), name


def test_mmlu_of_llama3_and_with_thoughts(tmp_path: Path) -> None:
    data = mmlu_of_the_hub(tmp_path)
    task = made("mmlu", data, num_fewshot=1, prompt_style="llama3")
    assert task.output_type == Generate(10, (".",), chat_stop=(".",))
    prompt = task.prompt_for(task.examples[0])
    assert "The best answer is A.\n\nGiven" in prompt.plain
    assert prompt.chat.messages[1] == Message("assistant", "The best answer is A.")
    thought = made("mmlu_cot", data)
    assert thought.prompt_for(thought.examples[0]).plain.endswith("Let's think step by step.")
    example = thought.examples[0]
    for said, score in (("The best answer is A. No: The best answer is C.", 1.0), ("best answer is B", 0.0)):
        assert thought.judge(example, answered(said)).score == score
    assert thought.judge(example, answered("I cannot say")).unparsed


def test_mmlu_pro_thinks_before_it_names_one_of_ten(tmp_path: Path) -> None:
    row = {
        "question_id": 7,
        "question": "Which?",
        "options": list("stuvwxyz"),
        "answer": "C",
        "answer_index": 2,
        "cot_content": "A: Let's think step by step. It is u. The answer is (C).",
        "category": "law",
    }
    rows_in(tmp_path, "validation.jsonl", [row])
    task = made("mmlu_pro", rows_in(tmp_path, "test.jsonl", [row]), num_fewshot=1)
    plain = task.prompt_for(task.examples[0]).plain
    assert plain.startswith("The following are multiple choice questions (with answers) about law. Think step by step")
    assert "A. s\nB. t\nC. u\n" in plain
    assert "Answer: Let's think step by step. It is u. The answer is (C).\n\nQuestion:\nWhich?" in plain
    assert plain.endswith("Answer: Let's think step by step.")
    assert task.judge(task.examples[0], answered(" So the answer is (C).")).score == 1.0
    assert task.judge(task.examples[0], answered(" So the answer is (D).")).score == 0.0
    llama3 = made("mmlu_pro", tmp_path, num_fewshot=1, prompt_style="llama3")
    assert "It is u. The best answer is C." in llama3.prompt_for(llama3.examples[0]).plain
    assert llama3.judge(llama3.examples[0], answered("The best answer is C.")).score == 1.0


def test_hellaswag_is_cleaned_and_divided_by_characters(tmp_path: Path) -> None:
    row = {
        "activity_label": "Roof shingle removal",
        "ctx_a": "A man is on a roof.",
        "ctx_b": "he",
        "endings": ["starts [substeps] pulling.", "sings.", "eats.", "flies."],
        "label": "0",
    }
    task = made("hellaswag", rows_in(tmp_path, "hellaswag_val.jsonl", [row]))
    assert first(task) == (
        "Roof shingle removal: A man is on a roof. He",
        [" starts pulling.", " sings.", " eats.", " flies."],
        " starts pulling.",
    )
    assert isinstance(task.output_type, LogLikelihood)
    assert task.output_type.normalize == "characters"


@pytest.mark.parametrize(
    "row",
    [
        {"sentence": "Sarah beat Maria so _ won.", "option1": "Sarah", "option2": "Maria", "answer": "1"},
        {
            "context_options": ["Sarah beat Maria so Sarah", "Sarah beat Maria so Maria"],
            "continuation": "won.",
            "gold": 0,
        },
    ],
)
def test_winogrande_compares_what_follows_the_names(row: Any, tmp_path: Path) -> None:
    data = rows_in(tmp_path, "dev.jsonl", [row])
    task = made("winogrande", data)
    assert isinstance(task.output_type, LogLikelihood)
    assert task.output_type.contexts is not None
    contexts = [getattr(prompt, "plain", prompt) for prompt in task.output_type.contexts(task.examples[0])]
    assert contexts == ["Sarah beat Maria so Sarah", "Sarah beat Maria so Maria"]
    assert task.output_type.choices(task.examples[0]) == [" won."] * 2
    likeliest = ModelAnswer("", Message("assistant", ""), choice=0)
    assert task.judge(task.examples[0], likeliest).score == 1.0
    rows_in(tmp_path, "dev.jsonl", [row, row])
    shown = made("winogrande", tmp_path, prompt_style="llama3", num_fewshot=1)
    assert isinstance(shown.output_type, LogLikelihood)
    assert shown.prompt_for(shown.examples[0]).plain == "Sarah beat Maria so Sarah won.\n\nSarah beat Maria so Sarah"


def test_winogrande_without_a_gap_or_an_answer_is_told(tmp_path: Path) -> None:
    row = {"sentence": "Sarah beat Maria so _ won.", "option1": "Sarah", "option2": "Maria", "answer": ""}
    with pytest.raises(DataError, match="the test split has none"):
        made("winogrande", rows_in(tmp_path, "dev.jsonl", [row]))
    with pytest.raises(DataError, match="has no gap"):
        made("winogrande", rows_in(tmp_path, "dev.jsonl", [{**row, "sentence": "Nobody won."}]))


OTHERS = [
    (
        "piqa",
        "valid.jsonl",
        {"goal": "Dry a cup", "sol1": "a cloth", "sol2": "a stone", "label": 0},
        ("Question: Dry a cup\nAnswer:", [" a cloth", " a stone"], " a cloth"),
    ),
    (
        "openbookqa",
        "main/test.jsonl",
        {"id": "q", "question_stem": "It flies:", "choices": LABELLED, "answerKey": "B"},
        ("It flies:", BIRD, " a bird"),
    ),
    ("openbookqa", "test.jsonl", {"id": "q", "question": STEM, "answerKey": "B"}, ("Which flies?", BIRD, " a bird")),
    (
        "commonsense_qa",
        "validation.jsonl",
        {"id": "q", "question": "Which flies?", "choices": LABELLED, "answerKey": "B"},
        ("Question: Which flies?\nA. a stone\nB. a bird\nAnswer:", [" A", " B"], " B"),
    ),
    (
        "commonsense_qa",
        "dev_rand_split.jsonl",
        {"query": "Question: Which flies?\nChoices:\nA. a stone\nB. a bird\nAnswer:", "choices": ["A", "B"], "gold": 1},
        ("Question: Which flies?\nA. a stone\nB. a bird\nAnswer:", [" A", " B"], " B"),
    ),
    (
        "boolq",
        "dev.jsonl",
        {"passage": "Birds fly.", "question": "do birds fly", "answer": True, "title": "Birds"},
        ("Birds fly.\nQuestion: do birds fly?\nAnswer:", [" no", " yes"], " yes"),
    ),
    (
        "boolq",
        "boolq/validation.jsonl",
        {"passage": "Birds fly.", "question": "do birds fly", "label": 0, "idx": 1},
        ("Birds fly.\nQuestion: do birds fly?\nAnswer:", [" no", " yes"], " no"),
    ),
    (
        "boolq",
        "boolq.jsonl",
        {"query": "Passage: Birds fly.\nQuestion: do birds fly?", "choices": ["no", "yes"], "gold": 1},
        ("Birds fly.\nQuestion: do birds fly?\nAnswer:", [" no", " yes"], " yes"),
    ),
    (
        "social_iqa",
        "validation.jsonl",
        {"context": "Ann fell.", "question": "How?", "answerA": "a", "answerB": "b", "answerC": "c", "label": "3"},
        ("Q: Ann fell. How?\nA:", [" a", " b", " c"], " c"),
    ),
    (
        "social_iqa",
        "siqa.jsonl",
        {
            "query": "Context: Ann fell.\nQuestion: How?\nChoices:\nA. a\nB. b\nAnswer:",
            "choices": ["A", "B"],
            "gold": 0,
        },
        ("Q: Ann fell. How?\nA:", [" a", " b"], " a"),
    ),
    (
        "copa",
        "copa/val.jsonl",
        {"premise": "It rained.", "choice1": "I slept.", "choice2": "I got wet.", "question": "effect", "label": 1},
        ("It rained therefore", ["  i slept.", "  i got wet."], "  i got wet."),
    ),
    (
        "copa",
        "copa.jsonl",
        {"query": "It rained, therefore", "choices": ["i slept.", "i got wet."], "gold": 1},
        ("It rained therefore", ["  i slept.", "  i got wet."], "  i got wet."),
    ),
    (
        "race",
        "high/test.jsonl",
        {
            "article": "Birds fly.",
            "problems": str(
                [
                    {"question": "I see  _  .", "answer": "B", "options": ["a", "b", "c", "d"]},
                    {"question": "Do they?", "answer": "A", "options": ["yes", "no", "x", "y"]},
                    {"question": "Who?", "answer": "D", "options": ["e", "f", "g", "birds"]},
                ]
            ),
        },
        (
            "Article: Birds fly.\n\nI see b\nQuestion: Do they?\nAnswer: yes\nWho?",
            [" e", " f", " g", " birds"],
            " birds",
        ),
    ),
    (
        "agieval",
        "v1_1/lsat-ar.jsonl",
        {"passage": "P. ", "question": "Who?", "options": ["(A)x", "(B)y"], "label": "B"},
        ("P. Q: Who? Answer Choices: (A)x (B)y\nA: Among A through B, the answer is", [" (A)x", " (B)y"], " (B)y"),
    ),
    (
        "agieval",
        "hails___agieval-sat-en-without-passage/test.jsonl",
        {"query": "Q: Who? A:", "choices": ["(A)x", "(B)y"], "gold": [0, 1]},
        ("Q: Who? A:", [" (A)x", " (B)y"], " (A)x"),
    ),
]


@pytest.mark.parametrize(
    ("name", "file", "row", "wanted"), OTHERS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_rows_of_every_shape_are_asked_as_lm_eval_does(
    name: str, file: str, row: Any, wanted: Any, tmp_path: Path
) -> None:
    assert first(made(name, rows_in(tmp_path, file, [row]))) == wanted


def test_agieval_is_grouped_by_exam_and_several_choices_may_be_right(tmp_path: Path) -> None:
    row = {"query": "Q: Who? A:", "choices": ["(A)x", "(B)y"], "gold": [0, 1]}
    task = made("agieval", rows_in(tmp_path, "agieval-sat-en-without-passage/test.jsonl", [row]))
    assert task.group is not None
    assert task.group(task.examples[0]) == "sat-en-without-passage"
    both = [ModelAnswer("", Message("assistant", ""), choice=n, log_likelihoods=(-1.0, -2.0)) for n in (0, 1)]
    assert [task.judge(task.examples[0], answer).score for answer in both] == [1.0, 1.0]
    with pytest.raises(DataError, match="the file's name is none of aqua-rat"):
        made("agieval", rows_in(tmp_path / "other", "other.jsonl", [row]))


@pytest.mark.parametrize(
    "row", [{"text": "In my palm is a clear stone"}, {"context": "In my palm is a clear", "continuation": "stone"}]
)
def test_the_last_word_is_right_when_the_model_would_write_it(row: Any, tmp_path: Path) -> None:
    task = made("lambada_openai", rows_in(tmp_path, "lambada_test.jsonl", [row]))
    assert first(task) == ("In my palm is a clear", [" stone"], " stone")
    assert isinstance(task.output_type, LogLikelihood)
    assert task.output_type.greedy
    for text, score in ((" stone", 1.0), ("", 0.0)):
        grade = task.judge(task.examples[0], ModelAnswer(text, Message("assistant", text), log_likelihoods=(-2.0,)))
        assert (grade.score, grade.parts) == (score, {"nats": 2.0})


MC = {"choices": ["true", "false"], "labels": [1, 0]}
MC2 = {"choices": ["true", "also", "false"], "labels": [1, 1, 0]}


@pytest.mark.parametrize(
    "row",
    [
        {"question": "What?", "mc1_targets": MC, "mc2_targets": MC2},
        {
            "question": "What?",
            "mc1_targets": {"true": 1, "false": 0},
            "mc2_targets": {"true": 1, "also": 1, "false": 0},
        },
    ],
)
def test_truthfulqa_by_the_likeliest_and_by_the_mass_of_true_choices(row: Any, tmp_path: Path) -> None:
    data = rows_in(tmp_path, "validation.jsonl", [row])
    one, many = made("truthfulqa_mc1", data), made("truthfulqa_mc2", data)
    assert first(one) == ("Q: What?\nA:", [" true", " false"], " true")
    assert first(many) == ("Q: What?\nA:", [" true", " also", " false"], " true")
    assert any("without the authors' primer" in note for note in one.notes)
    (tmp_path / "primer.txt").write_text("Q: Who?\nA: Me.\n")
    assert first(made("truthfulqa_mc1", data / "validation.jsonl", primer=str(tmp_path / "primer.txt")))[0] == (
        "Q: Who?\nA: Me.\n\nQ: What?\nA:"
    )
    even = ModelAnswer("", Message("assistant", ""), choice=0, log_likelihoods=(-1.0, -1.0, -1.0))
    assert many.judge(many.examples[0], even).score == pytest.approx(2 / 3)
    assert (
        one.judge(one.examples[0], ModelAnswer("", even.message, choice=0, log_likelihoods=(-1.0, -2.0))).score == 1.0
    )


GPQA = {
    "Question": "What?",
    "Correct Answer": "right",
    **{f"Incorrect Answer {n}": f"wrong {n}" for n in (1, 2, 3)},
    "High-level domain": "Physics",
}


def test_gpqa_puts_choices_in_an_order_of_its_seed(tmp_path: Path) -> None:
    rows = [{**GPQA, "Record ID": f"rec{n}"} for n in range(8)]
    data = rows_in(tmp_path, "gpqa_main.jsonl", rows)
    rows_in(tmp_path, "gpqa_diamond.jsonl", rows[:2])
    task = made("gpqa", data)
    plain, choices, _ = first(task)
    assert plain.startswith("What is the correct answer to this question:What?\nChoices:\n(A) ")
    assert plain.endswith("\nAnswer:")
    assert choices == [" (A)", " (B)", " (C)", " (D)"]
    for example in task.examples:
        assert example.row["choices"][example.row["gold"]] == "right"
    assert len({example.target for example in task.examples}) > 1
    assert [example.target for example in made("gpqa", data).examples] == [one.target for one in task.examples]
    other = made("gpqa", data, shuffle_seed=1)
    assert [example.row["choices"] for example in other.examples] != [one.row["choices"] for one in task.examples]
    assert len(made("gpqa_diamond", data).examples) == 2
    assert "following the format of the previous" in first(made("gpqa", data, num_fewshot=1))[0]
    thought = made("gpqa_cot", data)
    letter = "ABCD"[thought.examples[0].row["gold"]]
    assert thought.judge(thought.examples[0], answered(f"The best answer is {letter}.")).score == 1.0


@pytest.mark.skipif(not (SHARED / "mmlu").exists(), reason="no benchmarks beside the repository")
def test_shared_releases_are_read_and_what_is_missing_of_them_is_said() -> None:
    task = made("mmlu", SHARED / "mmlu", limit=57)
    assert task.group is not None
    assert len({task.group(example) for example in task.examples}) == 57
    assert "9,376 of the 14,042 examples of split test" in task.notes
    gauntlet = SHARED / "eval_gauntlet"
    counts = {
        "arc_easy": ("arc_easy", 1584),
        "piqa": ("piqa", 1226),
        "winogrande": ("winogrande", 845),
        "boolq": ("boolq", 2180),
        "social_iqa": ("siqa", 1303),
        "commonsense_qa": ("commonsense_qa", 814),
        "copa": ("copa", 67),
    }
    for name, (file, count) in counts.items():
        assert len(made(name, gauntlet / f"{file}.jsonl.gz").examples) == count
