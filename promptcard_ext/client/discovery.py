"""Finding the server: a kernel knows the Jupyter server that started it, so nobody logs in a second time."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from promptcard_ext.core.errors import Unavailable
from promptcard_ext.core.named_server import named_server


class Address(NamedTuple):
    """Where a server is and how to be let in. Its repr does not show the token.

    Attributes:
        url: Base URL of the Jupyter server, with a slash at the end.
        token: Token of Jupyter or JupyterHub, or one of ours; may be empty.
    """

    url: str
    token: str

    def __repr__(self) -> str:
        return f"Address({self.url!r})"


def find_server() -> Address:
    """Return the server to use.

    In this order: ``PROMPTCARDS_URL`` (with ``PROMPTCARDS_TOKEN``), the service of the JupyterHub that started this
    kernel's server, the Jupyter server that started this kernel, the youngest Jupyter server of this user.

    Raises:
        Unavailable: There is none (``server_not_found``).
    """
    named = named_server(os.environ)
    if named is not None:
        return Address(*named)
    for record in _records():
        address = _read(record)
        if address is not None:
            return address
    raise Unavailable(
        "No Prompt Cards server was found.",
        hint="Open one with 'jupyter promptcards lab', or set PROMPTCARDS_URL; promptcard_ext.run() works without one.",
        code="server_not_found",
    )


def _records() -> Iterator[Path]:
    from jupyter_core.paths import jupyter_runtime_dir

    folder = Path(jupyter_runtime_dir())
    parent = os.environ.get("JPY_PARENT_PID", "")
    if parent.isdecimal():
        yield folder / f"jpserver-{parent}.json"
    if folder.is_dir():
        yield from sorted(folder.glob("jpserver-*.json"), key=_age)


def _age(path: Path) -> float:
    try:
        return -path.stat().st_mtime
    except OSError:
        return 0.0


def _read(path: Path) -> Address | None:
    """Return the address in a server's record, or None when it is gone or its server is dead."""
    try:
        record = json.loads(path.read_text("utf-8"))
        os.kill(int(record["pid"]), 0)
        return Address(str(record["url"]), str(record.get("token") or ""))
    except (OSError, ValueError, KeyError, TypeError):
        return None
