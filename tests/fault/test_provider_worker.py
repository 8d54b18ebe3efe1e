"""Some of the ways in which a provider fails, met by a real worker, at the first, the middle and the last call."""

from __future__ import annotations

from typing import NamedTuple

from promptcard_ext.core.contract.runs import ItemQuery
from promptcard_ext.core.results import ItemResult
from server_ext.services import items
from tests.conftest import StartWorker
from tests.fault.invariants import Evidence, ordinals, violations
from tests.fault.place import MODEL
from tests.fault.referee import Referee
from tests.support import Tenant, wait_for

CASES = 5
HIT = (0, CASES // 2, CASES - 1)


class Expected(NamedTuple):
    """What becomes of the item: why it has no verdict, how often it is called, its input tokens."""

    reason: str | None
    calls: int
    tokens: int | None = 5


EXPECTED = {
    "429 seconds": Expected(None, 2),
    "429 absurd": Expected("provider_429_exhausted", 1, None),
    "200 error": Expected("provider_refused", 1, None),
    "reset": Expected(None, 2),
    "cut": Expected(None, 2),
    "invalid utf-8": Expected(None, 2),
    "10 MB": Expected("reply_too_long", 1, None),
    "nul": Expected(None, 1),
    "surrogate": Expected(None, 1),
    "nan": Expected(None, 1, None),
    "negative tokens": Expected(None, 1, None),
}


def _tokens(item: ItemResult) -> int | None:
    return None if item.generation is None or item.reason else item.generation.tokens.input


def test_a_worker_records_what_a_fault_should_come_to(
    place: Tenant, stranger: Tenant, referee: Referee, start_worker: StartWorker
) -> None:
    start_worker()
    wrong: dict[str, object] = {}
    for fault, expected in EXPECTED.items():
        before = referee.calls()
        referee.plan(*((f"Ada {hit}.", fault, 1) for hit in HIT))
        run_id = place.start([MODEL], count=CASES, concurrency=1)
        wait_for(lambda run_id=run_id: place.status(run_id) == "completed", 60)  # type: ignore[misc]
        calls = ordinals(referee.calls() - before)
        with place.scope() as scope:
            found = items.list_items(scope, run_id, ItemQuery(limit=CASES)).items
        seen = [Expected(item.reason, calls[item.ordinal], _tokens(item)) for item in found]
        wanted = [expected if ordinal in HIT else Expected(None, 1) for ordinal in range(CASES)]
        if seen != wanted:
            wrong[fault] = (seen, wanted)
        evidence = Evidence(run_id, CASES, calls, most=2)
        broken = [line for line in violations(place, stranger, evidence) if not line.startswith("7: results")]
        if broken:
            wrong[f"{fault}: invariants"] = broken
    assert not wrong
