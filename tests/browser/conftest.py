"""JupyterLab as a user opens it, and a browser to open it with."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from promptcard_ext.client.discovery import Address, _read
from server_ext import embedded
from server_ext.settings import Settings

ARTEFACTS = Path(__file__).resolve().parents[2] / "artefacts"
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# Without these Chromium calls home at every start, and waits for an answer that may never come.
QUIET = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
    "--no-sandbox",
]


# Not for the session: Playwright keeps an event loop running on this thread as long as it is open.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, headless."""
    if BROWSER is None:
        if os.environ.get("PROMPTCARDS_REQUIRE_BROWSER"):
            pytest.fail("PROMPTCARDS_REQUIRE_BROWSER is set, and there is no Chromium")
        pytest.skip("there is no Chromium on this machine")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=QUIET)
        expect.set_options(timeout=60_000)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder to work in, with a home beside it; both are gone afterwards."""
    base = Path(tempfile.mkdtemp(prefix="promptcards-lab-"))
    base.chmod(0o755)
    yield base
    embedded.remove_home(Settings(home=base / "home"))
    shutil.rmtree(base)


@pytest.fixture(scope="module")
def lab(folder: Path) -> Iterator[Address]:
    """``jupyter promptcards lab``, running."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PROMPTCARDS_", "JPY_"))}
    runtime = folder / "runtime"
    environment |= {
        "PROMPTCARDS_HOME": str(folder / "home"),
        "JUPYTER_RUNTIME_DIR": str(runtime),
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
    }
    command = [sys.executable, "-m", "promptcard_ext.cli", "lab", str(folder), "--no-browser", "--port", "0"]
    log = folder / "lab.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            # A job in the background of a shell ignores Ctrl-C, and so would its children.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        try:
            yield _address(process, runtime / f"jpserver-{process.pid}.json", log)
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0, log.read_text()


def _address(process: subprocess.Popen[bytes], record: Path, log: Path) -> Address:
    give_up = time.monotonic() + 90
    while process.poll() is None and time.monotonic() < give_up:
        if record.exists() and (address := _read(record)):
            return address
        time.sleep(0.05)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()}")


@pytest.fixture
def page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page; what it showed last is kept as a picture."""
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.set_default_timeout(60_000)
    yield page
    ARTEFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTEFACTS / f"{request.node.name}.png")
    page.close()
