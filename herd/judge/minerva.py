"""Answers to competition maths in one form, as Minerva's authors and lm-eval's `minerva_math` have it.

Source: Lewkowycz et al. 2022 (Minerva), appendix D.1; lm-eval 0.4.13, tasks/minerva_math/utils.py, whose repairs of the
rules (units within commands, indexed roots, pairs of numbers) are here too.
"""

from __future__ import annotations

import re

from herd.judge.boxed import last_boxed

INVALID_ANSWER = "[invalidanswer]"
_FINAL_ANSWER = "Final Answer: The final answer is"
_HOPE = re.compile(r". I hope it is correct.")
# Words that say a unit or a kind, which the gold answers leave out, and marks of LaTeX that change nothing; in order.
_REMOVED = (
    *"square ways integers dollars mph inches ft hours km units \\ldots sue points feet minutes digits cents".split(),
    *"degrees cm gm pounds meters meals edges students childrentickets multiples \\text{s} \\text{.}".split(),
    "\\text{\ns}",
    "\\text{}^2",
    "\\text{}^3",
    "\\text{\n}",
    *'\\text{} \\mathrm{th} ^\\circ ^{\\circ} \\; ,\\! {,} " \\dots'.split(),
)
# A longer one is no answer, and some patterns would take time quadratic in its length.
MAX_ANSWER_LENGTH = 4096
_REPLACED = (
    ("an ", ""),
    ("a ", ""),
    (".$", "$"),
    ("\\$", ""),
    ("\\ ", ""),
    (" ", ""),
    ("mbox", "text"),
    (",\\text{and}", ","),
    ("\\text{and}", ","),
    ("\\text{m}", "\\text{}"),
)


def final_answer(text: str) -> str:
    """What stands after `Final Answer: The final answer is`, up to `I hope it is correct.` or the end of its line."""
    for line in f"{text}I hope it is correct.".split("\n"):
        _, said, answer = line.partition(_FINAL_ANSWER)
        if said and (end := _HOPE.search(answer)):
            return answer[: end.start()].strip()
    return INVALID_ANSWER


def gold_answer(solution: str) -> str:
    """The normalized answer of a worked solution of MATH."""
    return normalize_answer(last_boxed(solution) or "")


def normalize_answer(text: str) -> str:
    """Without units, blanks and marks that change nothing, and with the braces that TeX lets out."""
    if len(text) > MAX_ANSWER_LENGTH:
        return text
    text = text.rsplit("=", 1)[-1]
    for unit in _REMOVED:
        text = re.sub(rf"(?<!\\)\b{unit}\b", "", text) if unit.isalpha() else text
    for before, after in _REPLACED:
        text = text.replace(before, after)
    text = _without_units(text)
    text = re.sub(r"(.*?)(\$)(.*?)(\$)(.*)", r"$\3$", text)
    for command in ("text", "textbf", "overline"):
        text = re.sub(rf"(\\{command}\{{)(.*?)(\}})", r"\2", text)
    text = re.sub(r"(\\boxed\{)(.*)(\})", r"\2", text)
    text = re.sub(r"(frac)([^{])(.)", r"frac{\2}{\3}", text)
    text = re.sub(r"(sqrt)(\[[^\]]*\])(\w)", r"\1\2{\3}", text)
    text = re.sub(r"(sqrt)(?!\[)([^{])", r"sqrt{\2}", text)
    text = text.replace("$", "")
    return text.replace(",", "") if re.fullmatch(r"-?\d{1,3}(,\d{3})+", text) else text


def _without_units(text: str) -> str:
    """Without units that stand against other signs, but never a part of a command's name."""
    for expression in _REMOVED:
        if expression.isalpha():
            parts = re.split(r"(\\[a-zA-Z]+)", text)
            parts[::2] = [part.replace(expression, "") for part in parts[::2]]
            text = "".join(parts)
        else:
            text = text.replace(expression, "")
    return text
