"""Types and limits of variables, and secrets, which are referred to and never given."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

import promptcard_ext as pc
from promptcard_ext.core.card import Card, Variable
from promptcard_ext.core.errors import CardError
from promptcard_ext.core.variables import reveal
from promptcard_ext.interchange.frames import ledger_frame

SECRET = "sk-2f8a-very-secret"


def refusal(make: Any) -> CardError:
    with pytest.raises(CardError) as caught:
        make()
    assert len(caught.value.message) < 400
    return caught.value


@pytest.mark.parametrize(
    ("limits", "good", "bad"),
    [
        ({"min_length": 2, "max_length": 3}, ["ab", "äöü"], ["", "a", "abcd"]),
        ({"pattern": "[A-Z]{2}[0-9]+"}, ["AB1"], ["ab1", "AB", "xAB1", "AB1\n"]),
        ({"type": "integer", "minimum": 1, "maximum": 3}, [1, 3], [0, 4, -(10**300)]),
        ({"type": "number", "minimum": 0.5}, [0.5, 10**300], [0, 0.4999, float("nan")]),
        ({"type": "list", "min_items": 1, "max_items": 2, "items": "integer"}, [[1], [1, 2]], [[], [1, 2, 3], ["1"]]),
        (
            {"type": "json", "schema": {"type": "object", "required": ["id"], "additionalProperties": False}},
            [],
            [{}, 5, {"id": 1, "x": 2}],
        ),
        ({"type": "json", "schema": {"required": ["id"]}}, [{"id": 1}, 5], [{}]),
        (
            {"type": "datetime", "minimum": "2025-01-01", "maximum": "2025-12-31T23:59:59Z"},
            ["2025-01-01", "2025-06-01T12:00:00+02:00", "2025-06-01T12:00:00Z"],
            ["2024-12-31T23:59:59Z", "2025-01-01T00:30:00+01:00", "2026-01-01"],
        ),
    ],
)
def test_a_value_must_be_within_its_limits(limits: dict[str, Any], good: list[Any], bad: list[Any]) -> None:
    variable = Variable("v", **limits)
    for value in good:
        variable.check(value, "case 'a'")
    for value in bad:
        assert refusal(lambda value=value: variable.check(value, "case 'a'")).code == "variable_value"


@pytest.mark.parametrize("value", ["today", "2025-13-01", "12:30", "", 20250101, None, "2025-01-01" + " " * 50])
def test_what_is_no_moment_is_no_datetime(value: Any) -> None:
    error = refusal(lambda: Variable("v", "datetime").check(value, "case 'a'"))
    assert error.code == "variable_type"


@pytest.mark.parametrize(
    "fields",
    [
        {"minimum": 1},
        {"type": "integer", "pattern": "a"},
        {"type": "boolean", "max_length": 5},
        {"items": "integer"},
        {"schema": {}},
        {"min_length": 3, "max_length": 2},
        {"type": "integer", "minimum": 3, "maximum": 2},
        {"type": "datetime", "minimum": "2025-01-02", "maximum": "2025-01-01"},
        {"type": "datetime", "minimum": 5},
        {"type": "number", "minimum": "5"},
        {"pattern": "(?=a)"},
        {"type": "json", "schema": {"type": "nonsense"}},
        {"type": "json", "schema": {"$ref": "https://example.com/schema.json"}},
    ],
)
def test_limits_that_make_no_sense_are_refused(fields: dict[str, Any]) -> None:
    assert refusal(lambda: Variable("v", **fields)).code == "variable_limits"


def test_a_default_must_keep_the_limits() -> None:
    assert refusal(lambda: Variable("v", "integer", minimum=1, default=0)).code == "variable_value"
    assert (
        Card("c", "{{ v }}", variables=(Variable("v", "integer", minimum=1, default=1),)).render({})[0].content == "1"
    )


@pytest.mark.parametrize("name", ["", "1a", "_a", "a-b", "ä", "a b", "a\n", "a" * 101])
def test_a_name_is_letters_digits_and_underscores(name: str) -> None:
    refusal(lambda: Variable(name))


def test_there_are_at_most_a_hundred_variables_and_twenty_tags_of_fifty_characters() -> None:
    many = tuple(Variable(f"v{i}") for i in range(100))
    assert len(Card("c", "x", variables=many, tags=("t" * 50,) * 20, title="t" * 500).variables) == 100
    refusal(lambda: Card("c", "x", variables=(*many, Variable("w"))))
    refusal(lambda: Card("c", "x", tags=("t",) * 21))
    refusal(lambda: Card("c", "x", tags=("t" * 51,)))
    refusal(lambda: Card("c", "x", title="t" * 501))


class TestSecrets:
    card = Card("deploy", "Hi {{ who }}", variables=(Variable("who"), Variable("token", "secret")))

    @pytest.mark.parametrize("value", [SECRET, f"env:{SECRET}", "env:", f" env:A {SECRET}", [SECRET], None, 5])
    def test_the_value_itself_is_refused_and_not_repeated(self, value: Any) -> None:
        for make in (
            lambda: self.card.render({"who": "Ada", "token": value}),
            lambda: self.card.check_secrets({"token": value}),
            lambda: Variable("token", "secret", default=value),
        ):
            error = refusal(make)
            assert error.code == "variable_type"
            assert SECRET not in str(error.to_dict())

    def test_it_cannot_be_used_in_a_message(self) -> None:
        error = refusal(lambda: Card("c", "a {{ token }}", variables=(Variable("token", "secret"),)))
        assert error.code == "secret_in_template"
        assert error.to_dict()["column"] == 6

    def test_code_of_your_own_reads_it_where_it_runs(self) -> None:
        assert reveal("env:DEPLOY_TOKEN", {"DEPLOY_TOKEN": SECRET}) == SECRET
        for reference, environment in (("env:OTHER", {}), (SECRET, {SECRET: SECRET})):
            error = refusal(lambda r=reference, e=environment: reveal(r, e))
            assert error.code == "secret_missing"
            assert SECRET not in str(error.to_dict())

    def test_a_run_keeps_the_reference_and_never_reads_the_secret(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        monkeypatch.setenv("DEPLOY_TOKEN", SECRET)
        run = pc.run(self.card, [{"who": "Ada", "token": "env:DEPLOY_TOKEN"}], "simulated:echo").wait()
        run.to_frame().to_csv(tmp_path / "results.csv")
        ledger_frame(run.results()).to_csv(tmp_path / "ledger.csv")
        told = caplog.text + repr(run.results())
        for path in tmp_path.rglob("*"):
            told += path.read_bytes().decode("utf-8", "replace") if path.is_file() else ""
        assert "Hi Ada" in told
        assert SECRET not in told

    def test_a_run_with_the_secret_itself_does_not_begin(self) -> None:
        error = refusal(lambda: pc.run(self.card, [{"who": "Ada", "token": SECRET}], "simulated:echo"))
        assert error.code == "variable_type"
        assert SECRET not in str(error.to_dict())
