"""A worker that is killed while the database is away loses nothing that it heard: the next of its home brings it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
import sqlalchemy as sa

from server_ext.db.tables import attempts
from server_ext.embedded import Services
from server_ext.settings import Settings
from tests.fault.invariants import Evidence, ordinals, violations
from tests.fault.place import MODEL
from tests.fault.referee import Referee
from tests.jobs.line import Line
from tests.support import Program, Tenant, wait_for

CASES = 40
CONCURRENCY = 8


@pytest.fixture
def line(services: Services) -> Iterator[Line]:
    folder = Path(tempfile.mkdtemp(prefix="pc-line-"))  # a socket's path must be short
    with Line(services.database_url, folder) as line:
        yield line
    shutil.rmtree(folder)


def test_what_was_heard_while_the_database_was_away_survives_the_worker(
    place: Tenant,
    stranger: Tenant,
    referee: Referee,
    line: Line,
    services: Services,
    settings: Settings,
    tmp_path: Path,
) -> None:
    there = {
        "PROMPTCARDS_DATABASE_URL": line.url,
        "PROMPTCARDS_REDIS_URL": services.redis_url,
        "PROMPTCARDS_KEYS_FILE": str(settings.keys_path),
        "PROMPTCARDS_LEASE_S": "4",
    }
    referee.plan(latency_s=0.5)
    run_id = place.start([MODEL], count=CASES, concurrency=CONCURRENCY)
    journal = tmp_path / "home" / "journal"

    def heard() -> int:
        return sum(len(path.read_bytes().splitlines()) for path in journal.glob("*.jsonl"))

    with Program(tmp_path / "home", "worker", **there) as first:
        wait_for(lambda: place.recorded(run_id))
        line.cut()
        # Announced ahead are fewer than that: fewer are in flight when all of these have been heard.
        wait_for(lambda: heard() >= CONCURRENCY)
        first.kill_all()
    kept, recorded = heard(), place.recorded(run_id)
    assert kept
    line.mend()
    with Program(tmp_path / "home", "worker", **there):
        wait_for(lambda: place.status(run_id) == "completed", 60)
    calls = ordinals(referee.calls())
    evidence = Evidence(run_id, CASES, calls, in_flight=CONCURRENCY)
    assert violations(place, stranger, evidence) == []
    assert not list(journal.iterdir())
    query = sa.select(sa.func.count()).where(
        attempts.c.run_id == UUID(run_id), attempts.c.attempt == 1, attempts.c.state == "recorded"
    )
    with place.scope() as scope:
        assert scope.connection.execute(query).scalar_one() == recorded + kept
