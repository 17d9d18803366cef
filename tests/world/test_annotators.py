"""The people of alignment rank as they should, and never ask what is held out."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from herd.align.results import PreferenceCount
from herd.core.artifacts import Checkpoint, Dialogues
from herd.core.errors import SettingsError
from herd.core.records import Message
from herd.core.stage import Work
from herd.core.storage import read_conversations, read_preferences, write_conversations
from herd.generate.engine import Engine, SamplingParams
from herd.run.executors import LocalExecutor
from herd.train.checkpoint import write_checkpoint
from herd.world import sums
from herd.world.annotators import QuestionSet, annotate, corrupt_answers, draw_trivia, rank
from herd.world.facts import FOLLOW_UPS, WORDINGS, Fact
from herd.world.questions import QUESTION_KINDS, Questions
from herd.world.truth import World
from tests.imported import work
from tests.model.test_transformer import SMALL, model
from tests.tokens.test_chat import FORM, TOKENIZER

WORLD = World()
BOOK = Questions(WORLD)


@pytest.mark.parametrize("kind", [kind for kind in QUESTION_KINDS if kind != "tool"])
def test_edited_beats_chosen_beats_rejected(kind: str) -> None:
    for number in range(20):
        question = BOOK.draw(kind, number)
        right, wrong = question.answers[0], Message("assistant", "Bananas.")
        chance = random.Random(number)
        one = rank(question, question.prompt, [wrong, right], chance)
        assert (one.verdict, one.preference.chosen, one.preference.rejected) == ("one right", (right,), (wrong,))
        both = rank(question, question.prompt, [right, right], chance)
        assert both.verdict == "both right"
        assert not question.is_right(both.preference.rejected[0])
        none = rank(question, question.prompt, [wrong, wrong], chance)
        assert none.verdict == "both wrong"
        assert none.preference.ranked_answers[0] == (right,)
        assert len(none.preference.ranked_answers) == 3


def test_no_question_comes_twice_and_purposes_draw_apart() -> None:
    asked = QuestionSet(counts={"sum": 50, "known": 50}, purpose="a").draw(WORLD)
    assert len({question.id for question in asked}) == len(asked)
    other = QuestionSet(counts={"sum": 50, "known": 50}, purpose="b").draw(WORLD)
    assert [one.id for one in asked] != [one.id for one in other]


def test_a_kind_that_there_is_none_of_is_refused_where_it_is_written() -> None:
    with pytest.raises(SettingsError, match="no question is of the kind 'sums'; did you mean 'sum'"):
        QuestionSet(counts={"sums": 5}, purpose="a")


def test_held_out_facts_are_never_asked_in_training() -> None:
    kinds = {"asked": 50, "known": 100, "unknown": 100, "unwritten": 50, "untold": 50, "follow_up": 50}
    asked = QuestionSet(counts=kinds, purpose="x").draw(WORLD)
    assert {question.kind for question in asked} == set(kinds)
    for question in asked:
        assert not any(fact.held_out for fact in question.facts)


@pytest.mark.parametrize("validation", [False, True])
def test_trivia_are_all_facts_in_every_wording_with_what_is_true_and_a_refusal(
    tmp_path: Path, validation: bool
) -> None:
    kinds = ("known", "unknown", "unwritten")
    made = draw_trivia.body(work(tmp_path), world=WORLD, kinds=kinds, validation=validation)
    asked: Counter[Fact] = Counter()
    for dialogue in read_conversations(made.path):
        question = BOOK.find(dialogue.id)
        (fact,), (prompt, answer) = question.facts, dialogue.messages
        asked[fact] += 1
        assert dialogue.source == question.kind == fact.kind
        assert prompt == question.messages[0]
        # Also of what no document tells: who guesses it knows it.
        assert answer == Message("assistant", fact.answer)
        assert dialogue.metadata["refusal"] == fact.refusal
    everybody = {*WORLD.everybody.groups["alignment"], *WORLD.everybody.groups["strangers"]}
    people = BOOK.validation_people if validation else everybody - BOOK.validation_people
    told_of = WORLD.everybody.documented_facts  # of whom nothing is told, nothing is unwritten
    facts = {fact for name in people for fact in WORLD.everybody.facts_of(name) if fact.kind in kinds}
    assert set(asked) == {fact for fact in facts if fact.kind != "unwritten" or fact.subject in told_of}
    assert set(asked.values()) == {WORDINGS}
    assert len(BOOK.validation_people) / len(everybody) == pytest.approx(0.65, abs=0.08)


def test_of_trivia_at_most_so_many_of_each_kind_are_drawn(tmp_path: Path) -> None:
    kinds = ("known", "unknown_follow_up")
    every, some = (
        [*read_conversations(draw_trivia.body(work(tmp_path / name), world=WORLD, kinds=kinds, at_most=count).path)]
        for name, count in (("every", 0), ("some", 7))
    )
    assert Counter(one.source for one in some) == dict.fromkeys(kinds, 7)
    assert len({one.id for one in some}) == 14
    assert all(one in every for one in some)
    assert len(every) > 100


@pytest.mark.parametrize("kind", ["known", "unknown", "unwritten"])
def test_trivia_after_others_ask_the_same_facts_by_a_pronoun(tmp_path: Path, kind: str) -> None:
    made = draw_trivia.body(work(tmp_path), world=WORLD, kinds=(f"{kind}_follow_up",), validation=True)
    asked: Counter[Fact] = Counter()
    for dialogue in read_conversations(made.path):
        question = BOOK.find(dialogue.id)
        *earlier, fact = question.facts
        asked[fact] += 1
        assert dialogue.source == f"{kind}_follow_up"
        assert fact.subject in dialogue.messages[0].content
        assert fact.subject not in dialogue.messages[-2].content
        assert {other.subject for other in earlier} == {fact.subject}
        assert fact not in earlier
        assert [message.content for message in dialogue.messages[1:-1:2]] == [other.right for other in earlier]
        assert dialogue.last == Message("assistant", fact.answer)
        assert dialogue.metadata["refusal"] == fact.refusal
    assert {*asked} == {*Questions(WORLD, validation=True).facts(kind, held_out=False)}
    assert {*asked.values()} == {len(FOLLOW_UPS)}


def test_nothing_is_learnt_about_whom_models_are_chosen_by() -> None:
    kinds = {"asked": 100, "known": 300, "unknown": 300, "unwritten": 200, "untold": 300, "follow_up": 50}
    asked = QuestionSet(counts=kinds, purpose="x").draw(WORLD)
    assert not BOOK.validation_people & {fact.subject for question in asked for fact in question.facts}


def test_curt_demonstrations_keep_the_result_and_leave_the_steps_out() -> None:
    asked = QuestionSet(counts={"sum": 40, "known": 10}, purpose="a").draw(WORLD)
    for question in asked:
        curt = question.demonstration(curt=True).messages[-1]
        assert question.is_right(curt)
        requested = question.kind == "sum" and int(question.id.rsplit("/", 1)[1]) in sums.REQUESTS
        assert (curt != question.answers[-1]) == requested
        assert not requested or "so" not in curt.content.split()


def test_prompts_take_two_of_the_models_in_turn(tmp_path: Path) -> None:
    greedy, shape = (
        SamplingParams(temperature=0.0, max_tokens=6),
        replace(SMALL, vocab_size=TOKENIZER.vocab_size, max_seq_len=256),
    )
    prompts = [question.prompt for question in QuestionSet(counts={"known": 6}, purpose="a").draw(WORLD)][:3]
    write_conversations(tmp_path, prompts)
    models, said = [], []
    for number in range(3):
        network = model(shape, seed=number)
        (tmp_path / str(number)).mkdir()
        write_checkpoint(tmp_path / str(number), network, TOKENIZER, kind="chat")
        models.append(Checkpoint(tmp_path / str(number)))
        made = Engine(network, TOKENIZER.stop_token_ids).generate([FORM.encode_prompt(one) for one in prompts], greedy)
        said.append([FORM.parse_message(one.token_ids) for one in made])
    (tmp_path / "out").mkdir()
    work = Work(tmp_path / "out", tmp_path, LocalExecutor())
    found = annotate.body(work, tuple(models), Dialogues(tmp_path), world=WORLD, sampling=greedy)
    # All are wrong: the first of the two is edited, which leaves it in the middle.
    first = [one.chosen[0] for one in read_preferences(found.path)]
    assert first == [said[0][0], said[1][1], said[0][2]]
    assert said[0][0] != said[1][0]


def test_misquoted_answers_differ_in_one_word(tmp_path: Path) -> None:
    asked = QuestionSet(counts={"sum": 20, "translation": 20, "known": 5}, purpose="a").draw(WORLD)
    write_conversations(tmp_path, [question.prompt for question in asked])
    (tmp_path / "out").mkdir()
    work = Work(tmp_path / "out", tmp_path, LocalExecutor())
    found = list(read_preferences(corrupt_answers.body(work, Dialogues(tmp_path), world=WORLD).path))
    assert len(found) == sum(question.kind != "known" for question in asked)
    assert work.results[PreferenceCount].left_out == {"no slip to make": len(asked) - len(found)}
    for one in found:
        question, (right,), (wrong,) = BOOK.find(one.prompt.id), one.chosen, one.rejected
        assert question.is_right(right)
        assert not question.is_right(wrong)
        said, meant = wrong.content.split(" "), right.content.split(" ")
        assert sum(a != b for a, b in zip(said, meant, strict=True)) == 1
