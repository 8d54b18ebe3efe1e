"""What was answered: a chat completion that comes as server-sent events."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from promptcard_ext.core.errors import ProviderError
from promptcard_ext.core.ports import Reply
from promptcard_ext.providers.fields import label, log_probabilities
from promptcard_ext.providers.http import MAX_BODY_BYTES, Received
from promptcard_ext.providers.json_text import read
from promptcard_ext.providers.lines import Events
from promptcard_ext.providers.openai_compatible import reply as plain
from promptcard_ext.providers.pieces import Pieces
from promptcard_ext.providers.rate_limit import quota
from promptcard_ext.providers.refusal import Refusal


class Stream:
    """A completion in pieces; an `http.Sink`.

    Args:
        started: When the call began (`time.perf_counter`).
    """

    def __init__(self, refusal: Refusal, started: float) -> None:
        self._refusal, self._started = refusal, started
        self._events = Events(MAX_BODY_BYTES)
        self._pieces = Pieces(MAX_BODY_BYTES)
        self._last: dict[str, Any] = {}
        self._payload = b""
        self._usage: Any = None
        self._finish: str | None = None
        self._said_why = False
        self._ended: float | None = None
        self._in_one_piece = b""

    def feed(self, data: bytes) -> bool:
        """Take the next part; see `http.Sink`."""
        try:
            return self._take(self._events.feed(data))
        except OverflowError:
            raise self._refusal.too_long(MAX_BODY_BYTES, self.received()) from None

    def close(self) -> None:
        """Take note of the end; see `http.Sink`. A stream may end without ``[DONE]`` once it has said why it ends."""
        done = self._take(self._events.end())
        self._ended = self._ended or time.perf_counter()
        if not self._last and self._events.other:
            # A server that does not stream answers in one piece all the same.
            self._in_one_piece = b"\n".join(self._events.other)
        elif not done and not self._said_why:
            raise self._refusal.broken("the stream broke off", self.received())

    def received(self) -> str:
        """Return what was received so far; see `http.Sink`."""
        # Of a stream that said nothing we know, its last event.
        said = self._pieces.received() or self._payload.decode("utf-8", "replace")
        return "\n".join(filter(None, (said, self._events.rest().decode("utf-8", "replace"))))

    def reply(self, headers: Mapping[str, str]) -> Reply:
        """Return the answer, once all of it has come.

        Raises:
            ProviderError: It came in one piece and cannot be read.
        """
        latency_ms = ((self._ended or time.perf_counter()) - self._started) * 1000
        if self._in_one_piece:
            return plain.reply(Received(self._in_one_piece, headers), latency_ms, self._refusal)
        pieces = self._pieces
        output, finish = pieces.output, self._finish
        if not output and pieces.refusal:
            output, finish = "".join(pieces.refusal), plain.refused_finish(finish)
        calls = pieces.calls.whole()
        told = pieces.complete and (output is not None or calls is not None)
        return Reply(
            output=output,
            latency_ms=latency_ms,
            tokens=plain.tokens(self._usage),
            finish_reason=finish,
            ttft_ms=(pieces.first - self._started) * 1000 if pieces.first else None,
            model_reported=label(self._last.get("model")),
            fingerprint=label(self._last.get("system_fingerprint")),
            tool_calls=calls,
            logprobs=log_probabilities(pieces.logprobs),
            quota=quota(headers),
            raw=None if told else self._refusal.excerpt(self.received()),
        )

    def _take(self, events: list[bytes]) -> bool:
        for payload in events:
            if payload.strip() == b"[DONE]":
                self._ended = time.perf_counter()
                return True
            for event in self._decoded(payload):
                self._add(event, payload)
        return False

    def _decoded(self, payload: bytes) -> list[Any]:
        try:
            return [self._read(payload)]
        except (ValueError, RecursionError):
            pass
        # A server that sets no empty line between its events: each line is one.
        lines = [line for line in payload.split(b"\n") if line.strip() not in (b"", b"[DONE]")]
        try:
            if lines == [payload]:
                raise ValueError
            return [self._read(line) for line in lines]
        except (ValueError, RecursionError):
            raise self._broken("an event of the stream is not JSON", payload) from None

    def _read(self, payload: bytes) -> Any:
        value, whole = read(payload)
        self._pieces.complete = self._pieces.complete and whole
        return value

    def _broken(self, what: str, payload: bytes) -> ProviderError:
        unread = payload.decode("utf-8", "replace")
        return self._refusal.broken(what, f"{self._pieces.received()}\n{unread}".strip())

    def _reported(self, event: dict[str, Any], payload: bytes) -> ProviderError:
        if self._pieces.first is None and not self._pieces.thoughts:
            error = self._refusal.in_reply(event, payload)
            if error.code != "provider_refused":
                return error
        # Otherwise a part of the answer was paid for, and nobody knows what a repetition would cost.
        return self._broken(f"the stream reports an error: {self._refusal.words(event)}", payload)

    def _add(self, event: Any, payload: bytes) -> None:
        if not isinstance(event, dict):
            raise self._broken("an event of the stream is not a JSON object", payload)
        if event.get("error"):
            raise self._reported(event, payload)
        self._last, self._payload = event, payload
        self._usage = event.get("usage") or self._usage
        try:
            choice = event["choices"][0]
            delta, why = choice.get("delta"), choice.get("finish_reason")
        except (KeyError, IndexError, TypeError, AttributeError):
            return
        if isinstance(why, str):
            self._said_why, self._finish = True, label(why)
        if isinstance(logs := choice.get("logprobs"), dict):
            self._pieces.add_logprobs(logs.get("content"))
        if isinstance(delta, dict):
            try:
                self._add_delta(delta)
            except RecursionError:
                raise self._broken("the tool calls are nested too deeply", payload) from None

    def _add_delta(self, delta: dict[str, Any]) -> None:
        pieces = self._pieces
        if (content := delta.get("content")) is not None:
            pieces.add_content(content)
        if len(delta) > 1 or content is None:
            pieces.add_refusal(delta.get("refusal"))
            pieces.add_thought(delta.get("reasoning_content", delta.get("reasoning")))
            pieces.add_calls(delta.get("tool_calls"))
