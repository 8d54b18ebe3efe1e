"""Hostile texts in every place of every request: never an answer of 5xx, and what is taken reads back equal.

CI takes a share of all combinations that changes with the seed; all of them on demand::

    PROMPTCARDS_TEST_NAUGHTY=all .venv/bin/python -m pytest tests/security/test_naughty_http.py -s
"""

from __future__ import annotations

import json
import os
import random
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any, Literal
from urllib.parse import quote
from uuid import uuid4

import pytest

from promptcard_ext.core.card import Card
from promptcard_ext.core.contract.api_tokens import ApiTokenSpec
from promptcard_ext.core.contract.budgets import BudgetSpec
from promptcard_ext.core.contract.cards import LabelTarget
from promptcard_ext.core.contract.credentials import NewCredential
from promptcard_ext.core.contract.prices import PriceOverrideSpec
from promptcard_ext.core.contract.runs import RunSpec
from promptcard_ext.core.contract.webhooks import WebhookSpec
from server_ext.api.operation import Operation
from server_ext.api.routes import OPERATIONS
from server_ext.db.engine import Database
from server_ext.keys import load_ring
from server_ext.runtime import ready_services
from server_ext.services import (
    accounts,
    api_tokens,
    budgets,
    cards,
    cases,
    credentials,
    labels,
    logins,
    price_overrides,
    reports,
    runs,
    webhooks,
)
from server_ext.settings import Settings
from tests.security.naughty import texts
from tests.security.serving import Server, serving
from tests.security.shapes import TextField, query_fields, required_query, text_fields
from tests.security.wire_client import Connection, Reply
from tests.support import ECHO, Tenant, greetings, new_tenant, temporary_home

# The way counts here; the services take the largest.
TEXTS = [text for text in texts() if len(text) <= 10_000]
WANTED = 20_000
ALL = os.environ.get("PROMPTCARDS_TEST_NAUGHTY") == "all"
SEED = int(os.environ.get("PROMPTCARDS_TEST_NAUGHTY_SEED") or 20261128)
THREADS = 6
EMAIL, PASSWORD = "naughty@example.com", "correct horse battery"
PRICE = PriceOverrideSpec("openai", "m", Decimal(1), Decimal(2), date(2020, 1, 1), "contract")
SOFT = BudgetSpec("workspace", "month", Decimal(1_000_000), hard=False)
# Each takes a tenth of a second of the processor, on purpose.
SLOW = {"log_in": 12, "change_password": 12, "accept_invitation": 40}
# Hosts and addresses are written in one form, and a host that is allowed already stays as it is.
REWRITTEN = {
    ("create_network_rule", "note"), ("create_network_rule", "host"), ("create_credential", "base_url"),
    ("update_credential", "base_url"), ("create_webhook", "url"), ("update_webhook", "url"),
}  # fmt: skip
# A case without a name is called by its identity.
NAMED_ANYHOW = {("add_case", "name"), ("update_case", "name")}
MAX_TARGET = 60_000
# Would end the session that all others use.
UNUSED = {"revoke_sessions"}
HEADERS = ("If-Match", "Idempotency-Key", "X-Request-Id", "User-Agent", "Content-Type", "Accept", "X-PromptCards-Token")

pytestmark = pytest.mark.timeout(3600 if ALL else 300)


@dataclass(frozen=True)
class Slot:
    """One place of one operation's request."""

    operation: Operation
    where: Literal["body", "path", "query", "header", "raw"]
    name: str
    text: TextField | None = None


@dataclass
class House:
    """A server and what is in it: values of path parameters by name, and credentials."""

    server: Server
    real: dict[str, str]
    token: str
    session: str


@dataclass
class Outcome:
    """What came of it."""

    sent: int = 0
    read_back: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


def slots() -> list[Slot]:
    """Return every place of every operation where a client may put a text."""
    found: list[Slot] = []
    for operation in OPERATIONS:
        if operation.id in UNUSED:
            continue
        if operation.body is not None:
            texts_of = text_fields(operation.body)
            found += [Slot(operation, "body", ".".join(map(str, text.place)), text) for text in texts_of]
        found += [Slot(operation, "path", name) for name in operation.parameters]
        found += [Slot(operation, "query", name) for name in [*query_fields(operation), "fields"]]
        found += [Slot(operation, "header", name) for name in HEADERS if _takes(operation, name)]
        if operation.raw or operation.body is not None:
            found.append(Slot(operation, "raw", "body"))
    return found


def _takes(operation: Operation, header: str) -> bool:
    if header == "If-Match":
        return operation.conditional
    if header == "Idempotency-Key":
        return operation.idempotent
    if header == "Content-Type":
        return operation.body is not None or bool(operation.raw)
    return operation.id in ("get_card", "save_card", "get_me")


def combinations() -> list[tuple[Slot, str]]:
    """Return which text goes where: all of them, or so many for each place that there are enough in all."""
    rng, every = random.Random(SEED), slots()
    each = len(TEXTS) if ALL else WANTED // len(every) + 3
    made = []
    for slot in every:
        few = min(each, SLOW.get(slot.operation.id, each) if not ALL else each)
        made += [(slot, text) for text in rng.sample(TEXTS, few)]
    rng.shuffle(made)
    return made


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    """A home of its own: what is made here is a lot."""
    with temporary_home() as home:
        settings = Settings(home=home)
        with ready_services(settings) as services:
            with Database(services.database_url, pool_size=2, keys=load_ring(settings.keys_path)) as database:
                owner = accounts.create_user(database, "Ada", EMAIL, PASSWORD)
                tenant = new_tenant(database, owner)
                real, token = _furnish(tenant)
                session = logins.login(database, EMAIL, PASSWORD).access_token
            with serving(home) as server:
                yield House(server, real, token, session)


def _furnish(tenant: Tenant) -> tuple[dict[str, str], str]:
    with tenant.scope() as scope:
        cards.save_version(scope, Card("free", "Hi {{ who }}", tags=("t",)))
        cards.save_version(scope, Card("other", "Hi {{ who }}"))
        labels.put(scope, "free", "production", LabelTarget(1))
        cases.replace_all(scope, "free", greetings(2))
        run = str(runs.create(scope, RunSpec(card="free", models=[ECHO])).id)
        key = credentials.create(scope, NewCredential("openai", key="sk-abcdefghijklmnop"))
        real = {
            "workspace": str(tenant.id), "card": "free", "version": "1", "label": "production", "tag": "t", "run": run,
            "case": str(cases.list_cases(scope, "free").items[0].id), "credential": str(key.id),
            "webhook": str(webhooks.create(scope, WebhookSpec("https://hooks.example.com/x")).webhook.id),
            "budget": str(budgets.set_rule(scope, SOFT).id),
            "user": str(tenant.actor.user_id), "price": str(price_overrides.create(scope, PRICE).id),
            "report": str(reports.create(scope, run)["id"]),
        }  # fmt: skip
        return real, api_tokens.create(scope, ApiTokenSpec("naughty")).token


def test_there_are_enough_texts_and_places() -> None:
    assert len(TEXTS) >= 300
    assert len(slots()) >= 400
    made = combinations()
    assert len(made) >= WANTED
    used = Counter(text for _, text in made)
    assert min(used[text] for text in TEXTS) >= 10


def test_no_text_anywhere_makes_the_server_stumble(house: House) -> None:
    outcome, left = Outcome(), combinations()
    threads = [threading.Thread(target=_work, args=(house, left, outcome), daemon=True) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(f"\n{outcome.sent} requests, {outcome.read_back} read back; {sorted(outcome.statuses.items())}")
    assert outcome.wrong == [], "\n".join(outcome.wrong[:10])
    assert outcome.sent >= WANTED
    assert outcome.read_back >= WANTED // 40
    assert outcome.statuses[429] == 0 or outcome.statuses[429] < WANTED // 100
    assert "Traceback" not in house.server.said


def _work(house: House, left: list[tuple[Slot, str]], outcome: Outcome) -> None:
    with house.server.connection() as connection:
        while True:
            try:
                slot, text = left.pop()
            except IndexError:
                return
            try:
                _one(house, connection, slot, text, outcome)
            except Exception as error:  # noqa: BLE001  a thread that ends without a word would look like one that is done
                outcome.wrong.append(f"{_named(slot)} {text[:60]!r}: {type(error).__name__}: {error}")
                connection.close()


def _one(house: House, connection: Connection, slot: Slot, text: str, outcome: Outcome) -> None:
    sent = _request(house, slot, text)
    if sent is None:
        return
    method, target, headers, body = sent
    reply = connection.ask(method, target, headers, body)
    with outcome.lock:
        outcome.sent += 1
        outcome.statuses[reply.status] += 1
    if reply.status >= 500 or reply.truncated:
        outcome.wrong.append(f"{_named(slot)} {text[:60]!r}: {reply.status} {reply.body[:300]!r}")
    elif reply.status >= 400:
        # What is no HTTP is refused before it comes to us.
        if not (reply.json or {}).get("code") and not (reply.status == 400 and slot.where == "header"):
            outcome.wrong.append(f"{_named(slot)} {text[:60]!r}: no code: {reply.status} {reply.body[:200]!r}")
    elif slot.text is not None and slot.text.stored and (slot.operation.id, slot.name) not in REWRITTEN:
        _check_stored(house, connection, slot, text, reply, outcome)


def _request(house: House, slot: Slot, text: str) -> tuple[str, str, dict[str, str | bytes], bytes | None] | None:
    operation = slot.operation
    # What is deleted, and what is called, is nothing.
    nothing = operation.method == "DELETE" or operation.id == "test_credential"
    target = operation.path
    for name in operation.parameters:
        real = str(uuid4()) if nothing and name != "workspace" else house.real.get(name, str(uuid4()))
        if name == "card" and operation.id in ("replace_cases", "import_cases", "add_case", "change_cases"):
            real = "other"  # whose cases no run has to render
        value = text if (slot.where, slot.name) == ("path", name) else real
        target = target.replace("{" + name + "}", quote(value, safe="", errors="surrogatepass"))
    query = required_query(operation)
    if slot.where == "query":
        query[slot.name] = text
    if query:
        pairs = (f"{name}={quote(str(value), safe='', errors='surrogatepass')}" for name, value in query.items())
        target += "?" + "&".join(pairs)
    if len(target) > MAX_TARGET:
        return None  # more than HTTP takes here
    token = house.token if operation.in_workspace or operation.id == "log_out" else house.session
    headers: dict[str, str | bytes] = {"X-PromptCards-Token": token}
    if operation.conditional:
        headers["If-Match"] = "*"
    if slot.where == "header":
        if any(character in text for character in "\r\n\x00") or not text.strip():
            return None  # would be other headers
        headers[slot.name] = text.encode("utf-8", "surrogatepass")
    return operation.method, target, headers, _body(slot, text)


def _body(slot: Slot, text: str) -> bytes | None:
    operation = slot.operation
    if slot.where == "raw":
        return text.encode("utf-8", "surrogatepass")
    if slot.text is not None:
        made = slot.text.filled(text)
        made |= {name: value for name, value in _fitting(operation).items() if name != slot.text.place[0]}
        return json.dumps(made).encode()
    if operation.raw:
        return b"who\nx\n"
    if operation.body is None:
        return None
    fields = text_fields(operation.body)
    return json.dumps(fields[0].body if fields else {"version": 1}).encode()


def _fitting(operation: Operation) -> dict[str, Any]:
    """Return what a body must say besides, so that it can be taken."""
    if operation.id == "create_run":
        return {"card": "free"}
    if operation.id == "save_card":
        # Title and description are the card's, and not the version's: another request could write them before they
        # are read back.
        return {"name": f"card-{uuid4().hex}"}
    return {"variables": {"n": str(uuid4())}} if operation.id == "add_case" else {}


def _named(slot: Slot) -> str:
    return f"{slot.operation.name} {slot.where} {slot.name}"


# -- what is taken reads back equal ----------------------------------------------------------------------------------

_NOTHING = object()


def _check_stored(house: House, connection: Connection, slot: Slot, text: str, reply: Reply, outcome: Outcome) -> None:
    assert slot.text is not None
    answer, place = _stored(house, connection, slot, reply)
    found = _at(answer, place, text)
    if found is _NOTHING:
        return
    with outcome.lock:
        outcome.read_back += 1
    named_anyhow = not text and (slot.operation.id, slot.name) in NAMED_ANYHOW
    if found != (answer["case_uid"][:8] if named_anyhow else _as_sent(text)):
        outcome.wrong.append(f"{_named(slot)}: {text[:60]!r} became {found!r:.120}")


def _stored(house: House, connection: Connection, slot: Slot, reply: Reply) -> tuple[Any, tuple[str | int, ...]]:
    """Return the answer that shows what was written, and where in it."""
    assert slot.text is not None
    place, answer = slot.text.place, reply.json
    shown = {"X-PromptCards-Token": house.token}
    workspace = f"workspaces/{house.real['workspace']}"
    if slot.operation.id == "save_card":
        target = f"{workspace}/cards/{answer['card_id']}/versions/{answer['version']}"
        return connection.ask("GET", target, shown).json, place if place[0] == "provenance" else ("card", *place)
    if slot.operation.id == "save_draft":
        return answer, ("content", *place)
    return answer, place


def _at(answer: Any, place: tuple[str | int, ...], text: str) -> Any:
    for step in place:
        if step == "{}":
            return _as_sent(text) if isinstance(answer, dict) and _as_sent(text) in answer else _NOTHING
        try:
            answer = answer[step]
        except (KeyError, IndexError, TypeError):
            return _NOTHING
    return answer


def _as_sent(text: str) -> str:
    """Return the text that JSON makes of it: two halves of a character are one there."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
