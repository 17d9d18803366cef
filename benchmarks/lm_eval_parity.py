"""Herd's benchmarks beside lm-eval's, on the same model and the same rows, item by item.

`python benchmarks/lm_eval_parity.py MODEL DATA --lm-eval PYTHON`: MODEL is a folder in Hugging Face's layout (`herd
import` makes one), DATA a folder of benchmarks, and PYTHON an interpreter with lm-eval 0.4.13 in an environment of its
own. Rows are written in the Hub's columns, and both read these files; lm-eval's tasks are its own, unchanged. One JSON
line a task says of how many items the prompts are the same text, how far log-likelihoods are apart, how many written
answers and verdicts differ, and what lm-eval's processor time is of herd's, one thread each; the last line is the
whole. Ends with 1 where a verdict differs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from measuring import machine, stand_ready

from herd.evals.benchmarks import LETTERS, SOURCES
from herd.evals.datasets import benchmark_rows, find_data, has_split
from herd.evals.harness import evaluate
from herd.evals.scores import TaskScore
from herd.evals.task import Generate, LogLikelihood, Prompt, Task
from herd.evals.tasks import tasks
from herd.generate.engine import Engine
from herd.model.weights import load_transformer
from herd.tokens.tokenizer import TextTokenizer

PEER = Path(__file__).parent / "peers" / "lm_eval_tasks.py"
TOLERANCE = 1e-4  # nats, of an item's log-likelihoods
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Case:
    """A benchmark of both. name: herd's; tasks: lm-eval's. to_hub: a row of ours as the Hub has it; None for one that
    lm-eval cannot ask. split: that is asked; fewshot: shots, and fewshot_split: where they come from. settings: herd's.
    part: the folder of a row, and parts: those that are asked. metric, filter: lm-eval's of herd's score. rows: another
    benchmark whose rows are taken."""

    name: str
    tasks: tuple[str, ...]
    to_hub: Callable[[Row], dict[str, Any] | None]
    split: str = "test"
    fewshot: int = 0
    fewshot_split: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    part: Callable[[Row], str] = lambda row: ""
    parts: tuple[str, ...] = ("",)
    metric: str = "acc"
    filter: str = "none"
    rows: str = ""


def labelled(question: str = "question") -> Callable[[Row], dict[str, Any]]:
    def to_hub(row: Row) -> dict[str, Any]:
        choices = {"text": row["choices"], "label": list(LETTERS[: len(row["choices"])])}
        return {"id": row["id"], question: row["question"], "choices": choices, "answerKey": LETTERS[row["gold"]]}

    return to_hub


def four_labelled(row: Row) -> dict[str, Any] | None:
    return labelled()(row) if len(row["choices"]) == 4 else None


def five_labelled(row: Row) -> dict[str, Any]:
    """lm-eval asks CommonsenseQA's five choices; where a release has four, a fifth is put there for both."""
    return labelled()({**row, "choices": [*row["choices"], "none of these"][:5]})


def of_subject(row: Row) -> dict[str, Any]:
    return {"question": row["question"], "subject": row["subject"], "choices": row["choices"], "answer": row["gold"]}


def subject(row: Row) -> str:
    return row["subject"]


def winogrande(row: Row) -> dict[str, Any]:
    first, second = row["contexts"]
    same = [one == other for one, other in zip(first, second, strict=False)]
    start = first.rindex(" ", 0, same.index(False) if False in same else len(same)) + 1
    return {
        "sentence": f"{first[:start]}_ {row['after']}",
        "option1": first[start:],
        "option2": second[start:],
        "answer": f"{row['gold'] + 1}",
    }


def social_iqa(row: Row) -> dict[str, Any]:
    """lm-eval asks three choices; where a release has two, a third is put there for both."""
    choices = [*row["choices"], "none of these"][:3]
    context, question = row["question"].rsplit(". ", 1) if ". " in row["question"] else (row["question"], "")
    answers = dict(zip(("answerA", "answerB", "answerC"), choices, strict=True))
    return {"context": f"{context}.", "question": question, **answers, "label": f"{row['gold'] + 1}"}


def copa(row: Row) -> dict[str, Any]:
    premise, connector = row["question"].rsplit(" ", 1)
    kind = {"because": "cause", "therefore": "effect"}[connector]
    first, second = row["choices"]
    return {"premise": f"{premise}.", "choice1": first, "choice2": second, "question": kind, "label": row["gold"]}


def truthful(row: Row) -> dict[str, Any]:
    columns = {name: {"choices": row[name][0], "labels": row[name][1]} for name in ("mc1_targets", "mc2_targets")}
    return {"question": row["question"], **columns}


def truthful_answers(row: Row) -> dict[str, Any]:
    return {name: row[name] for name in ("question", "correct_answers", "incorrect_answers")}


def trivia(row: Row) -> dict[str, Any]:
    answer = {"aliases": row["aliases"], "value": row["value"]}
    return {"question": row["question"], "question_id": row["id"], "answer": answer}


def columns(*names: str) -> Callable[[Row], dict[str, Any]]:
    return lambda row: {name: row[name] for name in names}


def columns_of(name: str) -> Callable[[Row], str]:
    return lambda row: row[name]


def mgsm(row: Row) -> dict[str, Any]:
    return {"question": row["question"], "answer": None, "answer_number": int(row["answer"].replace(",", ""))}


def piqa(row: Row) -> dict[str, Any]:
    first, second = row["choices"]
    return {"goal": row["question"], "sol1": first, "sol2": second, "label": row["gold"]}


def boolq(row: Row) -> dict[str, Any]:
    return {"passage": row["passage"], "question": row["question"], "label": row["gold"]}


def lambada(row: Row) -> dict[str, Any]:
    return {"text": f"{row['context']} {row['word']}"}


def natural(row: Row) -> dict[str, Any]:
    return {"question": row["question"], "answer": row["aliases"][:5]}


SUBJECTS = ("anatomy", "astronomy")


def mmlu(*endings: str, fewshot: int = 5, **options: Any) -> Case:
    """lm-eval's tasks of two subjects. endings: before and after the subject's name."""
    names = tuple(f"mmlu{endings[0]}_{name}{endings[1]}" for name in SUBJECTS)
    options = {"name": "mmlu", "part": subject, "parts": SUBJECTS, "fewshot_split": "dev"} | options
    return Case(tasks=names, to_hub=of_subject, fewshot=fewshot, **options)


LIKELIHOODS = (
    mmlu("", ""),
    mmlu("", "_continuation", fewshot=2, settings={"scoring": "text"}),
    Case("arc_easy", ("arc_easy",), labelled()),
    Case("arc_challenge", ("arc_challenge",), labelled(), settings={"normalize": "characters"}, metric="acc_norm"),
    Case("openbookqa", ("openbookqa",), labelled("question_stem")),
    Case("piqa", ("piqa",), piqa, "validation"),
    Case("boolq", ("boolq",), boolq, "validation"),
    Case("social_iqa", ("social_iqa",), social_iqa, "validation"),
    Case("copa", ("copa",), copa, "validation"),
    Case("winogrande", ("winogrande",), winogrande, "validation"),
    Case("commonsense_qa", ("commonsense_qa",), five_labelled, "validation"),
    Case("lambada_openai", ("lambada_openai",), lambada),
    Case("truthfulqa_mc1", ("truthfulqa_mc1",), truthful, "validation"),
    Case("truthfulqa_mc2", ("truthfulqa_mc2",), truthful, "validation"),
)
EXACT: dict[str, Any] = {"metric": "exact_match"}
GSM8K = columns("question", "answer")
LLAMA3: dict[str, Any] = {"prompt_style": "llama3"}
WRITTEN = (
    Case(
        "gsm8k",
        ("gsm8k",),
        columns("question", "answer"),
        fewshot=5,
        fewshot_split="train",
        filter="strict-match",
        **EXACT,
    ),
    Case("gsm8k", ("gsm8k_llama",), columns("question", "answer"), settings=LLAMA3, filter="strict_match", **EXACT),
    Case("triviaqa", ("triviaqa",), trivia, "validation", filter="remove_whitespace", **EXACT),
    Case("nq_open", ("nq_open",), natural, "validation", filter="remove_whitespace", rows="triviaqa", **EXACT),
    Case("truthfulqa_gen", ("truthfulqa_gen",), truthful_answers, "validation", metric="rougeL_acc"),
    Case(
        "minerva_math",
        ("minerva_math_algebra",),
        columns("problem", "solution"),
        part=lambda row: row["subject"].lower(),
        parts=("algebra",),
        metric="math_verify",
    ),
    Case("mgsm", ("mgsm_native_cot_de",), mgsm, part=columns_of("lang"), parts=("de",), filter="strict-match", **EXACT),
    Case("mgsm", ("mgsm_native_cot_sw",), mgsm, part=columns_of("lang"), parts=("sw",), filter="strict-match", **EXACT),
    Case(
        "bbh",
        ("bbh_cot_fewshot_navigate",),
        columns("input", "target"),
        fewshot=3,
        part=columns_of("subtask"),
        parts=("navigate",),
        filter="get-answer",
        **EXACT,
    ),
    mmlu("_llama", "", settings=LLAMA3, filter="strict_match", **EXACT),
    mmlu("_cot_llama", "", fewshot=0, name="mmlu_cot", filter="strict_match", **EXACT),
    Case("arc_challenge", ("arc_challenge_llama",), four_labelled, settings=LLAMA3, filter="strict_match", **EXACT),
)


# ---- both on the same rows ----


def write_rows(case: Case, data: str, folder: Path, limit: int) -> None:
    """The first `limit` rows of every part that is asked, and all that may be shown."""
    source = SOURCES[case.rows or case.name]
    place = find_data(data, source)
    if place is None:
        raise SystemExit(f"{data} has no data of {case.rows or case.name}; leave it out with --only")
    for split in filter(None, (case.split, case.fewshot_split)):
        if split != case.split and not has_split(place, split, source):
            raise SystemExit(f"{place} has no split {split}")
        rows: dict[str, list[str]] = {part: [] for part in case.parts}
        for row in benchmark_rows(place, split, source).rows:
            of_hub = case.to_hub(row)
            if (
                of_hub is not None
                and case.part(row) in rows
                and (split != case.split or len(rows[case.part(row)]) < limit)
            ):
                rows[case.part(row)].append(json.dumps(of_hub))
        for part, lines in rows.items():
            (folder / part).mkdir(parents=True, exist_ok=True)
            (folder / part / f"{split}.jsonl").write_text("\n".join(lines), encoding="utf-8")


class Peer:
    """lm-eval in an interpreter of its own, with the model loaded once."""

    def __init__(self, python: str, model: str, batch_size: int, kept: Path | None) -> None:
        self._command = [python, str(PEER), model, str(batch_size)]
        self._kept, self._process = kept, None

    def _start(self) -> subprocess.Popen[str]:
        places = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": ""}
        return stand_ready("lm-eval", self._command, os.environ | places)[0]

    def evaluate(self, line: dict[str, Any], name: str) -> dict[str, Any]:
        """What lm-eval says. name: under which it is kept."""
        file = self._kept / f"{name}.json" if self._kept else None
        if file is not None and file.exists():
            return json.loads(file.read_text(encoding="utf-8"))
        self._process = self._process or self._start()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(line) + "\n")
        for text in self._process.stdout:
            if text.startswith("{"):
                if file is not None and "error" not in json.loads(text):
                    file.write_text(text, encoding="utf-8")
                return json.loads(text)
        raise SystemExit(f"lm-eval ended while it was at {', '.join(line['tasks'])}")


def primer_of(case: Case, items: Sequence[Any], folder: Path) -> dict[str, Any]:
    """TruthfulQA's questions and answers, which stand in lm-eval's task and not in herd, as a file."""
    if not case.name.startswith("truthfulqa"):
        return {}
    file = folder / "primer.txt"
    file.write_text(items[0]["arguments"][0][0].rpartition("\n\nQ: ")[0], encoding="utf-8")
    return {"primer": str(file)}


def compare(
    case: Case, engine: Engine, tokenizer: TextTokenizer, peer: Peer, options: argparse.Namespace
) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_rows(case, options.data, folder / "rows", max(1, options.limit // len(case.parts)))
        written = case in WRITTEN
        max_tokens = options.max_tokens if written and case.name != "mmlu" else None
        line = {"tasks": list(case.tasks), "data": str(folder / "rows"), "num_fewshot": case.fewshot}
        line |= {"max_tokens": max_tokens} if max_tokens else {}
        theirs = peer.evaluate(line, f"{case.tasks[0]}-{options.limit}-{max_tokens or 0}")
        if "error" in theirs:
            return {"task": case.name, "lm_eval": case.tasks[0], "error": theirs["error"]}
        settings = {"data": str(folder / "rows"), "num_fewshot": case.fewshot, **case.settings}
        settings |= primer_of(case, theirs["items"], folder)
        if case.name == "bbh":
            settings["cot_prompts"] = str(Path(find_data(options.data, SOURCES["bbh"]) or "") / "cot-prompts")
        started = time.process_time()
        task = tasks.make(tasks.configure(case.name, **settings))()
        if max_tokens and isinstance(task.output_type, Generate):
            task = replace(task, output_type=replace(task.output_type, max_tokens=max_tokens))
        score = evaluate(engine, tokenizer, task, chat=False)
        seconds = time.process_time() - started
        assert isinstance(score, TaskScore)
    items = theirs["items"]
    if len(items) != len(task.examples):
        raise SystemExit(f"{case.name}: lm-eval asked {len(items)} items and herd {len(task.examples)}")
    row: dict[str, Any] = {"task": case.name, "lm_eval": case.tasks[0], "items": len(items)}
    row |= compare_likelihoods(task, score, items) if isinstance(task.output_type, LogLikelihood) else {}
    if written:
        row["same_prompts"] = sum(
            answer.full_prompt.removeprefix(tokenizer.show(tokenizer.opening)) == item["arguments"][0][0]
            for answer, item in zip(score.answers, items, strict=True)
        )
        texts = [item["responses"][0][0] for item in items]
        row["other_answers"] = sum(answer.text != text for answer, text in zip(score.answers, texts, strict=True))
    verdicts = [float(item["metrics"][case.filter][case.metric]) for item in items]
    row["other_verdicts"] = sum(
        ours is None or abs(ours - verdict) > TOLERANCE for ours, verdict in zip(score.scores, verdicts, strict=True)
    )
    row |= {"seconds": round(seconds, 2), "lm_eval_seconds": round(theirs["seconds"], 2)}
    return row | {"lm_eval_time_of_herds": round(theirs["seconds"] / seconds, 2)}


def compare_likelihoods(task: Task, score: TaskScore, items: Sequence[Any]) -> dict[str, Any]:
    """Of how many items all prompts and choices are the same text, and how far their log-likelihoods are apart."""
    assert isinstance(task.output_type, LogLikelihood)
    same, furthest = 0, 0.0
    for number, (example, item) in enumerate(zip(task.examples, items, strict=True)):
        prompt, after = task.prompt_for(example), list(task.output_type.choices(example))
        contexts = task.output_type.contexts(example) if task.output_type.contexts else [prompt] * len(after)
        texts = [context.text if isinstance(context, Prompt) else context for context in contexts]
        same += [[*pair] for pair in zip(texts, after, strict=True)] == [pair[:2] for pair in item["arguments"]]
        ours = score.choices[number].log_likelihoods if score.choices else score.answers[number].log_likelihoods
        told = [float(response[0][0]) for response in item["responses"]]
        furthest = max(furthest, *(abs(first - second) for first, second in zip(ours, told, strict=True)))
    return {"same_prompts": same, "furthest_log_likelihood": furthest}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a folder in Hugging Face's layout")
    parser.add_argument("data", help="a folder of benchmarks")
    parser.add_argument("--lm-eval", required=True, metavar="PYTHON", help="an interpreter with lm-eval 0.4.13")
    parser.add_argument("--limit", type=int, default=5, help="items a task")
    parser.add_argument("--max-tokens", type=int, default=32, help="of a written answer, but for the letters of MMLU")
    parser.add_argument("--batch-size", type=int, default=8, help="lm-eval's")
    parser.add_argument("--keep", type=Path, help="folder of lm-eval's answers, which it is not asked for again")
    parser.add_argument("--only", nargs="*", default=(), help="lm-eval's names of tasks, or the beginnings of such")
    options = parser.parse_args()
    torch.set_num_threads(1)
    tasks.all()  # which fills SOURCES
    tokenizer = TextTokenizer.load(Path(options.model))
    engine = Engine(load_transformer(Path(options.model)), tokenizer.stop_token_ids, tokenizer=tokenizer)
    peer = Peer(options.lm_eval, options.model, options.batch_size, options.keep)
    rows = []
    for case in (*LIKELIHOODS, *WRITTEN):
        if not options.only or any(name.startswith(tuple(options.only)) for name in case.tasks):
            rows.append(compare(case, engine, tokenizer, peer, options))
            print(json.dumps(rows[-1]), flush=True)
    failed, rows = [row for row in rows if "error" in row], [row for row in rows if "error" not in row]
    names = ("items", "other_verdicts", "seconds", "lm_eval_seconds")
    total: dict[str, Any] = {name: sum(row[name] for row in rows) for name in names}
    furthest = max((row["furthest_log_likelihood"] for row in rows if "furthest_log_likelihood" in row), default=0.0)
    total |= {"tasks": len(rows), "furthest_log_likelihood": furthest}
    total["other_answers"] = sum(row.get("other_answers", 0) for row in rows)
    total |= {name: round(total[name], 1) for name in ("seconds", "lm_eval_seconds")}
    total["lm_eval_time_of_herds"] = round(total["lm_eval_seconds"] / total["seconds"], 2)
    print(json.dumps(total | machine()), flush=True)
    sys.exit(bool(failed or total["other_verdicts"] or furthest > TOLERANCE))


if __name__ == "__main__":
    main()
