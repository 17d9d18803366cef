"""The verdict lock: whether our graders say what labels and the official graders say, row by row.

    python benchmarks/verdicts.py --data ../shared/data [--only PART ...] [--lm-eval PYTHON] [--bfcl PYTHON] [--every N]

`--data` has one sub-folder a benchmark, as the shared data or a full release has them. `--lm-eval` and `--bfcl` are the
interpreters of environments with `lm-eval==0.4.13` and `bfcl-eval==2026.3.23` (benchmarks/peers/official_verdicts.py);
parts that compare with one are left out, and say so, where it is not given. Prints a JSON line for each part, with
every difference, and ends with 1 when there is one that is not explained here.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import verdict_mutations

from herd.core.errors import SettingsError
from herd.judge.drop import grade_drop
from herd.judge.extraction import BBH_ZEROSHOT_MATCH, ExactMatch, choice_letter, grade_answer_is, grade_letter
from herd.judge.ifeval import check_instructions
from herd.judge.maths import grade_all_maths
from herd.judge.numbers import MGSM_FORMS, NUMBER_FORMS, grade_number
from herd.judge.recall import grade_strings
from herd.judge.rouge import rouge_l, rouge_l_sum
from herd.judge.sentences import punkt_folder
from herd.judge.votes import best_scored, majority_answer

PEER = Path(__file__).parent / "peers" / "official_verdicts.py"


@dataclass(frozen=True)
class Comparison:
    """One part: how many verdicts were compared with what, and those that differ. explained: how many of them for a
    reason that is known, which `note` says."""

    against: str
    rows: int
    differences: list[Any]
    explained: int = 0
    note: str = ""

    def to_row(self, part: str) -> dict[str, Any]:
        equal = self.rows - len(self.differences)
        return {"benchmark": part, "against": self.against, "rows": self.rows, "equal": equal, "note": self.note} | {
            "differences": self.differences[:200]
        }


@dataclass(frozen=True)
class Given:
    """What the command was given."""

    data: Path
    every: int
    lm_eval: str | None
    bfcl: str | None

    def rows(self, name: str) -> list[dict[str, Any]]:
        """All rows of the files that match `name`, gzipped or not, every N-th of them."""
        files = sorted({*self.data.glob(name), *self.data.glob(f"{name}.gz")})
        if not files:
            raise FileNotFoundError(f"{self.data / name} is not there")
        found: list[dict[str, Any]] = []
        for file in files:
            with (gzip.open if file.suffix == ".gz" else open)(file, "rt", encoding="utf-8") as lines:
                found += [json.loads(line) | {"file": file.name.split(".")[0]} for line in lines if line.strip()]
        return found[:: self.every]


def official(python: str | None, requests: Sequence[dict[str, Any]]) -> list[Any]:
    """The peer's verdicts on the requests, in order."""
    if python is None:
        raise FileNotFoundError("no interpreter with the peer was given")
    told = {"PATH": os.environ["PATH"], "PUNKT": str(punkt_folder().parents[2]), "HOME": os.environ.get("HOME", "/")}
    lines = "\n".join(json.dumps(request) for request in requests)
    done = subprocess.run([python, str(PEER)], input=lines, capture_output=True, text=True, env=told, check=False)
    verdicts = [
        json.loads(line) for line in done.stdout.splitlines() if line.startswith(("[", "{", '"', "t", "f", "n"))
    ]
    if len(verdicts) != len(requests):
        raise RuntimeError(f"the peer gave {len(verdicts)} of {len(requests)} verdicts: {done.stderr[-1000:]}")
    return verdicts


def gsm8k_labels(given: Given) -> Iterator[Comparison]:
    different, count = [], 0
    for row in given.rows("gsm8k/model_solutions_sample.jsonl"):
        target = row["ground_truth"].rpartition("A: ")[2]
        for name, solution in row.items():
            if isinstance(solution, dict) and "is_correct" in solution:
                verdict = grade_number(solution["solution"], target, form=NUMBER_FORMS["gsm8k_official"])
                count += 1
                if bool(verdict.score) != solution["is_correct"]:
                    different.append([row["test_index"], name, verdict.extracted, target])
    yield Comparison("labels of the release's model solutions", count, different)


def math_gold(given: Given) -> Iterator[Comparison]:
    solutions = [row["solution"] for row in given.rows("math/*.jsonl")]
    for form in ("math_verify", "classic_boxed"):
        verdicts = grade_all_maths([(text, text) for text in solutions], form=form)
        wrong = [text[-200:] for text, verdict in zip(solutions, verdicts, strict=True) if verdict.score != 1]
        yield Comparison(f"gold equals gold, {form}", len(solutions), wrong)


def math_best_of_n(given: Given) -> Iterator[Comparison]:
    problems = given.rows("math_best_of_n/*.jsonl")
    pairs = [(f"${answer}$", f"${row['gt']}$") for row in problems for answer in row["pred"]]
    labels = [label for row in problems for label in row["score"]]
    verdicts = grade_all_maths(pairs)
    different = [
        [answer, gold, label]
        for (answer, gold), label, verdict in zip(pairs, labels, verdicts, strict=True)
        if bool(verdict.score) is not label
    ]
    known = sum(row == ["$10000$", "$10{,}000$", False] for row in different)
    ours = iter([verdict.score == 1 for verdict in verdicts])
    scores = _best_of_figures(problems, [[next(ours) for _ in row["pred"]] for row in problems])
    by_labels = _best_of_figures(problems, [row["score"] for row in problems])
    note = ", ".join(f"{name} {scores[name]:.3f} (by labels {by_labels[name]:.3f})" for name in scores)
    yield Comparison("labels of Qwen2.5-Math", len(pairs), different, known, f"{note}; its grader reads no `{{,}}`")


def _best_of_figures(problems: Sequence[dict[str, Any]], right: Sequence[Sequence[bool]]) -> dict[str, float]:
    """Of eight samples a problem, from whether each is right."""
    chosen = {
        "first": [0 for _ in problems],
        "maj@8": [majority_answer(row["pred"]) for row in problems],
        "rm@8": [best_scored([score for score, *_ in row["pred_score"]]) for row in problems],
    }
    figures = {
        name: sum(samples[number] for samples, number in zip(right, numbers, strict=True)) / len(problems)
        for name, numbers in chosen.items()
    }
    return figures | {"pass@8": sum(map(any, right)) / len(problems)}


def ifeval_labels(given: Given) -> Iterator[Comparison]:
    different, explained, count = [], 0, 0
    for row in given.rows("ifeval/*.jsonl"):
        if "strict" not in row:
            continue
        verdict = check_instructions(row["gpt4_response"], row["instruction_id_list"], row["kwargs"])
        for kind, ours in (("strict", verdict.strict), ("loose", verdict.loose)):
            count += 1
            if list(ours) != row[kind]:
                different.append([row["key"], kind, list(ours), row[kind]])
                explained += _is_random(row["kwargs"])
    yield Comparison("official strict and loose verdicts", count, different, explained, _RANDOM)


_RANDOM = "upstream draws a letter at random where the data's is none of a to z"


def _is_random(arguments: Sequence[dict[str, Any]]) -> bool:
    letters = [row["letter"] for row in arguments if row.get("letter")]
    return any(not "a" <= letter.lower() <= "z" for letter in letters)


def ifeval_shapes(given: Given) -> Iterator[Comparison]:
    """Every prompt against six shapes of answers, by lm-eval's checker with its language detector's seed set."""
    rows = given.rows("ifeval/*.jsonl")
    cases = [(row, text) for row in rows for text in verdict_mutations.answer_shapes(row)]
    requests = [
        {
            "verdict": "instructions",
            "answer": text,
            "instructions": row["instruction_id_list"],
            "arguments": row["kwargs"],
        }
        for row, text in cases
    ]
    different, explained = [], 0
    for (row, text), theirs in zip(cases, official(given.lm_eval, requests), strict=True):
        verdict = check_instructions(text, row["instruction_id_list"], row["kwargs"])
        ours = [list(verdict.strict), list(verdict.loose)]
        if ours != theirs:
            different.append([row["key"], ours, theirs, text[:80]])
            explained += _is_random(row["kwargs"])
    yield Comparison("lm-eval 0.4.13, six shapes of answers", len(cases), different, explained, _RANDOM)


def repeats(given: Given) -> Iterator[Comparison]:
    """Sixty verdicts on one answer, of the rows that ask for a language."""
    rows = [
        row for row in given.rows("ifeval/*.jsonl") if any("language" in name for name in row["instruction_id_list"])
    ]
    rows = [row for row in rows if "gpt4_response" in row][:20]
    different = [
        row["key"]
        for row in rows
        if len({check_instructions(row["gpt4_response"], row["instruction_id_list"], row["kwargs"]) for _ in range(60)})
        > 1
    ]
    yield Comparison("itself, sixty times", 60 * len(rows), different)


def numbers(given: Given) -> Iterator[Comparison]:
    """All forms of GSM8K and MGSM, strict and flexible, on the given model solutions and mutations of their endings."""
    rng, answers = random.Random(0), []
    for row in given.rows("gsm8k/model_solutions_sample.jsonl"):
        target = row["ground_truth"].rpartition("A: ")[2]
        said = rng.choice([row["6b_finetuning"], row["175b_verification"]])["solution"]
        answers += [(ending, target) for ending in verdict_mutations.number_endings(said, rng)]
    forms = [(name, form) for name, form in (NUMBER_FORMS | MGSM_FORMS).items() if name != "gsm8k_official"]
    cases = [
        (*rng.choice(forms), answer, target, kind) for answer, target in answers for kind in ("strict", "flexible")
    ]
    requests = [
        {
            "verdict": "filters",
            "filter": "regex",
            "settings": {
                "regex_pattern": form.pattern.pattern if kind == "strict" else "(-?[$0-9.,]{2,})|(-?[0-9]+)",
                "group_select": form.select if kind == "strict" else -1,
            },
            "match": _match_settings(form.match),
            "answer": answer,
            "target": target,
        }
        for _, form, answer, target, kind in cases
    ]
    different = []
    for (name, form, answer, target, kind), theirs in zip(cases, official(given.lm_eval, requests), strict=True):
        verdict = grade_number(answer, target, form=form, extraction=kind)  # type: ignore[arg-type]
        if [verdict.extracted or "[invalid]", verdict.score] != theirs:
            different.append([name, kind, verdict.extracted, theirs, answer[-80:]])
    yield Comparison("lm-eval 0.4.13: gsm8k, gsm8k_cot, gsm8k_cot_llama, mgsm_native_cot", len(cases), different)


def _match_settings(match: ExactMatch) -> dict[str, Any]:
    settings: dict[str, Any] = {"ignore_case": match.ignore_case, "ignore_punctuation": match.ignore_punctuation}
    return settings | ({"regexes_to_ignore": list(match.regexes_to_ignore)} if match.regexes_to_ignore else {})


def letters(given: Given) -> Iterator[Comparison]:
    """MMLU's letters, GPQA's choices and BBH's answers, out of made-up answers."""
    rng, cases, requests = random.Random(0), [], []
    for number in range(0, 3000, given.every):
        text, target, choices = verdict_mutations.letter_answer(rng)
        # The peer looks at all of Unicode for each choice, so that there are few.
        kind = "choice" if number % 60 == 0 else ("best_answer", "mmlu_pro", "bbh", "bbh_zeroshot")[rng.randrange(4)]
        cases.append((kind, text, target, choices))
        requests.append(verdict_mutations.letter_request(kind, text, target, choices, BBH_ZEROSHOT_MATCH))
    different = []
    for (kind, text, target, choices), theirs in zip(cases, official(given.lm_eval, requests), strict=True):
        ours = _extracted_letter(kind, text, target, choices)
        if ours != theirs:
            different.append([kind, text, target, ours, theirs])
    yield Comparison("lm-eval 0.4.13: mmlu_cot_llama, mmlu_pro, gpqa, bbh", len(cases), different)


def _extracted_letter(kind: str, text: str, target: str, choices: Sequence[str]) -> list[Any]:
    if kind == "choice":
        letter = choice_letter(text, choices)
        right = letter is not None and ExactMatch(True, True).matches(letter, [target])
        return [letter or "[invalid]", float(right)]
    bbh = kind.startswith("bbh")
    verdict = grade_answer_is(text, target, pattern=kind) if bbh else grade_letter(text, target, pattern=kind)
    return ["[invalid]" if verdict.unparsed else verdict.extracted, verdict.score]


def reading(given: Given) -> Iterator[Comparison]:
    """DROP, RULER and ROUGE on made-up answers."""
    rng = random.Random(0)
    parts: dict[str, tuple[list[dict[str, Any]], list[list[float]]]] = {
        "drop": ([], []),
        "ruler": ([], []),
        "rouge": ([], []),
    }
    for _ in range(0, 2000, given.every):
        answer, golds = verdict_mutations.reading_answer(rng)
        parts["drop"][0].append({"verdict": "drop", "answer": answer, "golds": golds})
        scores = grade_drop(answer, golds).parts
        parts["drop"][1].append([scores["em"], scores["f1"]])
        parts["ruler"][0].append({"verdict": "ruler", "answer": answer, "references": golds[0]})
        share = grade_strings(answer, golds[0]).score or 0.0
        parts["ruler"][1].append([share, share])  # what lm-eval calls the part is the share too
        parts["rouge"][0].append({"verdict": "rouge", "answer": answer, "reference": golds[0][0]})
        parts["rouge"][1].append([rouge_l(answer, golds[0][0]), rouge_l_sum(answer, golds[0][0])])
    for name, (requests, ours) in parts.items():
        theirs = official(given.lm_eval, requests)
        different = [
            [request, mine, other]
            for request, mine, other in zip(requests, ours, theirs, strict=True)
            if isinstance(other, dict) or any(abs(a - b) > 1e-9 for a, b in zip(mine, other, strict=True))
        ]
        yield Comparison(
            f"{'rouge_score 0.1.2' if name == 'rouge' else 'lm-eval 0.4.13'}: {name}", len(requests), different
        )


def minerva(given: Given) -> Iterator[Comparison]:
    """MATH's gold answers, and mutations of them, in Minerva's form."""
    rng = random.Random(0)
    rows = given.rows("math/*.jsonl")[::4]
    pairs = [(verdict_mutations.final_answer(row["solution"], rng), row["solution"]) for row in rows]
    requests = [{"verdict": "minerva", "answer": answer, "solution": solution} for answer, solution in pairs]
    different = []
    for pair, verdict, theirs in zip(
        pairs, grade_all_maths(pairs, form="classic"), official(given.lm_eval, requests), strict=True
    ):
        if isinstance(theirs, dict) or bool(verdict.score) is not theirs[2]:
            different.append([pair[0][-120:], verdict.extracted, verdict.score, theirs])
    yield Comparison("lm-eval 0.4.13: minerva_math", len(pairs), different)


# Entries whose values no grammar takes: within brackets they are read here, and two such calls in a row are no call.
UNGRAMMATICAL = frozenset({"simple_java_85", "simple_javascript_43", "simple_javascript_46"})


def bfcl(given: Given) -> Iterator[Comparison]:
    """Gold and eight mutations of every entry that has an answer, as decoded calls and as text; irrelevance as text."""
    entries = verdict_mutations.bfcl_entries(given)
    for name, cases in (
        ("calls", verdict_mutations.bfcl_calls(entries)),
        ("text", verdict_mutations.bfcl_texts(entries)),
    ):
        theirs = official(given.bfcl, [request for request, _ in cases])
        different, gold_wrong, explained = [], 0, 0
        for (request, mine), other in zip(cases, theirs, strict=True):
            gold_wrong += request["mutation"] == "gold" and mine is not None
            if mine != other:
                different.append([request["id"], request["mutation"], mine, other, str(request.get("text", ""))[:200]])
                explained += request["id"] in UNGRAMMATICAL
        yield Comparison(
            f"bfcl-eval 2026.3.23, {name}", len(cases), different, explained, f"{gold_wrong} gold answers wrong"
        )


PARTS: dict[str, Callable[[Given], Iterator[Comparison]]] = {
    function.__name__: function
    for function in (
        gsm8k_labels,
        math_gold,
        math_best_of_n,
        ifeval_labels,
        repeats,
        ifeval_shapes,
        numbers,
        letters,
        reading,
        minerva,
        bfcl,
    )
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--only", nargs="*", choices=sorted(PARTS), default=list(PARTS))
    parser.add_argument("--lm-eval", help="interpreter with lm-eval")
    parser.add_argument("--bfcl", help="interpreter with bfcl-eval")
    parser.add_argument("--every", type=int, default=1, help="look at every N-th row only")
    options = parser.parse_args()
    given, failed = Given(options.data, options.every, options.lm_eval, options.bfcl), False
    for part in options.only:
        try:
            for comparison in PARTS[part](given):
                print(json.dumps(comparison.to_row(part), ensure_ascii=False), flush=True)
                failed |= len(comparison.differences) > comparison.explained
        except (FileNotFoundError, SettingsError) as fault:
            print(json.dumps({"benchmark": part, "left_out": str(fault)}), flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
