"""The whole recipe in miniature: it ends with a report, survives kills, and makes the same bits again."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import pytest

from herd.core.artifacts import PARTIAL, Artifact, Checkpoint, Report
from herd.core.errors import SettingsError
from herd.core.recipe import load_recipe
from herd.core.records import Conversation
from herd.core.stage import Plan, plan_of, walk
from herd.core.storage import read_conversations
from herd.evals.results import EvaluationResult
from herd.recipes import recipes
from herd.report.verdicts import ReportResult
from herd.run.runner import run_stages
from herd.serve.folders import artifacts_in, newest_model
from herd.train.results import TrainingResult
from herd.world import NOTE
from herd.world.facts import WORDINGS
from herd.world.pages import KINDS, WorldPages
from herd.world.truth import World
from tests.imported import work
from tests.smoke import SMOKE, hear_interrupts, planned
from tests.studies.planned import inputs

REPOSITORY = Path(__file__).parent.parent.parent
WEIGHTS = "model.safetensors"


class Links(HTMLParser):
    """Everything a browser would follow or fetch, and every tag."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name in ("href", "src", "xlink:href"):
                self.found.append(value or "")
            self.found += re.findall(r"url\([^)]*\)", value or "")


def hashes(folder: Path) -> dict[str, str]:
    """The weights of every model a run made."""
    made = [one for one in artifacts_in(folder) if isinstance(one, Checkpoint)]
    return {one.key: one.metadata["files"][WEIGHTS]["sha256"] for one in made}


def test_every_stage_is_made_and_every_artifact_is_whole(smoke_run: Path) -> None:
    made = artifacts_in(smoke_run)
    assert len(made) == 65
    stages = {one.metadata["stage"] for one in made}
    wanted = "python_docs world_pages curate audit train_tokenizer pack pretrain fit_law extend_context anneal"
    wanted += (
        " demonstrate draw_trivia probe_knowledge sample_by_source join_dialogues sft draw_prompts annotate dpo "
        "average_models interpolate_models train_reward rejection_sample evaluate_model write_report"
    )
    assert stages == set(wanted.split())
    for one in made:
        one.verify()
        assert one.headline
    assert not list((smoke_run / "scratch").glob("*"))


def test_the_report_is_one_file_that_needs_nothing_else(smoke_run: Path) -> None:
    report = next(one for one in artifacts_in(smoke_run) if isinstance(one, Report))
    page = (report.path / "report.html").read_text(encoding="utf-8")
    links = Links()
    links.feed(page)
    assert links.found
    assert all(link.startswith(("#", "data:", "url(#")) for link in links.found), links.found
    assert "script" not in links.tags
    assert NOTE.replace("'", "&#39;") in page
    for words in (
        "What was to be shown",
        "Funnel",
        "Tokenizer",
        "Scaling law",
        "Losses",
        "Needles",
        "Evaluation",
        "Samples",
    ):
        assert words in page
    verdicts = report.result(ReportResult).verdicts
    assert len(verdicts) == 16
    assert page.count("✗ missed") == sum(not verdict.holds for verdict in verdicts)


def test_alignment_goes_round_by_round(smoke_run: Path) -> None:
    made = {one.key: one for one in artifacts_in(smoke_run)}
    rounds = [one for one in made.values() if one.metadata["stage"] == "annotate"]
    assert len(rounds) == 3  # each round's, and what the reward model is tested with
    asked = [[made[key].metadata["stage"] for key in one.metadata["inputs"]["models"]] for one in rounds]
    # People rank the answers of both, in the second round of the mean of both rounds' SFT models.
    assert sorted(asked) == [["average_models", "sft"], ["sft", "sft"], ["sft", "sft"]]
    newest = newest_model(smoke_run)
    assert newest is not None
    assert newest.name.startswith("interpolate_models-")
    measured = {result.label: result for one in made.values() if (result := one.get_result(EvaluationResult))}
    assert len(measured) == 9
    # The last model is asked what the others are, and more.
    final, before = (set(measured[label].tasks) for label in ("final", "DPO 2"))
    assert final - before == {"follow_up", "small_talk"}
    assert not before - final


def models_by_label(plans: list[Plan]) -> dict[str, Plan]:
    """What is measured, in the order of the report."""
    return {plan.settings["label"]: inputs(plan, "model")[0] for plan in inputs(plans[-1], "scores")}


def names(plans: list[Plan]) -> list[str]:
    return [plan.stage.name for plan in plans]


def test_a_round_learns_skills_then_what_it_does_not_know_then_preferences_and_how_far_to_go() -> None:
    plans = walk(planned())
    models = models_by_label(plans)
    steps = ("SFT", "refusals", "DPO")
    assert list(models) == [
        "base", *(f"{step} 1" for step in steps), "chat 1", *(f"{step} 2" for step in steps), "final"
    ]  # fmt: skip
    base, refusals = models["base"], inputs(models["refusals 1"], "dialogues")
    assert base.stage.name == "anneal"
    for number, label in ((1, "chat 1"), (2, "final")):
        skilled, honest, preferred = (models[f"{step} {number}"] for step in steps)
        chat = models[label]
        assert names([honest, preferred, chat]) == ["sft", "average_models", "interpolate_models"]
        # Every round starts from the base model and learns the same of what that does not know.
        tuned = [skilled] if number == 1 else inputs(skilled, "models")
        assert names(tuned) == ["sft"] * number
        assert [inputs(one, "base") for one in tuned] == [[base]] * number
        assert tuned[0] == models["SFT 1"]
        assert inputs(honest, "base") == [skilled]
        assert inputs(honest, "dialogues") == refusals
        runs = inputs(preferred, "models")
        assert [run.settings["settings"]["seed"] for run in runs] == [0, 1]
        for run in runs:
            assert inputs(run, "model") == [honest]
            assert [inputs(one, "models") for one in inputs(run, "preferences")] == [
                [models[f"SFT {earlier}"], models[f"refusals {earlier}"]] for earlier in range(1, number + 1)
            ]
        assert (inputs(chat, "first"), inputs(chat, "last")) == ([skilled], [preferred])
        (validation,) = inputs(chat, "prompts")
        assert (validation.stage.name, validation.settings["validation"]) == ("draw_trivia", True)
        for tuning in (*tuned, honest):
            assert names(inputs(tuning, "tokens")) == ["pack"]
    (conversations,) = refusals
    others, *sampled = inputs(conversations, "dialogues")
    assert conversations.stage.name == "join_dialogues"
    assert names([others, *sampled]) == ["demonstrate", *["sample_by_source"] * 3]
    for kind, sample in zip(("unwritten", "unknown", "unwritten_follow_up"), sampled, strict=True):
        (probe,) = inputs(sample, "dialogues")
        assert (probe.stage.name, inputs(probe, "model")) == ("probe_knowledge", [base])
        (trivia,) = inputs(probe, "questions")
        assert (trivia.stage.name, trivia.settings["kinds"]) == ("draw_trivia", [kind])
        assert not trivia.settings["validation"]
        assert [*sample.settings["counts"]] == ["unknown"]


def test_the_second_round_learns_the_best_answers_of_the_first_and_all_preferences() -> None:
    models = models_by_label(walk(planned()))
    skills = inputs(models["SFT 1"], "dialogues")
    assert names(skills) == ["join_dialogues"]
    assert names(inputs(skills[0], "dialogues")) == ["demonstrate"]
    _, second = inputs(models["SFT 2"], "models")
    first, best = inputs(second, "dialogues")
    assert [first] == skills
    assert best.stage.name == "rejection_sample"
    assert inputs(best, "model") == [models["chat 1"]]
    (judge,) = inputs(best, "judge")
    (run, *_) = inputs(models["DPO 1"], "models")
    assert inputs(judge, "preferences") == inputs(run, "preferences")
    assert inputs(judge, "held_out")[0] not in inputs(run, "preferences")
    assert best.settings["settings"]["verifier"] is not None


NAME = re.compile(r"[A-Z][a-z]+ [A-Z][a-z]+")


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Conversation]]:
    """All that `tiny` draws to learn from in alignment, and by `validation` what it chooses models by."""
    drawn: dict[str, list[Conversation]] = {"learnt": [], "validation": []}
    for plan in walk(load_recipe("tiny", recipes).plan()):
        if plan.stage.name in ("demonstrate", "draw_prompts", "draw_trivia"):
            folder = work(tmp_path_factory.mktemp("drawn") / plan.key)
            plan.stage.run(folder, {}, plan.settings)
            side = "validation" if plan.settings.get("questions", plan.settings)["validation"] else "learnt"
            drawn[side] += read_conversations(folder.out)
    return drawn


def people_in(conversations: list[Conversation]) -> set[str]:
    """Whom they are about; what hides a needle is a page, and is about nobody."""
    texts = (m.content for one in conversations for m in one.messages if "The code of" not in m.content)
    return set(NAME.findall("\n".join(texts))) & set(World().everybody.group_of)


def test_nobody_whom_models_are_examined_on_or_chosen_by_is_in_anything_that_is_learnt(
    learnt: dict[str, list[Conversation]],
) -> None:
    groups = World().everybody.groups
    assert {one.source for one in learnt["learnt"]} >= {"asked", "known", "unknown", "unwritten", "untold", "follow_up"}
    in_training, in_validation = people_in(learnt["learnt"]), people_in(learnt["validation"])
    assert len(in_training) > 200
    assert len(in_validation) > 20
    for examined in ("held out", "held-out strangers"):
        assert not {*groups[examined]} & (in_training | in_validation)
    assert not in_training & in_validation
    for group in ("alignment", "strangers"):
        assert {*groups[group]} & in_training
        assert {*groups[group]} & in_validation


def test_pages_ask_nothing_about_the_people_of_alignment_and_name_no_stranger() -> None:
    kinds = ", ".join(f"{kind}: 80" for kind in KINDS)
    settings = load_recipe("tiny", recipes, [f"pages.documents={{{kinds}}}"]).settings
    people, in_pages = settings.world.everybody, dict.fromkeys(KINDS, "")
    for page in WorldPages(settings.world, settings.pages).documents():
        in_pages[page.document.source] += page.document.text + "\n"
    named = {kind: {people.group_of[name] for name in NAME.findall(text) if name in people.group_of}
             for kind, text in in_pages.items()}  # fmt: skip
    assert named["facts"] == {"asked", "alignment", "held out", "tail"}
    assert named["reading"] == named["roster"] == named["echo"] == {"tail"}
    assert not any({"strangers", "held-out strangers"} & groups for groups in named.values())
    asked = {wording: [fact.attribute.ask(fact.subject, wording) for fact in people.facts("alignment", "held out")]
             for wording in range(WORDINGS)}  # fmt: skip
    assert not any(question in text for text in in_pages.values() for row in asked.values() for question in row)
    assert "Do you know the job of" in in_pages["qa"]


def test_a_seed_makes_another_world_and_other_models_of_the_same_recipe() -> None:
    plans = {seed: planned_stages(planned(f"seed={seed}")) for seed in (0, 1)}
    assert plans[0] == planned_stages(planned())
    for stage in ("world_pages", "demonstrate", "pretrain", "sft", "dpo", "rejection_sample", "evaluate_model"):
        assert plans[0][stage].isdisjoint(plans[1][stage]), stage


def planned_stages(end: Artifact) -> dict[str, set[str]]:
    """The keys of all that is planned, by stage."""
    keys: dict[str, set[str]] = {}
    unvisited = [plan_of(end)]
    while unvisited:
        current = unvisited.pop()
        if current.key not in keys.setdefault(current.stage.name, set()):
            keys[current.stage.name].add(current.key)
            unvisited += current.parents
    return keys


@pytest.mark.parametrize("seed", [0])
def test_killed_again_and_again_it_ends_with_the_same_weights(smoke_run: Path, tmp_path: Path, seed: int) -> None:
    """In every sixth of the run, soon after a random number of its stages are made."""
    chance, run = random.Random(seed), tmp_path / "run"
    command = [sys.executable, "-m", "herd", "run", str(SMOKE), "--out", str(run), "--jobs", "2"]
    stages = len(artifacts_in(smoke_run))
    for sixth in range(6):
        enough = stages * sixth // 6 + chance.randrange(stages // 6)
        process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while len(finished(run)) < enough and process.poll() is None:
            time.sleep(0.05)
        time.sleep(chance.uniform(0, 3))  # while workers start, or with one stage or two at work
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert hashes(run) == hashes(smoke_run)


def finished(run: Path) -> list[Path]:
    """The folders of artifacts that are whole."""
    return [folder for folder in run.glob("artifacts/*") if folder.suffix != PARTIAL]


@pytest.mark.parametrize("later", [0, 0.2, 2])  # while the first worker starts, the second, and when both are at work
def test_ctrl_c_stops_at_once_and_says_how_to_go_on(tmp_path: Path, later: float) -> None:
    command = [sys.executable, "-m", "herd", "run", str(SMOKE), "--out", str(tmp_path / "run"), "--jobs", "2"]
    with subprocess.Popen(
        command,
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=hear_interrupts,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()  # a stage has started
        time.sleep(later)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the run and all its workers
        _, err = process.communicate()
    assert process.returncode == 130
    assert "the same command goes on from what is whole" in err
    assert "Traceback" not in err


def test_a_full_disk_is_one_sentence_and_nothing_is_half_made(tmp_path: Path) -> None:
    """A limit on the size of files stands in for a full disk; the system reports both alike."""
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000));"
        "from herd.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "run", str(SMOKE), "--out", str(tmp_path / "run"), "--jobs", "1"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no space left on the disk" in done.stderr
    assert "Traceback" not in done.stderr
    for one in artifacts_in(tmp_path / "run"):
        one.verify()
    run_stages(planned(), tmp_path / "run", until="world_pages")
    assert not list((tmp_path / "run" / "artifacts").glob("*.partial"))


def test_losses_stay_what_they_are(smoke_run: Path) -> None:
    """Golden numbers: a change of these is a change of the recipe's result, and wants a new stage version.

    They are those of two machines' CPUs at most; wide bounds leave room for another's arithmetic.
    """
    pretrained = [one for one in artifacts_in(smoke_run) if one.metadata["stage"] == "pretrain"]
    base = next(one for one in pretrained if one.result(TrainingResult).num_params == 67_744)
    first = json.loads((base.path / "metrics.jsonl").read_text().splitlines()[0])
    # ln(768) for 768 tokens, and a little for weights that are not zero.
    assert first["loss"] == pytest.approx(6.67, abs=0.15)
    # Sums come in the second half only, as the mix says, so half as long is left to learn them.
    assert base.result(TrainingResult).loss == pytest.approx(3.1, abs=0.4)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("ladder.mixture_weights.wikki=1", "ladder.mixture_weights: no page is of source 'wikki'; .* 'wiki'"),
        ("sft.replay.mixture_weights.fact=1", "sft.replay.mixture_weights: no page is of source 'fact'; .* 'facts'"),
        ("refusals.sft.replay.mixture_weights.sum=1", "refusals.sft.replay.*: no page is of source 'sum'; .* 'sums'"),
        ("refusals.trivia.unwriten=5", "refusals.trivia: no question is of kind 'unwriten'; .* 'unwritten'"),
        ("refusals.targets.now=0.5", "refusals.targets: no question is of kind 'now'; .* 'known'"),
    ],
)
def test_a_source_of_no_page_and_a_kind_of_no_question_are_refused_with_the_nearest(change: str, sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        load_recipe("tiny", recipes, (change,))
