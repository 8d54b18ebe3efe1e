"""Whether load balancers may send requests."""

from __future__ import annotations

import pytest

from promptcard_ext.core.errors import Unavailable
from server_ext.observe.readiness import GOOD_FOR_S, Readiness


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_whoever_asks_again_and_again_gets_one_look_a_second() -> None:
    clock, looks = Clock(), []
    readiness = Readiness(lambda: looks.append(clock.now), clock=clock)
    for clock.now in (0.0, 0.1, GOOD_FOR_S - 0.01, GOOD_FOR_S, GOOD_FOR_S + 0.1):
        readiness.check()
    assert looks == [0.0, GOOD_FOR_S]


def test_what_was_found_is_said_until_the_next_look() -> None:
    clock = Clock()
    away = True

    def look() -> None:
        if away:
            raise Unavailable("The database does not answer.", code="database_unavailable")

    readiness = Readiness(look, clock=clock)
    for _ in range(2):
        with pytest.raises(Unavailable) as refusal:
            readiness.check()
        assert refusal.value.code == "database_unavailable"
    away, clock.now = False, GOOD_FOR_S
    readiness.check()
