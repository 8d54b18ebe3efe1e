"""JupyterLab with a notebook in Chromium, for measurements of what people see: frames, messages, memory."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import nbformat
from playwright.sync_api import CDPSession, Page, sync_playwright

from tests.browser.conftest import BROWSER, QUIET
from tests.support import free_port, wait_for

TOKEN = "bench"
FRAME_MS = 1000 / 60
# Keeps the time of every frame, and when which row was seen first.
SAMPLER = """(selector) => {
  window.bench = {frames: [], first: null, seen: []};
  let most = -1;
  const look = () => {
    bench.frames.push(performance.now());
    const rows = document.querySelectorAll(selector);
    if (rows.length) {
      const newest = Math.max(...[...rows].map((row) => Number(row.dataset.index ?? 0)));
      if (bench.first === null) bench.first = Date.now();
      if (newest > most) bench.seen.push([Date.now(), most = newest]);
    }
    requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
}"""


def notebook(path: Path, cells: list[str]) -> None:
    """Write a notebook with these cells."""
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    nbformat.write(made, path)


@contextmanager
def lab(root: Path, more_packages: Path) -> Iterator[str]:
    """Yield the URL of a JupyterLab that shows ``root``; kernels find further packages."""
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PROMPTCARDS_", "JPY_"))}
    base = root.parent
    environment |= {
        "PROMPTCARDS_HOME": str(base / "home"),
        "JUPYTER_RUNTIME_DIR": str(base / "runtime"),
        "JUPYTER_CONFIG_DIR": str(base / "config"),
        "JUPYTERLAB_SETTINGS_DIR": str(base / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(base / "workspaces"),
        "PYTHONPATH": str(more_packages),
    }
    flags = ["--no-browser", f"--port={port}", f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={root}"]
    quiet = ["--LabApp.news_url=''", "--allow-root", "--ServerApp.jpserver_extensions={'server_ext': False}"]
    with (base / "lab.log").open("wb") as log:
        command = [sys.executable, "-m", "jupyterlab", *flags, *quiet]
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            record = base / "runtime" / f"jpserver-{process.pid}.json"
            wait_for(record.exists, 90)
            yield f"http://127.0.0.1:{port}/"
        finally:
            process.terminate()
            process.wait(60)


@contextmanager
def page() -> Iterator[Page]:
    """Yield a page of Debian's Chromium, in a browser of its own: what other pages hold is not counted."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=BROWSER, args=[*QUIET, "--enable-precise-memory-info"])
        opened = chromium.new_page(viewport={"width": 1280, "height": 1000})
        opened.set_default_timeout(300_000)
        yield opened
        chromium.close()


class OpenNotebook:
    """A notebook in a page: runs its cells one after the other, and counts what the page gets.

    Args:
        url: Of the Lab.
        root: Its folder.
    """

    def __init__(self, page: Page, url: str, root: Path, name: str) -> None:
        self.page, self.path = page, root / name
        self._root = root
        self._cdp: CDPSession = page.context.new_cdp_session(page)
        self._cdp.send("Performance.enable")
        self._cdp.send("Network.enable")
        self._cdp.on("Network.webSocketFrameReceived", self._count)
        self.comm_messages = self.frames = self.bytes = 0
        # A workspace for each: the Lab would open what was open before, too.
        page.goto(f"{url}lab/workspaces/{self.path.stem}/tree/{name}?token={TOKEN}")
        page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
        page.locator(".jp-CodeCell").first.locator(".jp-InputPrompt").click()

    def _count(self, event: dict[str, Any]) -> None:
        frame = event["response"]
        data = frame["payloadData"]
        body = base64.b64decode(data) if frame["opcode"] == 2 else data.encode()
        self.frames += 1
        self.bytes += len(body)
        self.comm_messages += b'"msg_type": "comm_msg"' in body[:4000] or b'"msg_type":"comm_msg"' in body[:4000]

    def run_cell(self) -> None:
        """Run the selected cell and select the next one."""
        self.page.keyboard.press("Shift+Enter")

    def told(self, name: str, timeout_s: float = 600) -> dict[str, Any]:
        """Wait for what a cell writes into a file, and return it; the browser's events are taken in meanwhile."""
        path = self._root / name
        give_up = time.monotonic() + timeout_s
        while not path.exists():
            if time.monotonic() > give_up:
                sys.exit(f"{name} was not written within {timeout_s:g} s.")
            self.page.wait_for_timeout(100)
        found: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return found

    def sample(self, selector: str) -> None:
        """Begin to note frames, and when rows of ``selector`` are painted."""
        self.page.evaluate(SAMPLER, selector)

    def sampled(self) -> dict[str, Any]:
        """Return what was noted."""
        found: dict[str, Any] = self.page.evaluate("() => window.bench")
        return found

    def heap_mb(self) -> float:
        """Return the page's JavaScript heap after garbage was collected."""
        self._cdp.send("HeapProfiler.enable")
        self._cdp.send("HeapProfiler.collectGarbage")
        metrics = {one["name"]: one["value"] for one in self._cdp.send("Performance.getMetrics")["metrics"]}
        return float(metrics["JSHeapUsedSize"]) / 1e6

    def scroll(self, selector: str, steps: int = 120, pixels: int = 480) -> list[float]:
        """Scroll with the wheel over an element; return the times between frames in milliseconds."""
        self.page.locator(selector).last.hover()
        before = len(self.sampled()["frames"])
        for _ in range(steps):
            self.page.mouse.wheel(0, pixels)
            self.page.wait_for_timeout(FRAME_MS)
        frames = self.sampled()["frames"][before:]
        return [later - earlier for earlier, later in pairwise(frames)]

    def save(self) -> int:
        """Save the notebook and return its size in bytes."""
        before = self.path.stat().st_mtime_ns
        self.page.keyboard.press("Control+s")
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            self.page.wait_for_timeout(300)
            found = self.path.stat()
            # It is empty while it is written.
            if found.st_mtime_ns != before and found.st_size:
                return found.st_size
        sys.exit(f"{self.path.name} was not saved.")


def dropped(between_ms: list[float]) -> int:
    """Return how many frames of 60 a second are missing between those that there were."""
    return sum(max(0, round(gap / FRAME_MS) - 1) for gap in between_ms)
