"""Whether calls of functions are those that a request asks for, by BFCL's rules.

A call is decoded (`herd.judge.call_text`) into its function's name and its arguments. Verdicts and the names of errors
are those of `bfcl-eval` 2026.3.23.

Source: Patil et al. 2025 (BFCL); ast_checker.py and eval_runner.py of berkeley-function-call-leaderboard.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from herd.core.errors import DataError
from herd.judge.java_values import JAVA_TYPES, java_value
from herd.judge.javascript_values import JAVASCRIPT_TYPES, javascript_value

CodeLanguage = Literal["python", "java", "javascript"]
DecodedCall = Mapping[str, Mapping[str, Any]]
PYTHON_TYPES: dict[str, type] = {
    "string": str,
    "integer": int,
    "float": float,
    "boolean": bool,
    "array": list,
    "tuple": list,
    "dict": dict,
    "any": str,
}
_TYPES = {"python": PYTHON_TYPES, "java": JAVA_TYPES, "javascript": JAVASCRIPT_TYPES}
_LISTS = {"python": ("array", "tuple"), "java": ("Array", "ArrayList", "array"), "javascript": ("Array", "array")}


@dataclass(frozen=True)
class CallError:
    """Why a call is wrong. kind: by upstream's name, such as `value_error:string`. words: for people."""

    kind: str
    words: str = ""


def check_calls(
    functions: Sequence[Mapping[str, Any]],
    calls: Sequence[DecodedCall],
    answers: Sequence[Mapping[str, Any]],
    *,
    category: str,
    language: CodeLanguage = "python",
) -> CallError | None:
    """What is wrong with the calls; None when they are right.

    functions: as the data describes them. answers: of each wanted call, the values that every argument may have, ""
    among those of one that may be left out. category: of the data: `parallel` calls match in any order, one to one.
    Raises DataError for rows that make no sense.
    """
    if "parallel" in category:
        return _check_parallel(functions, calls, answers, language)
    checker = "multiple_function_checker" if "multiple" in category else "simple_function_checker"
    if len(calls) != (len(answers) if "multiple" in category else 1):
        return CallError(f"{checker}:wrong_count", f"{len(calls)} calls")
    name = next(iter(answers[0]))
    function = _describe(functions, name) if "multiple" in category else functions[0]
    return check_call(function, calls[0], answers[0], language)


def _describe(functions: Sequence[Mapping[str, Any]], name: str) -> Mapping[str, Any]:
    for function in functions:
        if function["name"] == name:
            return function
    raise DataError(f"the wanted function {name!r} is not among those of the row")


def _check_parallel(
    functions: Sequence[Mapping[str, Any]],
    calls: Sequence[DecodedCall],
    answers: Sequence[Mapping[str, Any]],
    language: CodeLanguage,
) -> CallError | None:
    checker = "parallel_function_checker_no_order"
    if len(calls) != len(answers):
        return CallError(f"{checker}:wrong_count", f"{len(calls)} calls")
    left = list(range(len(calls)))
    for number, answer in enumerate(answers):
        function = _describe(functions, next(iter(answer)))
        errors = {index: check_call(function, calls[index], answer, language) for index in left}
        match = next((index for index, error in errors.items() if error is None), None)
        if match is None:
            words = "; ".join(f"{index}: {error.kind}" for index, error in errors.items() if error)
            return CallError(f"{checker}:cannot_find_match", f"no call is the wanted one number {number} ({words})")
        left.remove(match)
    return None


def check_call(
    function: Mapping[str, Any], call: DecodedCall, answer: Mapping[str, Any], language: CodeLanguage = "python"
) -> CallError | None:
    """What is wrong with one call; None when it is right. In order: the function's name, required arguments, for each
    argument whether it is expected, its type and its value, and arguments that may not be left out."""
    allowed: Mapping[str, Sequence[Any]] = next(iter(answer.values()))
    name, parameters = function["name"], function["parameters"]["properties"]
    if name not in call:
        return CallError("simple_function_checker:wrong_func_name", f"{name!r} is not called")
    arguments = call[name]
    for parameter in function["parameters"].get("required", ()):
        if parameter not in arguments:
            return CallError("simple_function_checker:missing_required", parameter)
    for parameter, value in arguments.items():
        if parameter not in parameters or parameter not in allowed:
            return CallError("simple_function_checker:unexpected_param", str(parameter))
        error = _check_argument(parameter, value, parameters[parameter], allowed[parameter], language)
        if error is not None:
            return error
    for parameter, values in allowed.items():
        if parameter not in arguments and "" not in values:
            return CallError("simple_function_checker:missing_optional", parameter)
    return None


def _check_argument(
    parameter: str, value: Any, described: Mapping[str, Any], allowed: Sequence[Any], language: CodeLanguage
) -> CallError | None:
    kind, types = described["type"], _TYPES[language]
    if kind not in types:
        raise DataError(f"parameter {parameter!r} has type {kind!r}; {language} has {', '.join(types)}")
    expected, inner = types[kind], None
    item_kind = described["items"]["type"] if kind in _LISTS[language] else None
    if item_kind is not None:
        inner = types[item_kind]
    if language != "python":
        if type(value) is not str:
            return CallError(
                f"type_error:{'java' if language == 'java' else 'js'}", f"{parameter}: not written as text"
            )
        value = (java_value if language == "java" else javascript_value)(value, kind, item_kind)
    if kind == "tuple" and type(value) is tuple:
        value = list(value)
    if language == "python" and kind == "float" and type(value) is int:
        try:
            value = float(value)
        except OverflowError:
            return CallError("type_error:simple", f"{parameter}: too large")
    error, is_variable = _check_type(parameter, value, allowed, expected, inner)
    return error or _check_value(parameter, value, allowed, None if is_variable else expected, inner)


def _check_type(
    parameter: str, value: Any, allowed: Sequence[Any], expected: type, inner: type | None
) -> tuple[CallError | None, bool]:
    """What is wrong with a value's type, and whether it stands for a variable: something of the type of the values that
    are allowed, where that is not the type described."""
    answer_type = next((type(option) for option in allowed if option != ""), None)
    is_variable = answer_type is not None and answer_type is not expected
    nested = False
    if type(value) is expected:
        if inner is None:
            return None, is_variable
        for option in allowed:
            if type(option) is not list or all(
                _check_type(parameter, item, option, inner, None)[0] is None for item in value
            ):
                return None, is_variable
        nested = True
    words = f"{parameter}: {type(value).__name__} is not {expected.__name__}"
    if answer_type is not None and type(value) is answer_type:
        return (CallError("type_error:nested", words) if nested else None), True
    return CallError("type_error:simple", words), False


def _check_value(
    parameter: str, value: Any, allowed: Sequence[Any], expected: type | None, inner: type | None
) -> CallError | None:
    """What is wrong with a value of a type that was checked; expected None: of a variable, whose text is compared."""
    if expected is dict:
        return _check_dict(value, allowed)
    if expected is list and inner is dict:
        return _check_list_of_dicts(value, allowed)
    if expected is str:
        plain = [standardize_string(option) for option in allowed if type(option) is str]
        return (
            None if standardize_string(value) in plain else CallError("value_error:string", f"{parameter}: {value!r}")
        )
    if expected is list:
        plain = [_standardize_all(option) for option in allowed]
        return (
            None if _standardize_all(value) in plain else CallError("value_error:list/tuple", f"{parameter}: {value!r}")
        )
    return None if value in allowed else CallError("value_error:others", f"{parameter}: {value!r}")


def standardize_string(text: str) -> str:
    """In lower case, without blanks and the marks `,./-_*^`, and with double quotation marks."""
    return re.sub(r"[ \,\.\/\-\_\*\^]", "", text).lower().replace("'", '"')


def _standardize(value: Any) -> Any:
    return standardize_string(value) if type(value) is str else value


def _standardize_all(values: Any) -> list[Any]:
    """Of a list. As upstream has it, a text is one of its letters: "" allows an empty list."""
    return [_standardize(value) for value in values] if isinstance(values, list | tuple | str) else [values]


def _check_dict(value: Mapping[Any, Any], options: Sequence[Any]) -> CallError | None:
    """Of several allowed ones the last says what is wrong."""
    error: CallError | None = CallError("dict_checker:unclear")
    for option in options:
        if option == "":
            continue
        error = _differs(value, option)
        if error is None:
            return None
    return error


def _differs(value: Mapping[Any, Any], option: Mapping[str, Sequence[Any]]) -> CallError | None:
    """A key that is missing says more than a wrong value. Differs: upstream raises for what is no dictionary."""
    if not isinstance(value, Mapping):
        return CallError("value_error:dict_value", f"{value!r} is no dictionary")
    for key, values in option.items():
        if key not in value and "" not in values:
            return CallError("value_error:dict_key", f"key {key!r} is missing")
    for key, entry in value.items():
        if key not in option:
            return CallError("value_error:dict_key", f"key {key!r} is not expected")
        if _standardize(entry) not in [_standardize(allowed) for allowed in option[key]]:
            return CallError("value_error:dict_value", f"key {key!r} has the value {entry!r}")
    return None


def _check_list_of_dicts(values: Sequence[Any], options: Sequence[Any]) -> CallError | None:
    """In the order of the option."""
    error: CallError | None = CallError("list_dict_checker:unclear")
    for option in options:
        if len(values) != len(option):
            error = CallError("value_error:list_dict_count", f"{len(values)} dictionaries")
            continue
        pairs = zip(values, option, strict=True)
        error = next((error for value, entry in pairs if (error := _check_dict(value, [entry]))), None)
        if error is None:
            return None
    return error
