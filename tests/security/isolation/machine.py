"""Sends requests from several connections at once and looks at every byte that comes back."""

from __future__ import annotations

import json
import random
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from server_ext.api.operation import Operation
from tests.security.isolation.canaries import WORKSPACES, foreign
from tests.security.isolation.requests import IN_WORKSPACES, KINDS, Generator, Pool, Request, stream_targets
from tests.security.isolation.site import Person, Site
from tests.security.serving import Server
from tests.security.wire_client import Connection, Reply, websocket_headers

THREADS = 6
# After so many, sessions are begun anew if they are old, and streams opened anew.
ROUND = 20_000
RARE_ROUND = 1_000
# Where an answer says what it made, by operation: the kind of thing, and where its id stands.
_MADE = {
    "save_card": ("card", ("card_id",)), "create_run": ("run", ("id",)), "retry_errors": ("run", ("id",)),
    "add_case": ("case", ("id",)), "create_credential": ("credential", ("id",)),
    "create_network_rule": ("rule", ("id",)), "create_price_override": ("price", ("id",)),
    "create_invitation": ("invitation", ("invitation", "id")), "create_token": ("token", ("api_token", "id")),
    "create_report": ("report", ("id",)), "create_webhook": ("webhook", ("webhook", "id")),
    "set_budget": ("budget", ("id",)),
}  # fmt: skip
# Where an answer says what there is: cases are replaced all at once, and the new ones are told in no other way.
_LISTED = {
    "list_cases": "case", "list_credentials": "credential", "list_network_rules": "rule", "list_webhooks": "webhook",
}  # fmt: skip
# What is deleted for good. Little would succeed if it was asked for again and again.
_MORTAL = frozenset({"case", "credential", "rule", "price", "report", "invitation", "webhook", "budget"})
_CHANGING = re.compile(rb"\r\n(?:X-Request-Id|Date|Ratelimit-[A-Za-z]+|Content-Length|Etag): [^\r]*", re.IGNORECASE)
_REQUEST_ID = re.compile(rb'"request_id":"[0-9a-f]+"')
_TRIES = 4


@dataclass
class Findings:
    """What came of it.

    Attributes:
        sent: Requests that were sent and answered, streams among them.
        statuses: How many answers of each status.
        succeeded: How many answers of 2xx each operation gave.
        leaks: Answers with something of another workspace.
        told_apart: Pairs of what is another's and what is nowhere that got different answers.
        broken: Answers of 5xx, and those that ended early.
        frames: Bytes that streams brought.
    """

    sent: int = 0
    compared: int = 0
    frames: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    succeeded: Counter[str] = field(default_factory=Counter)
    leaks: list[str] = field(default_factory=list)
    told_apart: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def counted(self, request: Request, reply: Reply) -> None:
        """Count an answer."""
        with self._lock:
            self.sent += 1
            self.statuses[reply.status] += 1
            if reply.status < 300:
                self.succeeded[request.operation] += 1

    @property
    def summary(self) -> str:
        """The numbers in one line."""
        statuses = ", ".join(f"{status} × {count}" for status, count in sorted(self.statuses.items()))
        return (
            f"{self.sent} requests, {self.compared} compared pairs, {self.frames} bytes of streams, "
            f"{len(self.leaks)} leaks, {len(self.told_apart)} told apart, {len(self.broken)} broken; {statuses}"
        )


class Machine:
    """Looks for leaks between the workspaces of a site."""

    def __init__(self, site: Site, server: Server, seed: int, who: Callable[[Person], bool] = lambda _: True) -> None:
        self._server, self._seed, self._who = server, seed, who
        self._people: list[Person] = []
        self._rare: list[Operation] = []
        self._site, self._pool = site, Pool(site)
        self.findings = Findings()
        self._wanted, self._failed = 0, False
        self._refused = {
            letter: re.compile(
                rb'"path":"workspaces/(?:%s|%s)/[^"]*"' % (str(known).encode(), site.slugs[letter].encode())
            )
            for letter, known in site.ids.items()
        }

    def run(self, count: int, operations: frozenset[str] = frozenset()) -> Findings:
        """Send at least ``count`` requests, while others of the people listen to the streams.

        Args:
            operations: What must have succeeded once: what was unlucky until then gets up to half as many again.
        """
        while not self._failed and (self.findings.sent < count or self._lacks(operations, count * 3 // 2)):
            self._people = [person for person in self._site.people() if self._who(person)]
            if left := max(count - self.findings.sent, 0):
                self._wanted = self.findings.sent + min(ROUND, left)
            else:
                self._rare = _with_lists(
                    [one for one in IN_WORKSPACES if one.id in operations and not self.findings.succeeded[one.id]]
                )
                self._wanted = self.findings.sent + RARE_ROUND
            self._round()
            self._seed += 1
        return self.findings

    def _lacks(self, operations: frozenset[str], most: int) -> bool:
        return self.findings.sent < most and any(not self.findings.succeeded[one] for one in operations)

    def _round(self) -> None:
        threads = [threading.Thread(target=self._work, args=(number,), daemon=True) for number in range(THREADS)]
        with self._listening() as listen:
            for thread in threads:
                thread.start()
            for thread in threads:
                while thread.is_alive():
                    listen()
                    thread.join(0.2)
            listen()

    def _work(self, number: int) -> None:
        generator = Generator(self._pool, self._people, self._seed * 1000 + number, self._rare)
        with self._server.connection() as connection:
            try:
                while self.findings.sent < self._wanted:
                    request = generator.next()
                    reply = self._send(connection, request)
                    if request.twin is not None:
                        self._compare(connection, request, reply)
            except Exception as error:
                self._failed = True
                self.findings.broken.append(f"{type(error).__name__}: {error}")
                raise

    def _send(self, connection: Connection, request: Request) -> Reply:
        reply = connection.ask(request.method, request.target, request.headers, request.body)
        self.findings.counted(request, reply)
        self._look(request, reply.head + b"\r\n" + reply.body)
        if reply.status >= 500 or reply.truncated:
            self.findings.broken.append(f"{_named(request)}: {reply.status} {reply.body[:300]!r}")
        if reply.status < 300:
            self._learn(request, reply)
        elif reply.status == 404 and request.reference is None and request.place in request.person.workspaces:
            self._pool.forget(request.place, _MORTAL, request.asked)
        return reply

    def _look(self, request: Request, data: bytes) -> None:
        asked = [text.encode() for text in sorted(request.asked, key=len, reverse=True) if "canary" in text]
        if b'"path":"' in data:
            # Members who were refused something stand in the audit trail with the address that they asked for.
            data = self._refused[request.place].sub(b"", data)
        if found := foreign(data, request.person.workspaces, asked):
            self.findings.leaks.append(f"{_named(request)}: of {found}: {data[-600:]!r}")

    def _compare(self, connection: Connection, request: Request, reply: Reply) -> None:
        assert request.twin is not None
        # Others change the workspace meanwhile: only a difference that stays is one.
        for _ in range(_TRIES):
            nowhere = self._send(connection, request.twin)
            if _masked(request, reply) == _masked(request.twin, nowhere):
                self.findings.compared += 1
                return
            if 429 in (reply.status, nowhere.status):
                return  # says how busy the asker's own workspace is, and nothing of what was asked for
            reply = self._send(connection, request)
        self.findings.told_apart.append(
            f"{_named(request)} {request.reference}: {_masked(request, reply)!r}\n"
            f"  nowhere {request.twin.target}: {_masked(request.twin, nowhere)!r}"
        )

    def _learn(self, request: Request, reply: Reply) -> None:
        if tag := reply.headers.get("etag"):
            self._pool.add(request.place, "etag", tag)
        if not reply.body.startswith(b"{"):
            return
        wanted = b'"next":"' in reply.body or request.operation in _MADE or request.operation in _LISTED
        answer = json.loads(reply.body) if wanted else {}
        if isinstance(answer.get("next"), str):
            self._pool.add(request.place, "cursor", answer["next"])
        if len(request.person.workspaces) > 1:
            return
        if request.operation in _LISTED:
            for one in answer["items"][-3:]:
                if "id" in one:  # not when other fields were asked for
                    self._pool.add(request.place, _LISTED[request.operation], one["id"])
        if request.operation in _MADE:
            kind, place = _MADE[request.operation]
            for name in place:
                answer = answer[name]
            self._pool.add(request.place, kind, str(answer))

    @contextmanager
    def _listening(self) -> Iterator[Callable[[], None]]:
        """Open every stream as everybody, and yield a function that looks at what they have brought."""
        rng = random.Random(self._seed)
        with ExitStack() as stack:
            open_ones: list[tuple[Request, Connection]] = []
            for person in self._people:
                for letter in WORKSPACES:
                    for target, is_socket in stream_targets(self._site, letter):
                        request = self._stream_request(person, letter, target, is_socket)
                        connection = stack.enter_context(self._server.connection())
                        if self._open(connection, request, rng):
                            open_ones.append((request, connection))
            yield lambda: self._overhear(open_ones)

    def _stream_request(self, person: Person, letter: str, target: str, is_socket: bool) -> Request:
        shown = {"X-PromptCards-Token": person.token}
        headers = shown | (websocket_headers() if is_socket else {})
        return Request("GET", target, headers, None, "socket" if is_socket else "stream", person, letter)

    def _open(self, connection: Connection, request: Request, rng: random.Random) -> bool:
        reply = connection.open_stream(request.target, request.headers)
        self.findings.counted(request, reply)
        self._look(request, reply.head + reply.body)
        may = request.place in request.person.workspaces
        if (reply.status in (101, 200)) != may or reply.status not in (101, 200, 404):
            self.findings.leaks.append(f"{_named(request)} as {request.person}: {reply.status}")
        return may

    def _overhear(self, open_ones: list[tuple[Request, Connection]]) -> None:
        for request, connection in open_ones:
            data, _ = connection.overheard()
            self.findings.frames += len(data)
            self._look(request, data)


def _with_lists(operations: list[Operation]) -> list[Operation]:
    """Return operations, and those that tell what there is of what they are about: the rest may be deleted by now."""
    kinds = {KINDS.get(name) for one in operations for name in one.parameters}
    return operations + [one for one in IN_WORKSPACES if _LISTED.get(one.id) in kinds]


def _named(request: Request) -> str:
    return f"{request.operation} {request.method} {request.target} as {request.person}"


def _masked(request: Request, reply: Reply) -> tuple[int, bytes, bytes]:
    """Return an answer without what may differ between two: its number, times and the name that was asked for."""
    body = _REQUEST_ID.sub(b"", reply.body)
    for text in sorted(request.asked, key=len, reverse=True):
        if len(text) > 5:  # numbers and the like may stand anywhere
            body = body.replace(text.encode(), b"?")
    return reply.status, _CHANGING.sub(b"", reply.head), body
