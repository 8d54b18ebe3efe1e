"""What the REST interface is made of: operations, each a function with a declared contract.

The table of routes, the checks, the OpenAPI document and the tests are all made from these declarations; there is no
other way to answer a request.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from msgspec import Struct

from promptcard_ext.core.errors import PromptCardError
from server_ext.api.reading import MAX_BODY_BYTES
from server_ext.auth.actor import Actor
from server_ext.auth.permissions import ACTIONS, OUTSIDE_WORKSPACES, PUBLIC
from server_ext.services.precondition import Match, unconditional
from server_ext.services.scope import Glance, Scope

if TYPE_CHECKING:
    from server_ext.runtime import Runtime

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
Limit = Literal["anonymous", "login", "refresh", "authenticated", "export", "key_test", "invitation", "none"]
Use = TypeVar("Use", bound=Callable[..., Any])
UPLOAD_BYTES = 64_000_000


class NoQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """An operation without query parameters."""


@dataclass
class Call:
    """One request, as the function of its operation gets it.

    Attributes:
        path: Values of the path's parameters.
        query: Query parameters, as the operation declares them.
        body: The body, as the operation declares it.
        raw: The body's bytes, for operations that take something else than JSON.
        content_type: Media type of ``raw``.
        match: The condition of ``If-Match``.
        if_match: The header's text.
        address: Address of the client, as far as we can tell.
        user_agent: What the client calls itself; at most 200 characters.
        password_login: Whether this server lets people in by password.
        status: Status of the answer.
        after_commit: What is called once the change is there for others to see.
    """

    server: Runtime
    path: dict[str, str]
    query: Any = None
    body: Any = None
    raw: bytes = b""
    content_type: str = ""
    match: Match = unconditional
    if_match: str = ""
    address: str = ""
    user_agent: str = ""
    password_login: bool = False
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    after_commit: list[Callable[[], None]] = field(default_factory=list)
    _actor: Actor | None = None
    _scope: Scope | None = None
    _glance: Glance | None = None

    @property
    def actor(self) -> Actor:
        """Who asks; operations for anybody may look only at `visitor`."""
        assert self._actor is not None, "this operation is for anybody"
        return self._actor

    @property
    def visitor(self) -> Actor | None:
        """Who asks, or None when that is not known: for operations for anybody."""
        return self._actor

    @property
    def scope(self) -> Scope:
        """The workspace of the path, in the one transaction of this request."""
        assert self._scope is not None, "this operation has no workspace"
        return self._scope

    @property
    def glance(self) -> Glance:
        """The workspace of the path, for an operation that is declared to read by a single query."""
        assert self._glance is not None, "this operation works in a transaction"
        return self._glance

    def enter(self, scope: Scope) -> None:
        """Take note of the transaction that the request works in."""
        self._scope = scope

    def look(self, glance: Glance) -> None:
        """Take note of the workspace that the request reads from."""
        self._glance = glance

    def header(self, name: str, value: str) -> None:
        """Set a header of the answer."""
        self.headers[name] = value


@dataclass(frozen=True)
class Download:
    """A file as an answer.

    Attributes:
        chunks: Its content; a generator goes on while the client reads, in the transaction of the request.
        media_type: With charset, if it has one.
        filename: What a browser calls it.
    """

    chunks: Iterator[bytes]
    media_type: str
    filename: str


@dataclass(frozen=True)
class Operation:
    """A method on a path: what it takes, gives and asks for.

    Attributes:
        action: What the role must allow (`auth.permissions.ACTIONS`), or who may call it outside of workspaces.
        use: The function; its docstring is the documentation.
        query, body, answer: Types of parameters, JSON body and JSON answer; None for none.
        raw: Media types of a body that is not JSON.
        media: Media types of an answer that is not JSON; the function then returns a `Download`.
        status: Status of success, unless the function sets another on the call.
        also: Other statuses of success.
        refuses: Statuses of refusal that follow from nothing else here: 404 without a parameter in the path, 409.
        limit: Class of the rate limit; ``none`` for what costs nothing however often it is asked.
        idempotent: Whether ``Idempotency-Key`` is honoured.
        conditional: Whether ``If-Match`` is needed.
        etag: Whether the answer has an ETag.
        streamed: Whether the answer is made while it is sent, by the connections set aside for exports.
        cached: Returns the key under which the answer is cached, from path and query; None for what is not.
        glances: Whether it reads by a single query: it works in `Call.glance` and returns a `Question`.
        apart: Whether it has threads of its own, so that it answers when all others are busy.
    """

    method: Method
    path: str
    action: str
    use: Callable[[Call], Any]
    tag: str
    query: type[Struct] = NoQuery
    body: Any = None
    answer: Any = None
    raw: tuple[str, ...] = ()
    media: tuple[str, ...] = ()
    status: int = 200
    also: tuple[int, ...] = ()
    refuses: tuple[int, ...] = ()
    limit: Limit = "authenticated"
    idempotent: bool = False
    conditional: bool = False
    etag: bool = False
    streamed: bool = False
    cached: Callable[[dict[str, str], Any], str | None] | None = None
    glances: bool = False
    apart: bool = False
    max_body: int = MAX_BODY_BYTES

    def __post_init__(self) -> None:
        if self.action not in ACTIONS and self.action not in OUTSIDE_WORKSPACES:
            raise ValueError(f"{self.name}: there is no action '{self.action}'")
        if self.in_workspace == (self.action in OUTSIDE_WORKSPACES):
            raise ValueError(f"{self.name}: '{self.action}' does not go with its path")

    @property
    def name(self) -> str:
        """Method and path."""
        return f"{self.method} {self.path}"

    @property
    def id(self) -> str:
        """Name of the operation in the OpenAPI document."""
        return self.use.__name__

    @property
    def in_workspace(self) -> bool:
        """Whether the path names a workspace, and so the call has a scope."""
        return self.path.startswith("workspaces/{workspace}")

    @property
    def public(self) -> bool:
        """Whether nobody needs to say who they are."""
        return self.action == PUBLIC

    @property
    def parameters(self) -> list[str]:
        """Names of the path's parameters, in order."""
        return re.findall(r"{(\w+)}", self.path)


class Operations:
    """The operations of one noun; its methods are decorators that declare them.

    Args:
        tag: The noun, as the OpenAPI document groups by it.
    """

    def __init__(self, tag: str) -> None:
        self.tag = tag
        self.all: list[Operation] = []

    def _declare(self, method: Method, path: str, action: str, options: dict[str, Any]) -> Callable[[Use], Use]:
        def declare(use: Use) -> Use:
            self.all.append(Operation(method, path, action, use, self.tag, **options))
            return use

        return declare

    def get(self, path: str, *, action: str, **options: Any) -> Callable[[Use], Use]:
        """Declare a GET; options are the fields of `Operation`."""
        return self._declare("GET", path, action, options)

    def post(self, path: str, *, action: str, **options: Any) -> Callable[[Use], Use]:
        """Declare a POST."""
        return self._declare("POST", path, action, options)

    def put(self, path: str, *, action: str, **options: Any) -> Callable[[Use], Use]:
        """Declare a PUT."""
        return self._declare("PUT", path, action, options)

    def patch(self, path: str, *, action: str, **options: Any) -> Callable[[Use], Use]:
        """Declare a PATCH."""
        return self._declare("PATCH", path, action, options)

    def delete(self, path: str, *, action: str, **options: Any) -> Callable[[Use], Use]:
        """Declare a DELETE, which answers 204 without a body unless told otherwise."""
        return self._declare("DELETE", path, action, {"status": 204, **options})


class MethodNotAllowed(PromptCardError):
    """The path is one of ours, the method is not."""

    code = "method_not_allowed"
