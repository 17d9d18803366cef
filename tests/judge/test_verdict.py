"""What a grader says."""

from __future__ import annotations

from herd.judge.verdict import AnswerVerdict, match_verdict, unparsed_verdict


def test_a_verdict_says_why() -> None:
    assert match_verdict(True, "4", "4") == AnswerVerdict(1.0, "4")
    assert match_verdict(False, "5", "4").reason == "the target is '4'"
    assert not match_verdict(False, "5", "4").unparsed
    assert unparsed_verdict("no number") == AnswerVerdict(0.0, "", "no number", unparsed=True)
