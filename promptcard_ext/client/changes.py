"""What changes in a workspace, as the server tells it."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

import msgspec

from promptcard_ext.client.session import Session
from promptcard_ext.core.errors import Unavailable

# The server says something every 15 seconds, be it that there is nothing to say.
SILENT_S = 40.0
MAX_LINE_BYTES = 65_536


class Change(NamedTuple):
    """One event.

    Attributes:
        kind: ``card``, ``label`` or ``run``; ``start``: from here on everything is told; ``reset``: something may have
            been missed; ``end``: no more.
        key: What has changed: ``triage``, ``triage/production``, the id of a run. Empty for the others.
        id: What to come back with.
    """

    kind: str
    key: str
    id: str


class ChangeStream:
    """The changes of a workspace over one connection: iterate over it, and `close` it, from any thread.

    Args:
        last_id: Of the last event that was seen; empty for none.

    Raises:
        PromptCardError: The server refuses, or is away, as `Session.ask` says; nothing is repeated.
    """

    def __init__(self, session: Session, workspace: str, last_id: str = "") -> None:
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_id} if last_id else {})
        url = session.url("workspaces", workspace, "events")
        self._connection, self._response = session.open(url, headers, timeout_s=SILENT_S, total_s=0)

    def __iter__(self) -> Iterator[Change]:
        """Yield events until the connection ends.

        Raises:
            Unavailable: It broke (``server_unreachable``).
        """
        fields: dict[str, str] = {}
        try:
            while line := self._response.readline(MAX_LINE_BYTES):
                name, _, value = line.decode("utf-8", "replace").rstrip("\r\n").partition(":")
                if name:
                    fields[name] = value.removeprefix(" ")
                elif "event" in fields:
                    yield Change(fields["event"], _key(fields.get("data", "")), fields.get("id", ""))
                    fields = {}
        except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: closed meanwhile
            raise Unavailable(
                f"The server does not tell of changes any more ({type(error).__name__}).", code="server_unreachable"
            ) from None
        finally:
            self._connection.close()

    def close(self) -> None:
        """End the connection, and with it whoever iterates."""
        with suppress(OSError, AttributeError):  # it is closed already
            self._connection.sock.shutdown(socket.SHUT_RDWR)


def _key(data: str) -> str:
    try:
        return str(msgspec.json.decode(data).get("key", ""))
    except (msgspec.DecodeError, AttributeError):
        return ""
