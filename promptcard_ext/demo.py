"""The main job once, without a browser: from card files to stored results and a report."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import platformdirs
from rich.console import Console

from promptcard_ext.client.discovery import Address
from promptcard_ext.core.errors import ProviderError, SetupError
from promptcard_ext.core.results import ItemResult
from promptcard_ext.interchange.card_file import CardFile, load_card_file
from promptcard_ext.interchange.starters import starter_cards
from promptcard_ext.kernel.terminal import print_summary, watch
from promptcard_ext.kernel.workspace import Workspace, connect
from promptcard_ext.providers import model as check_model
from promptcard_ext.providers import reachable_models
from promptcard_ext.stats.summary import SummaryRow, summarise

SIMULATED = ["simulated:steady", "simulated:hasty"]
START_TIMEOUT_S = 120.0


def demo(
    files: Sequence[Path],
    models: Sequence[str] | None,
    out: Path | None,
    *,
    concurrency: int = 8,
    timeout_s: float = 120.0,
) -> int:
    """Do the main job and return the exit code: 0 when every item has a result.

    Raises:
        PromptCardError: Something is wrong with the files, the models or the machine.
    """
    console = Console()
    cards = [load_card_file(path) for path in files] or list(starter_cards().values())
    chosen = _choose_models(models, console)
    home = Path(os.environ.get("PROMPTCARDS_HOME") or platformdirs.user_data_path("promptcards", appauthor=False))
    folder = out or home / "reports"
    with _server(home, console) as address:
        workspace = connect(address.url, address.token)
        console.print(f"Server at {address.url}, data in {home}", highlight=False)
        rows: list[SummaryRow] = []
        paths = []
        for card in cards:
            found, path = _run_one(workspace, card, chosen, folder, concurrency, timeout_s)
            rows += summarise(found)
            paths.append(path)
    print_summary(rows, title=f"{sum(row.counts.done for row in rows)} items")
    for path in paths:
        console.print(f"Report: {path}", highlight=False, soft_wrap=True)
    return 0


def _choose_models(models: Sequence[str] | None, console: Console) -> list[str]:
    if models:
        for reference in models:
            check_model(reference)
        return list(models)
    found = asyncio.run(reachable_models())
    real: list[str] = []
    for provider in ("ollama", "openai"):
        listed = found.get(provider)
        if isinstance(listed, list):
            real += [f"{provider}:{name}" for name in listed]
    if real:
        # Two models are compared; when only one real one is there, a simulated one stands in, and is named so.
        chosen = (real + SIMULATED)[:2]
        console.print(f"Models that can be reached: {', '.join(real[:2])}", highlight=False)
    else:
        chosen = SIMULATED
        console.print("No real model can be reached, so the models are simulated: the figures mean nothing.")
        for provider in ("ollama", "openai"):
            if isinstance(reason := found.get(provider), ProviderError):
                console.print(f"  {provider}: {reason}", style="dim", highlight=False)
    return chosen


def _run_one(
    workspace: Workspace, card: CardFile, models: list[str], folder: Path, concurrency: int, timeout_s: float
) -> tuple[list[ItemResult], Path]:
    workspace.save(card)
    numbers = [saved.version for saved in workspace.api.versions.list(card.name)][-2:]
    run = workspace.run(
        card.name, models, versions=numbers, concurrency=concurrency, timeout_s=timeout_s, name=card.name
    )
    watch(run, Console(stderr=True))
    stored = workspace.api.runs.get(str(run.id))
    counts = stored.counts
    if stored.status != "completed" or counts.done != counts.total or len(run.results()) != counts.total:
        raise SetupError(
            f"Run {run.id} of card '{card.name}' ended as {stored.status} "
            f"with {counts.done} of {counts.total} results.",
            code="demo_incomplete",
        )
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return run.results(), workspace.report(run, folder / f"{card.name}.html")


@contextmanager
def _server(home: Path, console: Console) -> Iterator[Address]:
    """Start a server with its worker; on leaving, both and the services are stopped."""
    log = home / "logs" / "demo-server.log"
    try:
        # As root the account of the database must be able to cross the home; nobody else sees what is in it.
        home.mkdir(parents=True, exist_ok=True, mode=0o711)
        log.parent.mkdir(exist_ok=True, mode=0o700)
        output = log.open("wb")
    except OSError as error:
        raise SetupError(
            f"The home {home} cannot be written: {error.strerror}.",
            hint="Set PROMPTCARDS_HOME to a folder of yours.",
            code="home_not_writable",
        ) from None
    with output:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "promptcard_ext.cli", "serve", "--port", "0", "--parent", str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # Its own session: Ctrl-C ends the run first, then the server, in good order.
            start_new_session=True,
            env={**os.environ, "PROMPTCARDS_HOME": str(home)},
        )
        try:
            with console.status("Starting PostgreSQL, Valkey, server and worker …"):
                address = _wait_until_ready(process, log)
            yield address
        finally:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], log: Path) -> Address:
    from jupyter_core.paths import jupyter_runtime_dir

    record = Path(jupyter_runtime_dir()) / f"jpserver-{process.pid}.json"
    give_up = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < give_up:
        if process.poll() is not None:
            raise SetupError(_reason(log), hint=f"The whole log: {log}", code="server_failed")
        try:
            found = json.loads(record.read_text("utf-8"))
            return Address(found["url"], found["token"])
        except (OSError, ValueError):
            time.sleep(0.1)
    raise SetupError(
        f"The server did not start within {START_TIMEOUT_S:.0f} s.", hint=f"Its log: {log}", code="server_failed"
    )


def _reason(log: Path) -> str:
    lines = log.read_text("utf-8", "replace").strip().splitlines()
    told = [line for line in lines if line.startswith("promptcards: ")]
    return told[-1].removeprefix("promptcards: ") if told else (lines[-1] if lines else "The server ended at once.")
