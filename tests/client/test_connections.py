"""Connections that are kept for the next request, and closed when there will be none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from promptcard_ext.client.connections import Connections
from tests.stub_server import Stub


@pytest.fixture
def stub() -> Iterator[Stub]:
    """A server of the OpenAI protocol."""
    with Stub() as stub:
        yield stub


def test_a_request_that_outlives_its_session_leaves_no_connection_open(stub: Stub) -> None:
    connections = Connections("127.0.0.1", stub.port, secure=False)
    connection, response = connections.open("GET", "/v1/models", b"", {}, 5.0)
    connections.end()
    response.read()
    connections.give_back(connection)
    assert connection.sock is None
    assert connections.exchange("GET", "/v1/models", b"", {}, 5.0).status == response.status
    assert connections._idle == []
