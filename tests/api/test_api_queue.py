"""The queue of a workspace over REST, and of all on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from promptcard_ext.core.per_minute import PerMinute
from server_ext.embedded import Services
from server_ext.limits.portions import SMOOTH_S, Demand, Portions
from server_ext.limits.shares import Shares, Wish
from server_ext.redis_line import RedisLine
from server_ext.runtime import installation_id
from server_ext.services import tasks, workers
from server_ext.services.workers import Sign
from server_ext.settings import Settings
from tests.api.conftest import Api
from tests.support import Tenant, run_command


async def test_a_workspace_sees_what_waits_and_what_is_in_flight(api: Api, tenant: Tenant) -> None:
    assert (await api.get("queue")).json["lines"] == []
    tenant.start(count=50, repeats=12)  # 600 items, 240 a shard
    tenant.start(count=5)
    before = (await api.get("queue")).json
    assert (before["waiting"], before["in_flight"], before["held"]) == (4, 0, 0)
    (line,) = before["lines"]
    assert (line["priority"], line["waiting_items"]) == ("medium", 605)
    assert 0 <= before["oldest_s"] < 60

    while lease := tasks.claim_next(tenant.database, "w-abc123", 60):
        if lease.workspace_id == tenant.id:
            break
    after = (await api.get("queue")).json
    assert (after["waiting"], after["in_flight"]) == (3, 1)
    assert lease is not None
    tasks.finish(tenant.database, lease, "done")
    ended = (await api.get("queue")).json
    assert (ended["in_flight"], ended["items_per_minute"]) == (0, lease_items(lease) / 5)


def lease_items(lease: tasks.Lease) -> int:
    assert lease.first_ordinal is not None
    assert lease.last_ordinal is not None
    return lease.last_ordinal - lease.first_ordinal + 1


async def test_a_workspace_sees_the_workers_and_nothing_of_what_others_do(
    api: Api, api_of: Callable[[Tenant], Api], tenant: Tenant, stranger: Tenant
) -> None:
    name = "secret-host-17-abc123"
    workers.beat(tenant.database, Sign(name, "secret-host", 17, "1.0", "busy", 9))
    run_id = stranger.start()
    with stranger.scope() as scope:
        task_id = scope.connection.exec_driver_sql("select id from tasks").scalar_one()
    assert tasks.claim(tenant.database, stranger.id, task_id, name, 60)
    seen = await api.get("queue")
    workers.forget(tenant.database, name)
    assert (seen.json["waiting"], seen.json["in_flight"], seen.json["lines"]) == (0, 0, [])
    (worker,) = [one for one in seen.json["workers"] if one["id"] == "abc123"]
    assert (worker["state"], worker["tasks"], worker["version"]) == ("running", 0, "1.0")
    for what in ("secret-host", str(stranger.id), run_id, "busy"):
        assert what not in json.dumps(seen.json)


async def test_a_workspace_sees_what_it_calls_and_what_is_down(
    api: Api, services: Services, tenant: Tenant, stranger: Tenant
) -> None:
    ours = shares_of(services, tenant)
    ours.ask(Wish("https://api.example.com#1", "example", 9, 4))
    ours.ask(Wish("https://broken.example.com#2", "broken", 0, 0, down="judge"))
    ours.ask(Wish("total", "", 9, 4, limit=50))
    theirs = shares_of(services, stranger)
    theirs.ask(Wish("https://api.example.com#1", "example", 5, 5, down="task"))
    theirs.ask(Wish("https://secret.example.com#3", "secret", 5, 5))
    for one in (ours, theirs):
        one.close()
    found = sorted((await api.get("queue")).json["providers"], key=lambda one: str(one["provider"]))
    assert found == [
        {"provider": "broken", "in_flight": 0, "limit": 20, "down": ["judge"], **NO_RATES},
        {"provider": "example", "in_flight": 4, "limit": 20, "down": [], **NO_RATES},
    ]


NO_RATES = dict.fromkeys(
    ("requests_per_minute", "most_requests_per_minute", "tokens_per_minute", "most_tokens_per_minute")
)


async def test_a_workspace_sees_what_it_uses_of_limits_by_the_minute(
    api: Api, settings: Settings, services: Services, tenant: Tenant, stranger: Tenant
) -> None:
    name, limit = "https://metered.example.com#1", PerMinute(500, 20_000)
    for owner, used in ((tenant, 10), (stranger, 20)):
        shares = shares_of(services, owner)
        shares.ask(Wish(name, "example", 9, 4))
        shares.close()
        portions = Portions(RedisLine(services.redis_url), installation_id(services.database_url), f"{owner.id}:w:t")
        portions.ask([Demand(name, "example", limit, 1, 1), Demand("total", "", PerMinute(900), 1, 1)])
        portions.ask([Demand(name, "example", limit, 0, 0, requests_used=used, tokens_used=100 * used)])
    (found,) = [one for one in (await api.get("queue")).json["providers"] if one["most_requests_per_minute"]]
    assert (found["most_requests_per_minute"], found["most_tokens_per_minute"]) == (500, 20_000)
    assert found["tokens_per_minute"] == pytest.approx(100 * found["requests_per_minute"], abs=100)
    assert 0 < found["requests_per_minute"] <= 10 * 60 / SMOOTH_S


def test_operators_see_what_all_use_of_limits_by_the_minute(
    settings: Settings, services: Services, tenant: Tenant
) -> None:
    name = "https://metered.example.com#2"
    portions = Portions(RedisLine(services.redis_url), installation_id(services.database_url), f"{tenant.id}:w:t")
    portions.ask([Demand(name, "example", PerMinute(500), 1, 1), Demand("total", "", PerMinute(900, 5000), 1, 1)])
    table = run_command(settings.home, "queue")
    found = {one["name"]: one for one in json.loads(run_command(settings.home, "queue", "--json").stdout)["providers"]}
    assert (found[name]["provider"], found[name]["most_requests_per_minute"]) == ("example", 500)
    assert found[name]["most_tokens_per_minute"] is None
    total = found["total"]
    assert (total["provider"], total["limit"], total["most_tokens_per_minute"]) == ("all", None, 5000)
    assert "0 of 500 a minute" in table.stdout
    assert "0 of 5,000 a minute" in table.stdout


def shares_of(services: Services, tenant: Tenant) -> Shares:
    return Shares(RedisLine(services.redis_url), installation_id(services.database_url), f"{tenant.id}:w:t")


def test_operators_see_all_queues_and_workers(
    settings: Settings, services: Services, tenant: Tenant, stranger: Tenant
) -> None:
    mine = shares_of(services, tenant)
    mine.ask(Wish("https://api.example.com#1", "example", 9, 4, down="task"))
    mine.close()
    tenant.start(count=5)
    stranger.start(count=5)
    workers.beat(tenant.database, Sign("host-17-abc123", "host", 17, "1.0", "busy", 9))
    shown = run_command(settings.home, "queue", "--json")
    table = run_command(settings.home, "queue")
    workers.forget(tenant.database, "host-17-abc123")
    assert (shown.returncode, table.returncode) == (0, 0), shown.stderr
    found = json.loads(shown.stdout)
    waiting = {line["workspace_id"]: line["waiting"] for line in found["lines"]}
    assert (waiting[str(tenant.id)], waiting[str(stranger.id)]) == (1, 1)
    (provider,) = found["providers"]
    assert (provider["name"], provider["in_flight"], provider["down"]) == ("https://api.example.com#1", 4, ["task"])
    assert "host-17-abc123" in [worker["name"] for worker in found["workers"]]
    assert "host-17-abc123" in table.stdout
    assert str(tenant.id) in table.stdout
