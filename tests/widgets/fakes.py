"""A front end, a clock and results that need neither a kernel nor a model."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from promptcard_ext.core.results import Generation, ItemResult, Outcome, Tokens, Verdict
from promptcard_ext.kernel.handle import RunHandle


class FakeComm:
    """One end of a comm; the test is the other."""

    _numbers = itertools.count()

    def __init__(self, data: dict[str, Any] | None = None, comm_id: str | None = None, **_: Any) -> None:
        self.comm_id = comm_id or f"comm-{next(self._numbers)}"
        self.opened_with = (data or {}).get("state", {})
        self.sent: list[dict[str, Any]] = []
        self.closed = False

    def on_msg(self, callback: Callable[[dict[str, Any]], None]) -> None:
        self._callback = callback

    def send(self, data: dict[str, Any], buffers: list[bytes] | None = None, **_: Any) -> None:
        assert not self.closed, "sent on a closed comm"
        self.sent.append({**data, "buffers": buffers or []})

    def close(self, *_: Any, **__: Any) -> None:
        self.closed = True

    def receive(self, content: Any) -> None:
        """Pretend that the browser has sent a custom message."""
        self._callback({"content": {"data": {"method": "custom", "content": content}}, "buffers": []})

    @property
    def states(self) -> list[dict[str, Any]]:
        """What was sent as state so far."""
        return [one["state"] for one in self.sent if one["method"] == "update"]

    def ask(self, kind: str, **more: Any) -> tuple[dict[str, Any], Any]:
        """Send a request and return the content of its answer and what is in its buffer."""
        before = len(self.sent)
        self.receive({"kind": kind, "rid": f"r{before}", **more})
        assert len(self.sent) == before + 1, "one answer to one request"
        answer = self.sent[-1]
        assert answer["content"]["rid"] == f"r{before}"
        return answer["content"], json.loads(answer["buffers"][0]) if answer["buffers"] else None


class Hands:
    """A clock that is moved by hand, and what is to happen later."""

    def __init__(self) -> None:
        self.now = 100.0
        self.waiting: list[tuple[float, Callable[[], None]]] = []

    def clock(self) -> float:
        return self.now

    def later(self, delay: float, work: Callable[[], None]) -> None:
        self.waiting.append((self.now + delay, work))

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while due := sorted((one for one in self.waiting if one[0] <= end + 1e-9), key=lambda one: one[0]):
            self.waiting.remove(due[0])
            self.now = max(self.now, due[0][0])
            due[0][1]()
        self.now = end


def result(
    ordinal: int,
    outcome: str = "pass",
    output: str | None = "yes",
    *,
    model: str = "simulated:a",
    label: str = "card v1",
    latency_ms: float = 10.0,
    cost: str | None = None,
    message: str = "",
    **more: Any,
) -> ItemResult:
    """Return a result; without output it has no generation."""
    generation = None
    if output is not None:
        generation = Generation(
            provider="simulated", model="a", request_hash="0", output=output, latency_ms=latency_ms,
            tokens=Tokens(3, 1), cost_usd=Decimal(cost) if cost else None,
        )  # fmt: skip
    verdict = Verdict("u", "contains", Outcome(outcome), None if outcome == "pass" else "missing", message)
    fields: dict[str, Any] = {
        "card": "card", "version": 1, "label": label, "model": model, "case": f"case {ordinal}",
        "case_uid": f"u{ordinal}",
        "repeat": 0, "reason": None if outcome == "pass" else "missing", "message": message,
        "verdicts": (verdict,) if output is not None else (), "generation": generation,
    }  # fmt: skip
    return ItemResult(ordinal=ordinal, outcome=Outcome(outcome), **(fields | more))


def handle(total: int = 10, cancel: Callable[[], None] = lambda: None, name: str = "card v1") -> RunHandle:
    """Return the handle of a run that the test feeds."""
    return RunHandle(name, total, cancel)
