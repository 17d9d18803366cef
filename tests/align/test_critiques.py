"""Critiques: what people write, what a critic learns of it, and what becomes of answers it cannot read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from herd.align.critiques import add_critiques, critic_dialogues, evaluate_critics, rank_own_answers
from herd.align.rejection_sampling import RejectionSamplingSettings, rejection_sample
from herd.align.results import CriticScores, PreferenceCount, RejectionSampling, SelfRanking
from herd.core.artifacts import Checkpoint, Dialogues, Preferences
from herd.core.records import Conversation, Message, Preference
from herd.core.stage import Work
from herd.core.storage import read_conversations, read_preferences, write_conversations, write_preferences
from herd.generate.engine import SamplingParams
from herd.judge.critic import ASK, Critic
from herd.judge.reward import RewardJudge
from herd.model.heads import RewardModel
from herd.run.executors import LocalExecutor
from herd.tokens.chat import Llama3ChatTemplate
from herd.train.checkpoint import write_checkpoint
from herd.world.annotators import criticize
from herd.world.questions import Questions, critique
from herd.world.truth import World
from tests.model.test_transformer import SMALL, model
from tests.tokens.test_chat import TOKENIZER

WORLD = World()
BOOK = Questions(WORLD)
SHAPE = replace(SMALL, vocab_size=TOKENIZER.vocab_size, max_seq_len=256)


def said(text: str) -> Message:
    return Message("assistant", text)


def work(folder: Path) -> Work:
    for name in ("out", "scratch"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    return Work(folder / "out", folder / "scratch", LocalExecutor())


def preferences(folder: Path, given: Sequence[Preference]) -> Preferences:
    folder.mkdir()
    write_preferences(folder, given)
    return Preferences(folder)


def ranked(number: int, *, edited: bool = False) -> Preference:
    question = BOOK.draw("sum", number)
    return Preference(
        prompt=question.prompt,
        edited=question.answers if edited else (),
        chosen=(said("1+1=2, so 3."),) if edited else question.answers,
        rejected=(said("no idea"),),
    )


@pytest.fixture
def critic(tmp_path: Path) -> Checkpoint:
    (tmp_path / "critic").mkdir()
    write_checkpoint(tmp_path / "critic", model(SHAPE), TOKENIZER, kind="chat")
    return Checkpoint(tmp_path / "critic")


@pytest.mark.parametrize("kind", ["sum", "known", "unknown", "talk"])
def test_people_who_know_say_what_is_right(kind: str) -> None:
    for number in range(20):
        question = BOOK.draw(kind, number)
        good, bad = critique(question, question.answers[0]), critique(question, said("Bananas."))
        assert good.endswith("It is right.")
        assert bad.endswith("It is wrong.")
        assert question.answers[0].content in good
        assert question.answers[0].content in bad


def test_results_of_sums_are_compared_digit_by_digit() -> None:
    question = BOOK.find("sum/49+34/0")
    assert critique(question, said("4 + 9 = 03.")) == (
        "The answer says 03. 49 + 34: 9+4=13, 4+3+1=8, so 83. 0 for 8 no, 3 for 3 yes. It is wrong."
    )
    assert "3 for 8 no, none for 3 no" in critique(question, said("so 3."))
    assert critique(question, said("so 83.")).endswith("8 for 8 yes, 3 for 3 yes. It is right.")


def test_of_critiques_a_critic_learns_nothing_else(tmp_path: Path) -> None:
    given = preferences(tmp_path / "given", [ranked(0), ranked(1, edited=True)])
    heard = criticize.body(work(tmp_path / "people"), (given,), world=WORLD)
    (two, three) = read_preferences(heard.path)
    assert [len(answer) for answer in two.ranked_answers] == [3, 3]
    assert len(three.ranked_answers) == 3
    made = critic_dialogues.body(work(tmp_path / "dialogues"), (heard,))
    rows = list(read_conversations(made.path))
    assert len(rows) == 5
    for row in rows:
        assert [message.train for message in row.messages if message.role == "assistant"] == [False, True]
        assert row.messages[-2].content == ASK.content
        encoded = Llama3ChatTemplate(TOKENIZER).encode(row)
        learnt = TOKENIZER.decode([one for one, learn in zip(encoded.ids, encoded.loss_mask, strict=True) if learn])
        assert row.last.content in learnt
        assert row.messages[1].content not in learnt.replace(row.last.content, "")


def test_answers_too_long_for_a_critic_are_counted(tmp_path: Path, critic: Checkpoint) -> None:
    long = replace(ranked(2), rejected=(said("and so on " * 200),))
    given = preferences(tmp_path / "given", [ranked(0), long, ranked(1, edited=True)])
    done = work(tmp_path / "added")
    found = list(read_preferences(add_critiques.body(done, critic, (given,), max_tokens=8).path))
    assert [one.prompt.id for one in found] == [ranked(0).prompt.id, ranked(1).prompt.id]
    assert done.results[PreferenceCount].left_out == {"too long": 1}
    assert all(answer[1] == ASK for one in found for answer in one.ranked_answers)
    # Each answer has its own critique, in the order in which they were written.
    read = Critic(critic, max_tokens=8).criticize(
        [one.prompt.with_messages(answer[0]) for one in found for answer in one.ranked_answers]
    )
    assert [answer[2].content for one in found for answer in one.ranked_answers] == read


def test_a_reward_model_reads_critiques_before_it_scores(tmp_path: Path, critic: Checkpoint, monkeypatch) -> None:
    judge = tmp_path / "judge"
    judge.mkdir()
    write_checkpoint(judge, RewardModel(SHAPE), TOKENIZER, kind="reward")
    (tmp_path / "prompts").mkdir()
    write_conversations(tmp_path / "prompts", [Conversation((Message("user", "hello"),), id="a")])
    scored: list[Conversation] = []

    def score(self: RewardJudge, conversations: Sequence[Conversation], **_: object) -> list[float]:
        scored.extend(conversations)
        return [float(len(one.messages)) for one in conversations]

    monkeypatch.setattr(RewardJudge, "score", score)
    monkeypatch.setattr(Critic, "criticize", lambda self, rows, **_: [None, *["fine"] * (len(rows) - 1)])
    done = work(tmp_path / "best")
    settings = RejectionSamplingSettings(sampling=SamplingParams(temperature=1.5, max_tokens=40), num_samples=60)
    rejection_sample.body(done, Checkpoint(judge), critic, Dialogues(tmp_path / "prompts"), critic, settings=settings)
    assert done.results[RejectionSampling].not_criticized == 1
    assert all(one.last.content == "fine" for one in scored)
    assert done.results[RejectionSampling].best_reward == 4.0  # user, answer, question and critique


def test_a_model_ranks_its_own_answers(tmp_path: Path, critic: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "prompts").mkdir()
    asked = [Conversation((Message("user", f"say {n}"),), id=f"{n}") for n in range(6)]
    write_conversations(tmp_path / "prompts", asked)
    heard: list[Conversation] = []

    def draw(self: Critic, rows: Sequence[Conversation], count: int, *_: object, **__: object) -> list[list[str]]:
        heard.extend(rows)
        # It likes nothing said to 0, all said to 1, and of the others every second answer, two of three times.
        verdicts = {"0": ["It is wrong."] * count, "1": ["It is right."] * count}
        mixed = [["so it is. It is right.", "It is right.", "It is wrong."], ["no", "It is right.", "no"]]
        return [verdicts.get(row.id, mixed[number % 2]) for number, row in enumerate(rows)]

    monkeypatch.setattr(Critic, "sample", draw)
    done = work(tmp_path / "ranked")
    sampling = SamplingParams(temperature=2.0, max_tokens=30)
    made = rank_own_answers.body(done, critic, Dialogues(tmp_path / "prompts"), sampling=sampling, num_samples=40)
    found = list(read_preferences(made.path))
    pairs = [one for one in found if one.prompt.last != ASK]
    answered = {one.id for one in heard}
    assert done.results[PreferenceCount].pairs == len(pairs)
    assert done.results[PreferenceCount].pairs + sum(done.results[PreferenceCount].left_out.values()) == 6
    assert done.results[PreferenceCount].left_out["it likes none of its answers"] >= 1
    said = [row.messages for row in heard]
    for one in pairs:
        assert one.prompt.id in answered - {"0", "1"}
        better, worse = (said.index((*one.prompt.messages, *answer)) for answer in one.ranked_answers)
        assert better % 2 == 0
        assert worse % 2 == 1
    judgements = [one for one in found if one.prompt.last == ASK]
    assert len(judgements) == done.results[SelfRanking].judgements == sum(row.id not in ("0", "1") for row in heard)
    for one in judgements:
        number = said.index(one.prompt.messages[:-1])
        words = [answer[0].content for answer in one.ranked_answers]
        assert words == (["no", "It is right."] if number % 2 else ["so it is. It is right.", "It is wrong."])


def test_critics_are_examined_by_pairs(tmp_path: Path, critic: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    given = preferences(tmp_path / "given", [ranked(0), ranked(1, edited=True), ranked(2), ranked(3)])
    words = iter(
        ["It is right.", "It is wrong.", "It is right.", "It is right.", None, "no", "It is wrong.", "It is right."]
    )
    monkeypatch.setattr(Critic, "criticize", lambda self, rows, **_: [next(words) for _ in rows])
    done = work(tmp_path / "examined")
    evaluate_critics.body(done, (critic,), (given,))
    assert done.results[CriticScores].critics[0].value == pytest.approx((1.0 + 0.5 + 0.5 + 0.0) / 4)
