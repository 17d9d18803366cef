"""What the page says about a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from herd.align.results import DialogueCount, FinetuningResult
from herd.core.plugins import load_plugins
from herd.core.results import results
from herd.evals.intervals import wilson
from herd.evals.results import EvaluationResult, TaskResult, TextResult
from herd.report import pages
from herd.report.sections import sections
from herd.report.sections.evaluation import task_table
from herd.report.verdicts import Verdict
from herd.train.results import SourceUse, TrainingResult
from tests.results import Made, example

NO_COST = {"seconds": 1.0, "cpu_seconds": 1.0, "peak_bytes": 1}


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
        *("Text", "Funnel", "Tokenizer", "Scaling law", "Forecasts", "Data mix", "Held-out examples", "Alignment"),
        *("Needles", "Evaluation", "Samples"),
    ]
    assert sections.show([]) == []


def chain(folder: Path, *scores: tuple[str, int]) -> list[Any]:
    """Models each made from the one before, with what was measured of them."""
    made: list[Any] = []
    for number, (label, right) in enumerate(scores):
        model = Made(key=f"sft-{number}")
        model.metadata |= {"inputs": {"model": f"sft-{number - 1}"}, "cost": NO_COST}
        score = TaskResult(
            *wilson(right, 200), 200, 0, tuple([1] * right + [0] * (200 - right)), truncated_share=0.0, tokens=1.0
        )
        row = Made(EvaluationResult(label, True, {"tools": score}), DialogueCount(1234, {}), key=f"evaluate-{number}")
        row.metadata |= {"inputs": {"model": model.key}, "cost": NO_COST}
        made += [model, row]
    for artifact in made:
        artifact.headline, artifact.path = "", folder
    return made


def test_the_story_stands_on_top_and_names_the_step_that_cost_something(tmp_path: Path) -> None:
    bar = Verdict("a bar", "1 of 2", "all", holds=False)
    page = pages.render("t", chain(tmp_path, ("<base>", 100), ("SFT", 196), ("DPO 1", 176)), [bar])
    story, below = page.split('<h2 id="verdicts">')
    assert "What went in: 3,702 dialogues and prompts." in story
    assert "What came out: DPO 1, the last of 3 measured models. Right of held-out questions: tools 88%." in story
    assert "DPO 1 made tools worse: 98% to 88% of 200 questions" in story
    assert story.count("made tools worse") == 1
    assert 'aria-label="tools, share right after each step: &lt;base&gt; 50% (43% to 57%), SFT 98% (' in story
    assert "made tools worse" not in below
    assert page.index('href="#steps"') < page.index('href="#verdicts"')


def test_a_run_without_losses_says_so_and_one_model_alone_has_no_story(tmp_path: Path) -> None:
    both = chain(tmp_path, ("base", 100), ("SFT", 196))
    assert "No step made an ability worse" in pages.render("t", both, [])
    assert 'id="steps"' not in pages.render("t", both[:2], [])


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
    assert [section.name for section in shown] == ["Text", "Needles", "Poems", "Evaluation", "Samples"]
    html = str(shown[2].html)
    assert "<h3>All of &lt;them&gt;</h3>" in html
    assert '<tr><td>write-&lt;1&gt;</td><td class="n">14</td></tr>' in html


def test_replayed_text_is_shown_by_source_and_plain_fine_tuning_has_no_section_of_its_own() -> None:
    training = TrainingResult(9, 1000, 1.0, 2.0, 96, {"facts": SourceUse(3, 1234, 0.1, 2)})
    tuning = FinetuningResult(5, "tokens learnt", 1e-3, {}, {}, shares={"sums": 0.75, "replay/facts": 0.25})
    made: list[Any] = [Made(training, tuning, key="sft-1")]
    (section,) = sections.show(made)
    assert section.name == "Alignment"
    for cell in ("made", "facts", "1,234", "10.0%", "25.0%", "2"):
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


def test_stages_are_called_by_their_names_with_the_key_beside_and_own_data_is_told_on_top(tmp_path: Path) -> None:
    made = chain(tmp_path, ("<base>", 100))
    made[1].metadata["settings"] = {"label": "<base>"}
    page = pages.render("t", made, [])
    assert '<tr id="sft-0"><td title="sft-0">&lt;base&gt; <span class="soft">made</span></td>' in page
    assert "<base>" not in page
    assert "<p>What went in: 1,234 dialogues and prompts.</p>" in page  # one model has no steps to tell of
    made[0].label = "our model"
    assert '<td title="sft-0">our model <span' in pages.render("t", made, [])


def test_flops_of_learning_from_pairs_count_beside_those_of_text() -> None:
    made: Any = [
        Made(TrainingResult(9, 9, 1e12, 2.0, 96)),
        Made(FinetuningResult(5, "pairs", 1e-3, {}, {}, flops=5e11)),
    ]
    for artifact in made:
        artifact.metadata["cost"] = {"cpu_seconds": 1.0, "peak_bytes": 1}
    assert {"name": "training FLOPs", "value": "1.50e+12"} in pages.tiles(made, [])
