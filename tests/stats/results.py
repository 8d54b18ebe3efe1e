"""Results made by hand."""

from typing import Any

from promptcard_ext.core.results import ItemResult, Outcome, Verdict

PASS, FAIL, ERROR, UNSCORED = Outcome.PASS, Outcome.FAIL, Outcome.ERROR, Outcome.UNSCORED
OUTCOME = {"p": PASS, "f": FAIL, "e": ERROR, "u": UNSCORED}


def verdict(outcome: Outcome, uid: str = "a", kind: str = "contains", **more: Any) -> Verdict:
    reason = None if outcome is PASS else more.pop("reason", "why")
    return Verdict(uid, kind, outcome, reason, **more)


def item(outcome: Outcome, case: str = "u", repeat: int = 0, *verdicts: Verdict, **more: Any) -> ItemResult:
    given = {"ordinal": 0, "label": "c@1", "model": "p:m", **more}
    reason = None if outcome is PASS else "why"
    return ItemResult(
        given.pop("ordinal"), "c", 1, given.pop("label"), given.pop("model"), f"case {case}", case, repeat, outcome,
        reason, verdicts=verdicts, **given,
    )  # fmt: skip


def repeats(outcomes: str, case: str = "u", **more: Any) -> list[ItemResult]:
    """Return repeats of one case: p pass, f fail, e error, u unscored."""
    return [item(OUTCOME[letter], case, number, **more) for number, letter in enumerate(outcomes)]
