"""Which dialogues are kept: good ones, hard ones, and of those alike one."""

from __future__ import annotations

import importlib.util
import random
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

from herd.align import curation
from herd.align.curation import (
    TOPICS,
    CurationSettings,
    DialogueScores,
    agreement,
    curate_dialogues,
    dialogue_topics,
    intentions,
    keep_distinct,
    sample_dialogues,
    score_dialogues,
)
from herd.align.results import DialogueCount, DialogueQuality
from herd.core.artifacts import Checkpoint, Dialogues
from herd.core.errors import DataError
from herd.core.records import Conversation, Message
from herd.core.stage import Work
from herd.core.storage import read_conversations, write_conversations
from herd.generate.samplers import ScriptedSampler
from herd.run.executors import LocalExecutor
from herd.tokens.topics import load_topics

embeds = pytest.mark.skipif(importlib.util.find_spec("wordllama") is None, reason="needs the package wordllama")
WORDS = (
    "tide engine violin harvest glacier ledger comet saddle orchard lantern turbine meadow anvil harbour vaccine "
    "senate goalkeeper marriage sculpture equation volcano penguin whisky telescope parliament bicycle sausage dentist "
    "wedding algebra desert keyboard mosque ballet surgeon tractor poem satellite cheese passport lightning monkey "
    "insurance chess pyramid hurricane piano lawyer cathedral mushroom submarine festival skeleton election battery "
    "novel dragon hospital museum"
).split()


def dialogue(number: int, asked: str, answered: str) -> Conversation:
    return Conversation((Message("user", asked), Message("assistant", answered)), id=str(number), source="talk")


def test_either_signal_finds_more_than_each_alone(figure) -> None:
    chance = np.random.default_rng(0)
    truth = chance.random(2000) < 0.3
    rewards = truth + chance.normal(0, 1.0, 2000)
    points = np.where(chance.random(2000) < 0.7, truth, chance.random(2000) < 0.3).astype(float)
    points[:50] = np.nan  # the judge said nothing of use
    scored = DialogueScores(rewards, points, np.ones(2000))
    signals = {"reward": scored.by_reward(0.25), "rubric": scored.by_points}
    signals["either"] = signals["reward"] | signals["rubric"]
    recall = {name: float(found[truth].mean()) for name, found in signals.items()}
    said = agreement(scored, 0.25)
    told = ", ".join(f"{name} {share:.0%}" for name, share in recall.items())
    figure(f"recall by {told}; kappa {said['kappa']:.2f}")
    assert recall["either"] > max(recall["reward"], recall["rubric"])
    assert 0 < said["kappa"] < 1
    assert said["both"] <= min(said["reward"], said["rubric"])


def test_intentions_rise_with_planted_difficulty(figure) -> None:
    chance = random.Random(0)
    planted = [chance.randint(1, 6) for _ in range(200)]
    asked = [
        dialogue(n, ", then ".join(f"find the {word}" for word in chance.sample(WORDS, count)), "Done.")
        for n, count in enumerate(planted)
    ]

    def lists(one: Conversation) -> str:
        """A model that names most of what is asked for, one of them twice."""
        found = re.findall(r"find the (\w+)", one.last.content)
        named = [word for word in found if random.Random(one.id + word).random() < 0.8] or found[:1]
        return "\n".join(f"- Find {word}" for word in [*named, named[0].upper()])

    found = intentions(asked, ScriptedSampler(lists))
    rank = rank_correlation(planted, [len(tags) for tags in found])
    by_words = score_dialogues(asked, None, None, CurationSettings(keep="all")).difficulty
    figure(f"rank correlation {rank:.2f} by intentions, {rank_correlation(planted, by_words):.2f} by words")
    assert rank >= 0.6
    assert all(len(tags) <= most for tags, most in zip(found, planted, strict=True))


def rank_correlation(a: Any, b: Any) -> float:
    found: Any = spearmanr(a, b)
    return float(found.statistic)


def planted_groups(groups: int = 24) -> tuple[list[Conversation], np.ndarray]:
    """Dialogues in groups of three that say nearly the same, and how good each is."""
    chance = random.Random(1)
    given_, worth = [], []
    for group in range(groups):
        one, other = WORDS[2 * group : 2 * group + 2]
        for copy in range(3):
            text = f"Tell me about the {one} and the {other}{'!' * copy}"
            answer = f"A {one} is no {other}. The {one} was there first{', they say' * copy}, and the {other} later."
            given_.append(dialogue(3 * group + copy, text, answer))
            worth.append(chance.random())
    return given_, np.array(worth)


@embeds
def test_the_best_of_every_planted_group_is_kept(figure) -> None:
    given_, worth = planted_groups()
    order = np.argsort(-worth)
    stays = keep_distinct([given_[n] for n in order], 0.9, 500, 0)
    kept = set(order[stays].tolist())
    best = {3 * group + int(np.argmax(worth[3 * group : 3 * group + 3])) for group in range(24)}
    figure(f"{len(best & kept)} of 24 best kept, {len(kept)} of 72 in all")
    assert best <= kept
    assert len(kept) == 24


@embeds
@pytest.mark.row(45, "kept")
def test_of_every_planted_group_the_one_of_most_quality_times_difficulty_is_kept(
    tmp_path: Path, figure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of each group one is best by quality alone, another by difficulty alone, and a third by both."""
    chance, (given_, _) = random.Random(3), planted_groups()
    roles = {str(3 * group + n): role for group in range(24) for n, role in enumerate(chance.sample("qbd", 3))}
    quality = {"q": (0.8, 1.0), "b": (0.6, 0.8), "d": (0.0, 0.2)}
    rewards = {name: chance.uniform(*quality[role]) for name, role in roles.items()}
    hard, good = {"q": 1, "b": 2, "d": 3}, {"q": 3, "b": 3, "d": 1}

    def points(asked: Conversation) -> str:
        scale = hard if "How hard" in asked.last.content else good
        return f"So it is. score: {scale[roles[asked.id]]}"

    class Judge:
        def fits(self, row: Conversation) -> bool:
            return True

        def score(self, rows: list[Conversation], **_: object) -> list[float]:
            return [rewards[row.id] for row in rows]

    monkeypatch.setattr(curation, "EndpointSampler", lambda *_, **__: ScriptedSampler(points))
    monkeypatch.setattr(curation.RewardJudge, "load", lambda judge, device, ranks: Judge())
    (tmp_path / "given").mkdir()
    write_conversations(tmp_path / "given", given_)
    work = Work(tmp_path / "made", tmp_path / "scratch", LocalExecutor())
    work.out.mkdir()
    settings = CurationSettings(cleaning=None, keep="all", difficulty="points", similarity=0.9)
    judge = Checkpoint(tmp_path / "judge")
    curate_dialogues.body(work, (Dialogues(tmp_path / "given"),), judge, settings=settings, url="planted")
    kept = [roles[one.id] for one in read_conversations(work.out)]
    figure(f"best by quality x difficulty kept of {kept.count('b')} of 24 groups; {len(kept)} of 72 kept in all")
    assert kept == ["b"] * 24


def test_dialogues_that_are_too_long_for_the_judge_have_no_reward_and_end_nothing() -> None:
    asked = [Conversation((Message("user", "?" * size), Message("assistant", "!"))) for size in (1, 50, 2)]

    class Judge:
        def fits(self, row: Conversation) -> bool:
            return len(row.messages[0].content) < 10

        def score(self, rows: list[Conversation], **_: object) -> list[float]:
            assert all(map(self.fits, rows))
            return [float(len(row.messages[0].content)) for row in rows]

    judge: Any = Judge()
    scored = score_dialogues(asked, judge, None, CurationSettings())
    assert scored.rewards.tolist() == pytest.approx([1.0, float("nan"), 2.0], nan_ok=True)
    assert scored.by_reward(0.5).tolist() == [False, False, True]
    none = score_dialogues(asked[1:2], judge, None, CurationSettings())
    assert not none.by_reward(0.5).any()


@embeds
def test_every_dialogue_is_kept_or_counted(tmp_path: Path) -> None:
    given_, _ = planted_groups(10)
    (tmp_path / "given").mkdir()
    write_conversations(tmp_path / "given", given_)
    for name, most in (("all", None), ("few", 4)):
        (tmp_path / name).mkdir()
        work = Work(tmp_path / name, tmp_path, LocalExecutor())
        settings = CurationSettings(keep="all", similarity=0.8, max_dialogues=most)
        curate_dialogues.body(work, (Dialogues(tmp_path / "given"),), settings=settings)
        kept = list(read_conversations(work.out))
        assert len(kept) + sum(work.results[DialogueCount].left_out.values()) == 30
        assert name == "all" or len(kept) == 4


def test_what_needs_a_judge_says_so(tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    write_conversations(tmp_path / "given", planted_groups(1)[0])
    given_, work = (Dialogues(tmp_path / "given"),), Work(tmp_path, tmp_path, LocalExecutor())
    with pytest.raises(DataError, match="nothing scores the dialogues"):
        curate_dialogues.body(work, given_, settings=CurationSettings())
    with pytest.raises(DataError, match="name its address"):
        curate_dialogues.body(work, given_, settings=replace(CurationSettings(keep="all"), difficulty="intentions"))


@embeds
def test_no_more_of_a_topic_stay_than_wanted_and_all_are_counted(tmp_path: Path) -> None:
    sums = [dialogue(n, f"What is {n + 11} + {n + 20}? Show the steps.", "said") for n in range(8)]
    code = [dialogue(20 + n, f"Fix the bug in my Python program: it crashes, see {n}.", "said") for n in range(3)]
    loud = dialogue(40, "Why is the sky blue?", "Because!!!! Of!!!! Light!!!!")
    write_conversations(tmp_path, [*sums, *code, loud])
    work = Work(tmp_path / "made", tmp_path / "scratch", LocalExecutor())
    work.out.mkdir()
    settings = CurationSettings(keep="all", similarity=1.0, per_topic=2)
    curate_dialogues.body(work, (Dialogues(tmp_path),), settings=settings)
    assert work.results[DialogueQuality].topics == {"mathematics, arithmetic": 8, "code, mending": 3}
    assert len(list(read_conversations(work.out))) == 4
    left_out = {"too many emojis or exclamation marks": 1, "one of its topic too many": 7}
    assert work.results[DialogueCount].left_out == left_out


@embeds
def test_every_packaged_topic_is_told_apart_from_the_others() -> None:
    told = load_topics(TOPICS)
    asked = [(name, text) for name, texts in told.items() for text in texts]
    said = dialogue_topics([dialogue(n, text, "") for n, (_, text) in enumerate(asked)], ())
    assert [name for name, _ in asked] == said


def test_as_many_as_wanted_are_drawn_and_no_more_than_there_are(tmp_path: Path) -> None:
    rows = [dialogue(number, f"asked {number}", "said") for number in range(20)]
    write_conversations(tmp_path, rows)
    given, work = Dialogues(tmp_path), Work(tmp_path / "made", tmp_path / "scratch", LocalExecutor())
    work.out.mkdir()
    sample_dialogues.body(work, given, count=5, seed=1)
    found = list(read_conversations(work.out))
    assert len(found) == 5
    assert [one.id for one in found] == [one.id for one in rows if one in found]
    with pytest.raises(DataError, match="21 of 20"):
        sample_dialogues.body(work, given, count=21, seed=1)
