"""The end that has the program; what it does for tests is in test_proxies."""

from __future__ import annotations

import os
import sys
import threading

import pytest

from herd.sandbox import candidate
from herd.sandbox.candidate import serve_candidate
from herd.sandbox.wire import Connection


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(candidate.sys, "stdout", sys.stdout)
    asked, asking = os.pipe()
    hearing, telling = os.pipe()
    before = set(threading.enumerate())
    yield Connection(hearing, asking), Connection(asked, telling)
    os.close(asking)
    for thread in set(threading.enumerate()) - before:
        thread.join()
    for end in (asked, hearing, telling):
        os.close(end)


def test_it_answers_every_question_and_says_what_it_printed(ends) -> None:
    ours, theirs = ends
    code = "print('start')\nimport json\ndef f(x):\n    print('in f')\n    return x\nclass Own: pass\nown = Own()"
    threading.Thread(target=serve_candidate, args=(theirs, code, {}), daemon=True).start()
    ours.send({"ask": ["names"]})
    answer = ours.receive()
    names = dict(answer["v"])
    assert answer["p"] == "start\n"
    assert names["json"] == {"module": "json"}
    assert names["own"]["class"]["id"] == names["Own"]["k"]["id"]
    assert "__call__" in names["f"]["class"]["special"]
    ours.send({"ask": ["call", names["f"]["o"], "", [[1]], {}]})
    assert ours.receive() == {"v": [1], "m": [], "p": "in f\n"}
    ours.send({"ask": ["call", 99999, "", [], {}]})
    assert ours.receive()["e"]["class"] == {"n": "IndexError"}
    ours.send({"ask": ["nonsense", 0, "", [], {}]})
    assert ours.receive()["e"]["class"] == {"n": "AssertionError"}


def test_too_much_printing_is_dropped(ends) -> None:
    ours, theirs = ends
    code = "for _ in range(1000): print('x' * 1000)"
    threading.Thread(target=serve_candidate, args=(theirs, code, {}), daemon=True).start()
    ours.send({"ask": ["names"]})
    assert len(ours.receive()["p"]) == 1 << 16
