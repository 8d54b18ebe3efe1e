"""Several worker processes under one parent, which starts one again when it dies and ends them together."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from server_ext.settings import Settings
from server_ext.supervisor import WorkerProcess

log = logging.getLogger("promptcards.worker")
# After their calls workers write what they have, and a supervisor above us gives us some time, too.
WRITING_S = 15.0


def keep_running(settings: Settings, processes: int, arguments: Sequence[str], grace_s: float) -> None:
    """Keep so many workers running until SIGTERM or Ctrl-C; then let all of them end in good order, side by side.

    Args:
        arguments: What each is started with, besides ``worker``.
        grace_s: How long each lets calls in flight be answered when it is to end.
    """
    asked = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: asked.set())
    running = [WorkerProcess(settings, arguments) for _ in range(processes)]
    log.info("%d workers run.", processes)
    asked.wait()
    with ThreadPoolExecutor(processes) as closing:
        for worker in running:
            closing.submit(worker.close, grace_s + WRITING_S)
