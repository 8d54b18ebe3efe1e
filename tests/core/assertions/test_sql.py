"""SQL: statements, dialects, code blocks, allowed tables and columns."""

import logging
import time
from typing import Any

import pytest

from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.assertions.sql_access import access_of
from promptcard_ext.core.errors import CardError
from tests.core.assertions.judged import FAIL, PASS, UNSCORED, of, outcome


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1",
        " select a, b from t where c > 3;\n",
        "SELECT `id` FROM `users`;",
        "(select 1) union (select 2)",
        "WITH a AS (SELECT 1 AS x) SELECT x FROM a",
        "INSERT INTO a (x) VALUES (1)",
        "UPDATE a SET x = 1 WHERE y = 2",
        "DELETE FROM a",
        "CREATE TABLE a (x INT); DROP TABLE a",
        "ALTER TABLE a ADD COLUMN b INT",
        "TRUNCATE TABLE a",
        "SHOW TABLES",
        "SELECT 1 -- that was it",
    ],
)
def test_what_is_sql(text: str) -> None:
    assert outcome("is-sql", None, text) is PASS
    assert of("not-is-sql", None, text).reason == "is-sql_held"


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ; ",
        "-- nothing",
        "hello world",
        "I think",
        "(1)",
        "select * fro t",
        "SELECT FROM WHERE",
        "SELECT 1; and that is all",
        "delete everything",
        "update me please",
        "insert coin",
        "select",
        "SELECT 'open",
        "Here you are: SELECT 1 FROM t",
        "```sql\nSELECT 1\n```",
        "SELECT 1 \x00 \ud800 (",
    ],
)
def test_what_is_none(text: str) -> None:
    one = of("is-sql", None, text)
    assert (one.outcome, one.reason) == (FAIL, "not_sql")
    assert "\x1b" not in one.message
    assert outcome("not-is-sql", None, text) is PASS


@pytest.mark.parametrize("kind", ["is-sql", "not-is-sql"])
def test_what_is_known_by_its_first_word_only_is_left_open(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    for text in ("CALL refund(17)", "drop it", "SELECT 1; REPLACE INTO a VALUES (1)"):
        one = of(kind, None, text)
        assert (one.outcome, one.reason) == (UNSCORED, "sql_not_understood")
    # What sqlglot says to its logger finds a handler, and so does not come out on standard error.
    assert logging.getLogger("sqlglot").handlers


@pytest.mark.parametrize(
    ("database", "good", "bad"),
    [
        ("MySQL", "SELECT `a` FROM t", "SELECT TOP 3 [a] FROM t"),
        ("MariaDB", "SELECT `a` FROM t", "SELECT FROM t LIMIT"),
        ("PostgresQL", 'SELECT "a" FROM t', "SELECT `a` FROM t"),
        ("postgres", "SELECT a::int FROM t", "SELECT `a` FROM t"),
        ("TransactSQL", "SELECT TOP 3 [a] FROM t", "SELECT `a` FROM t"),
        ("Snowflake(alpha)", "SELECT a:b FROM t", "SELECT [ FROM t"),
        ("Sqlite", "SELECT a FROM t LIMIT 3", "SELECT FROM t LIMIT"),
        ("BigQuery", "SELECT * EXCEPT (a) FROM `p.d.t`", "SELECT FROM t LIMIT"),
    ],
)
def test_dialects(database: str, good: str, bad: str) -> None:
    for name in ("databaseType", "dialect"):
        assert outcome("is-sql", {name: database}, good) is PASS
        assert outcome("is-sql", {name: database}, bad) is FAIL


@pytest.mark.parametrize(
    ("text", "expected", "reason"),
    [
        ("SELECT 1", PASS, None),
        ("Here:\n```sql\nSELECT 1\n```\nand more", PASS, None),
        ("```\nSELECT `id` FROM `users`;\n```", PASS, None),
        ("```python\nx = 1\n```\n```SQL\nSELECT 1\n```", PASS, None),
        ("```sql\nSELECT\n```\n```sql\nSELECT 1\n```", PASS, None),
        ("```sql\nSELECT FROM\n```", FAIL, "not_sql"),
        ("```python\nselect = 1\n```", FAIL, "not_sql"),
        ("```sql\nSELECT 1", FAIL, "not_sql"),
        ("Use SELECT 1 for that.", FAIL, "not_sql"),
        ("```sql\nCALL x\n```\n```sql\nSELECT FROM\n```", UNSCORED, "sql_not_understood"),
        ("``" * 200_000, UNSCORED, "answer_too_long"),
        ("```\nx\n" * 1000, UNSCORED, "answer_too_complex"),
        ("```sql\n" + "SELECT 1;" * 10_000 + "```", UNSCORED, "answer_too_long"),
        ("```sql\n" + "SELECT FROM;" * 1_000 + "```\n", FAIL, "not_sql"),
        (("```sql\n" + "SELECT FROM;" * 1_000 + "```\n") * 9, UNSCORED, "answer_too_complex"),
    ],
)
def test_sql_within_an_answer(text: str, expected: Any, reason: str | None) -> None:
    one = of("contains-sql", None, text)
    assert (one.outcome, one.reason) == (expected, reason)
    assert outcome("not-contains-sql", None, text) is expected.negated()


def touched(sql: str, dialect: str = "mysql") -> tuple[set[str], set[str]]:
    """Return the tables and columns of one statement, the latter by their first names."""
    import sqlglot

    from promptcard_ext.core.assertions.sql_access import _Touched

    found = _Touched(sqlglot.parse_one(sql, read=dialect))
    return {names[0] for names in found.tables()}, {names[0] for names in found.columns()}


@pytest.mark.parametrize(
    ("sql", "tables", "columns"),
    [
        ("SELECT name FROM users", {"select::null::users"}, {"select::null::name"}),
        ("SELECT u.name FROM shop.users u", {"select::shop::users"}, {"select::users::name"}),
        ("SELECT * FROM a, b", {"select::null::a", "select::null::b"}, {"select::a::*", "select::b::*"}),
        ("SELECT a.* FROM a JOIN b USING (k)", {"select::null::a", "select::null::b"},
         {"select::a::*", "select::null::k"}),
        ("SELECT count(*) FROM a", {"select::null::a"}, set()),
        ("SELECT 1 WHERE EXISTS (SELECT x FROM b)", {"select::null::b"}, {"select::null::x"}),
        ("SELECT z FROM (SELECT z FROM u) d", {"select::null::u"}, {"select::null::z"}),
        ("WITH s AS (SELECT x FROM t) SELECT x FROM s", {"select::null::t"}, {"select::null::x"}),
        ("WITH s AS (SELECT x FROM s) SELECT x FROM s", {"select::null::s"}, {"select::null::x"}),
        ("WITH RECURSIVE s AS (SELECT 1 UNION SELECT x FROM s) SELECT x FROM s", set(), {"select::null::x"}),
        ("WITH a AS (SELECT 1), b AS (SELECT 2 FROM a) SELECT 3 FROM b", set(), set()),
        ("WITH b AS (SELECT 2 FROM a), a AS (SELECT 1) SELECT 3 FROM b", {"select::null::a"}, set()),
        ("SELECT 1 FROM (WITH s AS (SELECT 1) SELECT 2 FROM s) d JOIN s", {"select::null::s"}, set()),
        ("WITH s AS (SELECT 1) SELECT 1 FROM db.s", {"select::db::s"}, set()),
        ("INSERT INTO a (x) SELECT y FROM b", {"insert::null::a", "select::null::b"},
         {"insert::a::x", "select::null::y"}),
        ("INSERT INTO a VALUES (1)", {"insert::null::a"}, {"insert::a::*"}),
        ("INSERT INTO a (x) VALUES (1) ON DUPLICATE KEY UPDATE y = 2", {"insert::null::a"},
         {"insert::a::x", "update::null::y"}),
        ("UPDATE a SET x = y WHERE z IN (SELECT w FROM b)", {"update::null::a", "select::null::b"},
         {"update::null::x", "select::null::y", "select::null::z", "select::null::w"}),
        ("UPDATE a JOIN b ON a.k = b.k SET b.x = 1", {"update::null::a", "update::null::b"},
         {"select::a::k", "select::b::k", "update::b::x"}),
        ("DELETE FROM a WHERE x = 1", {"delete::null::a"}, {"delete::a::*", "select::null::x"}),
        ("CREATE TABLE a AS SELECT x FROM b", {"create::null::a", "select::null::b"}, {"select::null::x"}),
        ("DROP TABLE a", {"drop::null::a"}, set()),
        ("TRUNCATE TABLE a", {"truncatetable::null::a"}, set()),
    ],
)  # fmt: skip
def test_what_a_statement_touches(sql: str, tables: set[str], columns: set[str]) -> None:
    assert touched(sql) == (tables, columns)


def test_what_other_dialects_touch() -> None:
    tables, _ = touched("WITH d AS (DELETE FROM a RETURNING *) SELECT * FROM d", "postgres")
    assert tables == {"delete::null::a"}
    assert touched("SELECT x INTO q FROM a", "tsql")[0] == {"insert::null::q", "select::null::a"}
    merge = "MERGE INTO a USING b ON a.k = b.k WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT (k) VALUES (1)"
    assert touched(merge, "postgres")[0] == {"delete::null::a", "insert::null::a", "select::null::b"}


ALLOWED = {
    "allowedTables": ["(select|update)::null::departments"],
    "allowedColumns": ["select::null::name", "update::departments::id"],
}


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("SELECT name FROM departments", None),
        ("select NAME from DEPARTMENTS", None),
        ("UPDATE departments SET id = 1 WHERE name = 'x'", None),
        ("SELECT 1", None),
        ("SELECT pay FROM departments", "select::null::pay"),
        ("SELECT * FROM departments", "select::departments::*"),
        ("SELECT name FROM people", "select::null::people"),
        ("SELECT name FROM hr.departments", "select::hr::departments"),
        ("DELETE FROM departments", "delete::null::departments"),
        ("DROP TABLE departments", "drop::null::departments"),
        ("SELECT name FROM departments; SELECT name FROM people", "select::null::people"),
        ("WITH departments AS (SELECT name FROM people) SELECT name FROM departments", "select::null::people"),
        ("SELECT name FROM departments WHERE name IN (SELECT name FROM xdepartments)", "select::null::xdepartments"),
    ],
)
def test_nothing_but_what_is_allowed(text: str, refused: str | None) -> None:
    one = of("is-sql", ALLOWED, text)
    assert one.reason == (None if refused is None else "sql_not_allowed")
    assert refused is None or repr(refused) in one.message
    assert of("contains-sql", ALLOWED, f"```sql\n{text}\n```").reason == one.reason


def test_an_empty_list_allows_nothing_and_none_allows_all() -> None:
    assert outcome("is-sql", {"allowedTables": []}, "SELECT 1 FROM a") is FAIL
    assert outcome("is-sql", {"allowedColumns": []}, "SELECT 1 FROM a") is PASS
    assert outcome("is-sql", {"allowedColumns": []}, "SELECT a") is FAIL
    assert access_of(Assertion("is-sql"), None, None) == (None, None)
    assert outcome("is-sql", {"allowedColumns": ["select::.*::.*"]}, "SELECT * FROM a") is PASS


@pytest.mark.parametrize(
    "value",
    [
        "mysql", [], {"database": "x"}, {"databaseType": "Noql"}, {"databaseType": 5}, {"allowedTables": "a"},
        {"allowedTables": [""]}, {"allowedTables": ["("]}, {"allowedTables": ["(?=a)"]}, {"allowedColumns": [5]},
        {"allowedColumns": ["a"] * 501},
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["is-sql", "contains-sql"])
def test_what_cannot_be_used_is_refused(kind: str, value: Any) -> None:
    with pytest.raises(CardError) as caught:
        Assertion(kind, value)
    assert caught.value.code == "assertion_invalid"


DEEP = 2_000
HOSTILE = {
    "parentheses": "SELECT " + "(" * DEEP + "1" + ")" * DEEP,
    "open parentheses": "SELECT " + "(" * 19_000,
    "subqueries": "SELECT (" * DEEP + "1" + ")" * DEEP,
    "cases": "SELECT " + "CASE WHEN 1 THEN " * 500 + "1" + " END" * 500,
    "not": "SELECT " + "not " * 4_000 + "1",
    "sum": "SELECT " + "+".join(["1"] * 9_000),
    "list": "SELECT " + ",".join(["a b"] * 4_000),
    "joins": "SELECT 1 FROM a " + "join b " * 2_000,
    "statements": "SELECT 1;" * 2_000,
    "dots": "SELECT " + "x.." * 6_000,
    "quotes": "SELECT '" + "a'" * 9_000,
    "arrays": "SELECT " + "[" * 9_000,
    "casts": "SELECT " + "cast(" * 3_000,
    "intervals": "SELECT " + "interval " * 2_000,
    "comments": "/*" * 9_000,
    "common tables": "WITH " + ",".join(f"t{i} AS (SELECT * FROM t{i - 1})" for i in range(1, 500)) + " SELECT 1",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("database", ["mysql", "postgres", "bigquery"])
def test_no_answer_takes_long(database: str, text: str) -> None:
    started = time.process_time()
    one = of("is-sql", {"databaseType": database} | ALLOWED, text)
    assert time.process_time() - started < 8
    assert one.outcome in (PASS, FAIL) or one.reason == "answer_too_complex"


@pytest.mark.parametrize("kind", ["is-sql", "not-is-sql"])
def test_an_answer_too_long_is_unscored(kind: str) -> None:
    one = of(kind, None, "SELECT 1" + " " * 20_000)
    assert (one.outcome, one.reason) == (UNSCORED, "answer_too_long")
