"""A server of its own process, with accounts of its own, on a home of the test's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.security.wire_client import Connection
from tests.support import environment, free_port, wait_for

MANY = "100000000/60"
UNLIMITED = ",".join(
    f"{kind}={MANY}" for kind in ("anonymous", "login", "authenticated", "export", "key_test", "invitation")
)


@dataclass(frozen=True)
class Server:
    """A server that runs.

    Attributes:
        log: What it writes.
    """

    port: int
    log: Path
    process: subprocess.Popen[bytes]

    def connection(self) -> Connection:
        """Return a connection of its own."""
        return Connection(self.port)

    @property
    def said(self) -> str:
        """The log."""
        return self.log.read_text("utf-8", "replace")


@contextmanager
def serving(home: Path, *walls: str, mode: str = "jwt", **more: str) -> Iterator[Server]:
    """Run ``jupyter promptcards serve`` on a home, by default with accounts of its own and without limits.

    Args:
        walls: Names of what `tests.security.walls` takes away first.
    """
    port = free_port()
    config = home.parent / f"config-{port}"
    config.mkdir()
    settings = {"PromptCards": {"identity_mode": mode}, "ServerApp": {"log_level": "INFO"}}
    (config / "jupyter_server_config.json").write_text(json.dumps(settings))
    log = home.parent / f"server-{port}.log"
    module = ["tests.security.walls", *walls] if walls else ["promptcard_ext.cli", "serve"]
    arguments = ["--no-worker", "--port", str(port)]
    variables = {
        "PROMPTCARDS_LIMITS": UNLIMITED,
        "PROMPTCARDS_PRIVATE_HOSTS": "*",
        "JUPYTER_CONFIG_DIR": str(config),
        **more,
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *module, *arguments],
            env=environment(home, **variables),
            cwd=Path(__file__).parents[2],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    server = Server(port, log, process)
    try:
        wait_for(lambda: _answers(server))
        yield server
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if os.environ.get("PROMPTCARDS_SHOW_SERVER_LOG"):
            print(server.said)


def _answers(server: Server) -> bool:
    assert server.process.poll() is None, server.said
    try:
        with server.connection() as connection:
            return connection.ask("GET", "openapi.json", {}).status == 200
    except OSError:
        return False
