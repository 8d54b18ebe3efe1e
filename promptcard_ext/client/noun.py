"""What the calls of all nouns have in common."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, TypeVar
from uuid import UUID, uuid4

import msgspec
from msgspec import Struct

from promptcard_ext.client.connections import Reply
from promptcard_ext.client.download import Download
from promptcard_ext.client.session import Session, decoded, parameters
from promptcard_ext.core import wire
from promptcard_ext.core.contract.page import Page

T = TypeVar("T")
Ref = str | UUID
"""A name or an id, where both name a thing."""


class Tagged(Struct, Generic[T], frozen=True):
    """A state, and what names it when it is changed.

    Attributes:
        etag: To be given back as ``etag``: the change is refused when somebody else was quicker.
    """

    value: T
    etag: str


class Noun:
    """Calls below one path. All raise what `Session.ask` says.

    Args:
        place: The beginning of the path: ``workspaces`` and a workspace's slug or id, or nothing.
    """

    def __init__(self, session: Session, *place: str) -> None:
        self._session, self._place = session, place

    def _ask(
        self,
        method: str,
        *path: object,
        query: Struct | None = None,
        body: Any = None,
        etag: str | None = None,
        once: bool = False,
        headers: dict[str, str] | None = None,
    ) -> Reply:
        """Make a request.

        Args:
            body: Something that is JSON, or bytes that go out as they are.
            etag: The state that is to be changed; ``*`` is any.
            once: Whether the server does it once however often it is asked under one key, so that it may be repeated.
        """
        sent = dict(headers or {})
        if etag is not None:
            sent["If-Match"] = etag if etag == "*" else f'"{etag}"'
        if once:
            sent["Idempotency-Key"] = uuid4().hex
        data = body if isinstance(body, bytes) else b"" if body is None else wire.encode(body)
        return self._session.ask(method, self._url(*path, query=query), data, sent)

    def _read(self, kind: type[T], method: str, *path: object, **more: Any) -> T:
        return decoded(self._ask(method, *path, **more).body, kind)

    def _read_tagged(self, kind: type[T], method: str, *path: object, **more: Any) -> Tagged[T]:
        reply = self._ask(method, *path, **more)
        return Tagged(decoded(reply.body, kind), reply.etag)

    def _pages(self, kind: type[Page[T]], *path: object, query: Struct) -> Iterator[T]:
        """Yield the entries of all pages of a list; each page is asked for when it is needed."""
        while True:
            page = self._read(kind, "GET", *path, query=query)
            yield from page.items
            if page.next is None:
                return
            query = msgspec.structs.replace(query, cursor=page.next)

    def _download(self, *path: object, query: Struct | None = None) -> Download:
        return self._session.download(self._url(*path, query=query))

    def _url(self, *path: object, query: Struct | None) -> str:
        asked = {} if query is None else parameters(query)
        return self._session.url(*self._place, *(str(part) for part in path), **asked)
