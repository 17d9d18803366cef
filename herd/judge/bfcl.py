"""A written answer to an entry of BFCL, from its text to the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from herd.judge.call_text import CallFormat, NoCallError, are_calls, decode_calls, looks_like_a_call
from herd.judge.function_calls import CallError, CodeLanguage, check_calls
from herd.judge.verdict import AnswerVerdict

# What becomes of an answer that meant to call a function and cannot be read, where none should be called. upstream: it
# abstained. repaired: it did not. Source: ShishirPatil/gorilla, issue 1362 (228 of 229 such answers were damaged).
MalformedCalls = Literal["upstream", "repaired"]


def call_language(category: str) -> CodeLanguage:
    """In which language an entry's calls are written, by its category."""
    if "javascript" in category:
        return "javascript"
    return "java" if "java" in category else "python"


def grade_bfcl(
    text: str,
    functions: Sequence[Mapping[str, Any]],
    answers: Sequence[Mapping[str, Any]],
    *,
    category: str,
    form: CallFormat | None = None,
    malformed: MalformedCalls = "upstream",
) -> AnswerVerdict:
    """Whether the text calls the right functions; in a category of irrelevance, none. Where a kind of error has a name
    upstream, the reason begins with it.

    category: the entry's, such as `live_parallel_multiple`. form: how calls are written, by default in the category's
    language. Source: Patil et al. 2025 (BFCL), eval_runner.py.
    """
    language = call_language(category)
    try:
        calls = decode_calls(text, form or ("python" if "relevance" in category else language))
    except NoCallError as fault:
        if "relevance" in category:
            return _relevance(text, [], functions, category, malformed, str(fault))
        return _verdict(CallError("ast_decoder:decoder_failed", str(fault)), text, unparsed=True)
    if "relevance" in category:
        return _relevance(text, calls, functions, category, malformed, "")
    if not are_calls(calls):
        return _verdict(CallError("ast_decoder:decoder_wrong_output_format"), text, unparsed=True)
    return _verdict(check_calls(functions, calls, answers, category=category, language=language), repr(calls))


def _relevance(
    text: str,
    calls: Any,
    functions: Sequence[Mapping[str, Any]],
    category: str,
    malformed: MalformedCalls,
    fault: str,
) -> AnswerVerdict:
    called = are_calls(calls) and bool(calls)
    if "irrelevance" not in category:
        error = None if called else CallError("relevance_error:decoder_failed", fault)
        return _verdict(error, repr(calls), unparsed=not called)
    if called:
        return _verdict(CallError("irrelevance_error:decoder_success"), repr(calls))
    if malformed == "repaired" and looks_like_a_call(text, [function["name"] for function in functions]):
        return _verdict(CallError("irrelevance_error:malformed_call", fault), text, unparsed=True)
    return _verdict(None, "")


def _verdict(error: CallError | None, extracted: str, *, unparsed: bool = False) -> AnswerVerdict:
    extracted = extracted[:2000]
    if error is None:
        return AnswerVerdict(1.0, extracted)
    words = f"{error.kind}: {error.words}" if error.words else error.kind
    return AnswerVerdict(0.0, extracted, words[:1000], unparsed=unparsed)
