"""What single sections show."""

from __future__ import annotations

from types import FunctionType
from typing import Any

import pytest

from herd.align.results import (
    DialogueCount,
    FinetuningResult,
    HeldOutPairs,
    ImportedModel,
    PreferenceCount,
    RejectionSampling,
    RewardModelResult,
)
from herd.core.artifacts import Artifact, Dialogues, Preferences
from herd.core.errors import SettingsError
from herd.corpus.results import CorpusSize, DedupStats
from herd.evals.intervals import Interval
from herd.evals.results import EvaluationResult
from herd.report.sections import Section, SectionPart, Sections, render_parts
from herd.report.sections.alignment import alignment_section
from herd.report.sections.funnel import dedup_steps
from herd.report.sections.losses import _is_rung
from herd.report.sections.steps import what_went_in
from herd.report.sections.text import largest_packing, rise_words, text_section
from herd.scaling.results import ScalingLaw, TaskForecasts
from herd.tokens.results import PackingResult, SplitSize
from herd.train.results import HeldOutLoss, SourceUse, TrainingResult
from tests.report.test_abilities import model, read
from tests.results import Made, example


def test_what_steps_over_all_documents_counted_is_a_sentence() -> None:
    dedup = {
        "newest_by_url": DedupStats(),
        "minhash": DedupStats(
            {"clusters": 1200, "sizes": {"2": 3, "3 to 4": 0}, "pairs": 7},
            ({"size": 9, "kept": "a", "dropped": ("b", "c")},),
        ),
    }
    (step,) = dedup_steps(dedup)
    assert step == {
        "step": "minhash",
        "sentence": "clusters 1,200; sizes: 2: 3; pairs 7",
        "samples": ["size 9, kept a, dropped b, c"],
    }


def test_a_part_is_a_table_a_drawing_or_both() -> None:
    html = str(render_parts([SectionPart("A", "a < b"), SectionPart("B", "", head=("x", "y"), rows=[(1, "<")])]))
    assert "a &lt; b" in html
    assert html.count("<table>") == 1
    assert '<td class="n">&lt;</td>' in html


def test_sections_are_asked_only_for_what_was_recorded_and_stand_in_their_order() -> None:
    own = Sections()
    made: Any = [Made(example(FinetuningResult))]

    def page_end(made: Any) -> Section | None:
        return Section("end", "End", "")

    def nothing(made: Any) -> Section | None:
        return None

    def never(made: Any) -> Section | None:
        raise AssertionError

    def page_top(made: Any) -> Section | None:
        return Section("top", "Top", "")

    own.add(FinetuningResult)(page_end)
    own.add(FinetuningResult, order=2)(nothing)
    own.add(DedupStats, order=3)(never)
    own.add(DedupStats, FinetuningResult, order=1)(page_top)
    own._registry._searched = True  # the packaged ones are the house's
    assert [section.id for section in own.show(made)] == ["top", "end"]
    twin = FunctionType(page_end.__code__, {}, "page_top")
    with pytest.raises(SettingsError, match="two sections are called 'page_top'"):
        own.add(FinetuningResult)(twin)


def packing(*sources: str, missing: str = "", parts: str = "") -> PackingResult:
    sizes = {
        source: {"train": SplitSize(1_000_000, 50, 1)}
        | ({} if source == missing else {"heldout": SplitSize(20_000, 1, 1)})
        for source in sources
    }
    return PackingResult(sizes, ("", ""), 0, (parts,) if parts else (), (missing,) if missing else ())


def own_text(*evaluations: Any, **packed: str) -> list[Any]:
    """Two models, each pre-trained on from the last, and what was measured of them."""
    models = [model("one"), model("two", init_from="one")]
    training = TrainingResult(9, 9, 1.0, 2.0, 96, {"<b>books</b>": SourceUse(3, 1500, 0.75, 0)})
    models[1]._recorded[TrainingResult] = training
    return [Made(packing("<b>books</b>", "wiki", **packed), key="pack-1"), *models, *evaluations]


def test_text_that_a_step_made_worse_stands_on_top_in_words_and_own_names_are_escaped() -> None:
    name = "<b>books</b>"
    made = own_text(
        read("before", "one", **{name: 4.0}, wiki=3.0), read("<i>after</i>", "two", **{name: 3.5}, wiki=3.3)
    )
    section = text_section(made)
    assert section is not None
    assert section.top
    html = str(section.html)
    assert "<b>" not in html
    assert "<i>" not in html
    (flag,) = [line for line in html.splitlines() if '<li class="bad">' in line]
    assert "“&lt;i&gt;after&lt;/i&gt;” predicts held-out text worse than “before”: wiki 2." in flag
    assert " nats a token (+1" in flag
    assert "predicts held-out text better than “before”: &lt;b&gt;books&lt;/b&gt; 3." in html
    assert html.count("<svg") == 2
    assert '<td class="n">1,500</td><td class="n">100.0%</td><td class="n">0.00</td>' in html


def test_changes_within_their_intervals_are_no_flags_and_one_model_alone_has_none() -> None:
    within = text_section(own_text(read("before", "one", wiki=3.0), read("after", "two", wiki=3.001)))
    assert within is not None
    assert 'class="bad"' not in str(within.html)
    assert "No held-out text is predicted worse" in str(within.html)
    alone = text_section(own_text(read("base", "two", wiki=3.0)))
    assert alone is not None
    html = str(alone.html)
    assert "No held-out text is predicted worse" not in html  # nothing was compared
    assert "change, with its interval" not in html
    assert alone.top  # texts are all that is known of the model
    assert " to " in html.partition('<td class="n">')[2].partition("</td>")[0]  # its interval


def test_sources_of_which_nothing_is_held_out_are_told_in_red() -> None:
    section = text_section(own_text(read("base", "two", wiki=3.0), missing="wiki", parts="<b>books</b>"))
    assert section is not None
    assert '<li class="bad">Of wiki nothing is held out' in str(section.html)
    assert '<td class="n bad">0</td>' in str(section.html)
    assert "are the ends of long documents" in str(section.html)


def test_what_training_left_held_out_is_shown_where_nobody_measured() -> None:
    trained = Made(TrainingResult(9, 9, 1.0, 2.0, 96, {}, {"wiki": HeldOutLoss(2.0, 1.0, 500)}), key="pretrain-0")
    made: Any = [trained]
    section = text_section(made)
    assert section is not None
    assert "<td>wiki</td><td>made</td>" in str(section.html)
    assert text_section([Made(EvaluationResult("a", True, {}))]) is None  # type: ignore[list-item]
    assert largest_packing(made) is None


def test_a_rise_is_a_share_with_its_interval() -> None:
    assert rise_words(Interval(0.01, 0.006, 0.014)) == "+1.0 % [+0.6 %, +1.4 %]"


def test_what_went_in_speaks_of_own_sources_and_of_many_by_their_sum() -> None:
    made: Any = [Made(CorpusSize(138, 138)), Made(packing("books", "wiki", missing="wiki"))]
    assert what_went_in(made) == (
        "What went in: 138 documents; 2,020,000 tokens of text, 1,020,000 of books (20,000 held out) and 1,000,000 of "
        "wiki (nothing held out)."
    )
    many: Any = [Made(CorpusSize(100, 138)), Made(packing(*map(str, range(7))))]
    assert what_went_in(many) == (
        "What went in: 138 pages, of which curation left 100 documents; 7,140,000 tokens of text."
    )


def test_sentences_come_in_the_order_of_the_steps_and_name_the_largest_of_many() -> None:
    few, many = {f"s{n}": 3.0 for n in range(6)}, {f"s{n}": 3.0 for n in range(9)}
    made = own_text(read("z", "one", **many), read("a", "two", **dict.fromkeys(many, 3.3)))
    made[1:1] = [model("zero")]
    made[2].metadata["inputs"] = {"init_from": "zero"}
    made.insert(3, read("first", "zero", **dict.fromkeys(few, 2.0)))
    first, second = [line for line in str(text_section(made).html).splitlines() if "held-out text worse" in line]  # type: ignore[union-attr]
    assert "“z” predicts held-out text worse than “first”: " in first
    assert first.count(" to ") == 6
    assert second.count(" to ") == 3
    assert "(+" in second
    assert second.endswith(", and 6 more in the table</li>")


def test_models_of_a_ladder_that_is_asked_tasks_are_no_part_of_the_chain() -> None:
    """A rung is evaluated for the forecast of scores as well; the base, evaluated for the report, is none."""

    def one(key: str, *recorded: Any, **inputs: Any) -> Made:
        artifact = Made(*recorded, key=key)
        artifact.metadata["inputs"] = inputs
        return artifact

    training, law = TrainingResult(10, 100, 1.0, 2.0, 16), ScalingLaw((), None, {"none": "too few"}, 1e23)
    rungs, scores = [f"rung-{n}" for n in range(4)], [f"scores-{n}" for n in range(4)]
    artifacts = [one(rung, training) for rung in [*rungs, "base", "began"]]
    artifacts += [
        one(key, EvaluationResult(key, False, {}), model=rung) for key, rung in zip(scores, rungs, strict=True)
    ]
    artifacts += [
        one("law", law, models=[*rungs, "began"]),
        one("forecast", TaskForecasts(1e23, {}), law="law", models=rungs, scores=scores),
        one("longer", training, model="began"),
        one("scores-base", EvaluationResult("base", False, {}), model="base"),
    ]
    chain = [made.key for made in artifacts if made.get_result(TrainingResult) and not _is_rung(made, artifacts)]  # type: ignore[arg-type]
    assert chain == ["base", "began", "longer"]
    without_tasks = [made for made in artifacts if made.key in (*rungs, "law")]
    assert all(_is_rung(made, without_tasks) for made in without_tasks[:4])  # type: ignore[arg-type]


def rows_of(kind: type[Artifact], key: str, recorded: Any, **inputs: Any) -> Any:
    """An artifact of rows, made of others."""
    artifact = Made(recorded, key=key)
    artifact.metadata["inputs"] = inputs
    return type("Rows", (Made, kind), {"__init__": lambda self: None, **vars(artifact)})()


def test_rows_are_counted_where_they_came_in_and_not_again_by_what_chooses_among_them() -> None:
    made = [
        rows_of(Dialogues, "tests", DialogueCount(3, {})),
        rows_of(Preferences, "load", PreferenceCount(20), tests="tests"),
        rows_of(Preferences, "train", PreferenceCount(12), preferences="load", held_out=None),
        rows_of(Preferences, "held_out", PreferenceCount(8), preferences="load"),
        rows_of(Preferences, "own", PreferenceCount(1)),
        rows_of(Dialogues, "prompts", DialogueCount(8, {}), tests="tests"),
        rows_of(Dialogues, "apart", DialogueCount(2, {}), dialogues=[], preferences=["load"]),
        rows_of(Dialogues, "asked", DialogueCount(8, {}), dialogues="prompts", held_out="apart"),
        rows_of(Dialogues, "best", DialogueCount(6, {}), prompts="asked", model="model"),
    ]
    assert what_went_in(made) == "What went in: 11 dialogues and prompts; 21 ranked pairs of answers."
    assert what_went_in(made[4:5]) == "What went in: 1 ranked pair of answers."


def test_a_reward_model_of_one_source_has_one_row_and_a_source_without_a_name_says_so() -> None:
    def table(**sources: HeldOutPairs) -> str:
        found = RewardModelResult(HeldOutPairs(1, 2, 0.1, 0.9), 0.1, (), sources)
        section = alignment_section([Made(found, key="reward-1")])  # type: ignore[list-item]
        assert section is not None
        return str(section.html)

    pairs = HeldOutPairs(1, 2, 0.1, 0.9)
    assert table(**{"": pairs}).count(">50.0% [10.0%, 90.0%]<") == 1
    two = table(**{"": pairs, "talk": pairs})
    assert two.count(">50.0% [10.0%, 90.0%]<") == 3
    assert ">no source named<" in two


def test_prompts_without_an_answer_are_told_by_reason() -> None:
    sampled = RejectionSampling(2, 9, 0.0, 0.0, (), 0)
    kept = DialogueCount(2, {"": 2}, {"no answer came to an end": 6})
    section = alignment_section([Made(sampled, kept, key="rejection_sample-1")])  # type: ignore[list-item]
    assert section is not None
    assert "no answer came to an end: 6" in str(section.html)
    assert not section.top
    whole = alignment_section([Made(sampled, DialogueCount(8, {"": 8}), key="rejection_sample-1")])  # type: ignore[list-item]
    assert whole is None
    alone: Any = [Made(ImportedModel(9, 9, 9), key="load"), Made(sampled, kept, key="rejection_sample-1")]
    section = alignment_section(alone)
    assert section is not None
    assert section.top  # what a run without text of its own was for stands before times and costs
    section = alignment_section([*alone, Made(CorpusSize(1, 1))])  # type: ignore[list-item]
    assert section is not None
    assert not section.top
