r"""The answer in the last `\boxed{}` of a solution."""

from __future__ import annotations


def last_boxed(text: str) -> str | None:
    r"""What stands in the last `\boxed{...}`, or `\fbox{...}` where there is none; braces inside belong to it. None
    without one, or where its brace is never closed.

    Source: Hendrycks et al. 2021 (MATH), dataset/util.py, last_boxed_only_string; lm-eval, minerva_math. As theirs,
    `\boxed 5` reaches up to the next `$`, and comes before any form with braces. Takes linear time.
    """
    if "\\boxed " in text:
        return text.rsplit("\\boxed ", 1)[1].split("$", 1)[0]
    start = text.rfind("\\boxed")
    start = start if start >= 0 else text.rfind("\\fbox")
    if start < 0:
        return None
    depth, opened = 0, -1
    for number in range(start, len(text)):
        if text[number] == "{":
            opened = number if opened < 0 else opened
            depth += 1
        elif text[number] == "}":
            depth -= 1
            if depth == 0:
                return text[opened + 1 : number]
    return None
