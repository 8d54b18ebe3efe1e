"""The short form of the storm: everything that can die does, and each execution is recorded once all the same."""

from __future__ import annotations

import pytest

from tests.fault.storm import Weather, storm


@pytest.mark.timeout(400)
def test_a_thousand_executions_are_recorded_once_in_a_storm() -> None:
    weather = Weather(
        executions=1000,
        lease_s=2.0,
        latency_s=0.1,
        kill_every_s=0.12,
        pg_restart_s=(3, 6),
        redis=("flushall",),
        redis_s=(3, 6),
        kills=40,
        restarts=3,
    )
    toll = storm(weather, seed=1)
    print(toll)
    assert toll.wrong == []
    assert (toll.status, toll.recorded, toll.calls - toll.surplus) == ("completed", 1000, 1000)
    assert (sum(toll.kills.values()), toll.restarts, toll.redis) == (40, 3, 1), toll
