"""A referee, and a workspace that calls it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fault.place import lead_to
from tests.fault.referee import Referee
from tests.support import Tenant


@pytest.fixture
def referee(tmp_path: Path) -> Iterator[Referee]:
    """A provider that counts."""
    with Referee(tmp_path / "calls.jsonl") as referee:
        yield referee


@pytest.fixture
def place(tenant: Tenant, referee: Referee) -> Tenant:
    """A workspace whose runs call the referee."""
    lead_to(tenant, referee)
    return tenant
