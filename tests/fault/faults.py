"""What can go wrong with one answer of a provider, as bytes on the wire."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import socket
import struct
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

TEN_MB = 10_000_000
JITTER_S = 5.0
Writer = asyncio.StreamWriter
Fault = Callable[[Writer, dict[str, Any]], Awaitable[None]]


def text_of(asked: dict[str, Any]) -> str:
    """Return the last message of a request."""
    messages = asked.get("messages") or [{}]
    return str(messages[-1].get("content", ""))


def completion(asked: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a chat completion that repeats the prompt."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": asked.get("model"),
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text_of(asked)}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12},
    } | more


def head(status: int, length: int | None, *headers: str, kind: str = "application/json") -> bytes:
    """Return a status line and headers; without a length the end of the connection is the end of the body."""
    lines = [f"HTTP/1.1 {status} Said", f"Content-Type: {kind}", *headers]
    lines.append("Connection: close" if length is None else f"Content-Length: {length}")
    return "\r\n".join([*lines, "", ""]).encode()


def send(writer: Writer, body: bytes, status: int = 200, *headers: str, kind: str = "application/json") -> None:
    """Write an answer."""
    writer.write(head(status, len(body), *headers, kind=kind) + body)


def send_text(writer: Writer, asked: dict[str, Any], raw: bytes) -> None:
    """Write a completion whose text is the prompt and these bytes, as they are in JSON."""
    marked = completion(asked)
    marked["choices"][0]["message"]["content"] += "MARK"
    send(writer, json.dumps(marked).encode().replace(b"MARK", raw))


def _events(asked: dict[str, Any]) -> list[bytes]:
    def event(choices: list[Any], **more: Any) -> bytes:
        value = {"model": asked.get("model"), "choices": choices} | more
        return b"data: " + json.dumps(value).encode() + b"\n\n"

    words = text_of(asked).split(" ")
    return [
        *(event([{"index": 0, "delta": {"content": word + " "}, "finish_reason": None}]) for word in words[:-1]),
        event([{"index": 0, "delta": {"content": words[-1]}, "finish_reason": "stop"}]),
        event([], usage={"prompt_tokens": 5, "completion_tokens": 7}),
        b"data: [DONE]\n\n",
    ]


async def none(writer: Writer, asked: dict[str, Any]) -> None:
    """Answer well."""
    if asked.get("stream"):
        send(writer, b"".join(_events(asked)), kind="text/event-stream")
    else:
        send(writer, json.dumps(completion(asked)).encode())


def refuses(status: int, body: bytes = b'{"error": {"message": "not now"}}', *headers: str) -> Fault:
    """Return a fault that answers with a status."""

    async def fault(writer: Writer, asked: dict[str, Any]) -> None:
        send(writer, body, status, *headers)

    return fault


def completes(**more: Any) -> Fault:
    """Return a fault that answers with a completion whose fields are these; None takes one away."""

    async def fault(writer: Writer, asked: dict[str, Any]) -> None:
        value = completion(asked, **more)
        send(writer, json.dumps({name: field for name, field in value.items() if field is not None}).encode())

    return fault


def says(raw: bytes) -> Fault:
    """Return a fault whose text ends in these bytes, as they are in JSON."""

    async def fault(writer: Writer, asked: dict[str, Any]) -> None:
        send_text(writer, asked, raw)

    return fault


async def _rate_date(writer: Writer, asked: dict[str, Any]) -> None:
    when = format_datetime(datetime.now(UTC) + timedelta(seconds=1), usegmt=True)
    send(writer, b"{}", 429, f"Retry-After: {when}")


async def _silence(writer: Writer, asked: dict[str, Any]) -> None:
    writer.write(head(200, 1000))
    await writer.drain()
    await asyncio.sleep(600)


async def _cut(writer: Writer, asked: dict[str, Any]) -> None:
    body = json.dumps(completion(asked)).encode()
    writer.write(head(200, len(body)) + body[: len(body) // 2])
    await writer.drain()
    writer.close()


async def _stream_stop(writer: Writer, asked: dict[str, Any]) -> None:
    writer.write(head(200, None, kind="text/event-stream") + b"".join(_events(asked))[:90])
    await writer.drain()
    writer.close()


async def _reset(writer: Writer, asked: dict[str, Any]) -> None:
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _bomb(writer: Writer, asked: dict[str, Any]) -> None:
    send(writer, gzip.compress(bytes(200_000_000), 1), 200, "Content-Encoding: gzip")


async def _jitter(writer: Writer, asked: dict[str, Any]) -> None:
    await asyncio.sleep(random.uniform(0, JITTER_S))
    await none(writer, asked)


# Two more need no answer at all: a TLS handshake with this server, and a name that has no address.
FAULTS: dict[str, Fault] = {
    "429 seconds": refuses(429, b"{}", "Retry-After: 1"),
    "429 date": _rate_date,
    "429 absurd": refuses(429, b"{}", "Retry-After: 31536000"),
    "500": refuses(500),
    "502 html": refuses(502, b"<html><h1>Bad gateway</h1></html>"),
    "503": refuses(503),
    "200 error": refuses(200, b'{"error": {"message": "no"}}'),
    "silence": _silence,
    "cut": _cut,
    "stream stop": _stream_stop,
    "reset": _reset,
    "10 MB": says(b"a" * TEN_MB),
    "gzip bomb": _bomb,
    "invalid utf-8": says(b"\xff\xfe"),
    "nul": says(rb"\u0000"),
    "surrogate": says(rb"\ud800"),
    "nan": completes(usage={"prompt_tokens": float("nan"), "completion_tokens": float("inf")}),
    "wrong model": completes(model="another-model"),
    "no usage": completes(usage=None),
    "negative tokens": completes(usage={"prompt_tokens": -5, "completion_tokens": -7}),
    "jitter": _jitter,
}
