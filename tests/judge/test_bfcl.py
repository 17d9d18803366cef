"""A written answer to an entry of BFCL, up to the verdict."""

from __future__ import annotations

import pytest

from herd.judge.bfcl import grade_bfcl

FUNCTIONS = [{"name": "get_weather", "parameters": {"properties": {"city": {"type": "string"}}, "required": ["city"]}}]
ANSWERS = [{"get_weather": {"city": ["Bern"]}}]


@pytest.mark.parametrize(
    ("text", "category", "score", "reason"),
    [
        ("[get_weather(city='bern')]", "simple_python", 1, ""),
        ("get_weather(city='Basel')", "live_simple", 0, "value_error:string"),
        ("I cannot", "simple_python", 0, "ast_decoder:decoder_failed"),
        ("[get_weather(), get_weather()]", "simple_python", 0, "simple_function_checker:wrong_count"),
        ("I cannot", "irrelevance", 1, ""),
        ("get_weather(city=Bern)", "live_irrelevance", 0, "irrelevance_error:decoder_success"),
        ("[get_weather(city='Bern'", "irrelevance", 1, ""),
        ("get_weather()", "live_relevance", 1, ""),
        ("Sorry, no", "live_relevance", 0, "relevance_error:decoder_failed"),
        ("hello", "simple_javascript", 0, "ast_decoder:decoder_wrong_output_format"),
    ],
)  # fmt: skip
def test_verdicts(text: str, category: str, score: float, reason: str) -> None:
    verdict = grade_bfcl(text, FUNCTIONS, ANSWERS, category=category)
    assert verdict.score == score
    assert verdict.reason.startswith(reason)
    assert bool(verdict.reason) is (score == 0)


def test_a_damaged_call_is_no_abstention_once_repaired() -> None:
    for text, score in (("[get_weather(city='Bern'", 0), ("I cannot tell the weather.", 1), ("", 1)):
        verdict = grade_bfcl(text, FUNCTIONS, [], category="irrelevance", malformed="repaired")
        assert verdict.score == score
        assert grade_bfcl(text, FUNCTIONS, [], category="irrelevance").score == 1
    assert verdict.reason == ""


def test_other_forms_and_languages() -> None:
    text = '{"name": "get_weather", "parameters": {"city": "Bern"}}'
    assert grade_bfcl(text, FUNCTIONS, ANSWERS, category="simple_python", form="llama3_json").score == 1
    java = [{"name": "f", "parameters": {"properties": {"n": {"type": "long"}}, "required": ["n"]}}]
    assert grade_bfcl("[f(n=5L)]", java, [{"f": {"n": [5]}}], category="simple_java").score == 1
    script = [{"name": "f", "parameters": {"properties": {"n": {"type": "integer"}}, "required": ["n"]}}]
    assert grade_bfcl("[f(n=5)]", script, [{"f": {"n": [5]}}], category="simple_javascript").score == 1
