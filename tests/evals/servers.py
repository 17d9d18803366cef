"""A server with OpenAI's routes on the loopback address, which answers as a test says."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# From a route and a body to a status, headers and a reply.
Answer = Callable[[str, dict[str, Any]], tuple[int, dict[str, str], Any]]


class FakeServer:
    """address: up to /v1. asked: (route, body, headers) of every request."""

    def __init__(self, answer: Answer) -> None:
        self.asked: list[tuple[str, dict[str, Any], dict[str, str]]] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                route = self.path.removeprefix("/v1")
                owner.asked.append((route, body, dict(self.headers)))
                status, headers, reply = answer(route, body)
                content = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}/v1"

    @contextmanager
    def running(self) -> Iterator[FakeServer]:
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()


def chat_reply(text: str, finish_reason: str = "stop", **message: Any) -> dict[str, Any]:
    return {
        "choices": [{"message": {"role": "assistant", "content": text, **message}, "finish_reason": finish_reason}],
        "usage": {"completion_tokens": len(text.split())},
    }


def echo_reply(text: str, log_prob: Callable[[int, str], float], *, offsets: bool = True) -> dict[str, Any]:
    """The log-probabilities of a text whose characters are its tokens, and one token more."""
    tokens = [*text, "!"]
    values = [None, *(log_prob(place, token) for place, token in enumerate(tokens) if place)]
    top = [None, *({token: value, "~": -0.5} for token, value in zip(tokens[1:], values[1:], strict=True))]
    row = {"tokens": tokens, "token_logprobs": values, "top_logprobs": top}
    if offsets:
        row["text_offset"] = list(range(len(tokens)))
    return {"choices": [{"text": text + "!", "logprobs": row, "finish_reason": "length"}]}
