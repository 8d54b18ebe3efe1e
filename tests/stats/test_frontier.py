"""Cost against quality."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from promptcard_ext.core.results import Counts
from promptcard_ext.stats.frontier import frontier
from promptcard_ext.stats.intervals import wilson
from promptcard_ext.stats.summary import SummaryRow


def row(name: str, passed: int, cost: str | None, judged: int = 10) -> SummaryRow:
    priced = 0 if cost is None else 10
    counts = Counts(10, 10, passed, judged - passed, priced=priced, cost_usd=Decimal(cost or 0) * priced)
    return SummaryRow(name, "p:m", counts, wilson(passed, judged), None, None)


@given(st.lists(st.tuples(st.integers(0, 10), st.sampled_from(["0", "0.1", "0.2", "0.3"])), max_size=12))
def test_on_the_front_is_what_nothing_beats(given: list[tuple[int, str]]) -> None:
    points = frontier([row(str(place), *one) for place, one in enumerate(given)])
    values = [(point.cost_usd, point.pass_rate.rate) for point in points]
    for point, (cost, rate) in zip(points, values, strict=True):
        beaten = any(c <= cost and r >= rate and (c, r) != (cost, rate) for c, r in values)
        assert point.on_front is not beaten
    assert values == sorted(values, key=lambda value: (value[0], -value[1]))


def test_without_a_price_or_a_verdict_there_is_no_point() -> None:
    found = frontier([row("unpriced", 5, None), row("unjudged", 0, "0.1", 0), row("whole", 5, "0.1")])
    assert [point.label for point in found] == ["whole"]
