"""Somebody who watches a run over the WebSocket, and the memory of the worker, while it goes on."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

import aiohttp
import psutil

from bench.site import TOKEN


class Watch:
    """Follows a run, and weighs the worker's processes, from threads; a context manager.

    Args:
        url: Of the run's events; None follows nothing.
    """

    def __init__(self, url: str | None, worker: psutil.Process) -> None:
        self._url, self._worker = url, worker
        self._messages: list[tuple[float, str]] = []
        self._weights: list[float] = []
        self._over = threading.Event()
        self._follower = threading.Thread(target=self._follow, daemon=True)
        self._scales = threading.Thread(target=self._weigh)

    def _follow(self) -> None:
        async def main() -> None:
            headers = {"Authorization": f"token {TOKEN}"}
            async with aiohttp.ClientSession(headers=headers) as session, session.ws_connect(self._url or "") as socket:
                # The server closes after the last event. They are read when all is over: now that would take from
                # the others.
                async for message in socket:
                    self._messages.append((time.perf_counter(), str(message.data)))

        if self._url is not None:
            asyncio.run(main())

    def _weigh(self) -> None:
        while not self._over.wait(0.1):
            weights = []
            for one in (self._worker, *self._worker.children(recursive=True)):
                with suppress(psutil.NoSuchProcess):
                    weights.append(one.memory_info().rss / 2**20)
            self._weights.append(max(weights, default=0.0))

    def __enter__(self) -> Watch:
        self._follower.start()
        self._scales.start()
        return self

    def wait(self) -> None:
        """Wait until the run has ended, as the watcher hears."""
        self._follower.join(900)

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._scales.join(30)

    def memory_mb(self, part: float) -> float:
        """Return the memory of the largest process until so much of the time was over (1: all of it)."""
        until = max(1, round(len(self._weights) * part))
        return max(self._weights[:until], default=0.0)

    def lags_ms(self, answered: Sequence[float]) -> list[float]:
        """Return how long after the n-th answer the n-th result was seen, sorted.

        Args:
            answered: When the model gave its answers. It is not known which one is which: results come in about the
                same order, and the mean does not depend on it.
        """
        seen = [at for at, text in self._messages for _ in json.loads(text).get("items") or ()]
        return sorted((late - early) * 1000 for early, late in zip(sorted(answered), seen, strict=True))
