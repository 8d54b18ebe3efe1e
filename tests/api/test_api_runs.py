"""Runs, items and reports over REST, carried out by a real worker."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from tests.api.conftest import Api
from tests.api.test_api_cards import pages
from tests.conftest import StartWorker
from tests.support import ECHO, SLOW, Tenant

RUN = {"card": "greet", "models": [ECHO]}


async def until(look: Callable[[], Awaitable[Any]], timeout_s: float = 60.0) -> Any:
    """Look again and again until there is something true to see, and return it."""
    async with asyncio.timeout(timeout_s):
        while not (found := await look()):
            await asyncio.sleep(0.05)
    return found


async def ended(api: Api, run_id: str) -> dict[str, Any]:
    async def look() -> Any:
        run = (await api.get(f"runs/{run_id}")).json
        return run if run["status"] in ("completed", "cancelled", "failed") else None

    return dict(await until(look))


async def test_a_run_is_made_whole_before_the_answer(api: Api, tenant: Tenant) -> None:
    tenant.fill(3)
    answer = await api.post("runs", {**RUN, "repeats": 2, "name": "Two rounds"})
    read = await api.get(f"runs/{answer.json['id']}")

    assert answer.status == 201
    assert read.json == answer.json
    assert (answer.json["name"], answer.json["status"]) == ("Two rounds", "queued")
    assert (answer.json["counts"]["total"], answer.json["counts"]["done"]) == (6, 0)
    assert answer.json["plan"]["models"] == [ECHO]


async def test_a_worker_does_what_was_asked_for(api: Api, tenant: Tenant, start_worker: StartWorker) -> None:
    tenant.fill(5)
    start_worker()
    run_id = (await api.post("runs", {**RUN, "repeats": 3})).json["id"]
    run = await ended(api, run_id)
    items = (await api.get(f"runs/{run_id}/items")).json["items"]

    assert (run["status"], run["counts"]["done"], run["counts"]["passed"]) == ("completed", 15, 15)
    assert [item["ordinal"] for item in items] == list(range(15))
    assert {item["outcome"] for item in items} == {"pass"}
    assert items[0]["generation"]["output"] == "Say hello to Ada 0."
    for limit in (1, 4, 15, 2000):
        found = await pages(api, f"runs/{run_id}/items", limit)
        assert [item["ordinal"] for item in found] == list(range(15))


async def test_the_same_idempotency_key_gives_the_same_run(api: Api, tenant: Tenant) -> None:
    tenant.fill()
    headers = {"Idempotency-Key": "once"}
    answers = await asyncio.gather(*(api.post("runs", RUN, headers=headers) for _ in range(8)))
    other = await api.post("runs", RUN, headers={"Idempotency-Key": "twice"})

    assert {answer.status for answer in answers} == {201}
    assert len({answer.json["id"] for answer in answers}) == 1
    assert other.json["id"] != answers[0].json["id"]
    assert len((await api.get("runs")).json["items"]) == 2


async def test_an_idempotency_key_stands_for_one_request_only(api: Api, tenant: Tenant) -> None:
    tenant.fill()
    headers = {"Idempotency-Key": "once"}
    await api.post("runs", RUN, headers=headers)
    answer = await api.post("runs", {**RUN, "repeats": 2}, headers=headers)
    assert (answer.status, answer.json["code"]) == (422, "idempotency_reused")


async def test_an_idempotency_key_that_is_too_long_is_refused(api: Api, tenant: Tenant) -> None:
    tenant.fill()
    answer = await api.post("runs", RUN, headers={"Idempotency-Key": "x" * 256})
    assert (answer.status, answer.json["code"]) == (422, "request_invalid")


async def test_runs_are_listed_newest_first_page_by_page(api: Api, tenant: Tenant) -> None:
    tenant.fill(1)
    made = [(await api.post("runs", RUN)).json["id"] for _ in range(5)]
    for limit in (1, 2, 5, 50):
        listed = await pages(api, "runs", limit)
        assert [run["id"] for run in listed] == made[::-1]


async def test_a_run_takes_the_versions_and_cases_it_is_given(api: Api, tenant: Tenant) -> None:
    tenant.fill(3)
    await api.post("cards", {"name": "greet", "template": "Greet {{ who }}."})
    answer = await api.post("runs", {**RUN, "versions": [2, 1], "cases": ["ada-1"], "models": [ECHO, SLOW]})
    assert answer.json["counts"]["total"] == 4
    assert [version["version"] for version in answer.json["plan"]["versions"]] == [1, 2]


async def test_a_waiting_run_is_cancelled_at_once(api: Api, tenant: Tenant) -> None:
    run_id = tenant.start()
    answer = await api.post(f"runs/{run_id}/cancel")
    again = await api.post(f"runs/{run_id}/cancel")
    assert (answer.status, answer.json["status"]) == (202, "cancelled")
    assert (again.status, again.json) == (202, answer.json)


async def test_a_run_that_works_is_cancelled_within_two_seconds_and_keeps_its_results(
    api: Api, tenant: Tenant, start_worker: StartWorker
) -> None:
    tenant.fill(40)
    start_worker()
    run_id = (await api.post("runs", {**RUN, "models": [SLOW], "concurrency": 2})).json["id"]

    async def some() -> bool:
        return bool((await api.get(f"runs/{run_id}")).json["counts"]["done"] >= 2)

    await until(some)
    answer = await api.post(f"runs/{run_id}/cancel")
    async with asyncio.timeout(2.0):
        run = await ended(api, run_id)

    assert (answer.json["status"], run["status"]) == ("cancelling", "cancelled")
    items = (await api.get(f"runs/{run_id}/items")).json["items"]
    assert 2 <= len(items) == run["counts"]["done"] < 40


async def test_a_report_is_made_and_served_in_a_sandbox(api: Api, tenant: Tenant, start_worker: StartWorker) -> None:
    tenant.fill(2)
    start_worker()
    run_id = (await api.post("runs", RUN)).json["id"]
    await ended(api, run_id)
    asked = await api.post(f"runs/{run_id}/reports")
    early = await api.get(f"reports/{asked.json['id']}/html")

    async def ready() -> Any:
        report = (await api.get(f"reports/{asked.json['id']}")).json
        return report if report["status"] not in ("queued", "running") else None

    report = await until(ready, 120)
    page = await api.get(f"reports/{asked.json['id']}/html")
    notebook = await api.get(f"reports/{asked.json['id']}/notebook")

    assert (asked.status, asked.json["status"], early.status) == (202, "queued", 404)
    assert (report["status"], report["error"], report["size"]) == ("done", None, len(page.raw))
    policy = page.headers["Content-Security-Policy"].split("; ")
    assert "sandbox" in policy
    assert "default-src 'none'" in policy
    assert not any(rule.startswith("script-src") for rule in policy)
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert page.headers["Content-Disposition"].startswith("attachment")
    assert page.headers["Content-Type"].startswith("text/html")
    assert b"greet" in page.raw
    assert json.loads(notebook.raw)["nbformat"] == 4


async def test_a_slow_request_holds_up_no_other(api: Api, extension: Any, tenant: Tenant, jp_fetch: Any) -> None:
    import sqlalchemy as sa

    runtime = await extension.ready(30)

    def slow() -> None:
        with runtime.database.transaction() as connection:
            connection.execute(sa.text("select pg_sleep(2)"))

    loop = asyncio.get_running_loop()
    busy = [loop.run_in_executor(extension.pool, slow) for _ in range(extension.pool_size)]
    began = loop.time()
    assert (await jp_fetch("api", "status")).code == 200  # Jupyter's own routes, while all our threads wait
    assert loop.time() - began < 1.0
    assert (await api.get("cards")).status == 200  # ours come as soon as a thread is free
    assert loop.time() - began < 5.0
    await asyncio.gather(*busy)
