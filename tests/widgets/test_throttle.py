import threading
from itertools import pairwise

from promptcard_ext.widgets.base import Throttle
from tests.widgets.fakes import Hands


def throttled(hands: Hands) -> tuple[Throttle, list[float]]:
    calls: list[float] = []
    return Throttle(lambda: calls.append(hands.now), 0.2, later=hands.later, clock=hands.clock), calls


def test_the_first_request_is_served_at_once(hands: Hands) -> None:
    throttle, calls = throttled(hands)
    throttle.request()
    hands.advance(0)
    assert calls == [100.0]


def test_however_many_requests_there_are_no_more_than_five_a_second_are_served(hands: Hands) -> None:
    throttle, calls = throttled(hands)
    for _ in range(1000):
        throttle.request()
        hands.advance(0.001)
    hands.advance(1)
    assert len(calls) == 6
    assert all(later - earlier >= 0.199 for earlier, later in pairwise(calls))


def test_the_last_request_is_never_lost(hands: Hands) -> None:
    throttle, calls = throttled(hands)
    throttle.request()
    hands.advance(0.05)
    throttle.request()
    hands.advance(10)
    assert len(calls) == 2


def test_a_request_that_is_made_while_one_is_served_is_served_afterwards(hands: Hands) -> None:
    seen: list[int] = []

    def action() -> None:
        seen.append(len(seen))
        if len(seen) == 1:
            throttle.request()

    throttle = Throttle(action, 0.2, later=hands.later, clock=hands.clock)
    throttle.request()
    hands.advance(1)
    assert seen == [0, 1]


def test_nothing_is_served_after_closing(hands: Hands) -> None:
    throttle, calls = throttled(hands)
    throttle.request()
    throttle.close()
    hands.advance(1)
    throttle.request()
    hands.advance(1)
    assert calls == []


def test_by_default_it_runs_on_the_background_loop() -> None:
    served = threading.Event()
    names: list[str] = []

    def action() -> None:
        names.append(threading.current_thread().name)
        served.set()

    Throttle(action).request()
    assert served.wait(5)
    assert names == ["promptcards-loop"]


def test_what_is_deferred_still_comes_however_much_else_is_done(hands: Hands) -> None:
    throttle, calls = throttled(hands)
    for _ in range(300):
        throttle.request()
        throttle.defer()
        hands.advance(0.01)
    assert 5 <= len(calls) <= 6
    assert all(later - earlier <= 0.65 for earlier, later in pairwise(calls))
