"""What the page says about a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from herd.align.results import FinetuningResult
from herd.core.plugins import load_plugins
from herd.core.results import results
from herd.evals.results import EvaluationResult, TaskResult, TextResult
from herd.report import pages
from herd.report.sections import sections
from herd.report.sections.evaluation import task_table
from herd.train.results import SourceUse, TrainingResult
from tests.results import Made, example


def measured(label: str, **tasks: TaskResult | TextResult) -> Any:
    return Made(EvaluationResult(label, False, tasks))


def test_scores_and_bits_a_byte_stand_side_by_side_and_only_scores_are_drawn() -> None:
    share = TaskResult(0.5, 0.25, 0.75, questions=8, void=0, right=(), truncated_share=0.0, tokens=1.0)
    bits = TextResult(1.25, 1.1, 1.4, questions=3, nats_per_token=1.0, token_perplexity=2.7)
    both = [
        EvaluationResult("base", False, {"sums": share, "book": bits}),
        EvaluationResult("chat", True, {"sums": share}),
    ]
    table = task_table(both)
    assert [[cell["share"] for cell in row["cells"]] for row in table["rows"]] == [
        ["50.0%", "50.0%"],
        ["1.250 bits a byte", ""],
    ]
    assert "sums" in table["drawing"]
    assert "book" not in table["drawing"]
    assert task_table([EvaluationResult("base", False, {"book": bits})])["drawing"] == ""
    names = [section.name for section in sections.show([measured("base", sums=share)])]
    assert names == ["Evaluation", "Samples"]


def test_a_page_has_the_sections_of_what_was_recorded_in_order() -> None:
    made: list[Any] = [Made(*(example(kind) for kind in results.all().values() if kind.__module__.startswith("herd.")))]
    names = [section.name for section in sections.show(made)]
    assert names == [
        *("Funnel", "Tokenizer", "Scaling law", "Data mix", "Alignment", "Losses", "Needles", "Evaluation", "Samples")
    ]
    assert sections.show([]) == []


PLUGIN = """
from dataclasses import dataclass

from herd.core.results import results
from herd.report.sections import SectionPart, Section, artifacts_with, render_parts, sections


@results.add(version=1)
@dataclass(frozen=True)
class Poem:
    lines: int


@sections.add(Poem, order=75)
def poems(artifacts):
    rows = [(artifact.key, poem.lines) for artifact, poem in artifacts_with(artifacts, Poem)]
    table = SectionPart("All of <them>", "Counted.", head=("poem", "lines"), rows=rows)
    return Section("poems", "Poems", render_parts([table]))
"""


def test_a_section_for_a_new_result_is_a_file(tmp_path: Path) -> None:
    file = tmp_path / "poems.py"
    file.write_text(PLUGIN)
    load_plugins([file], "--plugins")
    poem = results.all()["Poem"](14)
    made: list[Any] = [measured("base"), Made(poem, key="write-<1>"), Made(example(EvaluationResult))]
    shown = sections.show(made)
    assert [section.name for section in shown] == ["Losses", "Needles", "Poems", "Evaluation", "Samples"]
    html = str(shown[2].html)
    assert "<h3>All of &lt;them&gt;</h3>" in html
    assert '<tr><td>write-&lt;1&gt;</td><td class="n">14</td></tr>' in html


def test_replayed_text_is_shown_by_source_and_plain_fine_tuning_has_no_section_of_its_own() -> None:
    training = TrainingResult(9, 1000, 1.0, 2.0, 96, {"facts": SourceUse(3, 1234, 0.1, 2)})
    tuning = FinetuningResult(5, "tokens learnt", 1e-3, {}, {}, shares={"sums": 0.75, "replay/facts": 0.25})
    made: list[Any] = [Made(training, tuning, key="sft-1")]
    (section,) = sections.show(made)
    assert section.name == "Alignment"
    for cell in ("sft-1", "facts", "1,234", "10.0%", "25.0%", "2"):
        assert f">{cell}</td>" in str(section.html)
    plain: list[Any] = [Made(replace(training, sources={}), replace(tuning, shares={"sums": 1.0}))]
    assert sections.show(plain) == []


def test_the_page_speaks_of_no_world_by_itself() -> None:
    text = Path(pages.__file__).with_name("page.html").read_text(encoding="utf-8")
    assert "world" not in text.lower()


def test_names_with_dollars_and_tags_are_drawn_as_names() -> None:
    from herd.report.plots import shares

    name = r"$\frac{$ <script>alert(1)</script> $"
    svg = shares({name: {name: 0.5, "b": 0.5}, "other": {name: 1.0, "b": 0.0}})
    assert "<script" not in svg
    assert svg.count("&lt;script&gt;") >= 2
