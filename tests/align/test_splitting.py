"""Held-out rows: equal prompts in one part, parts that are stable and whole, and what stands too near is counted."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from herd.align.results import HeldOutSplit
from herd.align.splitting import (
    choose_held_out,
    gather_held_out,
    gather_held_out_preferences,
    hold_out_prompts,
    prompt_text,
    split_dialogues,
    split_preferences,
)
from herd.core.artifacts import Dialogues, Preferences
from herd.core.errors import DataError
from herd.core.records import Conversation, Message, Preference
from herd.core.seeds import fraction
from herd.core.stage import Work
from herd.core.storage import read_conversations, read_preferences, write_conversations, write_preferences
from herd.run.executors import LocalExecutor


def asked(question: str, answer: str, system: str = "") -> Conversation:
    opening = (Message("system", system),) if system else ()
    return Conversation((*opening, Message("user", question), Message("assistant", answer)))


def work_in(folder: Path) -> Work:
    folder.mkdir(parents=True)
    return Work(folder, folder, LocalExecutor())


def parts_of(folder: Path, rows: list[Conversation], **settings: float) -> dict[str, list[Conversation]]:
    (folder / "rows").mkdir(parents=True)
    write_conversations(folder / "rows", rows)
    parts = {}
    for part in ("train", "held_out"):
        work = work_in(folder / part)
        split_dialogues.body(work, Dialogues(folder / "rows"), part=part, **settings)  # type: ignore[arg-type]
        parts[part] = list(read_conversations(work.out))
    return parts


def test_both_parts_are_all_and_no_prompt_is_in_both(tmp_path: Path) -> None:
    rows = [asked(f"What is {n % 40}?", f"Answer {n}.", system="x" * (n % 3)) for n in range(120)]
    parts = parts_of(tmp_path, rows, held_out_share=0.25)
    assert len(parts["train"]) + len(parts["held_out"]) == 120
    prompts = {part: set(map(prompt_text, rows)) for part, rows in parts.items()}
    assert not prompts["train"] & prompts["held_out"]
    assert 3 <= len(prompts["held_out"]) <= 17
    assert {row.messages[-1].content for rows in parts.values() for row in rows} == {f"Answer {n}." for n in range(120)}


@given(st.sets(st.text(min_size=1), min_size=1, max_size=40), st.floats(0, 1), st.integers(1, 10))
def test_a_prompt_is_held_out_by_its_own_hash_and_more_only_where_too_few_are(
    prompts: set[str], share: float, at_least: int
) -> None:
    ordered = sorted(prompts)
    below = {prompt for prompt in ordered if fraction(0, "held_out", prompt) < share}
    chosen, least = choose_held_out(ordered, share, at_least), min(at_least, len(ordered) // 2) if share else 0
    assert chosen >= below
    assert len(chosen) == max(len(below), least)


def test_a_small_set_has_some_held_out_and_never_more_than_half(tmp_path: Path) -> None:
    rows = [asked(f"What is {n}?", "It.") for n in range(6)]
    assert len(parts_of(tmp_path / "a", rows, held_out_share=0.001, at_least=2)["held_out"]) == 2
    assert len(parts_of(tmp_path / "b", rows, held_out_share=0.001, at_least=20)["held_out"]) == 3


def test_a_file_of_its_own_is_held_out_and_its_prompts_are_not_learnt(tmp_path: Path) -> None:
    for name in ("rows", "apart"):
        (tmp_path / name).mkdir()
    write_conversations(tmp_path / "rows", [asked(f"What  is {n}?", "It.") for n in range(6)])
    write_conversations(tmp_path / "apart", [asked("What is 3?", "Another."), asked("Who?", "You.")])
    work = work_in(tmp_path / "train")
    split_dialogues.body(work, Dialogues(tmp_path / "rows"), Dialogues(tmp_path / "apart"), part="train")
    assert [prompt_text(row) for row in read_conversations(work.out)] == [f"What is {n}?" for n in (0, 1, 2, 4, 5)]
    assert work.results[HeldOutSplit] == HeldOutSplit(5, 1, 2, 0)


def test_rows_that_come_near_a_held_out_prompt_are_counted(tmp_path: Path) -> None:
    long = "one two three four five six seven eight nine ten eleven twelve"
    for name in ("rows", "apart"):
        (tmp_path / name).mkdir()
    write_conversations(tmp_path / "rows", [asked(f"{long} more", "It."), asked("Something else", "It.")])
    write_conversations(tmp_path / "apart", [asked(long, "That.")])
    work = work_in(tmp_path / "train")
    split_dialogues.body(work, Dialogues(tmp_path / "rows"), Dialogues(tmp_path / "apart"), part="train")
    assert work.results[HeldOutSplit].near_duplicates == 1
    assert "1 of these hold half of a held-out prompt's 8-grams" in work.headline


def test_a_form_that_all_prompts_have_makes_none_of_them_near_another(tmp_path: Path) -> None:
    form = "Below is an instruction. Write a response that answers the request of the user.\n\nWhat is {}?"
    parts_of(tmp_path, [asked(form.format(word), "It.") for word in map(str, range(60))], held_out_share=0.1)
    work = work_in(tmp_path / "again")
    split_dialogues.body(work, Dialogues(tmp_path / "rows"), part="train", held_out_share=0.1)
    assert work.results[HeldOutSplit].near_duplicates == 0


def test_preferences_are_split_by_what_is_said_before_the_first_answer(tmp_path: Path) -> None:
    """Pairs that go on one conversation stay together, however far each goes."""
    (tmp_path / "rows").mkdir()
    rows = []
    for n in range(40):
        prompt = (*asked(f"Question {n // 2}?", "Well.").messages, Message("user", f"And {n}?"))
        start = prompt if n % 2 else prompt[:1]
        answers = ((Message("assistant", "Good."),), (Message("assistant", "Bad."),))
        rows.append(Preference(prompt=Conversation(start), chosen=answers[0], rejected=answers[1], strength="better"))
    write_preferences(tmp_path / "rows", rows)
    parts = {}
    for part in ("train", "held_out"):
        work = work_in(tmp_path / part)
        split_preferences.body(work, Preferences(tmp_path / "rows"), part=part, held_out_share=0.3)  # type: ignore[arg-type]
        parts[part] = [prompt_text(row.prompt) for row in read_preferences(work.out)]
    assert len(parts["train"]) + len(parts["held_out"]) == 40
    assert all(parts[part].count(prompt) == 2 for part in parts for prompt in parts[part])
    assert not set(parts["train"]) & set(parts["held_out"])


def test_nothing_left_to_learn_from_is_said(tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    write_conversations(tmp_path / "rows", [asked("What?", "It.")])
    with pytest.raises(DataError, match="none of 1 rows is left in the part train"):
        split_dialogues.body(work_in(tmp_path / "a"), Dialogues(tmp_path / "rows"), part="train", held_out_share=1.0)
    same = Dialogues(tmp_path / "rows")
    with pytest.raises(DataError, match="every prompt of 1 rows is also held out, so that none is left to learn from"):
        split_dialogues.body(work_in(tmp_path / "b"), same, same, part="train")


def test_a_single_row_to_learn_from_is_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [asked(f"What {n}?", "It.") for n in range(2)]
    parts = parts_of(tmp_path, rows, held_out_share=0.1, at_least=8)
    assert len(parts["train"]) == 1
    assert "a single row of 2 is left to learn from" in capsys.readouterr().out


def test_a_dialogue_that_begins_with_an_answer_is_told_by_all_of_it() -> None:
    assert prompt_text(Conversation((Message("assistant", "Hi  there."), Message("user", "Yo")))) == "Hi there.\nYo"


def stored(folder: Path, rows: list[Conversation]) -> Dialogues:
    folder.mkdir(parents=True)
    write_conversations(folder, rows)
    return Dialogues(folder)


def ranked(folder: Path, questions: list[str]) -> Preferences:
    folder.mkdir(parents=True)
    good, bad = ((Message("assistant", text),) for text in ("Good.", "Bad."))
    write_preferences(
        folder,
        [Preference(prompt=Conversation((Message("user", text),)), chosen=good, rejected=bad, strength="better")
         for text in questions],
    )  # fmt: skip
    return Preferences(folder)


@given(
    st.lists(st.sets(st.integers(0, 30), min_size=2, max_size=12), min_size=4, max_size=4),
    st.floats(0.01, 0.4),
)
@settings(max_examples=25, deadline=None)
def test_no_round_measures_what_any_round_has_learnt(numbers: list[set[int]], share: float) -> None:
    """Two rounds of dialogues and of preferences, drawn from the same prompts."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        texts = [[f"What is {n}?" for n in sorted(drawn)] for drawn in numbers]
        people = [stored(folder / f"d{n}", [asked(text, "It.") for text in texts[n]]) for n in (0, 1)]
        pairs = [ranked(folder / f"p{n}", texts[n + 2]) for n in (0, 1)]
        first = work_in(folder / "first")
        hold_out_prompts.body(first, (people[0],), (pairs[0],), held_out_share=share)
        before = Dialogues(first.out)
        second = work_in(folder / "second")
        hold_out_prompts.body(
            second, (people[1],), (pairs[1],), (people[0],), (pairs[0],), before, held_out_share=share
        )
        apart = [{prompt_text(row) for row in read_conversations(one.out)} for one in (first, second)]
        assert apart[0] <= apart[1]
        assert apart[0] & set(texts[0])
        assert apart[0] & set(texts[2])
        assert not (apart[1] - apart[0]) & {*texts[0], *texts[2]}


def test_prompts_that_were_asked_with_a_suffix_count_as_learnt(tmp_path: Path) -> None:
    suffix = "\n\nSay a  number."
    asked_before = stored(tmp_path / "asked", [asked(f"What is {n}?{suffix}", "It.") for n in range(4)])
    people = stored(tmp_path / "people", [asked(f"What is {n}?", "It.") for n in range(6)])
    done = work_in(tmp_path / "prompts")
    hold_out_prompts.body(done, (people,), (), (asked_before,), held_out_share=0.5, prompt_suffix=suffix)
    held_out = {prompt_text(row) for row in read_conversations(done.out)}
    assert held_out
    assert held_out <= {"What is 4?", "What is 5?"}
    assert done.headline == f"{len(held_out)} of 2 new prompts held out"
    train = work_in(tmp_path / "train")
    again = stored(tmp_path / "again", [asked(f"What is {n}?{suffix}", "It.") for n in range(6)])
    split_dialogues.body(train, again, Dialogues(done.out), part="train", prompt_suffix=suffix)
    assert len(list(read_conversations(train.out))) == 6 - len(held_out)


def test_rows_are_gathered_of_all_sources(tmp_path: Path) -> None:
    held_out = stored(tmp_path / "prompts", [asked("A?", "-"), asked("B?", "-")])
    people = stored(tmp_path / "people", [asked("A?", "1"), asked("C?", "2")])
    code = stored(tmp_path / "code", [asked("B?", "3"), asked("A?", "4")])
    done, pairs = work_in(tmp_path / "done"), work_in(tmp_path / "pairs")
    gather_held_out.body(done, (people, code), held_out)
    assert [row.messages[-1].content for row in read_conversations(done.out)] == ["1", "3", "4"]
    gather_held_out_preferences.body(pairs, (ranked(tmp_path / "r", ["C?", "B?"]),), held_out)
    assert [prompt_text(row.prompt) for row in read_preferences(pairs.out)] == ["B?"]
    train = work_in(tmp_path / "train")
    split_preferences.body(train, Preferences(tmp_path / "r"), None, held_out, part="train")
    assert [prompt_text(row.prompt) for row in read_preferences(train.out)] == ["C?"]
    with pytest.raises(DataError, match="none of the prompts of 1 rows is held out"):
        gather_held_out.body(work_in(tmp_path / "no"), (stored(tmp_path / "d", [asked("D?", "-")]),), held_out)
