"""What controls runs, and what can be asked about them, over REST."""

from __future__ import annotations

import csv
import io
from typing import Any

from tests.api.conftest import Api
from tests.api.test_api_runs import RUN, ended, until
from tests.conftest import StartWorker
from tests.services.test_runs_control import ended as recorded
from tests.support import ECHO, SLOW, Tenant

PRICE = {
    "provider": "simulated", "model": "echo", "input_per_mtok": "3.10", "output_per_mtok": 7,
    "valid_from": "2026-01-01", "source": "Contract 17",
}  # fmt: skip


async def test_a_run_waits_and_goes_on(api: Api, tenant: Tenant, start_worker: StartWorker) -> None:
    tenant.fill(30)
    start_worker()
    run_id = (await api.post("runs", {**RUN, "models": [SLOW], "concurrency": 3})).json["id"]

    async def look(status: str, done: int) -> Any:
        run = (await api.get(f"runs/{run_id}")).json
        return run["status"] == status and run["counts"]["done"] >= done

    await until(lambda: look("running", 2))
    paused = await api.post(f"runs/{run_id}/pause")
    await until(lambda: look("paused", 2), 2.0)
    resumed = await api.post(f"runs/{run_id}/resume")
    run = await ended(api, run_id)
    late = await api.post(f"runs/{run_id}/pause")
    assert (paused.status, paused.json["status"]) == (202, "pausing")
    assert (resumed.status, resumed.json["status"]) == (202, "running")
    assert (run["status"], run["counts"]["done"]) == ("completed", 30)
    assert (late.status, late.json["code"]) == (409, "run_state")


async def test_failed_items_are_asked_again(api: Api, tenant: Tenant, start_worker: StartWorker) -> None:
    run_id = recorded(tenant, tenant.start([ECHO], count=8))
    again = await api.post(f"runs/{run_id}/retry-errors", {"name": "Again"}, headers={"Idempotency-Key": "once"})
    twin = await api.post(f"runs/{run_id}/retry-errors", {"name": "Again"}, headers={"Idempotency-Key": "once"})
    start_worker()
    run = await ended(api, again.json["id"])
    assert (again.status, again.json["retry_of"], again.json["plan"]["chosen"]) == (201, run_id, 2)
    assert twin.json["id"] == again.json["id"]
    assert (run["status"], run["counts"]["passed"]) == ("completed", 2)
    listed = await api.get(f"runs?retry_of={run_id}&status=completed&status=failed&name=AGAIN&model={ECHO}")
    assert [one["id"] for one in listed.json["items"]] == [again.json["id"]]
    nothing = await api.post(f"runs/{again.json['id']}/retry-errors")
    assert (nothing.status, nothing.json["code"]) == (422, "nothing_to_retry")


async def test_a_run_gets_another_name(api: Api, tenant: Tenant) -> None:
    run_id = tenant.start()
    path = f"{api.workspace}/runs/{run_id}"
    assert (await api.ask("PATCH", path, {"name": "Better"})).json["name"] == "Better"
    for body in ({"name": ""}, {"status": "completed"}, {"name": "x" * 256}, {"name": None}):
        answer = await api.ask("PATCH", path, body)
        assert (answer.status, answer.json["code"]) == (422, "request_invalid")


async def test_stored_answers_are_judged_by_other_assertions(api: Api, tenant: Tenant) -> None:
    run_id = recorded(tenant, tenant.start([ECHO], count=4))
    told = await api.post(f"runs/{run_id}/regrade", {"assertions": [{"type": "contains", "value": "Hello"}]})
    wrong = await api.post(f"runs/{run_id}/regrade", {"assertions": [{"type": "contians", "value": "Hello"}]})
    assert told.status == 200
    assert (told.json["judged"], told.json["without_answer"]) == (3, 1)
    assert {"before": "fail", "after": "pass", "count": 1} in told.json["flips"]["moves"]
    assert [result["outcome"] for result in told.json["results"]] == ["pass"] * 3
    assert wrong.status == 422


async def test_items_are_filtered_and_written_to_a_file(api: Api, tenant: Tenant) -> None:
    run_id = recorded(tenant, tenant.start([ECHO], count=8))
    found = await api.get(f"runs/{run_id}/items?outcome=error&outcome=fail")
    table = await api.get(f"runs/{run_id}/export?outcome=fail")
    lines = await api.get(f"runs/{run_id}/export?format=jsonl")
    assert [item["ordinal"] for item in found.json["items"]] == [1, 2, 5, 6]
    assert [row["ordinal"] for row in csv.DictReader(io.StringIO(table.raw.decode()))] == ["1", "5"]
    assert len(lines.raw.splitlines()) == 8
    assert table.headers["Content-Disposition"] == 'attachment; filename="run-results.csv"'
    for wrong in ("outcome=nice", "limit=0", "colour=red", "cursor=x", "changed_since=y"):
        assert (await api.get(f"runs/{run_id}/items?{wrong}")).status == 422


async def test_prices_of_a_workspace_are_set_changed_and_withdrawn(api: Api) -> None:
    made = await api.post("price-overrides", PRICE)
    path = f"{api.workspace}/price-overrides/{made.json['id']}"
    read = await api.ask("GET", path)
    assert (made.status, read.json) == (201, made.json)
    assert (made.json["input_per_mtok"], made.json["output_per_mtok"]) == ("3.10", "7")
    assert read.headers["ETag"] == made.headers["ETag"]
    twice = await api.post("price-overrides", PRICE)
    assert (twice.status, twice.json["code"]) == (422, "price_overlap")

    blind = await api.ask("PATCH", path, {"valid_to": "2026-06-01"})
    changed = await api.ask("PATCH", path, {"valid_to": "2026-06-01"}, headers={"If-Match": read.headers["ETag"]})
    stale = await api.ask("PATCH", path, {"valid_to": "2026-07-01"}, headers={"If-Match": read.headers["ETag"]})
    assert (blind.status, changed.status, stale.status) == (428, 200, 412)
    assert changed.json["valid_to"] == stale.json["current"]["valid_to"] == "2026-06-01"
    rates = await api.ask("PATCH", path, {"input_per_mtok": 1}, headers={"If-Match": "*"})
    assert rates.status == 422

    listed = await api.get("prices?provider=simulated&on=2026-05-01&model=echo")
    assert [price["override"] for price in listed.json["items"]] == [True]
    gone = await api.ask("DELETE", path, headers={"If-Match": changed.headers["ETag"]})
    assert (gone.status, (await api.ask("GET", path)).status) == (204, 404)
    assert (await api.get("price-overrides")).json == {"items": [], "next": None}


async def test_usage_and_answers_are_told(api: Api, tenant: Tenant) -> None:
    recorded(tenant, tenant.start([ECHO], count=4))
    used = await api.get("usage?group_by=card")
    assert (used.json["rows"][0]["name"], used.json["total"]["items"]) == ("greet", 4)
    assert isinstance(used.json["total"]["cost_usd"], str)
    assert (await api.get("usage?from=2026-02-30")).status == 422
    assert (await api.get("usage?from=2026-03-01&to=2026-02-01")).status == 422
    answers = await api.get("generations?card=greet&limit=2")
    assert len(answers.json["items"]) == 2
    shown = await api.get(f"generations/{answers.json['items'][0]['id']}")
    assert shown.json["generation"]["output"] == "Hello"
    assert (await api.get("generations/nothing")).status == 404
