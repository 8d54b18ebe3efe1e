"""A stand-in for OpenAI's Batch API: a real HTTP server whose batches end when and how they are told to."""

from __future__ import annotations

import json
import re
import threading
import time
from collections import deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

Line = dict[str, Any]


def answered(line: Line) -> Line:
    """Return the result of a request that is answered with its own last message."""
    text = line["body"]["messages"][-1]["content"]
    return result(line, 200, completion(text, line["body"]["model"]))


def completion(text: str, model: str) -> Line:
    usage = {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500}
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return {"id": "chatcmpl-1", "object": "chat.completion", "model": model, "choices": [choice], "usage": usage}


def result(line: Line, status: int, body: Line) -> Line:
    response = {"status_code": status, "request_id": "req_1", "body": body}
    return {"id": "batch_req_1", "custom_id": line["custom_id"], "response": response, "error": None}


def failed(line: Line, code: str, message: str) -> Line:
    error = {"code": code, "message": message}
    return {"id": "batch_req_1", "custom_id": line["custom_id"], "response": None, "error": error}


class BatchStub:
    """A context manager.

    Attributes:
        calls: Method and path of each request.
        batches: What was made, oldest first, as the API describes it.
        inputs: The lines of each batch, by its id.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.batches: list[dict[str, Any]] = []
        self.inputs: dict[str, list[Line]] = {}
        self.files: dict[str, bytes] = {}
        self._faults: deque[tuple[str, str | int]] = deque()
        self._lock = threading.Lock()
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                stub._answer(self)

            def do_POST(self) -> None:
                stub._answer(self)

            def log_message(self, *arguments: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def fault(self, call: str, what: str | int) -> None:
        """Let the next call of this form ("POST /batches") be answered with a status, or do it and lose the answer."""
        self._faults.append((call, what))

    def begin(self) -> None:
        """Let all batches be worked on."""
        for batch in self.batches:
            if batch["status"] == "validating":
                batch["status"] = "in_progress"

    def end(self, status: str = "completed", answer: Callable[[Line], Line | None] = answered) -> None:
        """End all batches that go on; a request whose answer is None has no line."""
        for batch in self.batches:
            if batch["status"] in ("validating", "in_progress", "cancelling"):
                self._end(batch, status, answer)

    def refuse(self, message: str) -> None:
        """Fail all batches that go on, as a file that is not understood fails."""
        for batch in self.batches:
            if batch["status"] == "validating":
                now = int(time.time())
                errors = {"object": "list", "data": [{"code": "invalid_json_line", "message": message, "line": 1}]}
                batch.update(status="failed", failed_at=now, errors=errors)

    def _end(self, batch: dict[str, Any], status: str, answer: Callable[[Line], Line | None]) -> None:
        lines = [found for line in self.inputs[batch["id"]] if (found := answer(line)) is not None]
        fine = [line for line in lines if line["response"] and line["response"]["status_code"] == 200]
        bad = [line for line in lines if line not in fine]
        for name, found in (("output_file_id", fine), ("error_file_id", bad)):
            if found:
                # In another order than they were asked in.
                text = "\n".join(json.dumps(line) for line in reversed(found))
                batch[name] = self._keep(text.encode())
        batch.update(status=status, **{f"{status}_at": batch["created_at"] + 60})

    def _keep(self, content: bytes) -> str:
        name = f"file-{len(self.files) + 1}"
        self.files[name] = content
        return name

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        path, _, query = handler.path.removeprefix("/v1").partition("?")
        call = f"{handler.command} {path}"
        with self._lock:
            self.calls.append(call)
            fault = self._faults.popleft()[1] if self._faults and self._faults[0][0] == call else None
            if isinstance(fault, int):
                return self._send(handler, fault, {"error": {"message": "not now", "code": "stub"}})
            status, value = self._do(call, query, body)
            if fault is not None:
                handler.close_connection = True
                handler.connection.close()
                return None
            return self._send(handler, status, value)

    def _do(self, call: str, query: str, body: bytes) -> tuple[int, Any]:
        if call == "POST /files":
            assert b'name="purpose"\r\n\r\nbatch\r\n' in body
            content = body.partition(b"application/jsonl\r\n\r\n")[2].rpartition(b"\r\n--")[0]
            return 200, {"id": self._keep(content), "object": "file", "purpose": "batch"}
        if call == "POST /batches":
            return self._make(json.loads(body))
        if call == "GET /batches":
            return 200, self._page(query)
        if found := re.fullmatch(r"GET /files/([\w-]+)/content", call):
            return (200, self.files[found[1]]) if found[1] in self.files else (404, {"error": {"message": "no file"}})
        if call == "POST /chat/completions":
            asked = json.loads(body)
            return 200, completion("yes", asked["model"])
        batch_id = call.split("/")[2]
        batch = next((one for one in self.batches if one["id"] == batch_id), None)
        if batch is None:
            return 404, {"error": {"message": "no such batch"}}
        if call.endswith("/cancel"):
            batch["status"] = "cancelling"
        return 200, batch

    def _make(self, asked: dict[str, Any]) -> tuple[int, Any]:
        if asked["input_file_id"] not in self.files:
            return 400, {"error": {"message": "no such file"}}
        lines = [json.loads(line) for line in self.files[asked["input_file_id"]].splitlines()]
        assert len({line["body"]["model"] for line in lines}) == 1
        assert {(line["method"], line["url"]) for line in lines} == {("POST", "/v1/chat/completions")}
        batch = {
            "id": f"batch_{len(self.batches) + 1}",
            "object": "batch",
            "status": "validating",
            "created_at": int(time.time()),
            "output_file_id": None,
            "error_file_id": None,
            "errors": None,
            **asked,
        }
        self.batches.append(batch)
        self.inputs[batch["id"]] = lines
        return 200, batch

    def _page(self, query: str) -> dict[str, Any]:
        newest_first = self.batches[::-1]
        if after := re.search(r"after=(\w+)", query):
            ids = [one["id"] for one in newest_first]
            newest_first = newest_first[ids.index(after[1]) + 1 :]
        return {"object": "list", "data": newest_first[:2], "has_more": len(newest_first) > 2}

    def _send(self, handler: BaseHTTPRequestHandler, status: int, value: Any) -> None:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
