"""Conversations made of several dialogues hold all of them, in turn, and nothing else."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.align.joining import LENGTHS, join, join_dialogues
from herd.align.loading import write_dialogues
from herd.core.errors import SettingsError
from herd.core.records import Conversation, Message
from herd.core.storage import read_conversations
from tests.imported import work


def dialogue(number: int, *, source: str = "sum", tools: tuple[str, ...] = (), system: bool = False) -> Conversation:
    opening = (Message("system", "Be brief."),) if system else ()
    messages = (*opening, Message("user", f"{source} {number}?"), Message("assistant", f"answer {number}"))
    return Conversation(messages, f"{source}/{number}", source, tools)


@given(
    sources=st.lists(st.sampled_from(("sum", "talk", "needle", "system")), max_size=40),
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    seed=st.integers(0, 99),
)
def test_nothing_is_lost_or_said_twice_and_what_stays_alone_does(
    sources: list[str], lengths: list[int], seed: int
) -> None:
    dialogues = [dialogue(n, source=source, system=source == "system") for n, source in enumerate(sources)]
    joined = list(join(dialogues, lengths, random.Random(seed), alone=("needle",)))
    assert [m for one in joined for m in one.messages] == [m for one in dialogues for m in one.messages]
    assert all(len(one.messages) <= 2 * max(lengths) for one in joined if one.source != "system")
    for one in joined:
        if any(m.role == "system" for m in one.messages) or one.source == "needle":
            assert len([m for m in one.messages if m.role == "user"]) == 1
    assert [one.id for one in joined] == [d.id for d in dialogues if d.id in {one.id for one in joined}]


def test_a_conversation_has_the_tools_of_the_first_that_has_any() -> None:
    (joined,) = join([dialogue(1), dialogue(2, tools=("calculator",)), dialogue(3)], (3,), random.Random(0))
    assert joined.tools == ("calculator",)
    assert (joined.id, joined.source) == ("sum/1", "sum")


def test_all_artifacts_are_shuffled_together(tmp_path: Path) -> None:
    parts = [
        write_dialogues(work(tmp_path / source), [dialogue(n, source=source) for n in range(60)], source)
        for source in ("sum", "needle", "talk")
    ]
    made = join_dialogues.body(work(tmp_path / "joined"), tuple(parts), alone=("needle",), seed=3)
    joined = list(read_conversations(made.path))
    asked = [m.content for one in joined for m in one.messages if m.role == "user"]
    assert len(asked) == 180
    assert {len(one.messages) // 2 for one in joined if one.source != "needle"} > {1, 2}
    assert max(len(one.messages) for one in joined) <= 2 * max(LENGTHS)
    assert all(len(one.messages) == 2 for one in joined if one.source == "needle")
    kinds = [{m.content.split()[0] for m in one.messages if m.role == "user"} for one in joined]
    assert {"sum", "talk"} in kinds
    again = join_dialogues.body(work(tmp_path / "again"), tuple(parts), alone=("needle",), seed=3)
    assert list(read_conversations(again.path)) == joined
    other = join_dialogues.body(work(tmp_path / "other"), tuple(parts), alone=("needle",), seed=4)
    assert list(read_conversations(other.path)) != joined


def test_no_lengths_are_refused() -> None:
    with pytest.raises(SettingsError, match="lengths names no number of dialogues"):
        list(join([dialogue(1)], (), random.Random(0)))
