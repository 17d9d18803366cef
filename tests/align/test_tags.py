"""Tags brought to one form, and rows that cover them, as InsTag has it."""

from __future__ import annotations

import importlib.util
import random
from collections import Counter
from pathlib import Path

import pytest

from herd.align import curation
from herd.align.curation import CurationSettings, curate_dialogues
from herd.align.tags import TagSettings, diverse, normalise_tags
from herd.core.artifacts import Dialogues
from herd.core.errors import DataError
from herd.core.records import Conversation, Message
from herd.core.stage import Work
from herd.core.storage import read_conversations, write_conversations
from herd.generate.samplers import ScriptedSampler
from herd.run.executors import LocalExecutor

embeds = pytest.mark.skipif(importlib.util.find_spec("wordllama") is None, reason="needs the package wordllama")


@pytest.mark.row(44, "tags")
def test_tags_of_one_word_in_other_forms_are_one(figure) -> None:
    rows = [["Sorting Lists", "sort-list", "sorted list"], ["plan trips", "Planning a trip"], ["query", "queries", "?"]]
    found = normalise_tags(rows, TagSettings())
    figure(f"{sum(map(len, rows))} tags are {len(frozenset().union(*found))}")
    assert [len(row) for row in found] == [1, 2, 1]


def test_rare_tags_are_dropped_and_dialogues_stay() -> None:
    rows = [["sum"], ["sum"], ["sum", "odd thing"]]
    assert [len(row) for row in normalise_tags(rows, TagSettings(min_dialogues=2))] == [1, 1, 1]
    assert [len(row) for row in normalise_tags([["a thing"], ["b thing"]], TagSettings(min_dialogues=2))] == [0, 0]


def test_a_tag_that_always_comes_with_another_is_no_second_one() -> None:
    rows = [["arithmetic", "sum"]] * 40 + [["arithmetic"]] * 10 + [["poem", "sum"]]
    always = [["arithmetic", "sum"]] * 40 + [["arithmetic"]] * 10
    assert len(normalise_tags(always, TagSettings())[0]) == 1
    assert len(normalise_tags(always, TagSettings(support=41))[0]) == 2
    assert len(normalise_tags(rows, TagSettings())[0]) == 2  # 40 of 41 is less than 99 %
    assert len(normalise_tags(rows, TagSettings(confidence=0.9))[0]) == 1


@embeds
def test_tags_that_mean_the_same_are_one_where_that_is_asked_for() -> None:
    rows = [["find a doctor"], ["find a doctor"], ["find a physician"], ["bake bread"]]
    names = frozenset().union(*normalise_tags(rows, TagSettings(merge_similarity=0.5)))
    assert len(names) == 2
    assert len(frozenset().union(*normalise_tags(rows, TagSettings()))) == 3


def test_sweeps_cover_every_tag_before_any_is_had_twice() -> None:
    rows = [frozenset(row) for row in ("abc", "ab", "d", "de", "abc", "", "f")]
    assert diverse(rows, 3) == [0, 3, 6]
    assert diverse(rows, 6) == [0, 3, 6, 4, 2, 1]
    assert diverse(rows, 99) == [0, 3, 6, 4, 2, 1, 5]


def test_fewer_rows_cover_more_tags_than_drawn_ones() -> None:
    chance = random.Random(0)
    rows = [frozenset(chance.choices(range(300), [1 / (n + 1) for n in range(300)], k=3)) for _ in range(2000)]
    named = [frozenset(map(str, row)) for row in rows]
    taken = Counter(tag for row in diverse(named, 150) for tag in named[row])
    drawn = Counter(tag for row in chance.sample(range(2000), 150) for tag in named[row])
    assert len(taken) > 1.3 * len(drawn)
    covered = frozenset().union(*(named[row] for row in diverse(named, 400)))
    assert covered == frozenset().union(*named)


def test_of_the_most_those_are_kept_that_cover_intentions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {"a": "- sum\n- poem", "b": "- sum\n- poem", "c": "- code", "d": "- Sums"}
    (tmp_path / "given").mkdir()
    rows = [Conversation((Message("user", one), Message("assistant", "said")), id=one) for one in wanted]
    write_conversations(tmp_path / "given", rows)
    monkeypatch.setattr(curation, "EndpointSampler", lambda *_, **__: ScriptedSampler(lambda asked: wanted[asked.id]))
    for covering, kept in ((True, ["a", "c"]), (False, ["a", "b"])):
        work = Work(tmp_path / str(covering), tmp_path, LocalExecutor())
        work.out.mkdir()
        settings = CurationSettings(
            keep="all", difficulty="intentions", similarity=1.0, max_dialogues=2, cover_intentions=covering
        )
        curate_dialogues.body(work, (Dialogues(tmp_path / "given"),), settings=settings, url="planted")
        assert [one.id for one in read_conversations(work.out)] == kept
    with pytest.raises(DataError, match="cover_intentions needs intentions"):
        settings = CurationSettings(keep="all", cover_intentions=True)
        curate_dialogues.body(work, (Dialogues(tmp_path / "given"),), settings=settings, url="planted")
