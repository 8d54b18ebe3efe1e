"""The doorbell, the relay, and what others might put on the queue."""

from __future__ import annotations

import json
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from redis import Redis
from rq.job import Job
from rq.serializers import JSONSerializer

from promptcard_ext.core.errors import Unavailable
from server_ext.db.engine import Database
from server_ext.embedded import Services
from server_ext.jobs.queue import QUEUE, Doorbell
from server_ext.jobs.relay import Relay
from server_ext.services import tasks
from server_ext.services.tasks import Note
from tests.conftest import StartWorker
from tests.support import Tenant, wait_for


@pytest.fixture
def doorbell(services: Services, redis: Redis) -> Iterator[Doorbell]:
    redis.flushall()
    doorbell = Doorbell(services.redis_url)
    yield doorbell
    doorbell.close()
    redis.flushall()


def test_a_bell_carries_two_ids_and_nothing_else(doorbell: Doorbell, redis: Redis) -> None:
    note = Note(uuid4(), uuid4(), "run_shard")
    doorbell.ring(note)
    (job_id,) = redis.lrange(f"rq:queue:{QUEUE}", 0, -1)
    job = redis.hgetall(b"rq:job:" + job_id)
    assert json.loads(zlib.decompress(job[b"data"])) == [
        "server_ext.jobs.work.do",
        None,
        [str(note.workspace_id), str(note.task_id)],
        {},
    ]
    assert doorbell.waiting() == 1


def test_a_queue_that_is_away_is_unavailable() -> None:
    doorbell = Doorbell("unix:///nowhere/valkey.sock")
    with pytest.raises(Unavailable):
        doorbell.ring(Note(uuid4(), uuid4(), "run_shard"))
    with pytest.raises(Unavailable):
        doorbell.waiting()
    doorbell.close()


def test_whoever_can_write_to_redis_cannot_make_a_worker_call_anything(
    tenant: Tenant, redis: Redis, start_worker: StartWorker, tmp_path: Path
) -> None:
    proof = tmp_path / "proof"
    job_id = str(uuid4())
    data = json.dumps(["subprocess.getoutput", None, [f"touch {proof}"], {}]).encode()
    job = {
        "created_at": "2026-01-01T00:00:00.000000Z",
        "data": zlib.compress(data),
        "origin": QUEUE,
        "status": "queued",
        "description": "",
        "timeout": "180",
        "success_callback_name": "subprocess.getoutput",
        "failure_callback_name": "subprocess.getoutput",
        "stopped_callback_name": "subprocess.getoutput",
    }
    redis.hset(f"rq:job:{job_id}", mapping=job)
    redis.sadd("rq:queues", f"rq:queue:{QUEUE}")
    redis.rpush(f"rq:queue:{QUEUE}", job_id)
    assert Job.fetch(job_id, redis, JSONSerializer).func is subprocess.getoutput  # plain RQ would run it
    run_id = tenant.start()
    start_worker()

    wait_for(lambda: tenant.status(run_id) == "completed")  # the worker lives and works
    wait_for(lambda: redis.hget(f"rq:job:{job_id}", "status") == b"failed" or not redis.exists(f"rq:job:{job_id}"))
    assert not proof.exists()


def test_the_relay_rings_for_what_is_committed_as_soon_as_it_is_woken(
    tenant: Tenant, database: Database, doorbell: Doorbell
) -> None:
    relay = Relay(database, doorbell, sweep_s=3600)
    relay.start()
    tenant.start()
    relay.wake()
    wait_for(lambda: doorbell.waiting() == 1, 5)
    relay.close()


class _AwayAtFirst(Doorbell):
    """A doorbell whose queue cannot be reached for the first rings."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.refused = 0

    def ring(self, note: Note) -> None:
        if self.refused < 2:
            self.refused += 1
            raise Unavailable("The queue does not answer.")
        super().ring(note)


def test_a_note_survives_a_queue_that_is_away(
    tenant: Tenant, database: Database, services: Services, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    while tasks.take_notes(database, lambda note: None):
        pass
    redis.flushall()
    doorbell = _AwayAtFirst(services.redis_url)
    relay = Relay(database, doorbell, sweep_s=3600)
    tenant.start()
    relay.start()
    wait_for(doorbell.waiting, 10)
    relay.close()
    assert doorbell.refused == 2
    doorbell.close()


def test_a_task_whose_bell_was_lost_is_rung_for_again(
    tenant: Tenant, database: Database, doorbell: Doorbell, redis: Redis
) -> None:
    tenant.start()
    relay = Relay(database, doorbell, sweep_s=0.1, patience_s=0.2)
    relay.start()
    wait_for(doorbell.waiting, 5)
    redis.flushall()
    wait_for(doorbell.waiting, 5)
    relay.close()


def test_a_long_queue_is_not_made_longer(tenant: Tenant, database: Database, doorbell: Doorbell) -> None:
    tenant.start(count=4, repeats=500)  # four tasks
    relay = Relay(database, doorbell, sweep_s=0, patience_s=0)
    relay.start()
    wait_for(lambda: doorbell.waiting() >= 4, 5)
    asked = []
    # Other tests may have left something that waits, too.
    before = doorbell.waiting()
    original, doorbell.waiting = doorbell.waiting, lambda: asked.append(1) or original()  # type: ignore[method-assign]
    wait_for(lambda: len(asked) >= 3, 10)
    relay.close()
    assert original() == before
