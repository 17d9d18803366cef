"""A server that answers as a function says, with OpenAI's endpoint for chats."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@contextmanager
def answering(answer: Callable[[dict[str, Any]], str | int]) -> Iterator[str]:
    """The server's address up to `/v1`. answer: a request's body to the text of the reply, or to a status."""

    class Handler(BaseHTTPRequestHandler):
        wbufsize = -1  # head and body in one packet: of two, the second waits until the client acknowledges the first

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            found = answer({**body, "path": self.path, "key": self.headers.get("Authorization", "")})
            self.send_response(found if isinstance(found, int) else 200)
            self.end_headers()
            if isinstance(found, str):
                row = {"choices": [{"message": {"role": "assistant", "content": found}}]}
                self.wfile.write(json.dumps(row).encode())

        def log_message(self, *words: Any) -> None:
            return

    class Server(ThreadingHTTPServer):
        request_queue_size = 128  # of five, the sixth that connects at once is sent away and tries again a second later

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
