"""The ledger."""

from promptcard_ext.stats.ledger import ledger
from tests.stats.results import ERROR, FAIL, PASS, UNSCORED, item, verdict


def test_every_assertion_has_a_row_and_those_inside_have_a_path() -> None:
    deep = verdict(FAIL, "d", "regex", metric="form", weight=2.0, score=0.25)
    inner = verdict(FAIL, "c", "assert-set", parts=(verdict(PASS, "x"), deep))
    rows = list(ledger([item(FAIL, "u", 3, verdict(PASS, "a"), verdict(FAIL, "b", "cascade", parts=(inner,)))]))
    assert [(row.path, row.uid) for row in rows] == [
        ("0", "a"), ("1", "b"), ("1.0", "c"), ("1.0.0", "x"), ("1.0.1", "d")
    ]  # fmt: skip
    last = rows[-1]
    assert (last.type, last.outcome, last.reason, last.metric, last.weight, last.score) == (
        "regex", FAIL, "why", "form", 2.0, 0.25
    )  # fmt: skip
    assert (last.case, last.case_uid, last.repeat, last.label, last.model) == ("case u", "u", 3, "c@1", "p:m")


def test_an_item_that_no_assertion_judged_is_there_with_its_reason() -> None:
    first, second = ledger([item(ERROR, "u"), item(UNSCORED, "v")])
    assert (first.path, first.type, first.outcome, first.reason) == ("", "", ERROR, "why")
    assert (second.case_uid, second.outcome) == ("v", UNSCORED)


def test_it_reads_as_it_goes() -> None:
    def endless() -> object:
        while True:
            yield item(PASS, "u", 0, verdict(PASS))

    assert next(ledger(endless())).path == "0"  # type: ignore[arg-type]
