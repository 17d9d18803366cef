"""Whatever order requests come, go and end in: nobody gets another text for it, and no block is lost."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from herd.core.errors import ArtifactError
from herd.generate.engine import Engine, RequestOutput, SamplingParams
from tests.model.test_transformer import model

STOPS = frozenset(range(90, 97))
ALONE: dict[tuple[int, int], list[list[int]]] = {}
MODEL = model()


def asked(number: int, kind: int) -> tuple[list[int], SamplingParams]:
    """Prompts that begin alike in many ways, and parameters of four kinds."""
    start = [(5 * place) % 80 + 3 for place in range(number % 3 * 17)]
    prompt = [*start, *[(number + 7 * place) % 80 + 3 for place in range(1 + number % 5)]]
    return prompt, SamplingParams(
        n=1 + kind % 3, temperature=float(kind % 2), max_tokens=1 + 3 * number % 13, seed=kind,
        repetition_penalty=1.0 + 0.2 * (kind == 3),
    )  # fmt: skip


def alone(number: int, kind: int) -> list[list[int]]:
    if (number, kind) not in ALONE:
        prompt, params = asked(number, kind)
        found = Engine(MODEL, STOPS, max_num_seqs=1).generate([prompt], params)
        ALONE[number, kind] = [one.token_ids for one in found]
    return ALONE[number, kind]


@settings(max_examples=20, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.integers(0, 14), st.integers(0, 3)),
            st.tuples(st.just("cancel"), st.integers(0, 9), st.just(0)),
            st.tuples(st.just("step"), st.just(0), st.just(0)),
        ),
        max_size=40,
    ),
    st.integers(1, 5),
    st.sampled_from([64, 80, 4000]),
)
def test_requests_come_and_go_in_any_order(moves: list[tuple[str, int, int]], rows: int, tokens: int) -> None:
    engine = Engine(MODEL, STOPS, max_num_seqs=rows, cache_tokens=tokens)
    waiting: dict[str, tuple[int, int]] = {}
    ended: dict[str, RequestOutput] = {}
    asked_for: dict[str, tuple[int, int]] = {}

    def step() -> None:
        for output in engine.step():
            if output.finished:
                del waiting[output.request_id]
                ended[output.request_id] = output

    for move, number, kind in moves:
        if move == "add":
            request_id = engine.add_request(*asked(number, kind))
            waiting[request_id] = asked_for[request_id] = number, kind
        elif move == "cancel" and waiting:
            request_id = sorted(waiting)[number % len(waiting)]
            engine.cancel(request_id)
            del waiting[request_id]
        else:
            step()
    while engine.has_unfinished_requests():
        step()
    assert not waiting
    for request_id, output in ended.items():
        assert [one.token_ids for one in output.outputs] == alone(*asked_for[request_id])
    scheduler = engine._scheduler()
    pool = scheduler.cache.pool
    assert not scheduler.busy
    assert pool.free == len(pool) - 1  # all but the null block
    assert len(pool) - 1 <= -(-tokens // pool.block_size)
    assert not scheduler.cache.table_BN.any()


def test_who_waits_is_told_when_the_model_can_say_nothing() -> None:
    broken = model()
    broken.norm.weight.data.fill_(float("nan"))
    engine = Engine(broken, STOPS, max_num_seqs=2)
    for _ in range(3):
        with pytest.raises(ArtifactError, match="not finite"):
            list(engine.stream([5, 6], SamplingParams()))
    with pytest.raises(ArtifactError, match="not finite"):
        engine.generate([[5], [6], [7]], SamplingParams())
    scheduler = engine._scheduler()
    assert not scheduler.busy
    assert scheduler.cache.pool.free == len(scheduler.cache.pool) - 1


def test_an_answer_that_is_done_makes_room_for_the_next_at_once() -> None:
    engine = Engine(MODEL, frozenset(), max_num_seqs=2)
    for tokens in (2, 9, 2):
        engine.add_request([5, 6, tokens], SamplingParams(max_tokens=tokens))
    lengths = []
    while engine.has_unfinished_requests():
        engine.step()
        lengths.append(len(engine._scheduler().running))
    assert len(lengths) == 8  # those of the longest, which gets two at first
