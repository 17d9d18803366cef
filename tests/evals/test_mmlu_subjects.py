"""MMLU's subjects, by category."""

from __future__ import annotations

from herd.evals.mmlu_subjects import MMLU_CATEGORIES, MMLU_SUBJECTS


def test_every_subject_has_one_category() -> None:
    counts = {category: len(subjects) for category, subjects in MMLU_CATEGORIES.items()}
    assert counts == {"stem": 19, "humanities": 13, "social_sciences": 12, "other": 13}
    assert len(MMLU_SUBJECTS) == 57
    assert MMLU_SUBJECTS["virology"] == "other"
