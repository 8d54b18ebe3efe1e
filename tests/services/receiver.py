"""A receiver of webhooks: a real HTTP server that keeps what it gets and answers what it is told to."""

from __future__ import annotations

import json
import threading
from collections import deque
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

PAGE = Path(__file__).parent.parent.parent / "docs" / "users" / "webhooks.md"


@dataclass(frozen=True)
class Got:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def is_genuine(self, secret: str) -> bool:
        """Check the signature with the lines that the documents give."""
        sample = next(part for part in PAGE.read_text("utf-8").split("```") if "def is_genuine" in part)
        names: dict[str, Any] = {}
        exec(sample.removeprefix("python"), names)
        return bool(names["is_genuine"](secret, self.headers, self.body))


class Receiver:
    """A context manager. It answers 200 unless `answer` says otherwise, a status and perhaps headers each."""

    def __init__(self) -> None:
        self.got: list[Got] = []
        self._answers: deque[tuple[int, dict[str, str]]] = deque()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append(Got(self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                status, headers = receiver._answers.popleft() if receiver._answers else (200, {})
                self.send_response(status)
                for name, value in {"Content-Length": "0", **headers}.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *arguments: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = int(self._server.server_address[1])
        self.url = f"http://127.0.0.1:{self.port}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def answer(self, *statuses: int, **headers: str) -> None:
        """Answer the next requests with these statuses, one each, with the same headers."""
        self._answers.extend((status, {k.replace("_", "-"): v for k, v in headers.items()}) for status in statuses)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
