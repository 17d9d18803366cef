"""Tasks put to a server that speaks OpenAI's protocol: vLLM, llama.cpp, a service, or ours."""

from __future__ import annotations

import json
import math
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
_ROUNDING = 1e-3  # above 0, that a log-probability may be by rounding


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
        choice, tokens = self._post("/chat/completions", body)
        message = choice.get("message")
        if not isinstance(message, Mapping):
            raise ServerAwayError(f"{self.url} gave a reply without a message")
        return Reply(_message_of(message), _finish_reason(choice), tokens)

    def complete(self, prompt: str, **sampling: Any) -> Reply:
        """The text that goes on from a prompt."""
        choice, tokens = self._post("/completions", {"prompt": prompt, **sampling})
        return Reply(Message("assistant", _text_of(choice.get("text"))), _finish_reason(choice), tokens)

    def score(self, text: str) -> ScoredText:
        """How likely every token of a text is. Raises HerdError for a server that does not tell: it would make every
        likelihood a chance."""
        body = {"prompt": text, "max_tokens": 1, "echo": True, "logprobs": 1, "temperature": 0}
        choice, _ = self._post("/completions", body)
        row = choice.get("logprobs")
        if not isinstance(row, Mapping) or not row.get("tokens") or not row.get("token_logprobs"):
            row = {}
        if not row or not str(choice.get("text", "")).startswith(text):
            raise HerdError(
                f"{self.url} does not give the log-probabilities of a prompt (`echo` with `logprobs` of /completions), "
                "which tasks of likelihoods need; take a server that does, such as vLLM, or tasks that generate"
            )
        try:
            return _scored_text(text, row)
        except (TypeError, ValueError, AttributeError, KeyError) as fault:
            raise HerdError(
                f"the log-probabilities that {self.url} gives of a prompt cannot be used ({str(fault)[:120]}); take "
                "another server, or tasks that generate"
            ) from None

    def _post(self, route: str, body: Mapping[str, Any]) -> tuple[Mapping[str, Any], int]:
        """The first choice of a reply, and its tokens."""
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
                if (choice := _first_choice(reply)) is not None:
                    return choice, _tokens_of(reply)
                problem = f"its reply has no choices{_words_of(reply)}"
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
            except (OSError, ValueError, RecursionError, HTTPException) as fault:
                problem = str(fault) or type(fault).__name__
        raise ServerAwayError(f"{self.url} gave no answer in {self.max_attempts} tries ({problem})")

    def _wait_as_asked(self, fault: urllib.error.HTTPError) -> None:
        retry_after = fault.headers.get("Retry-After", "") if fault.headers else ""
        if retry_after.isdigit():
            self.wait(min(float(retry_after), _LONGEST_WAIT_SECONDS))


_MESSAGE_FIELDS = ("content", "tool_calls", "reasoning_content")


def _message_row(message: Message) -> dict[str, Any]:
    return replace(message, train=True).to_row()


def _message_of(message: Mapping[str, Any]) -> Message:
    """What a model wrote. Calls that cannot be read are its text: they are an answer, and a wrong one."""
    row = {"role": "assistant", **{name: message[name] for name in _MESSAGE_FIELDS if message.get(name)}}
    row |= {name: _text_of(row[name]) for name in ("content", "reasoning_content") if name in row}
    try:
        return Message.from_row(row)
    except (HerdError, TypeError, AttributeError, KeyError, ValueError):
        calls = json.dumps(row.get("tool_calls"), ensure_ascii=False)
        return Message("assistant", "\n".join(filter(None, (str(row.get("content", "")), calls))))


def _text_of(content: Any) -> str:
    """A text, or the texts of a list of parts. Raises ServerAwayError for what is neither."""
    parts = content if isinstance(content, list) else [content or ""]
    texts = [part.get("text") if isinstance(part, Mapping) else part for part in parts]
    if not all(isinstance(text, str) for text in texts):
        raise ServerAwayError(f"the server gave a {type(content).__name__} that is no text as an answer")
    return "".join(map(str, texts))


def _scored_text(text: str, row: Mapping[str, Any]) -> ScoredText:
    """Raises ValueError, TypeError or AttributeError for what are no log-probabilities of this text's tokens."""
    tokens, log_probs = list(row["tokens"]), list(row["token_logprobs"])
    offsets = row.get("text_offset")
    starts = list(_offsets(tokens) if offsets is None else offsets)
    if not len(tokens) == len(log_probs) == len(starts):
        raise ValueError(f"{len(tokens)} tokens, {len(log_probs)} log-probabilities, {len(starts)} places")
    starts = [start - starts[0] for start in starts]
    if sorted(starts) != starts or starts[-1] > len(text):
        raise ValueError("tokens are out of order, or go on after the text")
    count = sum(start < len(text) for start in starts)
    values = [float(value) for value in log_probs[1:count]]
    if count == 0 or any(not -math.inf < value <= _ROUNDING for value in values):
        raise ValueError("some are no numbers below 0")
    likeliest = row.get("top_logprobs") or [None] * count
    greedy = [
        bool(top) and value is not None and value >= max(top.values()) - 1e-9
        for value, top in zip(log_probs[:count], likeliest[:count], strict=True)
    ]
    return ScoredText((log_probs[0], *values), (*starts[:count], len(text)), tuple(greedy))


def _first_choice(reply: Any) -> Mapping[str, Any] | None:
    choices = reply.get("choices") if isinstance(reply, Mapping) else None
    return choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], Mapping) else None


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
        return _words_of(json.loads(fault.read(10_000)))
    except (OSError, ValueError, RecursionError, HTTPException):
        return ""


def _words_of(row: Any) -> str:
    error = row.get("error", row) if isinstance(row, Mapping) else ""
    text = " ".join(str(error.get("message", "") if isinstance(error, Mapping) else error).split())
    return f" ({text[:200]})" if text else ""
