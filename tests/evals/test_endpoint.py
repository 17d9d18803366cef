"""Requests to servers: what is sent, what is tried again, what is refused, and that keys stay where they belong."""

from __future__ import annotations

import socket

import pytest

from herd.core.errors import DataError, HerdError, SettingsError
from herd.core.records import Conversation, Message, ToolCall
from herd.evals.endpoint import Endpoint, ScoredText, ServerAwayError
from tests.evals.servers import FakeServer, chat_reply, echo_reply

ASKED = Conversation((Message("system", "Be brief."), Message("user", "2 + 2?")))


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def endpoint(server: FakeServer, waits: list[float] | None = None, **settings) -> Endpoint:
    waits = [] if waits is None else waits
    return Endpoint(server.address, "small", wait=waits.append, **settings)


def test_a_chat_is_asked_with_its_sampling_and_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "secret-1")
    with FakeServer(lambda route, body: (200, {}, chat_reply("It is 4.", "length"))).running() as server:
        reply = endpoint(server, api_key_env="SOME_KEY").chat(ASKED, max_tokens=5, stop=["\n"])
    assert (reply.message.content, reply.finish_reason, reply.tokens) == ("It is 4.", "length", 3)
    ((route, body, headers),) = server.asked
    assert route == "/chat/completions"
    assert body == {
        "model": "small", "max_tokens": 5, "stop": ["\n"],
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2 + 2?"}],
    }  # fmt: skip
    assert headers["Authorization"] == "Bearer secret-1"


def test_calls_of_tools_and_beginnings_of_answers() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    with FakeServer(lambda route, body: (200, {}, chat_reply("", tool_calls=[call]))).running() as server:
        tools = ({"type": "function", "function": {"name": "add"}},)
        reply = endpoint(server).chat(Conversation(ASKED.messages, definitions=tools), "The sum")
    assert [type(each) for each in reply.message.tool_calls] == [ToolCall]
    body = server.asked[0][1]
    assert body["tools"] == list(tools)
    assert body["messages"][-1] == {"role": "assistant", "content": "The sum"}
    assert (body["continue_final_message"], body["add_generation_prompt"]) == (True, False)
    assert "Authorization" not in server.asked[0][2]


def test_busy_and_broken_servers_are_tried_again() -> None:
    replies = iter([(429, {"Retry-After": "7"}, {}), (503, {}, b"busy"), (200, {}, b"{torn"), (200, {}, [1])])
    waits: list[float] = []
    with FakeServer(lambda route, body: next(replies, (200, {}, chat_reply("4")))).running() as server:
        assert endpoint(server, waits).chat(ASKED).message.content == "4"
    assert len(server.asked) == 5
    assert waits[0] == 7.0
    rest = waits[1:]
    assert len(rest) == 4
    assert all(0.8 * 2**n <= wait <= 1.2 * 2**n for n, wait in enumerate(rest))


def test_who_stays_away_is_told_so_and_who_refuses_at_once() -> None:
    with FakeServer(lambda route, body: (500, {}, {})).running() as server:
        with pytest.raises(ServerAwayError, match=r"no answer in 3 tries \(status 500\)"):
            endpoint(server, max_attempts=3).chat(ASKED)
        assert len(server.asked) == 3
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(ServerAwayError, match="no answer in 2 tries"):
        Endpoint(f"http://127.0.0.1:{port}/v1", "m", max_attempts=2, wait=lambda seconds: None).chat(ASKED)
    refusal = {"error": {"message": "no model\nsmall"}}
    with FakeServer(lambda route, body: (404, {}, refusal)).running() as server:
        with pytest.raises(HerdError, match=r"refuses a request with status 404 \(no model small\)") as refused:
            endpoint(server).chat(ASKED)
        assert not isinstance(refused.value, ServerAwayError)
        assert len(server.asked) == 1


def test_a_key_is_never_taken_elsewhere_nor_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret-2")
    with FakeServer(lambda route, body: (200, {}, chat_reply("stolen"))).running() as thief:
        elsewhere = {"Location": f"{thief.address}/chat/completions"}
        with (
            FakeServer(lambda route, body: (307, elsewhere, {})).running() as server,
            pytest.raises(HerdError, match="status 307") as refused,
        ):
            endpoint(server).chat(ASKED)
        assert thief.asked == []
    assert "secret-2" not in str(refused.value)
    assert "secret-2" not in repr(endpoint(server))
    with pytest.raises(SettingsError, match="ends up in logs"):
        Endpoint("http://user:secret@host/v1", "m")
    for wrong in ("host/v1", "ftp://host", "http://"):
        with pytest.raises(SettingsError, match="is no address"):
            Endpoint(wrong, "m")


@pytest.mark.parametrize("offsets", [True, False])
def test_the_tokens_of_a_text_are_scored(offsets: bool) -> None:
    def answer(route: str, body: dict):
        assert (route, body["echo"], body["logprobs"], body["max_tokens"]) == ("/completions", True, 1, 1)
        return (
            200,
            {},
            echo_reply(body["prompt"], lambda place, token: -0.25 if token == "c" else -1.0, offsets=offsets),
        )

    with FakeServer(answer).running() as server:
        found = endpoint(server).score("abcc")
    assert found.log_probs == (None, -1.0, -0.25, -0.25)
    assert found.after(2) == (-0.5, True, 2)
    assert found.after(1) == (-1.5, False, 3)
    with pytest.raises(DataError, match="begins the text"):
        found.after(0)


def test_a_token_across_the_boundary_belongs_to_what_follows() -> None:
    found = ScoredText((None, -1.0, -2.0), (0, 2, 5, 6), (False, True, True))
    assert found.after(3) == (-3.0, True, 2)
    assert found.after(5) == (-2.0, True, 1)


@pytest.mark.parametrize(
    "change",
    [
        lambda choice: choice.update(logprobs=None),
        lambda choice: choice.update(text="!"),  # does not echo
        lambda choice: choice["logprobs"].update(token_logprobs=[None] * 5),
        lambda choice: choice["logprobs"].update(tokens=[]),
    ],
)
def test_a_server_that_does_not_score_prompts_is_refused(change) -> None:
    def answer(route: str, body: dict):
        reply = echo_reply(body["prompt"], lambda place, token: -1.0)
        change(reply["choices"][0])
        return 200, {}, reply

    with FakeServer(answer).running() as server, pytest.raises(HerdError, match="log-probabilit"):
        endpoint(server).score("abcd")


@pytest.mark.parametrize(
    ("message", "content"),
    [
        ({"content": [{"type": "text", "text": "It is "}, {"type": "text", "text": "4"}]}, "It is 4"),
        ({"content": "4", "tool_calls": [{"function": {"name": "add", "arguments": "{torn"}}]}, "4\n"),
        ({"content": "", "tool_calls": "add(2, 2)"}, '"add(2, 2)"'),
        ({"content": None}, ""),
    ],
)
def test_an_answer_in_any_form_is_an_answer(message: dict, content: str) -> None:
    reply = {"choices": [{"message": message, "finish_reason": "stop"}]}
    with FakeServer(lambda route, body: (200, {}, reply)).running() as server:
        answer = endpoint(server).chat(ASKED).message
    assert answer.content.startswith(content)
    assert not answer.tool_calls


@pytest.mark.parametrize(
    "reply",
    [
        b"[" * 100_000,
        b"",
        {"error": {"message": "overloaded"}},
        {"choices": {}},
        {"choices": [{"message": "4"}]},
        {"choices": [{"message": {"content": 4}}]},
        {"choices": [{"message": {"content": [3]}}]},
    ],
)
def test_garbage_is_no_answer_and_no_crash(reply: object) -> None:
    with FakeServer(lambda route, body: (200, {}, reply)).running() as server, pytest.raises(ServerAwayError):
        endpoint(server).chat(ASKED)


@pytest.mark.parametrize(
    "change",
    [
        {"token_logprobs": [None, -1.0]},
        {"token_logprobs": [None, *["x"] * 10]},
        {"token_logprobs": [None, *[float("nan")] * 10]},
        {"token_logprobs": [None, *[5.0] * 10]},
        {"text_offset": [0, 1]},
        {"text_offset": "abc"},
        {"text_offset": [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0]},
        {"top_logprobs": "abc"},
        {"top_logprobs": [None]},
        {"tokens": 5},
    ],
)
def test_numbers_that_cannot_be_right_are_refused(change: dict) -> None:
    def answer(route: str, body: dict) -> tuple[int, dict, dict]:
        reply = echo_reply(body["prompt"], lambda place, token: -1.0)
        reply["choices"][0]["logprobs"].update(change)
        return 200, {}, reply

    with FakeServer(answer).running() as server, pytest.raises(HerdError, match="log-probabilit"):
        endpoint(server).score("ten letter")
