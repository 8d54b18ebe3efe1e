"""Takes one of the two walls between workspaces away, so that the other can be seen to hold alone.

The application's wall is that somebody is let into their own workspaces only, and that every statement compares
``workspace_id``. PostgreSQL's wall is that a transaction sees rows of the workspace that it has named, whatever a
statement says. Run as a module it is the command ``serve`` without what its first argument names:

``admission``
    Everybody is an owner of every workspace that they know an id of, whether it exists or not, as if the check of
    membership had been forgotten. The transaction names a workspace of the user's own all the same, since that is what
    row-level security goes by; statements compare with the workspace that was asked for. What comes from memory and
    not from the database has only the application's wall by its nature: no answers are kept, and the stream of changes
    still asks.
``predicates``
    No statement compares ``workspace_id`` with a value any more, as if every ``WHERE`` had been forgotten. Users are
    let into their own workspaces only, and transactions name those.
``deaf``
    Both walls are there; but on SIGUSR2 the thread that hears of changes stops, as one that has died would.
"""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from promptcard_ext.core.errors import NotFound
from server_ext.auth.actor import Actor
from server_ext.db.engine import Database, make_engine
from server_ext.db.loop_reads import LoopReads
from server_ext.db.reads import Read
from server_ext.news import News
from server_ext.services.scope import Right

# The comparison with a value, as SQLAlchemy and psycopg write it; joins of two columns stay.
_COMPARISON = re.compile(r"(?:\b\w+\.)?\bworkspace_id = %\(\w+\)s(?:::\w+)?", re.IGNORECASE)


def remove_policies(owner_database_url: str) -> int:
    """Have every policy of row-level security let everything pass; return how many there were."""
    engine = make_engine(owner_database_url)
    try:
        with engine.begin() as connection:
            found = connection.execute(
                sa.text("select schemaname, tablename, policyname, cmd from pg_policies where schemaname = 'public'")
            ).all()
            for schema, table, policy, command in found:
                using = "" if command == "INSERT" else "using (true)"
                check = "" if command in ("SELECT", "DELETE") else "with check (true)"
                connection.execute(sa.text(f'alter policy "{policy}" on "{schema}"."{table}" {using} {check}'))
        return len(found)
    finally:
        engine.dispose()


def forget_predicates() -> None:
    """Rewrite every statement of this process so that it compares with no workspace."""

    def rewritten(
        _connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool
    ) -> tuple[str, Any]:
        return without_comparisons(statement), parameters

    sa.event.listen(sa.Engine, "before_cursor_execute", rewritten, retval=True)
    compile_read = Read.__init__

    def compiled(read: Read, query: sa.Select[Any]) -> None:
        compile_read(read, query)
        # The settings that come first are the other wall.
        settings, begin, query_text = read._text.partition("; SELECT ")
        read._text = settings + begin + without_comparisons(query_text)

    Read.__init__ = compiled  # type: ignore[method-assign]


def without_comparisons(statement: str) -> str:
    """Return an SQL statement with every comparison of ``workspace_id`` with a value made true.

    Example:
        >>> without_comparisons("delete from runs where runs.workspace_id = %(a)s::UUID and id = %(b)s")
        'delete from runs where true and id = %(b)s'
    """
    return _COMPARISON.sub("true", statement)


def admit_everybody() -> None:
    """Let everybody into every workspace as its owner; transactions name a workspace of the user's own."""
    from server_ext.api import dispatch
    from server_ext.api.routes import OPERATIONS
    from server_ext.services import scope

    find = scope.find_right

    def admitted(database: Database, actor: Actor, workspace: str, remember: scope.Remember | None = None) -> Right:
        try:
            right = find(database, actor, workspace, remember)
        except NotFound:
            if (wanted := scope.as_uuid(workspace)) is None:
                raise
            return Right(wanted, workspace, "owner", datetime.now(UTC))
        return Right(right.workspace_id, right.slug, "owner", right.since)

    for module in (scope, dispatch):
        module.find_right = admitted  # type: ignore[attr-defined]
    for operation in OPERATIONS:
        object.__setattr__(operation, "cached", None)
    _name_own_workspaces_only()


def _name_own_workspaces_only() -> None:
    name, mine = Database.transaction, sa.text("select workspace_id from memberships where user_id = :user order by 1")

    @contextmanager
    def transaction(
        self: Database, workspace_id: UUID | None = None, user_id: UUID | None = None
    ) -> Iterator[sa.Connection]:
        if workspace_id is not None and user_id is not None:
            with name(self, None, user_id) as connection:
                own = list(connection.execute(mine, {"user": user_id}).scalars())
            workspace_id = workspace_id if workspace_id in own else next(iter(own), None)
        with name(self, workspace_id, user_id) as connection:
            yield connection

    def read(self: Database, workspace_id: UUID | None, user_id: UUID | None, query: Read, values: Any) -> Any:
        with self.transaction(workspace_id, user_id) as connection:
            return query.within(connection, values)

    async def ask(*_: object) -> None:
        return None  # in a thread it comes to the above

    Database.transaction = transaction  # type: ignore[method-assign]
    Database.read = read  # type: ignore[method-assign]
    LoopReads.ask = ask  # type: ignore[method-assign,assignment]


def stop_hearing_on_signal() -> None:
    """Have the thread that hears of changes stop on SIGUSR2."""
    started: list[News] = []
    start = News.start

    def noted(self: News) -> None:
        started.append(self)
        start(self)

    News.start = noted  # type: ignore[method-assign]
    signal.signal(signal.SIGUSR2, lambda *_: [news.close() for news in started])


WALLS = {"admission": admit_everybody, "predicates": forget_predicates, "deaf": stop_hearing_on_signal}


def main() -> None:
    """Run the server without the walls that are named first."""
    from promptcard_ext.cli import main as command

    given = sys.argv[1:]
    while given and given[0] in WALLS:
        WALLS[given.pop(0)]()
    command(["serve", *given])


if __name__ == "__main__":
    main()
