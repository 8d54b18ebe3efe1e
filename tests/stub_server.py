"""A model server of our own for tests: OpenAI's and Ollama's protocols over real sockets, and all that goes wrong.

    with Stub() as stub:
        stub.next(Behaviour(status=429, headers={"Retry-After": "1"}), Behaviour(text="hello"))
        ...
        assert len(stub.calls) == 2

It runs on a thread of its own and counts for itself: what a client says it did is not evidence.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


@dataclass(frozen=True)
class Behaviour:
    """How to treat one request.

    Attributes:
        text: What the model says.
        usage: Token counts as OpenAI writes them; None leaves them out.
        latency_s: Wait before the reply.
        status: Status of the reply; other than 200 it carries an error text.
        headers: Added to the reply; an empty one is left out.
        body: Sent instead of a well-formed reply.
        cut_at: Close the connection after so many bytes of the body.
        silent: Never answer.
        parts: Sent instead of the body, as a chunk each, with ``pause_s`` between them; no length is announced.
        pause_s: Wait between parts; with a part more than can be sent in time this is a trickle.
        http: Version of the protocol; a reply in ``1.0`` ends with the connection.
    """

    text: str = "Hello from the stub."
    usage: dict[str, Any] | None = field(default_factory=lambda: dict(USAGE))
    latency_s: float = 0.0
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    cut_at: int | None = None
    silent: bool = False
    parts: tuple[bytes, ...] = ()
    pause_s: float = 0.0
    http: str = "1.1"


def gzip_bomb(unpacked: int = 200_000_000) -> Behaviour:
    """Return a reply of some kilobytes that unpacks to ``unpacked`` bytes."""
    return Behaviour(body=gzip.compress(b'{"a":"' + b" " * unpacked, 6), headers={"Content-Encoding": "gzip"})


@dataclass(frozen=True)
class Call:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any
    at: float


class Stub:
    """The server; a context manager.

    Attributes:
        calls: Every request, in order of arrival; only ever grows.
        peak: Most requests that were in flight at once.
        aborted: Requests whose client closed the connection before the reply.
        rule: Chooses the behaviour of a request for which none was set by `next`.
    """

    def __init__(self, rule: Callable[[Call], Behaviour] = lambda _: Behaviour()) -> None:
        self.rule = rule
        self.calls: list[Call] = []
        self.peak = self.in_flight = self.aborted = self.connections = 0
        self._next: deque[Behaviour] = deque()
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def next(self, *behaviours: Behaviour) -> None:
        """Set the behaviour of the next requests, one each."""
        self._next.extend(behaviours)

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._connection, "127.0.0.1", 0, limit=2**24), self._loop
        ).result(10)
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _stop(self) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            while await self._request(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = head[0].split(" ")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        raw = await reader.readexactly(int(headers.get("content-length") or 0))
        call = Call(method, path, headers, json.loads(raw) if raw else None, time.monotonic())
        self.calls.append(call)
        behaviour = self._next.popleft() if self._next else self.rule(call)
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        try:
            if not await self._still_there(reader, behaviour):
                self.aborted += 1
                return False
        finally:
            self.in_flight -= 1
        return await self._answer(writer, call, behaviour)

    async def _still_there(self, reader: asyncio.StreamReader, behaviour: Behaviour) -> bool:
        if not behaviour.silent and not behaviour.latency_s:
            return True
        try:
            # A client that waits sends nothing: the end of the stream means that it went away.
            await asyncio.wait_for(reader.read(1), None if behaviour.silent else behaviour.latency_s)
        except TimeoutError:
            return True
        return False

    async def _answer(self, writer: asyncio.StreamWriter, call: Call, behaviour: Behaviour) -> bool:
        body, kind = _body(call, behaviour)
        length = {"Transfer-Encoding": "chunked"} if behaviour.parts else {"Content-Length": str(len(body))}
        if behaviour.http == "1.0":
            length = {}
        headers = {"Content-Type": kind} | length | behaviour.headers
        first = f"HTTP/{behaviour.http} {behaviour.status} Stub"
        lines = [first, *(f"{name}: {value}" for name, value in headers.items() if value)]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body[: behaviour.cut_at])
        if behaviour.parts:
            await self._trickle(writer, behaviour)
        await writer.drain()
        if behaviour.cut_at is not None or behaviour.http == "1.0":
            writer.close()
            return False
        return True

    async def _trickle(self, writer: asyncio.StreamWriter, behaviour: Behaviour) -> None:
        for part in filter(None, behaviour.parts):
            writer.write(b"%x\r\n%b\r\n" % (len(part), part))
            await writer.drain()
            await asyncio.sleep(behaviour.pause_s)
        writer.write(b"0\r\n\r\n")


def _body(call: Call, behaviour: Behaviour) -> tuple[bytes, str]:
    if behaviour.parts:
        return b"", "text/event-stream"
    if behaviour.body is not None:
        return behaviour.body, "application/json"
    if behaviour.status != 200:
        return json.dumps({"error": {"message": "the stub was told to"}}).encode(), "application/json"
    if call.path == "/v1/models":
        return json.dumps({"object": "list", "data": [_model("stub-b"), _model("stub-a")]}).encode(), "application/json"
    if call.path == "/api/tags":
        return json.dumps({"models": [{"model": "stub-b:1b"}, {"model": "stub-a:1b"}]}).encode(), "application/json"
    if call.path in ("/v1/embeddings", "/api/embed"):
        return embeddings(call.path, call.body["input"]), "application/json"
    if call.path == "/api/chat":
        return ollama_stream(behaviour) if call.body["stream"] else ollama(behaviour)
    return openai_stream(behaviour) if call.body.get("stream") else openai(behaviour)


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "stub"}


def vector_of(text: str) -> list[float]:
    """Return what the stub takes for the meaning of a text: its length, and that of its words."""
    return [float(len(text)), float(len(text.split())), 0.5]


def embeddings(path: str, texts: list[str]) -> bytes:
    """Return the vectors of texts; in OpenAI's protocol out of order, as it allows."""
    if path == "/api/embed":
        value: dict[str, Any] = {"embeddings": [vector_of(text) for text in texts], "prompt_eval_count": len(texts)}
    else:
        data = [{"object": "embedding", "index": i, "embedding": vector_of(text)} for i, text in enumerate(texts)]
        usage = {"prompt_tokens": len(texts), "total_tokens": len(texts)}
        value = {"object": "list", "data": data[::-1], "usage": usage}
    return json.dumps({"model": "stub-embedder"} | value).encode()


def openai(behaviour: Behaviour) -> tuple[bytes, str]:
    """Return a chat completion."""
    message = {"role": "assistant", "content": behaviour.text}
    value: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "stub-reported",
        "system_fingerprint": "fp_stub",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
    }
    if behaviour.usage is not None:
        value["usage"] = behaviour.usage
    return json.dumps(value).encode(), "application/json"


def openai_stream(behaviour: Behaviour) -> tuple[bytes, str]:
    """Return a chat completion as server-sent events, a word each, the usage in the last one."""

    def event(choices: list[Any], **more: Any) -> bytes:
        return b"data: " + json.dumps({"model": "stub-reported", "choices": choices} | more).encode() + b"\n\n"

    words = [word + " " for word in behaviour.text.split(" ")]
    words[-1] = words[-1][:-1]
    parts = [event([{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}])]
    parts += [event([{"index": 0, "delta": {"content": word}, "finish_reason": None}]) for word in words]
    parts.append(event([{"index": 0, "delta": {}, "finish_reason": "stop"}]))
    if behaviour.usage is not None:
        parts.append(event([], usage=behaviour.usage))
    return b"".join(parts) + b"data: [DONE]\n\n", "text/event-stream"


def _ollama_end(usage: dict[str, Any] | None) -> dict[str, Any]:
    counts = (
        {} if usage is None else {"prompt_eval_count": usage["prompt_tokens"], "eval_count": usage["completion_tokens"]}
    )
    return {"done": True, "done_reason": "stop"} | counts


def _ollama_line(text: str, more: dict[str, Any]) -> bytes:
    return (
        json.dumps({"model": "stub-reported", "message": {"role": "assistant", "content": text}} | more).encode()
        + b"\n"
    )


def ollama(behaviour: Behaviour) -> tuple[bytes, str]:
    """Return Ollama's reply to a chat."""
    return _ollama_line(behaviour.text, _ollama_end(behaviour.usage)), "application/json"


def ollama_stream(behaviour: Behaviour) -> tuple[bytes, str]:
    """Return Ollama's reply to a chat as lines, a word each."""
    words = [word + " " for word in behaviour.text.split(" ")]
    words[-1] = words[-1][:-1]
    lines = [_ollama_line(word, {"done": False}) for word in words]
    return b"".join([*lines, _ollama_line("", _ollama_end(behaviour.usage))]), "application/x-ndjson"
