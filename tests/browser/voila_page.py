"""A notebook as Voilà serves it, in a process that cannot get out of hand."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from tests.support import free_port, wait_for

# Voilà itself and one kernel for each page; far below what would make a machine unusable.
MOST_PROCESSES = 12


class Voila:
    """A running Voilà.

    Args:
        folder: What it works in; its log goes there.
        options: Further options of its command line.
    """

    def __init__(self, notebook: Path, folder: Path, *options: str, **environment: str) -> None:
        self.port = free_port()
        self.log = folder / "voila.log"
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PROMPTCARDS_", "JPY_"))}
        command = [sys.executable, "-m", "voila", str(notebook), "--no-browser", f"--port={self.port}", *options]
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                env={**kept, "JUPYTER_CONFIG_DIR": str(folder / "config"), **environment},
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    def processes(self) -> list[psutil.Process]:
        """Return the processes that it has started."""
        with suppress(psutil.NoSuchProcess):
            children = psutil.Process(self._process.pid).children(recursive=True)
            assert len(children) < MOST_PROCESSES, [child.name() for child in children]
            return children
        return []

    def listens(self) -> bool:
        """Tell whether it answers. Its pages are not asked for: each would start a kernel."""
        assert self._process.poll() is None, self.log.read_text()
        with suppress(OSError, urllib.error.URLError):
            urllib.request.urlopen(f"{self.url}/voila/static/voila.js", timeout=5).close()
            return True
        return False

    def stop(self) -> None:
        """End it and all that it has started."""
        started = self.processes() if self._process.poll() is None else []
        self._process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(20)
        for process in [*started, *([] if self._process.poll() is not None else [self._process])]:
            with suppress(psutil.NoSuchProcess):
                process.kill()


@contextmanager
def voila(notebook: Path, folder: Path, *options: str, **environment: str) -> Iterator[Voila]:
    """Serve a notebook until the context is left."""
    page = Voila(notebook, folder, *options, **environment)
    try:
        wait_for(page.listens, 60)
        yield page
    finally:
        page.stop()
