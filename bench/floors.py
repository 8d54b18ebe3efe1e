"""The floors beside which the server is measured: handlers that answer the same bytes and do nothing else.

    python -m bench.floors tornado|jupyter PORT FILE

``tornado`` is a bare handler; ``jupyter`` one of jupyter_server's, which lets nobody in without the token. Both answer
with the content of FILE.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from jupyter_server.base.handlers import APIHandler
from jupyter_server.extension.application import ExtensionApp
from tornado import web

BODY = b""


class BareHandler(web.RequestHandler):
    """Answers."""

    def compute_etag(self) -> None:
        return None

    def get(self) -> None:
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.finish(BODY)


class AuthenticatedHandler(APIHandler):
    """Answers whoever has the token."""

    def compute_etag(self) -> None:
        return None

    @web.authenticated
    def get(self) -> None:
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.finish(BODY)


class Floor(ExtensionApp):
    """A server extension with one handler."""

    name = "bench_floor"
    load_other_extensions = False

    def initialize_handlers(self) -> None:
        self.handlers.extend([("/answer", AuthenticatedHandler)])


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    return [{"module": "bench.floors", "app": Floor}]


async def bare(port: int) -> None:
    web.Application([("/answer", BareHandler)]).listen(port, "127.0.0.1")
    await asyncio.Event().wait()


def main() -> None:
    """Serve until the process is ended."""
    global BODY
    kind, port, file = sys.argv[1:4]
    BODY = Path(file).read_bytes()
    sys.modules["bench.floors"] = sys.modules["__main__"]
    if kind == "tornado":
        asyncio.run(bare(int(port)))
        return
    options = {"port": port, "port_retries": 0, "log_level": "WARN", "open_browser": False, "ip": "127.0.0.1"}
    Floor.launch_instance(["--allow-root", *(f"--ServerApp.{name}={value}" for name, value in options.items())])


if __name__ == "__main__":
    main()
