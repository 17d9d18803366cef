"""SCROLLS and ZeroSCROLLS: questions about and summaries of long texts, from rows as they are released.

A row has `input`, which is the whole prompt, and `output`; several rows of one `id` are several right answers. Where a
row says at which characters its document begins and ends, only the document is cut.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from herd.core.errors import DataError
from herd.core.settings import InputFile, NonNegativeInt, PositiveInt
from herd.evals.long_text import LongQuestion, LongTextMatch, Truncation, long_text_task
from herd.evals.rows import load_examples
from herd.evals.sized import SizedTask
from herd.evals.tasks import tasks
from herd.judge import long_text as scores

Row = Mapping[str, Any]
# Of each data set what scores it, and the tokens of an answer. Source: Shaham et al. 2023, table 2; Llama 3's
# eval_details for quality, qasper and squality.
ZERO_SCROLLS: dict[str, tuple[LongTextMatch, int]] = {
    "gov_report": (scores.rouge_geometric_mean, 1024),
    "summ_screen_fd": (scores.rouge_geometric_mean, 512),
    "qmsum": (scores.rouge_geometric_mean, 512),
    "squality": (scores.answer_rouge_l, 64),
    "qasper": (scores.qa_f1, 128),
    "narrative_qa": (scores.qa_f1, 64),
    "quality": (scores.quality_letter, 64),
    "musique": (scores.qa_f1, 32),
    "space_digest": (scores.percent_similarity, 36),
    "book_sum_sort": (scores.order_concordance, 128),
}
SCROLLS: dict[str, tuple[LongTextMatch, int]] = {
    "gov_report": (scores.rouge_geometric_mean, 1024),
    "summ_screen_fd": (scores.rouge_geometric_mean, 512),
    "qmsum": (scores.rouge_geometric_mean, 512),
    "narrative_qa": (scores.qa_f1, 32),
    "qasper": (scores.qa_f1, 32),
    "quality": (scores.exact_answer, 32),
    "contract_nli": (scores.exact_answer, 32),
}


def read_scrolls(data: str, split: str, limit: int) -> list[LongQuestion]:
    """The questions of a file, each once, with all of its right answers. Raises DataError for rows without any."""
    rows: dict[str, Row] = {}
    answers: dict[str, list[str]] = {}

    def read(row: Row) -> tuple[Row, str]:
        number = str(row.get("id") or row.get("pid") or len(rows))
        rows.setdefault(number, {"input": str(row["input"]), **row})
        output = row["output"]
        listed = [output] if isinstance(output, str) or output is None else list(output)
        answers.setdefault(number, []).extend(str(text) for text in listed if text)
        return {}, ""

    load_examples(data, read, split=split)
    questions = []
    for number, row in rows.items():
        if not answers[number]:
            raise DataError(
                f"{number!r} has no `output`, as in splits whose answers are kept; take the validation split"
            )
        text, end = row["input"], row.get("document_end_index") or len(row["input"])
        start = min(row.get("document_start_index") or 0, end)
        questions.append(LongQuestion(number, text[:start], text[start:end], text[end:], tuple(answers[number])))
    return questions[: limit or None]


def _add(benchmark: str, name: str, match: LongTextMatch, answer_tokens: int, source: str) -> None:
    def task(
        *, data: InputFile, split: str = "", limit: NonNegativeInt = 0, truncate: Truncation = "middle",
        max_prompt_tokens: NonNegativeInt = 0, max_tokens: PositiveInt = answer_tokens,
    ) -> SizedTask:  # fmt: skip
        return long_text_task(
            read_scrolls(data, split, limit), match, max_tokens=max_tokens, truncation=truncate,
            max_prompt_tokens=max_prompt_tokens,
        )  # fmt: skip

    task.__name__ = task.__qualname__ = f"{benchmark}_{name}"
    task.__doc__ = f"""{name} of {"ZeroSCROLLS" if benchmark == "zeroscrolls" else "SCROLLS"}: {match.__name__}.

    data: a file of its rows, or a folder of which `split` begins the file's name. truncate: what of documents that are
    too long is left out (the original leaves out the end). max_prompt_tokens: that a prompt may take; all that the
    model reads when 0. Source: {source}.
    """
    tasks.add(task)


for _name, (_match, _tokens) in ZERO_SCROLLS.items():
    _add("zeroscrolls", _name, _match, _tokens, "Shaham et al. 2023 (ZeroSCROLLS); Llama 3, 5.2.6")
for _name, (_match, _tokens) in SCROLLS.items():
    _add("scrolls", _name, _match, _tokens, "Shaham et al. 2022 (SCROLLS); lm-evaluation-harness, `scrolls`")
