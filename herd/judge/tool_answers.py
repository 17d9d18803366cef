"""Calls as API-Bank and Nexus have them: one line of Python's call syntax against the known call."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Mapping
from typing import Any

from herd.judge.call_text import MAX_CALL_CHARACTERS, NoCallError, python_calls
from herd.judge.rouge import rouge_l
from herd.judge.verdict import AnswerVerdict, unparsed_verdict

# One pattern for the whole of a call would take time quadratic in calls that are never closed.
_API_CALL_START, _API_CALL_END = re.compile(r"\[\s*([A-Za-z_]\w*)\("), re.compile(r"\)\s*\]")
NO_DEFAULT = object()  # the default of a parameter that has none


def api_bank_call(text: str) -> tuple[str, dict[str, Any]] | None:
    """The first call written as `[ApiName(key='value')]`, with its arguments; None where none can be read.

    Source: Li et al. 2023 (API-Bank), api_call_extraction.py.
    """
    text, place = text[:MAX_CALL_CHARACTERS], 0
    while (start := _API_CALL_START.search(text, place)) and (end := _API_CALL_END.search(text, start.end())):
        place = end.end()
        try:
            call = python_calls(f"{start[1]}({text[start.end() : end.start()]})")[0]
            repr(call)
        except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
            continue
        return next(iter(call.items()))
    return None


def grade_api_bank(
    text: str,
    api: str,
    arguments: Mapping[str, Any],
    *,
    free_text: Collection[str] = (),
    min_rouge: float = 0.5,
    known_apis: Collection[str] = (),
) -> AnswerVerdict:
    """Whether the text calls the API with the arguments: those of `free_text` by ROUGE-L of at least `min_rouge`,
    others by their words. The mean ROUGE-L is a part; a wrong answer's reason begins with API-Bank's class of error.

    Source: Li et al. 2023 (API-Bank), section 5, for the classes; Llama 3's eval_details for exact match of unique
    arguments and ROUGE of free text, which state no threshold: 0.5 is ours.
    """
    call = api_bank_call(text)
    if call is None:
        return unparsed_verdict("no call: nothing is written as [ApiName(key='value')]")
    name, said = call
    if name != api:
        kind = "hallucinated API" if known_apis and name not in known_apis else "wrong API"
        return AnswerVerdict(0.0, name, f"{kind}: {name!r} is called instead of {api!r}")
    if missing := [key for key in arguments if key not in said]:
        return AnswerVerdict(0.0, repr(said), f"missing parameter: {missing}")
    if more := [key for key in said if key not in arguments]:
        return AnswerVerdict(0.0, repr(said), f"invalid input: {more} is not expected")
    overlaps = {key: rouge_l(str(said[key]), str(arguments[key])) for key in arguments if key in free_text}
    wrong = [key for key, overlap in overlaps.items() if overlap < min_rouge]
    wrong += [key for key in arguments if key not in free_text and _plain(said[key]) != _plain(arguments[key])]
    parts = {"rouge_l": sum(overlaps.values()) / len(overlaps)} if overlaps else {}
    reason = f"invalid input: {wrong} differ" if wrong else ""
    return AnswerVerdict(float(not wrong), repr(said)[:2000], reason, parts=parts)


def _plain(value: Any) -> str:
    return str(value).strip()


def grade_nexus(text: str, reference: str, functions: Mapping[str, Mapping[str, Any]]) -> AnswerVerdict:
    """Whether the call, with calls nested in it, equals the reference once arguments have their names and defaults.

    functions: of each one's name its parameters in order with their defaults, or NO_DEFAULT. Source: Nexusflow 2023
    (NexusRaven-V2), whose notebook runs both against stand-ins that give back their arguments; here both are compared
    as they are written.
    """
    try:
        expected = _bound(ast.parse(reference.strip(), mode="eval").body, functions)
    except (NoCallError, SyntaxError) as fault:
        raise ValueError(f"the reference {reference!r} is no call: {fault}") from fault
    written = _first_call(text)
    try:
        called = _bound(ast.parse(written, mode="eval").body, functions)
    except (NoCallError, SyntaxError, ValueError, TypeError, MemoryError, RecursionError) as fault:
        return unparsed_verdict(f"it is no call: {fault}")
    return AnswerVerdict(
        float(called == expected), written[:2000], "" if called == expected else f"it should be {reference}"
    )


def _first_call(text: str) -> str:
    """The call after NexusRaven's `Call:`, up to the next line of prose; else the first line with a bracket."""
    text = text[:MAX_CALL_CHARACTERS].strip().strip("`")
    text = text.removeprefix("python").strip().removeprefix("Call:").strip()
    lines = [line.strip() for line in text.split("\n")]
    return next((line.removeprefix("Call:").strip().rstrip(";") for line in lines if "(" in line), text)


def _bound(node: ast.expr, functions: Mapping[str, Mapping[str, Any]]) -> Any:
    """A call as (name, arguments by name with defaults); other values as Python has them."""
    if not isinstance(node, ast.Call):
        return _literal(node, functions)
    name = ast.unparse(node.func)
    if name not in functions:
        raise NoCallError(f"there is no function {name!r}")
    parameters = functions[name]
    if len(node.args) > len(parameters):
        raise NoCallError(f"{name} has {len(parameters)} parameters")
    values = dict(zip(parameters, (_bound(value, functions) for value in node.args), strict=False))
    for keyword in node.keywords:
        if keyword.arg is None or keyword.arg not in parameters or keyword.arg in values:
            raise NoCallError(f"{name} has no such parameter, or it is set twice: {keyword.arg}")
        values[keyword.arg] = _bound(keyword.value, functions)
    if missing := [key for key, default in parameters.items() if default is NO_DEFAULT and key not in values]:
        raise NoCallError(f"{name} lacks {missing}")
    return name, {key: values.get(key, default) for key, default in parameters.items()}


def _literal(node: ast.expr, functions: Mapping[str, Mapping[str, Any]]) -> Any:
    match node:
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [_bound(item, functions) for item in items]
        case ast.Dict(keys=keys, values=values) if None not in keys:
            pairs = zip(keys, values, strict=True)
            return {repr(_bound(key, functions)): _bound(value, functions) for key, value in pairs if key is not None}
        case ast.Name(id=name):
            return ("name", name)
        case _:
            try:
                return ast.literal_eval(node)
            except (ValueError, TypeError) as fault:
                raise NoCallError(f"{ast.unparse(node)} is no value") from fault
