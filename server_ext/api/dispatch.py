"""From a request to its answer: who asks, how often, may they, what do they send, has it been answered before.

Everything here is synchronous and runs in a thread of the pool; tornado's side is in `base`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from promptcard_ext.core import wire
from promptcard_ext.core.errors import CardError, Denied, NotFound, RateLimited, Unauthenticated
from server_ext.api.operation import Call, Download, Operation
from server_ext.api.reading import check_size, read_body, read_query
from server_ext.api.sparse import only_fields
from server_ext.auth.actor import Actor
from server_ext.auth.permissions import SIGNED_IN, require
from server_ext.db.reads import Question
from server_ext.limits import Decision
from server_ext.runtime import Runtime
from server_ext.services import audit, export_turn, idempotency
from server_ext.services.idempotency import Kept
from server_ext.services.precondition import if_match, tag_of
from server_ext.services.scope import Glance, Right, Scope, find_right, right_among

MAX_PARAMETER = 300


@dataclass(frozen=True)
class Incoming:
    """A request, as far as it matters here.

    Attributes:
        identify: Returns who asks; raises `Unauthenticated`.
        at_hand: The same, or None when that takes asking somebody.
        anonymous: Whether it shows no credential at all.
    """

    path: dict[str, str]
    query: Mapping[str, Sequence[bytes]]
    headers: Mapping[str, str]
    raw: bytes
    address: str
    identify: Callable[[], Actor]
    at_hand: Callable[[], Actor | None]
    anonymous: bool
    password_login: bool


class Dispatch:
    """Carries out one operation for one request.

    Attributes:
        headers: What the answer says about rate limits, whether it succeeds or not.
    """

    def __init__(self, runtime: Runtime, operation: Operation, incoming: Incoming) -> None:
        self._runtime, self._operation, self._incoming = runtime, operation, incoming
        self.headers: dict[str, str] = {}

    def at_once(self) -> Kept | None:
        """Return the answer when all that it takes is in memory; asks nobody, so the event loop may call it.

        Raises:
            PromptCardError: As `answer`.
        """
        operation, incoming = self._operation, self._incoming
        if operation.cached is None or (known := self._known_at_hand()) is None:
            return None
        actor, right = known
        key = operation.cached(incoming.path, read_query(incoming.query, operation.query))
        body = self._runtime.cache.find("cards", right.workspace_id, key) if key else None
        if body is None or not self._counted_at_hand(actor, right):
            return None
        return self._answer_of(body, operation.status, {})

    async def on_loop(self) -> Kept | None:
        """Return the answer of an operation that reads by a single query, or None: then ask `answer`.

        All but the query is in memory, or it is left to the threads; so is whatever the database does not answer.

        Raises:
            PromptCardError: As `answer`.
        """
        operation, incoming = self._operation, self._incoming
        long = any(len(value) > MAX_PARAMETER for value in incoming.path.values())
        if not operation.glances or incoming.raw or long or (known := self._known_at_hand()) is None:
            return None
        actor, right = known
        if not self._counted_at_hand(actor, right):
            return None
        query = read_query(incoming.query, operation.query)
        call = Call(server=self._runtime, path=incoming.path, query=query, status=operation.status, _actor=actor)
        call.look(Glance(right.workspace_id, actor, right.role))
        question = operation.use(call)
        rows = await self._runtime.loop_reads.ask(right.workspace_id, actor.user_id, question)
        return None if rows is None else self._encode(call, question.answer(rows))

    def _known_at_hand(self) -> tuple[Actor, Right] | None:
        """Return who asks and by which right, or None when that takes asking somebody."""
        operation, incoming, runtime = self._operation, self._incoming, self._runtime
        if (actor := incoming.at_hand()) is None:
            return None
        rights = runtime.cache.find("perms", None, str(actor.user_id))
        if rights is None:
            return None
        right = right_among(rights, actor, incoming.path["workspace"])
        if right is None:
            return None
        require(right.role, operation.action, actor.scopes)
        return actor, right

    def _counted_at_hand(self, actor: Actor, right: Right) -> bool:
        decision = self._runtime.limiter.at_hand("authenticated", str(actor.user_id), str(right.workspace_id))
        if decision is not None:
            self._count(decision)
        return decision is not None

    def answer(self) -> Kept:
        """Return the answer of an operation that answers at once.

        Raises:
            PromptCardError: Whatever keeps it from being carried out.
        """
        call, right = self.admit()
        if (kept := self._cached(call, right)) is not None:
            return kept
        with ExitStack() as stack:
            scope = self._enter(stack, call, right)
            key = self._key(call) if scope is not None else None
            if scope is None or key is None:
                answer = self._encode(call, self._used(call, right))
            elif kept := idempotency.earlier(scope.connection, scope.workspace_id, key):
                return dataclasses.replace(kept, headers={**kept.headers, "Idempotency-Replayed": "true"})
            else:
                answer = self._encode(call, self._operation.use(call))
                idempotency.keep(scope.connection, scope.workspace_id, key, answer)
        # Only now do others see what was done, and so only now are they told.
        for work in call.after_commit:
            work()
        return answer

    def _used(self, call: Call, right: Right | None) -> Any:
        made = self._operation.use(call)
        if not isinstance(made, Question):
            return made
        assert right is not None
        read = self._runtime.database.read(right.workspace_id, call.actor.user_id, made.read, made.values)
        return made.answer(read)

    def _cached(self, call: Call, right: Right | None) -> Kept | None:
        operation = self._operation
        key = operation.cached(call.path, call.query) if operation.cached is not None else None
        if key is None or right is None:
            return None

        def load() -> bytes:
            with ExitStack() as stack:
                self._enter(stack, call, right)
                return wire.encode(operation.use(call))

        return self._answer_of(self._runtime.cache.get("cards", right.workspace_id, key, load), call.status, {})

    def download(self, stack: ExitStack, call: Call, right: Right | None) -> Download:
        """Return a file that is made while it is sent; ``stack`` holds its transaction open.

        Raises:
            RateLimited: The workspace has a file made already (``export_busy``).
        """
        scope = self._enter(stack, call, right)
        if scope is not None:
            export_turn.take(scope)
            # How much it will be is not known yet; that it leaves the server is. By a transaction of its own: the trail
            # is not to wait until the last byte has left.
            audit.record_apart(
                self._runtime.database, call.actor, scope.workspace_id, scope.role,
                "export.made", "operation", self._operation.id, path=self._operation.path.format(**call.path)[:200],
            )  # fmt: skip
        made: Download = self._operation.use(call)
        # Before the transaction ends: a cursor that is closed when its generator is collected would do so in another.
        stack.callback(_closed, made.chunks)
        return made

    def admit(self) -> tuple[Call, Right | None]:
        """Return the call and the right by which it is made: authenticated, within limits, authorised, well formed.

        Raises:
            PromptCardError: It is not.
        """
        operation, incoming = self._operation, self._incoming
        if any(len(value) > MAX_PARAMETER for value in incoming.path.values()):
            raise NotFound("There is nothing of so long a name.")
        actor = self._actor()
        right = self._authorised(actor) if actor is not None else None
        self._limit(actor, right)
        check_size(incoming.raw, operation.max_body)
        # Reading bodies of a megabyte takes a while: after everything that may refuse them unread.
        body = None if operation.body is None else read_body(incoming.raw, operation.body, operation.max_body)
        if operation.body is None and not operation.raw and incoming.raw not in (b"", b"{}"):
            raise CardError("This request takes no body.", code="request_invalid")
        call = Call(
            server=self._runtime,
            path=incoming.path,
            query=read_query(incoming.query, operation.query),
            body=body,
            raw=incoming.raw,
            content_type=incoming.headers.get("Content-Type", "").partition(";")[0].strip().lower(),
            match=if_match(incoming.headers.get("If-Match"), body),
            if_match=incoming.headers.get("If-Match", ""),
            address=incoming.address,
            user_agent=incoming.headers.get("User-Agent", "")[:200],
            password_login=incoming.password_login,
            status=operation.status,
            _actor=actor,
        )
        return call, right

    def _actor(self) -> Actor | None:
        incoming = self._incoming
        if incoming.anonymous and self._operation.public:
            return None
        try:
            return incoming.identify()
        except Unauthenticated:
            # Whoever guesses credentials is counted as the stranger that they are.
            self._count(self._runtime.limiter.check("anonymous", incoming.address))
            raise

    def _authorised(self, actor: Actor) -> Right | None:
        operation = self._operation
        if operation.in_workspace:
            right = find_right(
                self._runtime.database, actor, self._incoming.path["workspace"], self._runtime.remembered_rights
            )
            try:
                require(right.role, operation.action, actor.scopes)
            except Denied:
                self._record_refusal(actor, right)
                raise
            return right
        if operation.action == SIGNED_IN and (actor.scopes is not None or actor.workspace_id is not None):
            raise Denied(
                "A token of one workspace, or of some actions, may not do this.",
                hint="Log in, or use a token without these limits.",
                code="scope_missing",
            )
        return None

    def _record_refusal(self, actor: Actor, right: Right) -> None:
        """Put an attempt to change what one may not change into the audit trail; looking is no attempt."""
        if self._operation.method != "GET":
            path = self._operation.path.format(**self._incoming.path)
            audit.record_denied(
                self._runtime.database, actor, right.workspace_id, right.role, self._operation.action, path
            )

    def _limit(self, actor: Actor | None, right: Right | None) -> None:
        limiter, kind = self._runtime.limiter, self._operation.limit
        if kind == "none":
            return
        if actor is None or kind in ("login", "refresh"):
            kind = kind if kind in ("login", "refresh") else "anonymous"
            self._count(limiter.check(kind, self._incoming.address))
        elif kind == "authenticated":
            self._count(limiter.check(kind, str(actor.user_id), str(right.workspace_id if right else "")))
        else:
            self._count(limiter.check(kind, str(right.workspace_id if right else actor.user_id)))

    def _count(self, decision: Decision) -> None:
        self.headers |= decision.headers
        if not decision.allowed:
            raise RateLimited(
                "Too many requests of this kind.",
                hint="Wait as long as Retry-After says.",
                retry_after_s=decision.retry_after_s,
            )

    def _enter(self, stack: ExitStack, call: Call, right: Right | None) -> Scope | None:
        if right is None:
            return None
        if self._operation.glances:
            call.look(Glance(right.workspace_id, call.actor, right.role))
            return None
        database = self._runtime.exports if self._operation.streamed else self._runtime.database
        connection = stack.enter_context(database.transaction(right.workspace_id, call.actor.user_id))
        scope = Scope(connection, right.workspace_id, call.actor, right.role, database)
        call.enter(scope)
        return scope

    def _key(self, call: Call) -> idempotency.Key | None:
        text = self._incoming.headers.get("Idempotency-Key")
        if text is None or not self._operation.idempotent:
            return None
        request = (*(value.encode() for value in call.path.values()), *_sorted_query(self._incoming.query))
        return idempotency.key_of(call.actor, text.strip(), self._operation.name, *request, self._incoming.raw)

    def _encode(self, call: Call, value: Any) -> Kept:
        headers = dict(call.headers)
        if isinstance(value, Download):
            headers |= download_headers(value)
            return Kept(call.status, b"".join(value.chunks), headers)
        if call.status == 204:
            return Kept(204, b"", headers)
        return self._answer_of(wire.encode(value), call.status, headers)

    def _answer_of(self, body: bytes, status: int, headers: dict[str, str]) -> Kept:
        if self._operation.etag:
            # The state has one tag, whichever of its fields are sent.
            headers["ETag"] = f'"{tag_of(body)}"'
        fields = self._incoming.query.get("fields")
        return Kept(status, only_fields(body, fields[-1]) if fields else body, headers)


def _closed(chunks: Iterator[bytes]) -> None:
    if isinstance(chunks, Generator):
        chunks.close()


def download_headers(made: Download) -> dict[str, str]:
    """Return what makes a browser save a file, and show it in a sandbox should it show it at all."""
    return {
        "Content-Type": made.media_type,
        "Content-Disposition": f'attachment; filename="{made.filename}"',
        "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:",
    }


def _sorted_query(query: Mapping[str, Sequence[bytes]]) -> Iterator[bytes]:
    for name in sorted(query):
        yield name.encode()
        yield from query[name]
