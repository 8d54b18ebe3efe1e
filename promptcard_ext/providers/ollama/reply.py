"""What was answered: a chat in one piece or as lines of JSON, as a `Reply`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from promptcard_ext.core.errors import ProviderError
from promptcard_ext.core.ports import Reply
from promptcard_ext.core.results import Tokens
from promptcard_ext.providers.fields import label, log_probabilities, token_count
from promptcard_ext.providers.http import MAX_BODY_BYTES, Received
from promptcard_ext.providers.json_text import read
from promptcard_ext.providers.lines import Lines
from promptcard_ext.providers.pieces import Pieces
from promptcard_ext.providers.rate_limit import quota
from promptcard_ext.providers.refusal import Refusal


class Chat:
    """An answer, in as many objects as it comes; an `http.Sink`.

    Args:
        started: When the call began (`time.perf_counter`).
        streamed: Whether it comes in pieces, so that the time of the first one means something.
    """

    def __init__(self, refusal: Refusal, started: float, streamed: bool) -> None:
        self._refusal, self._started, self._streamed = refusal, started, streamed
        self._lines = Lines(MAX_BODY_BYTES)
        self._pieces = Pieces(MAX_BODY_BYTES)
        self._last: dict[str, Any] = {}
        self._line = b""
        self._ended: float | None = None

    def feed(self, data: bytes) -> bool:
        """Take the next part; see `http.Sink`."""
        try:
            return self._take(self._lines.feed(data))
        except OverflowError:
            raise self._refusal.too_long(MAX_BODY_BYTES, self.received()) from None

    def close(self) -> None:
        """Take note of the end; see `http.Sink`."""
        if not self._take(self._lines.end()):
            raise self._refusal.broken("the reply has no finished message", self.received())

    def whole(self, received: Received) -> None:
        """Take an answer that came in one piece.

        Raises:
            ProviderError: It cannot be read, reports an error, or is not finished.
        """
        if not self._add(received.raw, received.content_type):
            raise self._refusal.broken("the reply has no finished message", received.raw)

    def received(self) -> str:
        """Return what was received so far; see `http.Sink`."""
        # Of an answer that said nothing we know, its last line.
        said = self._pieces.received() or self._line.decode("utf-8", "replace")
        return "\n".join(filter(None, (said, self._lines.rest().decode("utf-8", "replace"))))

    def reply(self, headers: Mapping[str, str]) -> Reply:
        """Return the answer, once all of it has come."""
        final, pieces = self._last, self._pieces
        calls = pieces.calls.whole()
        told = pieces.complete and (bool(pieces.output) or calls is not None or not pieces.thoughts)
        return Reply(
            output=pieces.output,
            latency_ms=((self._ended or time.perf_counter()) - self._started) * 1000,
            tokens=Tokens(
                input=token_count(final.get("prompt_eval_count")), output=token_count(final.get("eval_count"))
            ),
            finish_reason=label(final.get("done_reason")),
            ttft_ms=(pieces.first - self._started) * 1000 if pieces.first and self._streamed else None,
            model_reported=label(final.get("model")),
            tool_calls=calls,
            logprobs=log_probabilities(pieces.logprobs),
            quota=quota(headers),
            raw=None if told else self._refusal.excerpt(self.received()),
        )

    def _take(self, lines: list[bytes]) -> bool:
        return any(self._add(line) for line in lines if line.strip())

    def _add(self, line: bytes, content_type: str = "") -> bool:
        """Take one object; return whether it is the last."""
        event = self._event(line, content_type)
        message = event.get("message")
        try:
            if isinstance(message, dict):
                self._add_message(message)
        except RecursionError:
            raise self._broken("the tool calls are nested too deeply", line) from None
        self._pieces.add_logprobs(event.get("logprobs"))
        self._last, self._line = event, line
        if not event.get("done"):
            return False
        self._ended = time.perf_counter()
        if not isinstance(message, dict) and self._pieces.output is None:
            raise self._broken("the reply has no message", line)
        return True

    def _add_message(self, message: dict[str, Any]) -> None:
        self._pieces.add_content(message.get("content"))
        self._pieces.add_thought(message.get("thinking") or None)
        self._pieces.add_calls(message.get("tool_calls"))

    def _event(self, line: bytes, content_type: str) -> dict[str, Any]:
        try:
            value, whole = read(line, content_type)
        except (ValueError, RecursionError):
            raise self._broken("the reply is not JSON", line) from None
        if not isinstance(value, dict):
            raise self._broken("the reply is not a JSON object", line)
        if value.get("error"):
            if self._streamed:
                raise self._broken(f"the stream reports an error: {self._refusal.words(value)}", line)
            raise self._refusal.in_reply(value, line)
        self._pieces.complete = self._pieces.complete and whole
        return value

    def _broken(self, what: str, line: bytes) -> ProviderError:
        unread = line.decode("utf-8", "replace")
        return self._refusal.broken(what, f"{self._pieces.received()}\n{unread}".strip())
