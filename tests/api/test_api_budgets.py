"""Spend rules over REST, and the money of runs."""

from __future__ import annotations

from server_ext.services import tasks
from tests.api.conftest import Api
from tests.services.test_leases import expired_lease, lease_of, task_of
from tests.support import GREET, Tenant, greetings

RULE = {"scope": "workspace", "span": "day", "limit_usd": "0.000001"}
RUN = {"card": "greet", "models": ["simulated:steady"]}


async def fill(api: Api) -> None:
    await api.post("cards", {"name": "greet", "template": GREET.template})
    await api.post("cards/greet/cases", {"variables": {"who": greetings(1)[0].variables["who"]}})


async def test_a_rule_is_set_listed_and_removed(api: Api) -> None:
    made = await api.post("budgets", RULE)
    again = await api.post("budgets", {**RULE, "limit_usd": "5"})
    listed = await api.get("budgets")
    assert (made.status, again.status) == (200, 200)
    assert listed.json["items"] == [again.json]
    assert (again.json["id"], again.json["left_usd"]) == (made.json["id"], "5")
    gone = await api.ask("DELETE", f"{api.workspace}/budgets/{made.json['id']}")
    assert gone.status == 204
    assert (await api.get("budgets")).json["items"] == []
    assert (await api.post("budgets", {**RULE, "limit_usd": "NaN"})).status == 422


async def test_a_run_that_may_cost_too_much_is_refused_with_the_numbers(api: Api) -> None:
    await fill(api)
    await api.post("budgets", RULE)
    refused = await api.post("runs", RUN)
    assert (refused.status, refused.json["code"]) == (402, "budget_exceeded")
    (rule,) = refused.json["exceeds"]
    assert {"limit_usd", "spent_usd", "reserved_usd", "wanted_usd", "span", "scope"} <= rule.keys()
    assert (await api.get("runs")).json["items"] == []


async def test_a_soft_rule_and_the_money_are_told_with_the_run_and_a_run_gets_another_budget(api: Api) -> None:
    await fill(api)
    await api.post("budgets", {**RULE, "hard": False})
    started = await api.post("runs", {**RUN, "budget_usd": "0.5"})
    assert started.status == 201
    assert [one["hard"] for one in started.json["exceeds"]] == [False]
    assert started.json["money"] == {
        "budget_usd": "0.5", "ceiling_usd": None, "charged_usd": "0", "held_usd": "0",
    }  # fmt: skip
    path = f"{api.workspace}/runs/{started.json['id']}"
    changed = await api.ask("PATCH", path, {"budget_usd": "0.75", "concurrency": 3})
    assert (changed.status, changed.json["money"]["budget_usd"], changed.json["concurrency"]) == (200, "0.75", 3)


async def test_items_of_unknown_outcome_are_called_again_only_when_that_is_said(api: Api, tenant: Tenant) -> None:
    await fill(api)
    started = await api.post("runs", {**RUN, "on_unknown": "hold"})
    run_id = started.json["id"]
    dead = expired_lease(tenant, task_of(tenant, run_id))
    assert tasks.open_attempts(tenant.database, dead, [0])
    lease_of(tenant, dead.task_id, "b")
    assert (await api.post(f"runs/{run_id}/requeue", {"ordinals": [-1]})).status == 422
    assert (await api.post(f"runs/{run_id}/requeue", {"ordinals": [0]})).json["status"] == "running"
    refused = await api.post(f"runs/{run_id}/requeue", {})
    assert (refused.status, refused.json["code"]) == (409, "run_state")
