"""`herd pretrain`: from its options to a recipe and a plan, and what it refuses in a sentence."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from herd.cli import main
from herd.commands.pretrain import _source_names
from herd.core.settings import parse_yaml
from tests.imported import imported
from tests.recipes.test_adapt import small_model


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Some text, in a folder to work in."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "books").mkdir()
    for name in ("one", "two"):
        (tmp_path / "books" / f"{name}.txt").write_text(f"A sentence of {name}. " * 4000)
    (tmp_path / "wiki.txt").write_text("A fact about a mill. " * 4000)
    return tmp_path


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[dict[str, Any], str]:
    """The recipe that a dry run shows, and what is said before."""
    assert main(["pretrain", *arguments, "--dry-run"]) == 0
    said, end, written = capsys.readouterr().out.partition("recipe.yaml:\n\n")
    return parse_yaml(written, where="test"), said + end


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["pretrain", *arguments]) in (1, 2)
    assert not Path("runs").exists()
    return capsys.readouterr().err


def test_a_new_model_gets_its_numbers_by_size_and_text(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written, said = shown(capsys, "books", "facts=wiki.txt", "--size", "4m")
    assert written["recipe"] == "pretrain"
    assert written["files"] == {"books": [str(here / "books")], "facts": [str(here / "wiki.txt")]}
    assert written["tokenizer"] == {"vocab_size": 4096}
    base = written["base"]
    assert (base["size"], base["length"], base["tokens"], base["epochs"]) == ("4m", 256, None, 1.0)
    assert base["batch"] == [{"until": 1.0, "batch_tokens": 8 * 256}]
    assert written["measure"] == {"tasks": [], "loss_length": 256}
    assert "a new model of 2,459,328 weights; learning rate 0.0045" in said
    assert "tokens of text by its bytes, read 1 time\n" in said
    assert not (here / "runs").exists()


def test_the_folder_is_called_by_all_sources_or_the_first_few() -> None:
    assert _source_names(["books"]) == "books"
    assert _source_names(["books", "web", "wiki"]) == "books-web-wiki"
    assert _source_names(["a", "b", "c", "d", "e"]) == "a-b-c-and-2"


def test_what_is_said_stands_in_the_recipe(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = imported(here / "theirs")
    (model.path / "model.safetensors").touch()
    written, said = shown(
        capsys, "books", "wiki.txt", "--size", "width=64,layers=2", "--tokens", "100k", "--tokenizer", "theirs",
        "--length", "128", "--batch-tokens", "1024", "--learning-rate", "0.001", "--lengths", "256,1k", "--anneal",
        "0.1", "--mix", "books=0.25,wiki=0.75", "--held-out-share", "0.1", "--gpus", "2", "--rules", "gopher",
        "--tasks", "arithmetic: {questions: 3}", "--text-column", "content", "--set", "seed=7",
    )  # fmt: skip
    assert "runs/width-64-layers-2-books-wiki/" in said
    base = written["base"]
    assert written["tokenizer"] == {"file": str(here / "theirs")}
    assert (base["size"]["dim"], base["length"], base["lr"]) == (64, 128, 0.001)
    assert (base["dtype"], base["layout"]["data"]) == ("bf16", 2)
    assert base["mix"] == [{"until": 1.0, "mixture_weights": {"books": 0.25, "wiki": 0.75}}]
    assert base["tokens"] + written["anneal"]["tokens"] == 100_000
    assert [stage["length"] for stage in written["longer"]] == [256, 1024]
    assert (written["anneal"]["length"], written["anneal"]["lr"]) == (1024, 0.0001)
    assert (written["held_out_share"], written["seed"]) == (0.1, 7)
    assert written["curate"]["rules"]["default"]
    assert written["columns"]["default"]["text"] == "content"
    assert written["measure"]["tasks"] == [{"arithmetic": {"questions": 3}}]


def test_text_that_is_not_counted_yet_is_spread_over_rows(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written, _ = shown(capsys, "books", "--size", "4m", "--gpus", "3")
    base = written["base"]
    assert base["layout"]["data"] == 3
    assert base["batch"][0]["batch_tokens"] // base["length"] % 3 == 0
    written, _ = shown(capsys, "books", "--size", "1b", "--epochs", "1000", "--gpus", "4")
    assert math.prod(written["base"]["layout"].get(name, 1) for name in ("tensor", "context", "pipeline", "data")) == 4


def test_a_mix_is_searched_for_or_taken_from_a_run(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written, said = shown(capsys, "books", "wiki.txt", "--size", "4m", "--tokens", "100k", "--mix", "doremi")
    assert written["mix_search"]["method"] == "doremi"
    assert "find_mix" in said
    found = here / "earlier" / "artifacts" / "find_mix-0" / "mix.json"
    found.parent.mkdir(parents=True)
    found.write_text(json.dumps({"method": "doremi", "online": False, "shares": {"books": 0.5, "wiki": 0.5}}))
    for where in ("earlier", str(found)):
        written, _ = shown(capsys, "books", "wiki.txt", "--size", "4m", "--mix", where)
        assert written["base"]["mix"][0]["mixture_weights"] == {"books": 0.5, "wiki": 0.5}


def test_a_model_goes_on_with_numbers_by_its_size(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small_model(here / "small")
    written, said = shown(
        capsys, "books", "--from", "small", "--length", "64", "--general", "wiki.txt", "--replay", "0.2"
    )
    assert (written["recipe"], written["title"]) == ("continue", "small on books")
    assert written["model"] == str((here / "small").resolve())
    assert (written["general"], written["replay_share"]) == ({"wiki": [str(here / "wiki.txt")]}, 0.2)
    assert written["pretrain"]["length"] == 64
    assert "weights of small go on" in said
    later = ("--general", "wiki.txt", "--lengths", "512", "--tokens", "100k", "--anneal", "0.1")
    written, _ = shown(capsys, "books", "--from", "small", "--length", "64", *later)
    assert [stage["length"] for stage in written["longer"]] == [512]
    assert written["anneal"]["tokens"] == 10_000
    _, said = shown(capsys, "books", "--from", "small", "--length", "64")
    assert "what it costs on other text is not measured; --general PATH does" in said


def test_text_at_an_address_is_counted_or_its_tokens_are_asked_for(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fsspec = pytest.importorskip("fsspec", reason="the package for addresses is not installed")
    memory = fsspec.filesystem("memory")
    memory.pipe({"/words/a.txt": b"A word. " * 5000})
    written, said = shown(capsys, "memory://words", "--size", "4m")
    assert "about 10k tokens of text by its bytes, read 1 time\n" in said
    monkeypatch.setattr(type(memory), "size", lambda self, path: None)  # as some servers have it
    assert "could not be asked (memory://" in refused(capsys, "memory://words", "--size", "4m")
    assert "say --tokens" in refused(capsys, "memory://words", "--size", "4m")
    written, said = shown(capsys, "memory://words", "--size", "4m", "--tokens", "100k")
    assert written["base"]["tokens"] == 100_000
    assert "tokens of text by its bytes" not in said


def test_what_cannot_be_is_refused_in_a_sentence_and_nothing_is_made(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small_model(here / "small")
    new, old = ("books", "--size", "4m"), ("books", "--from", "small", "--length", "64")
    (here / "model.gguf").touch()
    for arguments, words in (
        (("nowhere", "--size", "4m"), "names no file; check the path"),
        (("books", "--size", "4n"), "is no model size; valid: 10m"),
        ((*new, "--tokenizer", "absent"), "--tokenizer absent: there is no such file"),
        ((*new, "--general", "wiki.txt"), "give --from MODEL"),
        ((*new, "--mix", "doremy"), "did you mean 'doremi'"),
        ((*new, "--mix", "books=half"), "is no share"),
        ((*new, "--mix", "books=0.5"), "sum to 0.5"),
        ((*new, "--mix", "books"), "has found no mix"),
        ((*new, "--mix", "bandit"), "bandit changes the shares while a run goes on and finds none before it"),
        ((*new, "--anneal", "0.1"), "say --tokens too"),
        ((*new, "--lengths", "512,256"), "do not rise"),
        ((*new, "--batch-tokens", "1M"), "less than a batch of 1,000,000"),
        (("books", "--from", "nowhere"), "is neither a model nor a run"),
        (("books", "--from", "model.gguf"), "`herd import model.gguf model` makes a folder of it first"),
        ((*old, "--vocab-size", "300"), "a vocabulary of its own"),
        ((*old, "--length", "16", "--lengths", "32"), "tokens already; write longer ones"),
        ((*old, "--replay", "0.1"), "name some by --general"),
        ((*old, "--general", "wiki.txt", "--replay", "0.1", "--mix", "books=0.5,wiki=0.5"), "take --replay away, or"),
        ((*old, "--mix", "doremi"), "write --mix NAME=SHARE"),
        (("books", "--from", "small", "--length", "1024"), "the model reads"),
    ):
        assert words in refused(capsys, *arguments), arguments
    for arguments, words in (
        (("books", "--from", "small", "--length", "1M"), "is no length"),
        (("books",), "one of the arguments --size --from is required"),
        ((*new, "--from", "small"), "not allowed with argument"),
    ):
        with pytest.raises(SystemExit):
            main(["pretrain", *arguments])
        assert words in capsys.readouterr().err
