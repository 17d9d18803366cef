"""Two models side by side in a browser: people talk to both, pick the better answer and may mend it (4.2.1)."""

from __future__ import annotations

import itertools
import json
import random
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from herd.core.errors import ArtifactError, DataError, HerdError
from herd.core.records import STRENGTHS, Conversation, Message, Preference
from herd.generate.engine import SamplingParams
from herd.generate.samplers import EngineSampler
from herd.train.checkpoint import kind_of

_MAX_REQUEST_BYTES = 1 << 20  # of a request
PAGE = Path(__file__).parent / "compare.html"


@dataclass(frozen=True)
class ComparisonTurn:
    """Two answers to one conversation, in the order shown. models: which model gave each."""

    prompt: Conversation
    answers: tuple[Message, ...]
    models: tuple[str, ...]


class Comparison:
    """Conversations with two models, whose names nobody sees before choosing.

    out: JSON lines of preferences in TRL's columns; what is there stays. Raises ArtifactError for a model that does not
    chat.
    """

    def __init__(self, folders: Sequence[Path], out: Path, sampling: SamplingParams, *, seed: int = 0) -> None:
        self.out, self.sampling = out, sampling
        for folder in folders:
            if kind_of(folder) != "chat":
                raise ArtifactError(f"{folder} continues text and does not chat; name a fine-tuned model")
        self._speakers = [(str(folder), EngineSampler(folder)) for folder in folders]
        self._rng = random.Random(seed)
        self._turn_numbers = itertools.count()
        self._row_numbers = itertools.count(len(out.read_text(encoding="utf-8").splitlines()) if out.exists() else 0)
        self._turns: dict[str, ComparisonTurn] = {}
        self._lock = threading.Lock()

    def ask(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Both models' answers to a conversation, in an order drawn anew. Raises DataError when it has no question."""
        prompt = Conversation(tuple(Message.from_row(row) for row in rows), source="people")
        if not prompt.messages or prompt.last.role != "user" or not prompt.last.content.strip():
            raise DataError("a conversation ends with a question of yours; write one")
        with self._lock:  # engines work on one request at a time
            answers, names = [], []
            for speaker, own in self._rng.sample(self._speakers, 2):
                sampling = replace(self.sampling, seed=self._rng.randrange(1 << 30))
                answers += [Message("assistant", text) for text in own.sample([prompt], sampling=sampling)]
                names.append(speaker)
            name = f"{next(self._turn_numbers)}"
            self._turns[name] = ComparisonTurn(prompt, tuple(answers), tuple(names))
        return {"turn": name, "answers": [answer.content for answer in answers]}

    def choose(self, turn: str, best: int, strength: str, edited: str = "") -> dict[str, Any]:
        """Keeps which answer was better and by how much, and what it was mended to; returns who wrote which.

        Raises DataError for a turn, side or strength that there is none of, and for answers that are alike.
        """
        with self._lock:
            if turn not in self._turns:
                raise DataError(f"turn {turn!r} was chosen already, or is none of this session's; ask again")
            if best not in (0, 1) or strength not in STRENGTHS:
                raise DataError(f"choose side 0 or 1 and one of: {', '.join(STRENGTHS)}")
            pair = self._turns[turn]
            chosen, rejected = pair.answers[best], pair.answers[1 - best]
            if chosen.content == rejected.content:
                raise DataError("both answers are the same; ask something else")
            mended = edited.strip() if edited.strip() != chosen.content.strip() else ""
            preference = Preference(
                prompt=replace(pair.prompt, id=f"compare-{next(self._row_numbers)}"),
                chosen=(chosen,),
                rejected=(rejected,),
                edited=(Message("assistant", mended),) if mended else (),
                strength=next(label for label in STRENGTHS if label == strength),
            )
            row = preference.to_row() | {"models": [pair.models[best], pair.models[1 - best]]}
            with self.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
            del self._turns[turn]
        return {"models": pair.models, "answer": mended or chosen.content}


def server(comparison: Comparison, port: int) -> ThreadingHTTPServer:
    """Serves the page on the loopback address; port 0 takes a free one."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path != "/":
                self.send_error(HTTPStatus.NOT_FOUND)
                return
            self._send(HTTPStatus.OK, "text/html; charset=utf-8", PAGE.read_bytes())

        def do_POST(self) -> None:
            try:
                response = self._respond(self._read())
            except (HerdError, KeyError, TypeError, ValueError) as fault:
                self._send_json(HTTPStatus.BAD_REQUEST, {"error": str(fault)})
            else:
                self._send_json(HTTPStatus.OK, response)

        def _respond(self, row: Mapping[str, Any]) -> dict[str, Any]:
            if self.path == "/ask":
                return comparison.ask(row["messages"])
            if self.path == "/choose":
                return comparison.choose(row["turn"], row["best"], row["strength"], row.get("edited", ""))
            raise DataError(f"{self.path} is nothing that can be asked for")

        def _read(self) -> Mapping[str, Any]:
            """Raises DataError for what another site's page sent, which a browser marks by its address."""
            host = self.headers.get("Host", "").rpartition(":")[0]
            origin = self.headers.get("Origin", f"http://{self.headers.get('Host', '')}")
            if host not in ("127.0.0.1", "localhost") or origin != f"http://{self.headers.get('Host', '')}":
                raise DataError("only the page itself may ask")
            size = int(self.headers.get("Content-Length", "0"))
            if size > _MAX_REQUEST_BYTES:
                raise DataError(f"a request of {size:,} bytes is too large")
            return json.loads(self.rfile.read(size))

        def _send_json(self, status: HTTPStatus, row: Mapping[str, Any]) -> None:
            self._send(status, "application/json", json.dumps(row).encode())

        def _send(self, status: HTTPStatus, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            """Says nothing: what is typed is nobody's business."""

    return ThreadingHTTPServer(("127.0.0.1", port), Handler)


def serve_comparison(folders: Sequence[Path], out: Path, *, port: int, temperature: float) -> None:
    """Serves the page until it is interrupted. Raises HerdError when the port is taken."""
    comparison = Comparison(folders, out, SamplingParams(temperature=temperature, max_tokens=256))
    try:
        serving = server(comparison, port)
    except OSError as fault:
        raise HerdError(f"port {port} cannot be taken ({fault}); name another with --port") from None
    print(
        f"http://127.0.0.1:{serving.server_port} compares {' and '.join(map(str, folders))}; Ctrl-C ends\nkept: {out}"
    )
    with serving:
        try:
            serving.serve_forever()
        except KeyboardInterrupt:
            return
