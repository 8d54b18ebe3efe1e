"""Assertions on SQL: is-sql and contains-sql, with the tables and columns that it may touch.

sqlglot reads the statements. It is lenient (``update me please`` is one to it), so each must also have what makes it a
statement of its kind; and what it knows by its first word only is left undecided.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from promptcard_ext.core.answer import Answer
from promptcard_ext.core.assertions.base import NO_TEXT, PASSED, Assertion, Check, Finding, register
from promptcard_ext.core.assertions.limits import TOO_COMPLEX, too_long
from promptcard_ext.core.assertions.sql_access import Access, access_of
from promptcard_ext.core.results import Outcome

if TYPE_CHECKING:
    from sqlglot import exp

MAX_SQL_CHARS = 20_000
MAX_BLOCKS = 100
MAX_BLOCKS_CHARS = 50_000
DEFAULT_DIALECT = "mysql"
# The names of the same dialects in promptfoo, as far as they are not the same.
DIALECTS = {"postgresql": "postgres", "mariadb": "mysql", "transactsql": "tsql"}
_TAGS = frozenset(("", "sql", "mysql", "postgres", "postgresql", "pgsql", "plsql", "sqlite", "tsql", "bigquery"))
_NOT_UNDERSTOOD = Finding(Outcome.UNSCORED, "sql_not_understood", "A statement is known by its first word only.")


@register("is-sql")
def is_sql(assertion: Assertion) -> Check:
    """The whole answer is SQL: one statement or several, in the dialect of ``databaseType`` (default MySQL).

    With ``allowedTables`` and ``allowedColumns`` it touches nothing else.
    """
    dialect, access = _specification(assertion)

    def check(answer: Answer) -> Finding:
        if answer.output is None:
            return NO_TEXT
        return too_long(answer.output, MAX_SQL_CHARS) or _judged(answer.output, dialect, access)

    return check


@register("contains-sql")
def contains_sql(assertion: Assertion) -> Check:
    """The answer is SQL as `is-sql` has it, or has a code block that is."""
    dialect, access = _specification(assertion)

    def check(answer: Answer) -> Finding:
        if answer.output is None:
            return NO_TEXT
        blocks = _blocks(answer.output)
        if len(blocks) > MAX_BLOCKS or (len(blocks) > 1 and sum(map(len, blocks)) > MAX_BLOCKS_CHARS):
            return TOO_COMPLEX
        return _best(_judged(text, dialect, access) for text in blocks)

    return check


def _specification(assertion: Assertion) -> tuple[str, Access]:
    value = {} if assertion.value is None else assertion.value
    if not isinstance(value, dict) or value.keys() - {"databaseType", "dialect", "allowedTables", "allowedColumns"}:
        raise assertion.invalid("'value' may have 'databaseType', 'allowedTables' and 'allowedColumns'")
    dialect = _dialect(assertion, value.get("databaseType") or value.get("dialect") or DEFAULT_DIALECT)
    return dialect, access_of(assertion, value.get("allowedTables"), value.get("allowedColumns"))


def _dialect(assertion: Assertion, name: Any) -> str:
    from sqlglot.dialects.dialect import Dialect

    # sqlglot says on its logger what it does not know; the verdict says it too.
    logging.getLogger("sqlglot").addHandler(logging.NullHandler())
    plain = str(name).lower().partition("(")[0]
    found = DIALECTS.get(plain, plain)
    if not found or found not in Dialect.classes:
        there = ", ".join(sorted(filter(None, Dialect.classes)))
        raise assertion.invalid(f"there is no dialect {name!r:.60}; there are {there}")
    return found


def _blocks(text: str) -> list[str]:
    """Return the code blocks that may be SQL, by their tag; the whole text when it has none."""
    parts = text.split("```")
    # Between the first and second fence, the third and fourth; one that is not closed is none.
    blocks = [part.partition("\n") for part in parts[1:-1:2]]
    return [code for tag, _, code in blocks if tag.strip().lower() in _TAGS and code.strip()] or [text]


def _best(findings: Iterable[Finding]) -> Finding:
    """Return a pass when there is one; else what is undecided, or the failure that says most."""
    best: Finding | None = None
    for finding in findings:
        if finding.outcome is Outcome.PASS:
            return finding
        if best is None or _telling(finding) > _telling(best):
            best = finding
    assert best is not None
    return best


def _telling(finding: Finding) -> int:
    return 2 * (finding.outcome is not Outcome.FAIL) + (finding.reason != "not_sql")


def _judged(text: str, dialect: str, access: Access) -> Finding:
    import sqlglot
    from sqlglot.errors import SqlglotError

    if (unread := too_long(text, MAX_SQL_CHARS)) is not None:
        return unread
    try:
        statements = [statement for statement in sqlglot.parse(text, read=dialect) if statement is not None]
        return _statements(statements, access)
    except SqlglotError as error:
        return _not_sql(_described(error))
    except RecursionError:
        return TOO_COMPLEX


def _statements(statements: list[exp.Expr], access: Access) -> Finding:
    from sqlglot import exp

    if not statements:
        return _not_sql("there is no statement")
    undecided = False
    for statement in statements:
        if isinstance(statement, exp.Command):
            undecided = True
        elif not _complete(statement):
            return _not_sql(f"{type(statement).__name__.lower()} is no statement")
        elif (refused := access.refused(statement)) is not None:
            return Finding(Outcome.FAIL, "sql_not_allowed", f"The SQL touches {refused!r:.200}, which is not allowed.")
    return _NOT_UNDERSTOOD if undecided else PASSED


def _complete(statement: exp.Expr) -> bool:
    from sqlglot import exp

    if isinstance(statement, exp.Select | exp.Update):
        return bool(statement.expressions)
    if isinstance(statement, exp.Insert):
        return bool(statement.expression or statement.args.get("default"))
    if isinstance(statement, exp.Delete):
        return bool(statement.this)
    if isinstance(statement, exp.Subquery):
        return isinstance(statement.unnest(), exp.Query)
    return isinstance(statement, (exp.Query, exp.DDL, exp.DML, *_others()))


def _others() -> tuple[type[exp.Expr], ...]:
    from sqlglot import exp

    return (
        exp.Alter, exp.Analyze, exp.Attach, exp.Comment, exp.Commit, exp.Describe, exp.Detach, exp.Drop, exp.Grant,
        exp.Kill, exp.LoadData, exp.Pragma, exp.Revoke, exp.Rollback, exp.Set, exp.Show, exp.Transaction,
        exp.TruncateTable, exp.Use,
    )  # fmt: skip


def _not_sql(problem: str) -> Finding:
    return Finding(Outcome.FAIL, "not_sql", f"The answer is not SQL: {problem}.")


def _described(error: Exception) -> str:
    for problem in getattr(error, "errors", ()):
        return f"{problem.get('description')!s:.150} (line {problem.get('line')}, column {problem.get('col')})"
    return f"{error!s:.150}"
