"""Answers that are right, and answers that are wrong in one way each, for benchmarks/verdicts.py."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator, Sequence
from typing import Any

from herd.judge.bfcl import call_language, grade_bfcl
from herd.judge.boxed import last_boxed
from herd.judge.function_calls import check_calls

WORDS = "the a Denver Broncos 12 3.5 well-known in May 1,000 of Lions, and (Bears)".split()


def answer_shapes(row: dict[str, Any]) -> list[str]:
    """Six shapes: prose, JSON, Markdown with sections and bullets, two responses in quotation marks, capital letters,
    and what the row's own arguments ask for; the given answer too where there is one."""
    asked: list[str] = []
    for arguments in row["kwargs"]:
        for name, value in arguments.items():
            if name in ("keywords", "forbidden_words"):
                asked += value
            elif isinstance(value, str) and name != "relation":
                asked.append(value)
            elif isinstance(value, int):
                asked.append("word. " * min(value, 400))
    prompt = row["prompt"]
    shapes = [
        f"{prompt[:200]} Dr. Smith said so, e.g. at 5 p.m. in Bern. Was it? Yes!",
        '```json\n{"answer": ["' + prompt[:40].replace('"', "'").replace("\\", "").replace("\n", " ") + '"]}\n```',
        "<<A title>>\n\nSection 1\n* one [address]\n* two **bold**\n- *mark*\n\nSECTION 2\n***\nLast [name]\nP.S. x",
        f'"First response, {prompt[:30]}\n******\nSecond response"',
        f"HERE IS THE ANSWER\n{prompt[:150].upper()}\nIs there anything else I can help with?",
        " ".join(asked) + "\n" + "\n\n".join(asked),
    ]
    return shapes + ([row["gpt4_response"]] if "gpt4_response" in row else [])


def number_endings(solution: str, rng: random.Random) -> list[str]:
    """A solution with the endings that tasks ask for, some of them damaged."""
    head, _, number = solution.rpartition("A: ")
    number = number.strip() or "0"
    endings = [
        f"#### {number}",
        f"####{number}",
        f"The answer is {number}.",
        f"The final answer is ${number}",
        f"Die Antwort lautet {number}.",
        f"答えは{number}です。",
        f"答案是 {number}。",
        f"సమాధానం {number}",
        f"The answer is -{number},000.50 dollars",
        "I do not know.",
        f"{number}.",
    ]
    return [head + ending for ending in rng.sample(endings, 3)]


def letter_answer(rng: random.Random) -> tuple[str, str, list[str]]:
    """An answer, the right one, and the choices."""
    choices = rng.sample(["Guilty", "Guilty of Romance", "not guilty", "It is 5.", "True", "(none)"], 4)
    letter = rng.choice("ABCDEK")
    target = rng.choice(["(A)", "(B)", "True", "A", "B"])
    text = rng.choice(
        [
            f"Let me think.\nSo the answer is {target}.",
            f"The answer is {target}.",
            f"The best answer is {letter}. No, the best answer is {rng.choice('AB')}",
            f"the answer is ({letter}) or: {letter}",
            f"I choose {rng.choice(choices)}!",
            f'The answer: "{target}", I guess\\.',
            f"({letter}) then ({rng.choice('AB')})",
            "Nobody knows",
            "",
            "The final answer: True\nthe answer is False.",
        ]
    )
    return text, target, choices


def letter_request(kind: str, text: str, target: str, choices: Sequence[str], zeroshot: Any) -> dict[str, Any]:
    """The peer's filter and metric for it."""
    request: dict[str, Any] = {"verdict": "filters", "filter": "regex", "answer": text, "target": target}
    if kind == "choice":
        settings = {
            "regex_pattern": r"(\([A-Z]\))",
            "group_select": -1,
            "ignore_case": True,
            "ignore_punctuation": True,
        }
        match = {"ignore_case": True, "ignore_punctuation": True}
        return request | {
            "filter": "multi_choice_regex",
            "settings": settings,
            "match": match,
            "doc": {"choices": choices},
        }
    patterns = {
        "best_answer": ("best answer is ([A-Z])", -1),
        "mmlu_pro": (r"answer is \(?([ABCDEFGHIJ])\)?", 0),
        "bbh": ("(?<=the answer is )(.*)(?=.)", 0),
        "bbh_zeroshot": (
            "((?<=The answer is )(.*)(?=.)|(?<=the answer is )(.*)(?=.)|(?<=The answer: )(.*)(?=.)"
            "|(?<=The final answer: )(.*)(?=.))",
            0,
        ),
    }
    pattern, select = patterns[kind]
    match = {"ignore_case": True, "ignore_punctuation": True, "regexes_to_ignore": [r"\$", r"\.$"]}
    if kind == "bbh":
        match = {}
    elif kind == "bbh_zeroshot":
        match = {"ignore_case": True, "regexes_to_ignore": list(zeroshot.regexes_to_ignore)}
    return request | {"settings": {"regex_pattern": pattern, "group_select": select}, "match": match}


def reading_answer(rng: random.Random) -> tuple[str, list[list[str]]]:
    """An answer of a few words and lines, and several gold answers of several spans."""

    def words(most: int) -> str:
        return " ".join(rng.choices(WORDS, k=rng.randint(1, most)))

    golds = [[words(3) for _ in range(rng.randint(1, 3))] for _ in range(rng.randint(1, 2))]
    return "\n".join([words(4), *([rng.choice(golds[0])] if rng.random() < 0.6 else [])]), golds


def final_answer(solution: str, rng: random.Random) -> str:
    """The gold answer, or something near it, as Minerva's prompt asks for it."""
    gold = last_boxed(solution) or ""
    changes = [
        gold,
        f"${gold}$",
        f"x = {gold}",
        gold.replace("\\dfrac", "\\frac").replace("\\left", "").replace("\\right", ""),
        f"{gold} cm",
        gold + "1",
        f"\\text{{{gold}}}",
    ]
    ending = rng.choice([". I hope it is correct.", ". I hope it is correct.", "", ". "])
    return f"Thus.\nFinal Answer: The final answer is {rng.choice(changes)}{ending}"


def bfcl_entries(given: Any) -> list[dict[str, Any]]:
    """Single-turn entries with their answers. A folder `bfcl`, or the release's own."""
    folder = "bfcl/" if (given.data / "bfcl").is_dir() else ""
    answers = {}
    for row in given.__class__(given.data, 1, None, None).rows(f"{folder}possible_answer/BFCL_v4_*.json*"):
        answers[row["id"]] = row["ground_truth"]
    entries = []
    kinds = ("*simple*", "*multiple", "*parallel", "*relevance")
    for row in (row for kind in kinds for row in given.rows(f"{folder}BFCL_v4_{kind}.json*")):
        category = row["file"].removeprefix("BFCL_v4_")
        relevance = "relevance" in category
        if relevance or row["id"] in answers:
            answer = [] if relevance else answers[row["id"]]
            entries.append({**row, "category": category, "answers": answer, "language": call_language(category)})
    return entries


def gold_calls(entry: dict[str, Any]) -> list[dict[str, Any]]:
    """The first allowed value of every argument; what may be left out is, where that is allowed first."""
    calls = []
    for answer in entry["answers"]:
        ((name, allowed),) = answer.items()
        described = next(function for function in entry["function"] if function["name"] == name)
        kinds, required = described["parameters"]["properties"], described["parameters"].get("required", ())
        arguments = {}
        for key, values in allowed.items():
            value = next((value for value in values if value != "" or key not in required), "")
            if key in kinds and (value != "" or key in required or "" not in values):
                arguments[key] = _written(_gold_value(value), kinds[key], entry["language"])
        calls.append({name: arguments})
    return calls


def _gold_value(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _gold_value(values[0]) for key, values in value.items() if values and values[0] != ""}
    if isinstance(value, list):
        return [_gold_value(item) if isinstance(item, dict) else item for item in value]
    return value


def _written(value: Any, described: dict[str, Any], language: str) -> Any:
    """As the entry's language writes it: Java's and JavaScript's values are texts. Of an array of texts in Java, the
    checker takes quotation marks for a part of each."""
    kind = described["type"]
    if language == "python":
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        if language == "javascript":
            return "{" + ", ".join(f"{key}: {_item(item)}" for key, item in value.items()) + "}"
        puts = " ".join(f'put("{key}", {_item(item)});' for key, item in value.items())
        return f"new HashMap<String, Object>() {{{{ {puts} }}}}"
    if isinstance(value, list):
        bare = kind == "Array" and described.get("items", {}).get("type") == "String"
        items = ", ".join(map(str if bare else _item, value))
        forms = {"Array": f"new Object[]{{{items}}}", "ArrayList": f"new ArrayList<Object>(Arrays.asList({items}))"}
        return f"[{items}]" if language == "javascript" else forms.get(kind, f"[{items}]")
    suffix = {"long": "L", "float": "f", "Bigint": "n"}.get(kind, "") if not isinstance(value, str) else ""
    return f"{value}{suffix if not (language == 'javascript' and kind == 'float') else ''}"


def _item(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ", ".join(map(_item, value)) + "]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def mutations(calls: list[dict[str, Any]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Gold, and eight changes of it: a name, an argument less, one more, a type, a value, how texts are written, how
    many calls there are, and their order."""
    yield "gold", calls
    if not calls:
        return
    for kind in ("rename", "drop", "extra", "retype", "revalue", "restyle"):
        changed = copy.deepcopy(calls)
        ((name, arguments),) = changed[0].items()
        first = next(iter(arguments), None)
        if kind == "rename":
            changed[0] = {f"{name}_": arguments}
        elif kind == "extra":
            arguments["no_such_argument"] = 1
        elif first is not None and kind == "drop":
            del arguments[first]
        elif first is not None:
            arguments[first] = {"retype": _retyped, "revalue": _revalued, "restyle": _restyled}[kind](arguments[first])
        yield kind, changed
    yield "recount", [*calls, calls[0]]
    yield "reverse", calls[::-1]


def _retyped(value: Any) -> Any:
    if isinstance(value, list):
        return [_retyped(item) for item in value] if value else "x"
    return str(value) if not isinstance(value, str) else 7


def _revalued(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, list):
        return [*value, *value] if value else [1]
    if isinstance(value, dict):
        return {**value, "no_such_key": 1}
    return f"{value} x"


def _restyled(value: Any) -> Any:
    if isinstance(value, str):
        return f" {value.upper()}. "
    if isinstance(value, list):
        return [_restyled(item) for item in value]
    if isinstance(value, dict):
        return {key: _restyled(item) for key, item in value.items()}
    return float(value) if type(value) is int else value


def bfcl_calls(entries: Sequence[dict[str, Any]]) -> list[tuple[dict[str, Any], str | None]]:
    """Requests about decoded calls, with our own kind of error."""
    cases = []
    for entry in entries:
        if "relevance" in entry["category"]:
            continue
        for mutation, calls in mutations(gold_calls(entry)):
            try:
                error = check_calls(
                    entry["function"],
                    calls,
                    entry["answers"],
                    category=entry["category"],
                    language=entry["language"],
                )
            except Exception as fault:
                kind: str | None = f"raised {fault!r}"
            else:
                kind = error.kind if error else None
            cases.append((_request("bfcl_calls", entry, mutation) | {"calls": calls}, kind))
    return cases


def bfcl_texts(entries: Sequence[dict[str, Any]]) -> list[tuple[dict[str, Any], str | None]]:
    """Requests about written answers, with our own kind of error: of gold and mutations in the entry's language, and of
    what says or damages no call."""
    cases = []
    for entry in entries:
        name = entry["function"][0]["name"] if entry["function"] else "f"
        texts = [
            ("prose", "I cannot do that."),
            ("cut", f"[{name}(a=1"),
            ("call", f"[{name}(a='b', c=1)]"),
            ("empty", "[]"),
        ]
        if entry["language"] == "python":
            texts += [(kind, _python_text(calls)) for kind, calls in mutations(gold_calls(entry)) if calls]
        for mutation, text in texts:
            verdict = grade_bfcl(text, entry["function"], entry["answers"], category=entry["category"])
            kind = None if verdict.score else ":".join(verdict.reason.split(": ")[0].split(":")[:2])
            cases.append((_request("bfcl_text", entry, mutation) | {"text": text}, kind))
    return cases


def _python_text(calls: Sequence[dict[str, Any]]) -> str:
    parts = []
    for call in calls:
        ((name, arguments),) = call.items()
        parts.append(f"{name}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})")
    return f"[{', '.join(parts)}]"


def _request(verdict: str, entry: dict[str, Any], mutation: str) -> dict[str, Any]:
    return {
        "verdict": verdict,
        "id": entry["id"],
        "mutation": mutation,
        "functions": entry["function"],
        "answers": entry["answers"],
        "category": entry["category"],
        "language": entry["language"],
    }
