"""Requests that somebody who looks for a way into another workspace would send, drawn from the table of operations."""

from __future__ import annotations

import json
import random
import threading
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote
from uuid import UUID

from server_ext.api.operation import Operation
from server_ext.api.routes import OPERATIONS, STREAMS
from tests.security.isolation.canaries import WORKSPACES, named, secret, written
from tests.security.isolation.site import Person, Site
from tests.security.shapes import made_up, query_fields, required_query

# Which kind of thing a parameter, field or query of a name refers to.
KINDS = {
    "card": "card", "run": "run", "retry_of": "run", "changed_since": "run", "user": "user", "created_by": "user",
    "actor": "user", "case": "case", "label": "label", "tag": "tag", "report": "report", "generation": "generation",
    "credential": "credential", "webhook": "webhook", "rule": "rule", "price": "price", "invitation": "invitation",
    "token": "token", "budget": "budget",
    "object_id": "card", "cursor": "cursor", "workspace": "workspace", "session": "session",
}  # fmt: skip
# These change who belongs where, which the machine must know: in one's own workspace only guests are meant.
_FOR_GUESTS = {"remove_member", "update_member", "transfer_workspace", "leave_workspace"}
# They end sessions, make workspaces that nobody watches, or call providers.
_ELSEWHERE = {
    "log_in", "refresh_session", "log_out", "change_password", "revoke_sessions", "revoke_session", "create_workspace",
    "accept_invitation", "join_workspace",
}  # fmt: skip
_NOT_IN_OWN = {
    "revoke_token", "leave_workspace", "update_workspace", "test_credential", "test_webhook",
    "transfer_workspace",
}  # fmt: skip
IN_WORKSPACES = [operation for operation in OPERATIONS if operation.in_workspace]
OUTSIDE = [operation for operation in OPERATIONS if not operation.in_workspace and operation.id not in _ELSEWHERE]
_EXPENSIVE = {"verify_audit", "export_cases", "export_items", "regrade_run", "get_openapi"}
_FILE = b"who\nx\n"


@dataclass(frozen=True)
class Request:
    """One request.

    Attributes:
        place: Letter of the workspace that it is about.
        reference: What of it belongs to another workspace, or None.
        asked: Names and ids in path and query, which an answer may repeat.
        twin: The same request with something that is nowhere in place of the reference; both must get the same answer.
    """

    method: str
    target: str
    headers: dict[str, str]
    body: bytes | None
    operation: str
    person: Person
    place: str
    asked: tuple[str, ...] = ()
    reference: str | None = None
    twin: Request | None = None


class Pool:
    """What is known by name or id, of every workspace; the machine adds what it comes to see."""

    def __init__(self, site: Site) -> None:
        self._known = {
            letter: defaultdict(list, {kind: list(names) for kind, names in site.known[letter].items()})
            for letter in WORKSPACES
        }
        self._guests = {letter: str(site.actors[letter, "guest"].user_id) for letter in WORKSPACES}
        self._lock = threading.Lock()

    def pick(self, rng: random.Random, letter: str, kind: str) -> str | None:
        """Return one of a kind, or None when there is none."""
        with self._lock:
            names = self._known[letter][kind]
            return rng.choice(names) if names else None

    def guest(self, letter: str) -> str:
        """Return the id of a member whom anything may be done to."""
        return self._guests[letter]

    def forget(self, letter: str, kinds: frozenset[str], names: tuple[str, ...]) -> None:
        """Drop things of some kinds that are no more."""
        with self._lock:
            for kind in kinds:
                known = self._known[letter][kind]
                known[:] = [name for name in known if name not in names]

    def add(self, letter: str, kind: str, name: str) -> None:
        """Take note of something; of each kind the first and the latest are kept."""
        with self._lock:
            names = self._known[letter][kind]
            names.append(name)
            if len(names) > 60:
                del names[20]


class Generator:
    """Makes requests; the same seed makes the same ones as long as the pool is the same.

    Args:
        rare: Operations that have not succeeded yet: half of the requests are for them, by members of the workspace.
    """

    def __init__(self, pool: Pool, people: list[Person], seed: int, rare: Sequence[Operation] = ()) -> None:
        self._pool, self._people, self._rng, self._rare = pool, people, random.Random(seed), rare

    def next(self) -> Request:
        """Return the next request."""
        rng = self._rng
        person = rng.choice(self._people)
        if self._rare and rng.random() < 0.5:
            return self._at_home(rng.choice(self._rare), person, rng.choice(person.workspaces))
        if rng.random() < 0.06:
            return self._outside(person)
        operation = rng.choice(IN_WORKSPACES)
        if operation.id in _EXPENSIVE and rng.random() < 0.6:
            operation = rng.choice(IN_WORKSPACES)
        own = rng.choice(person.workspaces)
        others = [letter for letter in WORKSPACES if letter not in person.workspaces]
        way = rng.random()
        if way < 0.25:
            return self._elsewhere(operation, person, rng.choice(others))
        if way < 0.5:
            return self._reaching(operation, person, own, rng.choice(others))
        return self._at_home(operation, person, own)

    def _elsewhere(self, operation: Operation, person: Person, other: str) -> Request:
        """Ask in another workspace, as its members would."""
        workspace = self._pick(other, "workspace")
        parts = {name: self._own(other, name) for name in operation.parameters[1:]}
        # What is written has one's own canaries: in the other workspace they would be seen, too.
        own = self._rng.choice(person.workspaces)
        query, body = self._query(operation, other), self._body(operation, own)
        made = self._request(operation, person, own, {"workspace": workspace, **parts}, query, body)
        nowhere = self._request(operation, person, own, {"workspace": self._nowhere(workspace), **parts}, query, body)
        return replace(made, reference=workspace, twin=replace(nowhere, headers=made.headers))

    def _reaching(self, operation: Operation, person: Person, own: str, other: str) -> Request:
        """Ask in one's own workspace for something of another."""
        # A label that is put where there is none is a new one, whatever others call theirs.
        new = "label" if operation.id == "put_label" else ""
        places = [name for name in operation.parameters[1:] if name in KINDS and name != new]
        queries = [name for name in query_fields(operation) if name in KINDS and name != "cursor"]
        path = {"workspace": self._pick(own, "workspace"), **{n: self._own(own, n) for n in operation.parameters[1:]}}
        query, body = self._query(operation, own), self._body(operation, own)
        wanted = self._rng.choice([*places, *places, *queries, *self._in_body(operation)] or [""])
        found = self._pool.pick(self._rng, other, KINDS.get(wanted, "cursor"))
        if not wanted or found is None:
            return self._at_home(operation, person, own)
        made = self._pointed(operation, person, own, path, query, body, wanted, found)
        nowhere = self._pointed(operation, person, own, path, query, body, wanted, self._nowhere(found))
        return replace(made, reference=found, twin=replace(nowhere, headers=made.headers))

    def _pointed(
        self, operation: Operation, person: Person, own: str, path: dict[str, str], query: dict[str, Any], body: Any,
        at: str, name: str,
    ) -> Request:  # fmt: skip
        """Return the request with a name put where the path, the query or the body has that parameter."""
        if at in path:
            return self._request(operation, person, own, {**path, at: name}, query, body)
        if at in query_fields(operation):
            return self._request(operation, person, own, path, {**query, at: name}, body)
        made = self._request(operation, person, own, path, query, {**body, at: name})
        return replace(made, asked=(*made.asked, name))

    def _in_body(self, operation: Operation) -> list[str]:
        return {"create_run": ["card"], "transfer_workspace": ["user"]}.get(operation.id, [])

    def _at_home(self, operation: Operation, person: Person, own: str) -> Request:
        """Ask in one's own workspace, at times with cursors, keys and tags of others."""
        parts = {name: self._own(own, name) for name in operation.parameters[1:]}
        if operation.id in _NOT_IN_OWN:
            parts = {name: self._nowhere(text) for name, text in parts.items()}
            if not parts:
                return self._at_home(self._rng.choice(IN_WORKSPACES), person, own)
        if operation.id in _FOR_GUESTS and "user" in parts:
            parts["user"] = self._pool.guest(own)
        query = self._query(operation, own)
        if "cursor" in query_fields(operation) and self._rng.random() < 0.5:
            cursor = self._pool.pick(self._rng, self._rng.choice(WORKSPACES), "cursor")
            query |= {"cursor": cursor} if cursor else {}
        body = self._body(operation, own)
        path = {"workspace": self._pick(own, "workspace"), **parts}
        return self._request(operation, person, own, path, query, body)

    def _outside(self, person: Person) -> Request:
        """Ask outside of workspaces, for any of them."""
        operation = self._rng.choice(OUTSIDE)
        parts = {name: str(self._uuid()) for name in operation.parameters}
        body = self._body(operation, self._rng.choice(person.workspaces))
        if isinstance(body, dict) and "workspace" in body:
            body["workspace"] = self._pick(self._rng.choice(WORKSPACES), "workspace")
        own = person.workspaces[0]
        made = self._request(operation, person, own, parts, self._query(operation, own), body)
        asked = [body["workspace"]] if isinstance(body, dict) and "workspace" in body else []
        return replace(made, asked=(*made.asked, *asked))

    def _request(
        self, operation: Operation, person: Person, own: str, path: dict[str, str], query: dict[str, Any], body: Any
    ) -> Request:
        target = operation.path
        for name, value in path.items():
            target = target.replace("{" + name + "}", quote(value, safe=""))
        if query:
            target += "?" + "&".join(f"{name}={quote(str(value), safe='')}" for name, value in query.items())
        raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        headers = self._headers(operation, person)
        asked = (*path.values(), *(str(value) for value in query.values()))
        return Request(operation.method, target, headers, raw, operation.id, person, own, asked)

    def _headers(self, operation: Operation, person: Person) -> dict[str, str]:
        rng, bearer = self._rng, self._rng.random() < 0.2
        headers = {"Authorization": f"Bearer {person.token}"} if bearer else {"X-PromptCards-Token": person.token}
        if operation.conditional and rng.random() < 0.9:
            tag = self._pool.pick(rng, rng.choice(WORKSPACES), "etag")
            headers["If-Match"] = tag if tag and rng.random() < 0.3 else "*"
        if operation.idempotent and rng.random() < 0.5:
            # The same keys in all workspaces: nobody must get the answer that another got.
            headers["Idempotency-Key"] = f"key-{rng.randrange(20)}"
        return headers

    def _query(self, operation: Operation, letter: str) -> dict[str, Any]:
        query = required_query(operation)
        for name in query_fields(operation):
            if name in ("text", "base", "other", "name", "action") and (name in query or self._rng.random() < 0.3):
                query[name] = {"base": "1", "other": "draft"}.get(name) or named(letter, "")[:8]
            elif name == "limit":
                query[name] = self._rng.choice((1, 2, 50))
            elif name == "everybody":
                query[name] = "true"
        return query

    def _body(self, operation: Operation, letter: str) -> Any:
        if operation.raw:
            return _FILE
        if operation.body is None:
            return None
        if operation.id == "save_draft":
            return {"template": written(letter, "draft"), "note": written(letter, "draft")}
        made = made_up(operation.body, self._rng, lambda name: self._text(letter, name))
        if operation.id == "save_card":
            made["name"] = named(letter, self._rng.randrange(12))
            made = {name: made[name] for name in ("name", "title", "tags", "note", "description") if name in made}
            made["template"] = f"{written(letter, self._rng.randrange(4))} {{{{ who }}}}"
        if operation.id in ("create_run", "retry_errors"):
            made |= {"name": written(letter, "run")}
            made.pop("embedder", None), made.pop("judges", None), made.pop("cases", None), made.pop("versions", None)
        return made

    def _text(self, letter: str, name: str) -> str | None:
        """Return a text of a workspace for a field of a name."""
        if name == "key":
            return secret("key-of-a-provider")
        if name == "host":
            return f"{written(letter, 'host')}.example.com"
        if name == "email":
            return f"{written(letter, self._rng.randrange(1000))}@example.com"
        if name in ("scopes", "type", "base_url", "provider", "currency", "priority", "delete", "slug", "pattern"):
            return "viewer" if name == "scopes" else None
        if name in ("card", "label", "tag", "tags", "user", "workspace"):
            return self._own(letter, "tag" if name == "tags" else name)
        if name == "value":
            return written(letter, self._rng.randrange(1000))
        return named(letter, "x") if name == "name" else written(letter, self._rng.randrange(10))

    def _own(self, letter: str, name: str) -> str:
        if name == "version":
            return self._rng.choice(("1", "2", "latest", "draft"))
        return self._pool.pick(self._rng, letter, KINDS[name]) or str(self._uuid())

    def _pick(self, letter: str, kind: str) -> str:
        found = self._pool.pick(self._rng, letter, kind)
        assert found is not None
        return found

    def _uuid(self) -> UUID:
        return UUID(int=self._rng.getrandbits(128), version=4)

    def _nowhere(self, like: str) -> str:
        """Return a name of nothing that looks like another one."""
        try:
            UUID(like)
        except ValueError:
            digits = f"{self._rng.getrandbits(256):064x}"
            return digits if len(like) == 64 else ("nothing-" + digits)[: max(len(like), 12)]
        return str(self._uuid())


def stream_targets(site: Site, letter: str) -> list[tuple[str, bool]]:
    """Return the addresses of a workspace's streams, and whether each is a websocket."""
    found = []
    for path, _, _ in STREAMS:
        target = path.replace("{workspace}", str(site.ids[letter])).replace("{run}", site.known[letter]["run"][0])
        found.append((target, "{run}" in path))
    return found
