from collections.abc import Iterator

import pytest

from tests.stub_server import Stub


@pytest.fixture
def stub() -> Iterator[Stub]:
    with Stub() as server:
        yield server
