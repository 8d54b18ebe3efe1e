"""What a lost machine was at is taken up by another within ten seconds, when that is asked for."""

from __future__ import annotations

import pytest
from redis import Redis

from tests.conftest import StartWorker
from tests.fault.host_loss import ENDLESS, attempt_of, registered, seconds_to_lease
from tests.support import Tenant, wait_for

LEASE_S = 5.0
# Ten seconds, and some for a busy machine to start the job.
MOST_S = 13.0


@pytest.mark.parametrize("unheard", [False, True], ids=["a bell", "a lost bell"])
def test_a_short_lease_is_taken_over_within_ten_seconds(
    tenant: Tenant, redis: Redis, start_worker: StartWorker, unheard: bool
) -> None:
    run_id = tenant.start([ENDLESS])
    first = start_worker(lease_s=LEASE_S)
    wait_for(lambda: attempt_of(tenant, run_id) == 1)
    start_worker(lease_s=LEASE_S)
    registered(redis, 2)
    seconds = seconds_to_lease(tenant, run_id, first, unheard=unheard, most_s=60)
    print(f"{seconds:.1f} s")
    assert redis.scard("rq:workers") == 2  # nobody has told RQ
    assert LEASE_S / 2 < seconds <= MOST_S
