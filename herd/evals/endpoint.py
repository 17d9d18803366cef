"""Tasks put to a server that speaks OpenAI's protocol: vLLM, llama.cpp, a service, or ours."""

from __future__ import annotations

import json
import os
import random
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from http.client import HTTPException, HTTPMessage
from typing import IO, Any
from urllib.parse import urlsplit

from herd.core.errors import DataError, HerdError, SettingsError
from herd.core.records import Conversation, Message

_WORTH_A_RETRY = (408, 409, 425, 429, 500, 502, 503, 504, 529)
_LONGEST_WAIT_SECONDS = 60.0
_MAX_REPLY_BYTES = 256 << 20


class ServerAwayError(HerdError):
    """A request that failed though it may not fail another time: the answer is void, and not wrong."""


@dataclass(frozen=True)
class Reply:
    """What a server wrote. finish_reason: `stop` or `length`. tokens: as it counts them, 0 where it does not."""

    message: Message
    finish_reason: str
    tokens: int = 0


@dataclass(frozen=True)
class ScoredText:
    """The tokens of a text with their log-probabilities in nats, of the first None. starts: the characters at which
    they begin, and where the text ends. greedy: whether each is the likeliest in its place."""

    log_probs: tuple[float | None, ...]
    starts: tuple[int, ...]
    greedy: tuple[bool, ...]

    def after(self, boundary: int) -> tuple[float, bool, int]:
        """The log-probability of what stands from a character on, whether it is what the model would write, and its
        number of tokens. A token across the boundary belongs to what follows. Raises DataError where the first token is
        among them, which has no probability."""
        own = [place for place in range(len(self.log_probs)) if self.starts[place + 1] > boundary]
        values = [self.log_probs[place] for place in own]
        if not own or any(value is None for value in values):
            raise DataError("what is to be scored begins the text; put something before it")
        return sum(value for value in values if value is not None), all(self.greedy[n] for n in own), len(own)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would take the access key to another place."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        return None


@dataclass(frozen=True)
class Endpoint:
    """A server with OpenAI's routes.

    url: up to `/v1`. model: as the server calls it. api_key_env: name of the environment variable that holds the access
    key; nothing is sent where it is empty or not set. max_concurrency: requests under way side by side. wait: sleeps.
    Raises SettingsError for what is no address.
    """

    url: str
    model: str
    api_key_env: str = "OPENAI_API_KEY"
    timeout_seconds: float = 300.0
    max_attempts: int = 6
    max_concurrency: int = 8
    wait: Callable[[float], None] = field(default=time.sleep, compare=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SettingsError(f"{self.url!r} is no address; give one such as http://127.0.0.1:8000/v1")
        if parts.username or parts.password:
            raise SettingsError("an access key in an address ends up in logs; put it into OPENAI_API_KEY")

    def identity(self) -> dict[str, str]:
        """What tells the model from others."""
        return {"name": self.model, "address": self.url.rstrip("/")}

    def chat(self, conversation: Conversation, prefix: str = "", **sampling: Any) -> Reply:
        """The model's next message. prefix: what it begins with, for servers that go on with a last message of the
        assistant's (vLLM's `continue_final_message`). Raises ServerAwayError, or HerdError when it refuses."""
        body: dict[str, Any] = {"messages": [_message_row(message) for message in conversation.messages], **sampling}
        if prefix:
            body["messages"].append({"role": "assistant", "content": prefix})
            body |= {"continue_final_message": True, "add_generation_prompt": False}
        if conversation.definitions:
            body["tools"] = list(conversation.definitions)
        reply = self._post("/chat/completions", body)
        choice = _first_choice(reply)
        message = choice.get("message")
        if not isinstance(message, Mapping):
            raise ServerAwayError(f"{self.url} gave a reply without a message")
        row = {"role": "assistant", **{name: message[name] for name in _MESSAGE_FIELDS if message.get(name)}}
        return Reply(Message.from_row(row), _finish_reason(choice), _tokens_of(reply))

    def complete(self, prompt: str, **sampling: Any) -> Reply:
        """The text that goes on from a prompt."""
        reply = self._post("/completions", {"prompt": prompt, **sampling})
        choice = _first_choice(reply)
        message = Message("assistant", str(choice.get("text") or ""))
        return Reply(message, _finish_reason(choice), _tokens_of(reply))

    def score(self, text: str) -> ScoredText:
        """How likely every token of a text is. Raises HerdError for a server that does not tell: it would make every
        likelihood a chance."""
        body = {"prompt": text, "max_tokens": 1, "echo": True, "logprobs": 1, "temperature": 0}
        choice = _first_choice(self._post("/completions", body))
        row = choice.get("logprobs") or {}
        tokens, log_probs = row.get("tokens"), row.get("token_logprobs")
        if not tokens or not log_probs or not str(choice.get("text", "")).startswith(text):
            raise HerdError(
                f"{self.url} does not give the log-probabilities of a prompt (`echo` with `logprobs` of /completions), "
                "which tasks of likelihoods need; take a server that does, such as vLLM, or tasks that generate"
            )
        starts = list(row.get("text_offset") or _offsets(tokens))
        starts = [start - starts[0] for start in starts]
        count = sum(start < len(text) for start in starts)
        if count == 0 or any(value is None for value in log_probs[1:count]):
            raise HerdError(f"{self.url} gives no log-probability for some tokens of a prompt; take another server")
        likeliest = row.get("top_logprobs") or [None] * count
        greedy = [
            bool(top) and value is not None and value >= max(top.values()) - 1e-9
            for value, top in zip(log_probs[:count], likeliest[:count], strict=True)
        ]
        return ScoredText(tuple(log_probs[:count]), (*starts[:count], len(text)), tuple(greedy))

    def _post(self, route: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(self.api_key_env, "") if self.api_key_env else "":
            headers["Authorization"] = f"Bearer {key}"
        content = json.dumps({"model": self.model, **body}).encode()
        request = urllib.request.Request(self.url.rstrip("/") + route, content, headers)  # noqa: S310 - the user's own
        opener = urllib.request.build_opener(_NoRedirects)
        problem = ""
        for attempt in range(self.max_attempts):
            if attempt:
                self.wait(min(_LONGEST_WAIT_SECONDS, 2.0 ** (attempt - 1)) * random.uniform(0.8, 1.2))
            try:
                with opener.open(request, timeout=self.timeout_seconds) as answer:
                    reply = json.loads(answer.read(_MAX_REPLY_BYTES))
                if isinstance(reply, dict):
                    return reply
                problem = "its reply is no object"
            except urllib.error.HTTPError as fault:
                problem = f"status {fault.code}"
                with fault:
                    details = _error_words(fault)
                if fault.code not in _WORTH_A_RETRY:
                    raise HerdError(
                        f"{self.url}{route} refuses a request with status {fault.code}{details}; check the address, "
                        "--model and the access key"
                    ) from None
                self._wait_as_asked(fault)
            except (OSError, ValueError, HTTPException) as fault:
                problem = str(fault) or type(fault).__name__
        raise ServerAwayError(f"{self.url} gave no answer in {self.max_attempts} tries ({problem})")

    def _wait_as_asked(self, fault: urllib.error.HTTPError) -> None:
        retry_after = fault.headers.get("Retry-After", "") if fault.headers else ""
        if retry_after.isdigit():
            self.wait(min(float(retry_after), _LONGEST_WAIT_SECONDS))


_MESSAGE_FIELDS = ("content", "tool_calls", "reasoning_content")


def _message_row(message: Message) -> dict[str, Any]:
    return replace(message, train=True).to_row()


def _first_choice(reply: Mapping[str, Any]) -> Mapping[str, Any]:
    choices = reply.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], Mapping):
        raise ServerAwayError("the server gave a reply without choices")
    return choices[0]


def _finish_reason(choice: Mapping[str, Any]) -> str:
    return "length" if choice.get("finish_reason") == "length" else "stop"


def _tokens_of(reply: Mapping[str, Any]) -> int:
    usage = reply.get("usage")
    tokens = usage.get("completion_tokens") if isinstance(usage, Mapping) else 0
    return tokens if isinstance(tokens, int) else 0


def _offsets(tokens: Sequence[str]) -> list[int]:
    starts, end = [], 0
    for token in tokens:
        starts.append(end)
        end += len(token)
    return starts


def _error_words(fault: urllib.error.HTTPError) -> str:
    """What a server says of a refusal, on one line."""
    try:
        row = json.loads(fault.read(10_000))
        error = row.get("error", row)
        words = error.get("message", "") if isinstance(error, Mapping) else error
    except (OSError, ValueError, AttributeError, HTTPException):
        return ""
    text = " ".join(str(words).split())
    return f" ({text[:200]})" if text else ""
