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
OTHER_KEYWORDS = "**"  # stands among parameters where a function takes any others


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


def nexus_parameters(signature: str) -> tuple[str, dict[str, Any]]:
    """The name and the parameters of a function of Nexus with their defaults, as `grade_nexus` reads them, of its first
    line without `def`. Raises ValueError for what is none."""
    try:
        function = ast.parse(f"def {signature.strip().removeprefix('def ').rstrip(': ')}: ...").body[0]
        assert isinstance(function, ast.FunctionDef)
        arguments = function.args
        listed = [*arguments.posonlyargs, *arguments.args]
        defaults = [ast.literal_eval(default) for default in arguments.defaults]
        parameters = dict(
            zip((item.arg for item in listed), [NO_DEFAULT] * (len(listed) - len(defaults)) + defaults, strict=True)
        )
        for item, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
            parameters[item.arg] = NO_DEFAULT if default is None else ast.literal_eval(default)
    except (SyntaxError, ValueError, AssertionError, IndexError) as fault:
        raise ValueError(f"{signature[:80]!r} is no first line of a function") from fault
    if arguments.kwarg is not None:
        parameters[OTHER_KEYWORDS] = None
    return function.name, parameters


def nexus_calls(text: str, functions: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """The calls in the order in which Python makes them, each with its arguments but those that count as false.

    functions: of each one's name its parameters in order with their defaults, or NO_DEFAULT; with OTHER_KEYWORDS among
    them it takes any, which do not count. A call gives nothing back, and what is done with nothing ends it all, as an
    error does: the calls made before count. Raises ValueError for what is no program of calls.
    """
    recorder = _Recorder(functions)
    try:
        body = ast.parse(text.strip()).body
        for statement in body:
            if not isinstance(statement, ast.Expr):
                raise NoCallError("it has something beside calls")
            recorder.value(statement.value)
    except _EndsEarlyError as fault:
        recorder.fault = str(fault)
    except (SyntaxError, MemoryError, RecursionError, TypeError) as fault:
        raise NoCallError(str(fault)) from fault
    if not recorder.calls:
        raise NoCallError(recorder.fault or "nothing is called")
    return recorder.calls


def grade_nexus(text: str, reference: str, functions: Mapping[str, Mapping[str, Any]]) -> AnswerVerdict:
    """Whether the text makes the calls of the reference, in its order and with its arguments (see `nexus_calls`).

    Raises ValueError for a reference without a call. Source: Nexusflow 2023 (NexusRaven-V2), whose notebook runs both
    against stand-ins that write down what they are given; here nothing is run. Differs: a fence around the calls,
    `Call:` before them and prose after the first line of them do no harm, and a bare name is a value.
    """
    try:
        expected = nexus_calls(reference, functions)
    except NoCallError as fault:
        raise ValueError(f"the reference {reference!r} is no call: {fault}") from fault
    faults = []
    for program in _call_texts(text):
        try:
            calls = nexus_calls(program, functions)
        except (ValueError, RecursionError, MemoryError) as fault:
            faults.append(str(fault))
            continue
        return AnswerVerdict(float(calls == expected), program[:2000], "" if calls == expected else f"not {reference}")
    return unparsed_verdict(f"it is no call: {faults[0][:200]}")


def _call_texts(text: str) -> list[str]:
    """What may be the calls: all that is in the first fence, or all; else the first line with a bracket."""
    text = text[:MAX_CALL_CHARACTERS].strip()
    fenced = re.search(r"```(?:python)?[ \t]*\n(.*?)(?:```|\Z)", text, re.DOTALL)
    lines = (fenced[1] if fenced else text.strip("`")).split("\n")
    calls = [line.strip().removeprefix("Call:").strip().strip("`;").strip() for line in lines if line.strip()]
    return ["\n".join(calls), *[line for line in calls if "(" in line][:1]]


class _EndsEarlyError(Exception):
    """What Python would raise an error for."""


class _Recorder:
    """Goes through expressions as Python does, and writes down the calls of functions that it knows."""

    def __init__(self, functions: Mapping[str, Mapping[str, Any]]) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.fault = ""
        self._functions = functions

    def value(self, node: ast.expr) -> Any:
        """What the expression gives. Raises _EndsEarlyError."""
        match node:
            case ast.Call():
                return self._call(node)
            case ast.List(elts=items):
                return [self.value(item) for item in items]
            case ast.Tuple(elts=items):
                return tuple(self.value(item) for item in items)
            case ast.Dict(keys=keys, values=values) if None not in keys:
                pairs = zip(keys, values, strict=True)
                return {repr(self.value(key)): self.value(value) for key, value in pairs if key is not None}
            case ast.Name(id=name):
                return ("name", name)
            case ast.Subscript(value=inner) | ast.Attribute(value=inner):
                self.value(inner)
                raise _EndsEarlyError(f"{ast.unparse(node)[:80]} is no value")
            case _:
                try:
                    return ast.literal_eval(node)
                except (ValueError, TypeError):
                    raise _EndsEarlyError(f"{ast.unparse(node)[:80]} is no value") from None

    def _call(self, node: ast.Call) -> None:
        name = ast.unparse(node.func)
        if name not in self._functions:
            raise _EndsEarlyError(f"there is no function {name[:80]!r}")
        parameters = self._functions[name]
        placed = [key for key in parameters if key != OTHER_KEYWORDS]
        # Python works all arguments out before it finds that they do not fit.
        positions = [self.value(value) for value in node.args]
        named = [(keyword.arg, self.value(keyword.value)) for keyword in node.keywords]
        if len(positions) > len(placed):
            raise _EndsEarlyError(f"{name} has {len(placed)} parameters")
        values = dict(zip(placed, positions, strict=False))
        for key, value in named:
            if key is None or key in values or (key not in placed and OTHER_KEYWORDS not in parameters):
                raise _EndsEarlyError(f"{name} has no such parameter, or it is set twice: {key}")
            if key in placed:
                values[key] = value
        if missing := [key for key in placed if parameters[key] is NO_DEFAULT and key not in values]:
            raise _EndsEarlyError(f"{name} lacks {missing}")
        given = {key: values.get(key, parameters[key]) for key in placed}
        self.calls.append((name, {key: value for key, value in given.items() if value}))
