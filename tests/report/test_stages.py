"""The report of a run: of all that its ends were made of, and of the bars it is held to."""

from __future__ import annotations

from pathlib import Path

from herd.core.artifacts import Artifact, Corpus, Scores
from herd.core.lineage import lineage
from herd.core.stage import Work, stage
from herd.report.stages import _in_order, check_criteria, write_report
from herd.report.verdicts import Criteria, GainClaim
from herd.run.runner import run_stages
from tests.core.stages_for_tests import join, write


@stage(paper="-", version=1)
def nothing_measured(work: Work, corpus: Corpus) -> Scores:
    """Scores of nobody."""
    (work.out / "scores.json").write_text("{}")
    return Scores(work.out)


def test_what_two_ends_share_is_told_once_and_after_what_it_was_made_of(tmp_path: Path) -> None:
    a, b = write(text="a"), write(text="b")
    first, second = join((a, b)), join((b, a))
    ends = tuple(run_stages(end, tmp_path, jobs=0) for end in (first, second))
    order = [one.key for one in _in_order(ends)]
    assert sorted(order) == sorted([a.key, b.key, first.key, second.key])
    for end in ends:
        own = [one.key for one in lineage(end)]
        assert [key for key in order if key in own[:-1]]
        assert order.index(end.key) > max(map(order.index, own[:-1]))


def test_a_page_tells_its_title_its_note_and_a_gain_that_nobody_measured(tmp_path: Path) -> None:
    scores = nothing_measured(write(text="a"))
    bars = Criteria(gains=(GainClaim(task="sums", before="SFT", after="DPO"),))
    plan = write_report((scores,), (write(text="b"),), title="<mine>", criteria=bars, note="to be read first")
    made: Artifact = run_stages(plan, tmp_path, jobs=0)
    page = (made.path / "report.html").read_text(encoding="utf-8")
    for words in ("&lt;mine&gt;", "to be read first", "was not measured", "sums"):
        assert words in page, words
    assert "<mine>" not in page


def test_nothing_measured_and_nothing_asked_is_no_verdict() -> None:
    assert check_criteria([], [], Criteria()) == []
    (gain,) = check_criteria([], [], Criteria(gains=(GainClaim(task="sums", before="a", after="b"),)))
    assert not gain.holds
