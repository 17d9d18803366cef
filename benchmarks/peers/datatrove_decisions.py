"""What datatrove's rules, each alone, decide about texts; for `benchmarks/curate.py`, in an environment of its own.

Arguments: a file of JSON lines with `text`, a file to write. Writes for every rule a list of 0 (kept) and 1 (dropped).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from datatrove.data import Document
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)

QUALITY = dict.fromkeys(
    (
        "min_doc_words",
        "max_doc_words",
        "min_avg_word_length",
        "max_avg_word_length",
        "max_symbol_word_ratio",
        "max_bullet_lines_ratio",
        "max_ellipsis_lines_ratio",
        "max_non_alpha_words_ratio",
        "min_stop_words",
    )
)
REPETITION = {
    "dup_line_frac": None,
    "dup_para_frac": None,
    "dup_line_char_frac": None,
    "dup_para_char_frac": None,
    "top_n_grams": (),
    "dup_n_grams": (),
}
FINEWEB = {"line_punct_thr": -1.0, "short_line_thr": 2.0, "char_duplicates_ratio": 2.0, "new_line_ratio": 1e9}
C4 = {
    "filter_no_terminal_punct": False,
    "min_num_sentences": -1,
    "min_words_per_line": -1,
    "max_word_length": -1,
    "filter_lorem_ipsum": False,
    "filter_javascript": False,
    "filter_curly_bracket": False,
    "filter_policy": False,
    "remove_citations": False,
}
TOP, RUNS = ((2, 0.2), (3, 0.18), (4, 0.16)), ((5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.10))
RULES = {
    "word_count": GopherQualityFilter(**QUALITY | {"min_doc_words": 50, "max_doc_words": 100_000}),
    "mean_word_length": GopherQualityFilter(**QUALITY | {"min_avg_word_length": 3, "max_avg_word_length": 10}),
    "symbols": GopherQualityFilter(**QUALITY | {"max_symbol_word_ratio": 0.1}),
    "bullets": GopherQualityFilter(**QUALITY | {"max_bullet_lines_ratio": 0.9}),
    "ellipses": GopherQualityFilter(**QUALITY | {"max_ellipsis_lines_ratio": 0.3}),
    "few_alphabetic_words": GopherQualityFilter(**QUALITY | {"max_non_alpha_words_ratio": 0.8}),
    "stop_words": GopherQualityFilter(**QUALITY | {"min_stop_words": 2}),
    "repeated_lines": GopherRepetitionFilter(**REPETITION | {"dup_line_frac": 0.3, "dup_line_char_frac": 0.2}),
    "repeated_paragraphs": GopherRepetitionFilter(**REPETITION | {"dup_para_frac": 0.3, "dup_para_char_frac": 0.2}),
    "top_ngrams": GopherRepetitionFilter(**REPETITION | {"top_n_grams": TOP}),
    "repeated_ngrams": GopherRepetitionFilter(**REPETITION | {"dup_n_grams": RUNS}),
    "punctuated_lines": FineWebQualityFilter(**FINEWEB | {"line_punct_thr": 0.12}),
    "short_lines": FineWebQualityFilter(**FINEWEB | {"short_line_thr": 0.67}),
    "repeated_line_characters": FineWebQualityFilter(**FINEWEB | {"char_duplicates_ratio": 0.01}),
    "newlines": FineWebQualityFilter(**FINEWEB | {"new_line_ratio": 0.3}),
    "lorem_ipsum": C4QualityFilter(**C4 | {"filter_lorem_ipsum": True}),
    "curly_braces": C4QualityFilter(**C4 | {"filter_curly_bracket": True}),
    "few_sentences": C4QualityFilter(filter_lorem_ipsum=False, filter_curly_bracket=False),
}


def dropped(rule: object, text: str) -> int:
    try:
        verdict = rule.filter(Document(text=text, id="0"))
    except (ZeroDivisionError, ValueError):  # texts without a word or a line
        return 1
    return int(verdict is not True)


def main(source: str, out: str) -> None:
    texts = [json.loads(line)["text"] for line in Path(source).read_text(encoding="utf-8").splitlines()]
    found: dict[str, list[int]] = {name: [] for name in RULES}
    for text in texts:  # text by text: datatrove remembers the words of the last few
        for name, rule in RULES.items():
            found[name].append(dropped(rule, text))
    Path(out).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:3])
