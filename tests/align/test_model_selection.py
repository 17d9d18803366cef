"""Models held against the ones before them, and the best of them kept."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from herd.align.model_selection import select_best_model, win_rates
from herd.align.results import RoundComparison
from herd.core.artifacts import Checkpoint, Dialogues
from herd.core.errors import DataError
from herd.core.records import Conversation, Message
from herd.core.stage import Work
from herd.core.storage import read_conversations, write_conversations
from herd.judge.verifiers import verifiers
from herd.model.weights import load_transformer
from herd.report.sections.alignment import alignment_section
from herd.run.executors import LocalExecutor
from herd.train.checkpoint import write_checkpoint
from herd.world.annotators import QuestionSet, heldout_prompts
from herd.world.sums import is_held_out_sum
from herd.world.truth import World
from tests.model.test_transformer import SMALL, model
from tests.results import Made
from tests.tokens.test_chat import TOKENIZER


def work(folder: Path) -> Work:
    for name in ("out", "scratch"):
        (folder / name).mkdir(parents=True)
    return Work(folder / "out", folder / "scratch", LocalExecutor())


def test_a_win_rate_counts_ties_half() -> None:
    first, second = [True, False, False, False], [True, True, True, False]
    rows = win_rates([first, second, second], [10.0, 12.0, 12.0])
    assert rows[0].right.value == 0.25
    assert rows[0].win_rate is None
    assert rows[1].win_rate is not None
    assert rows[1].win_rate.value == pytest.approx(0.75)
    assert rows[2].win_rate == (0.5, 0.5, 0.5)
    worse = win_rates([second, first], [1.0, 1.0])[1].win_rate
    assert worse is not None
    assert worse.value == pytest.approx(0.25)
    many = win_rates([[False] * 400, [True] * 100 + [False] * 300], [1.0, 1.0])[1].win_rate
    assert many is not None
    assert many.low > 0.5


@pytest.fixture
def models(tmp_path: Path) -> tuple[Checkpoint, ...]:
    made = []
    for seed in range(3):
        torch.manual_seed(seed)
        folder = tmp_path / f"model {seed}"
        folder.mkdir()
        write_checkpoint(
            folder, model(replace(SMALL, vocab_size=TOKENIZER.vocab_size, max_seq_len=128)), TOKENIZER, kind="chat"
        )
        made.append(Checkpoint(folder))
    return tuple(made)


def prompts(folder: Path) -> Dialogues:
    folder.mkdir()
    told = Message("assistant", "7")
    write_conversations(folder, [Conversation((Message("user", f"{n}?"), told), id=f"{n}") for n in range(4)])
    return Dialogues(folder)


def test_the_best_model_is_kept_and_of_equals_the_earlier(
    tmp_path: Path, models: tuple[Checkpoint, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = iter([False] * 4 + [True, True, False, False] * 2)
    assert "numeric_match" in verifiers.all()
    monkeypatch.setitem(verifiers._plugins, "planted", lambda prompt, answer, known: next(right))
    done = work(tmp_path / "done")
    kept = select_best_model.body(
        done, models, prompts(tmp_path / "prompts"), verifier=verifiers.configure("planted"), max_tokens=4
    )
    assert done.results[RoundComparison].chosen == 1
    assert [row.right.value for row in done.results[RoundComparison].rounds] == [0.0, 0.5, 0.5]
    assert "number 2 is kept" in done.headline
    ours, theirs = load_transformer(kept.path).state_dict(), load_transformer(models[1].path).state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    section = alignment_section([Made(done.results[RoundComparison])])  # type: ignore[list-item]
    assert section is not None
    assert "<h3>Round against round</h3>" in section.html
    assert re.findall(r"<tr><td>(\d)</td>", section.html) == ["1", "2", "3"]
    assert "<svg" in section.html


def test_prompts_of_which_nothing_is_known_choose_nothing(tmp_path: Path, models: tuple[Checkpoint, ...]) -> None:
    (tmp_path / "asked").mkdir()
    write_conversations(tmp_path / "asked", [Conversation((Message("user", "7?"),))])
    with pytest.raises(DataError, match="numeric_match can say nothing of any of 1 prompts"):
        select_best_model.body(
            work(tmp_path / "none"),
            models,
            Dialogues(tmp_path / "asked"),
            verifier=verifiers.configure("numeric_match"),
            max_tokens=4,
        )


def test_what_is_examined_is_asked_nowhere_else(tmp_path: Path) -> None:
    world = World()
    found = list(
        read_conversations(heldout_prompts.body(work(tmp_path / "held"), world=world, counts={"sum": 60}).path)
    )
    asked = {one.id for one in QuestionSet(counts={"sum": 400}, purpose="a").draw(world)}
    assert len({one.id for one in found}) == len(found) > 50
    assert not asked & {one.id for one in found}
    assert all(is_held_out_sum(*map(int, one.id.split("/")[1].split("+"))) for one in found)
