"""Benchmarks whose answers are written, on rows written by hand in every shape their releases have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from herd.core.errors import DataError
from herd.core.records import Message
from herd.evals.task import Generate, Grade, ModelAnswer, Task
from herd.evals.tasks import tasks
from tests.evals.test_choice_benchmarks import SHARED, made, rows_in


def graded(task: Task, text: str, number: int = 0) -> Grade:
    return task.judge(task.examples[number], ModelAnswer(text, Message("assistant", text)))


def asked(task: Task, number: int = 0) -> str:
    return task.prompt_for(task.examples[number]).plain


def writing(task: Task) -> Generate:
    assert isinstance(task.output_type, Generate)
    return task.output_type


SQUAD = {"id": "q1", "title": "Birds", "context": "Birds fly.", "question": "Who?", "answers": {"text": ["Birds"]}}
SQUAD_RELEASE = {
    "version": "v2.0",
    "data": [
        {
            "title": "Birds",
            "paragraphs": [
                {
                    "context": "Birds fly.",
                    "qas": [
                        {"id": "q1", "question": "Who?", "answers": [{"text": "Birds", "answer_start": 0}]},
                        {"id": "q2", "question": "When?", "answers": [], "is_impossible": True},
                    ],
                }
            ],
        }
    ],
}


@pytest.mark.parametrize(("file", "row"), [("validation.jsonl", SQUAD), ("dev-v2.0.json", SQUAD_RELEASE)])
def test_squad_asks_for_a_span_of_a_passage(file: str, row: Any, tmp_path: Path) -> None:
    task = made("squadv2", rows_in(tmp_path, file, [row]))
    assert task.examples[0].id == "q1"
    assert asked(task) == "Title: Birds\n\nBackground: Birds fly.\n\nQuestion: Who?\n\nAnswer:"
    assert writing(task).stop == ("\n",)
    assert graded(task, " the birds").score == 1.0
    half = graded(task, " birds and bees")
    assert (half.score, round(half.parts["HasAns_f1"], 2)) == (0.0, 0.5)
    assert "HasAns_exact" in half.parts
    assert "NoAns_exact" not in half.parts
    assert {"f1", "HasAns_f1", "NoAns_f1"} <= set(task.metrics)


def test_where_squad_has_no_answer_llama3s_words_for_that_are_right(tmp_path: Path) -> None:
    data = rows_in(tmp_path, "dev.json", [SQUAD_RELEASE])
    classic, llama3 = made("squadv2", data), made("squadv2", data, prompt_style="llama3")
    assert graded(classic, " unanswerable", 1).score == 0.0
    assert graded(llama3, " unanswerable", 1).score == 1.0
    assert graded(classic, "", 1).score == 1.0
    assert writing(llama3).max_tokens == 32
    assert asked(llama3).count("Answer:") == 2  # a shot, of the other question


QUAC_RELEASE = {
    "data": [
        {
            "title": "Birds",
            "section_title": "Flight",
            "background": "b",
            "paragraphs": [
                {
                    "id": "C_1",
                    "context": "Birds fly. CANNOTANSWER",
                    "qas": [
                        {
                            "id": "C_1_q#0",
                            "question": "Who?",
                            "answers": [{"text": "Birds"}],
                            "orig_answer": {"text": "Birds"},
                        },
                        {
                            "id": "C_1_q#1",
                            "question": "When?",
                            "answers": [{"text": "CANNOTANSWER"}],
                            "orig_answer": {"text": "CANNOTANSWER"},
                        },
                    ],
                }
            ],
        }
    ]
}
QUAC_DIALOGUE = {
    "wikipedia_page_title": "Birds",
    "section_title": "Flight",
    "context": "Birds fly. CANNOTANSWER",
    "turn_ids": ["C_1_q#0", "C_1_q#1"],
    "questions": ["Who?", "When?"],
    "answers": {"texts": [["Birds"], ["CANNOTANSWER"]]},
    "orig_answers": {"texts": ["Birds", "CANNOTANSWER"]},
}


@pytest.mark.parametrize(("file", "row"), [("val_v0.2.json", QUAC_RELEASE), ("validation.jsonl", QUAC_DIALOGUE)])
def test_quac_asks_a_turn_after_those_before_it(file: str, row: Any, tmp_path: Path) -> None:
    task = made("quac", rows_in(tmp_path, file, [row]))
    assert [example.id for example in task.examples] == ["C_1_q#0", "C_1_q#1"]
    assert asked(task, 1) == "Title: Birds: Flight\n\nBackground: Birds fly.\n\nQ: Who?\nA: Birds\n\nQ: When?\nA:"
    assert graded(task, " Birds").score == 1.0
    assert graded(task, " CANNOTANSWER", 1).score == 1.0
    assert graded(task, " in spring", 1).score == 0.0


DATE = {"day": "", "month": "", "year": ""}
DROP_ANSWER = {"number": "3", "date": DATE, "spans": []}
DROP_ROW = {
    "query_id": "q1",
    "passage": "Three birds fly.",
    "question": "How many?",
    "answer": DROP_ANSWER,
    "validated_answers": {"number": ["", "3"], "date": [DATE, DATE], "spans": [["three"], []]},
}
DROP_RELEASE = {
    "nfl_1": {
        "passage": "Three birds fly.",
        "qa_pairs": [
            {
                "query_id": "q1",
                "question": "How many?",
                "answer": DROP_ANSWER,
                "validated_answers": [{"number": "", "date": DATE, "spans": ["three"]}],
            }
        ],
    }
}


@pytest.mark.parametrize(("file", "row"), [("validation.jsonl", DROP_ROW), ("drop_dataset_dev.json", DROP_RELEASE)])
def test_drop_takes_any_of_the_answers(file: str, row: Any, tmp_path: Path) -> None:
    task = made("drop", rows_in(tmp_path, file, [row]))
    assert asked(task) == "Three birds fly. How many?"
    assert writing(task).stop == (".",)
    assert [graded(task, text).score for text in (" 3", " three", " four")] == [1.0, 1.0, 0.0]
    llama3 = made("drop", tmp_path, prompt_style="llama3", num_fewshot=0)
    assert asked(llama3) == "Passage: Three birds fly.\nQuestion: How many?\nAnswer:"
    with pytest.raises(DataError, match="no release of DROP"):
        made("drop", rows_in(tmp_path / "other", "dev.jsonl", [{"passages": []}]))


TRIVIA = {"aliases": ["Onion", "Allium cepa"], "value": "Onion"}


@pytest.mark.parametrize(
    ("file", "row"),
    [
        ("rc.nocontext/validation.jsonl", {"question": "Which plant?", "question_id": "t1", "answer": TRIVIA}),
        (
            "wikipedia-dev.json",
            {
                "Data": [
                    {"Question": "Which plant?", "QuestionId": "t1", "Answer": {"Aliases": ["Onion"], "Value": "Onion"}}
                ]
            },
        ),
        ("rows.jsonl", {"context": "Question: Which plant?\nAnswer:", "answer": "Onion", "aliases": ["Onion"]}),
    ],
)
def test_triviaqa_takes_any_name(file: str, row: Any, tmp_path: Path) -> None:
    task = made("triviaqa", rows_in(tmp_path, file, [row]))
    assert asked(task) == "Question: Which plant??\nAnswer:"  # lm-eval's own mark after the question's
    assert writing(task).stop == ("\n", ".", ",")
    assert [graded(task, text).score for text in (" onion", " Leek")] == [1.0, 0.0]
    llama3 = made("triviaqa", tmp_path, prompt_style="llama3", num_fewshot=0)
    assert asked(llama3) == "Question: Which plant?\nAnswer:"
    assert graded(llama3, " the onion").score == 1.0


def test_nq_open_takes_any_answer(tmp_path: Path) -> None:
    row = {"question": "who sang it", "answer": ["The Beatles", "Beatles"]}
    task = made("nq_open", rows_in(tmp_path, "NQ-open.dev.jsonl", [row]))
    assert asked(task) == "Answer these questions:\n\nQ: who sang it?\nA:"
    assert graded(task, " Beatles").score == 1.0
    assert graded(task, " Stones").score == 0.0
    with pytest.raises(DataError, match="has no answer"):
        made("nq_open", rows_in(tmp_path / "none", "dev.jsonl", [{"question": "who", "answer": []}]))


@pytest.mark.parametrize(
    ("file", "text"),
    [
        (
            "validation.jsonl",
            json.dumps({"question": "What?", "correct_answers": ["It flies"], "incorrect_answers": ["It swims"]}),
        ),
        ("TruthfulQA.csv", "Question,Correct Answers,Incorrect Answers\nWhat?,It flies; It soars,It swims\n"),
    ],
)
def test_truthfulqa_is_right_when_nearer_to_what_is_true(file: str, text: str, tmp_path: Path) -> None:
    (tmp_path / file).write_text(text)
    task = made("truthfulqa_gen", tmp_path)
    assert asked(task) == "Q: What?"
    assert [graded(task, said).score for said in ("A: It flies.", "A: It swims.", "I have no comment.")] == [
        1.0,
        0.0,
        1.0,
    ]
    assert set(task.metrics) == {"rougeL_max", "rougeL_diff"}


GSM = [{"question": f"{n} and 1?", "answer": f"{n}+1 = <<{n}+1={n + 1}>>{n + 1}\n#### {n + 1}"} for n in range(6)]


def test_gsm8k_reads_the_number_strictly_and_flexibly(tmp_path: Path) -> None:
    rows_in(tmp_path, "train.jsonl", GSM[1:])
    rows_in(tmp_path, "test_socratic.jsonl", GSM)  # which is another form of the benchmark
    task = made("gsm8k", rows_in(tmp_path, "test.jsonl", GSM[:1]), num_fewshot=2)
    assert len(task.examples) == 1
    assert asked(task).count("Question: ") == 3
    assert "<<" in asked(task)
    assert graded(task, " it is\n#### 1").parts == {"strict_match": 1.0, "flexible_extract": 1.0}
    flexible = graded(task, " it is 1")
    assert (flexible.score, flexible.unparsed, flexible.parts["flexible_extract"]) == (0.0, True, 1.0)
    llama3 = made("gsm8k", tmp_path, num_fewshot=2, prompt_style="llama3")
    shown = llama3.prompt_for(llama3.examples[0]).chat.messages[1].content
    assert "<<" not in shown
    assert "The final answer is " in shown
    assert graded(llama3, "So. The final answer is 1").score == 1.0
    assert writing(llama3).max_tokens == 1024
    (tmp_path / "chains.jsonl").write_text(
        json.dumps({"question": "2 trees?", "target": "Two. The final answer is 2."})
    )
    chained = made(
        "gsm8k", tmp_path / "test.jsonl", num_fewshot=1, prompt_style="llama3", exemplars=str(tmp_path / "chains.jsonl")
    )
    assert "Two. The final answer is 2." in asked(chained)


def test_maths_problems_end_with_a_result(tmp_path: Path) -> None:
    row = {
        "problem": "What is $1+1$?",
        "solution": r"It is $\boxed{2}$.",
        "type": "Algebra",
        "level": "Level 1",
        "idx": 7,
    }
    task = made("minerva_math", rows_in(tmp_path, "test.jsonl", [row]), num_fewshot=0, grader="minerva")
    assert asked(task) == "Problem:\nWhat is $1+1$?\n\nSolution:"
    assert task.examples[0].id == "7"
    assert task.group is not None
    assert task.group(task.examples[0]) == "Algebra"
    assert graded(task, "Final Answer: The final answer is $2$. I hope it is correct.").score == 1.0
    shown = made("minerva_math", rows_in(tmp_path, "train.jsonl", [{**row, "problem": "Again?"}]), num_fewshot=1)
    assert "Final Answer: The final answer is $2$. I hope it is correct.\n\nProblem:" in asked(shown)
    llama3 = made("minerva_math", tmp_path, prompt_style="llama3")
    assert writing(llama3).max_tokens == 5120
    assert asked(llama3).endswith("Problem: What is $1+1$?")


def test_mgsm_is_asked_and_read_in_its_languages(tmp_path: Path) -> None:
    (tmp_path / "mgsm_de.tsv").write_text("Wie viele Enten?\t1,200\n")
    rows_in(tmp_path, "te/test.jsonl", [{"question": "ఎన్ని?", "answer": None, "answer_number": 7}])
    task = made("mgsm", tmp_path / "mgsm_de.tsv")
    assert asked(task) == "Frage: Wie viele Enten?\nSchritt-für-Schritt-Antwort:"
    assert graded(task, " Viele. Die Antwort lautet 1200.").score == 1.0
    localized = graded(task, " Es sind 1.200")
    assert (localized.score, localized.parts["localized"]) == (0.0, 1.0)
    telugu = made("mgsm", tmp_path, prompt_style="llama3", subsets=("te",))
    assert telugu.examples[0].row["lang"] == "te"
    assert graded(telugu, " ౭").score == 1.0
    (tmp_path / "words.json").write_text(json.dumps({"de": "Löse: {input}"}))
    told = made("mgsm", tmp_path / "mgsm_de.tsv", instructions=str(tmp_path / "words.json"), prompt_style="llama3")
    assert asked(told) == "Löse: Wie viele Enten?"
    assert graded(told, "Antwort: 1200").score == 1.0
    with pytest.raises(DataError, match="neither a column `lang` nor the file's name"):
        made("mgsm", rows_in(tmp_path / "x", "rows.jsonl", [{"question": "?", "answer": "1"}]))


def test_ifeval_counts_prompts_and_instructions(tmp_path: Path) -> None:
    row = {
        "key": 1000,
        "prompt": "Write without commas and in capitals.",
        "instruction_id_list": ["punctuation:no_comma", "change_case:english_capital"],
        "kwargs": [{}, {}],
    }
    task = made("ifeval", rows_in(tmp_path, "input_data.jsonl", [row]))
    assert asked(task) == row["prompt"]
    assert task.examples[0].id == "1000"
    grade = graded(task, "no commas but small letters")
    assert grade.score == 0.0
    assert "change_case:english_capital" in grade.reason
    assert grade.parts == {"loose": 0.0, "inst_strict": 1.0, "inst_loose": 1.0, "instructions": 2.0}
    assert task.metrics["inst_level_strict_acc"]([[grade]]).value == 0.5
    assert task.metrics["mean_of_four"]([[grade]]).value == 0.25
    both = [[grade], [graded(task, "NO COMMAS AND CAPITALS")]]
    assert task.metrics["mean_of_four"](both).value == pytest.approx((0.5 + 0.75 + 0.5 + 0.75) / 4)


BBH = {"canary": "c", "examples": [{"input": "not True is", "target": "False"}, {"input": "True is", "target": "True"}]}
CHAIN = """BENCHMARK DATA
-----
Evaluate.

Carefully.

Q: False is
A: Let's think step by step.
It is so. So the answer is False."""


def test_bbh_shows_chains_of_thought_from_its_release(tmp_path: Path) -> None:
    (tmp_path / "boolean_expressions.json").write_text(json.dumps(BBH))
    with pytest.raises(DataError, match="no folder `cot-prompts`"):
        made("bbh", tmp_path)
    (tmp_path / "cot-prompts").mkdir()
    with pytest.raises(DataError, match=r"has no boolean_expressions\.txt"):
        made("bbh", tmp_path)
    (tmp_path / "cot-prompts" / "boolean_expressions.txt").write_text(CHAIN)
    with pytest.raises(DataError, match=r"3 shots are wanted and boolean_expressions\.txt has 1"):
        made("bbh", tmp_path)
    task = made("bbh", tmp_path, num_fewshot=1)
    assert asked(task) == (
        "Evaluate.\n\nCarefully.\n\nQ: False is\nA: Let's think step by step.\nIt is so. So the answer is False.\n\n"
        "Q: not True is\nA: Let's think step by step.\n"
    )
    assert len(task.examples) == 2
    assert graded(task, "So the answer is False.").score == 1.0
    assert graded(task, "It is False.").unparsed
    assert asked(made("bbh", tmp_path, num_fewshot=0)).startswith("Evaluate.")
    rows_in(tmp_path / "hub", "boolean_expressions/test-00000-of-00001.jsonl", BBH["examples"])
    hub = made("bbh", tmp_path / "hub", num_fewshot=1, cot_prompts=str(tmp_path / "cot-prompts"))
    assert asked(hub) == asked(task)


WEATHER = {
    "name": "weather",
    "description": "Tells it.",
    "parameters": {"type": "dict", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
BFCL_ROW = {"id": "simple_0", "question": [[{"role": "user", "content": "Weather in Rome?"}]], "function": [WEATHER]}


def test_bfcl_joins_questions_with_answers_and_compares_calls(tmp_path: Path) -> None:
    rows_in(tmp_path, "BFCL_v4_simple_python.json", [BFCL_ROW])
    rows_in(tmp_path, "BFCL_v4_irrelevance.json", [{**BFCL_ROW, "id": "irrelevance_0"}])
    rows_in(tmp_path, "BFCL_v4_multi_turn_base.json", [{"id": "m", "question": []}])
    rows_in(tmp_path, "multi_turn_func_doc/files.json", [{"name": "cd"}])
    with pytest.raises(DataError, match="has no answer of simple_0"):
        made("bfcl", tmp_path)
    answer = {"id": "simple_0", "ground_truth": [{"weather": {"city": ["Rome"]}}]}
    rows_in(tmp_path, "possible_answer/BFCL_v4_simple_python.json", [answer])
    task = made("bfcl", tmp_path)
    assert {example.row["category"] for example in task.examples} == {"simple_python", "irrelevance"}
    simple = next(n for n, example in enumerate(task.examples) if example.id == "simple_0")
    prompt = task.prompt_for(task.examples[simple])
    assert prompt.chat.messages[0].role == "system"
    assert '"name": "weather"' in prompt.chat.messages[0].content
    assert "in Python 3 syntax." in prompt.chat.messages[0].content
    assert prompt.chat.last.content == "Weather in Rome?"
    said = {'[weather(city="Rome")]': (1.0, 0.0), '[weather(city="Oslo")]': (0.0, 0.0), "No function fits.": (0.0, 1.0)}
    for text, scores in said.items():
        assert (graded(task, text, simple).score, graded(task, text, 1 - simple).score) == scores
    assert [example.id for example in made("bfcl", tmp_path, subsets=("irrelevance",)).examples] == ["irrelevance_0"]


@pytest.mark.skipif(not (SHARED / "bfcl").exists(), reason="no benchmarks beside the repository")
def test_shared_releases_are_read_and_gold_answers_are_right() -> None:
    counts = {"gsm8k": 369, "mgsm": 250, "ifeval": 360, "bbh": 4350, "bfcl": 695}
    for name, count in counts.items():
        assert len(made(name, SHARED / name).examples) == count
    gsm8k = made("gsm8k", SHARED / "gsm8k", limit=60)
    assert all(graded(gsm8k, example.row["answer"], number).score == 1 for number, example in enumerate(gsm8k.examples))
    bbh = made("bbh", SHARED / "bbh", limit=54)
    for number, example in enumerate(bbh.examples):
        assert graded(bbh, f"So the answer is {example.row['target']}.", number).score == 1
    assert "truthfulqa_gen" in tasks.all()
    trivia = made("triviaqa", SHARED / "eval_gauntlet" / "triviaqa_sm_sub.jsonl.gz", limit=50)
    assert all(graded(trivia, f" {example.row['value']}", n).score == 1 for n, example in enumerate(trivia.examples))
