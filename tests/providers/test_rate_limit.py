"""What headers say about limits and waiting."""

import email.utils
import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from promptcard_ext.core.ports import Quota
from promptcard_ext.providers.rate_limit import duration, quota, retry_after


def in_seconds(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1s", 1), ("6m0s", 360), ("20ms", 0.02), ("1h2m3s", 3723), ("2m59.56s", 179.56), ("7", 7), ("0.5", 0.5),
     ("1d", 86400), (" 3s ", 3), ("17m", 1020), ("0s", 0)],
)  # fmt: skip
def test_spans_are_read(text: str, seconds: float) -> None:
    assert duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "soon", "1s2m", "1 s", "nan", "inf", "1y", "m"])
def test_what_is_no_span_is_none(text: str) -> None:
    assert duration(text) is None


def openai(what: str, limit: str, remaining: str, reset: str) -> dict[str, str]:
    return {
        f"x-ratelimit-limit-{what}": limit,
        f"x-ratelimit-remaining-{what}": remaining,
        f"x-ratelimit-reset-{what}": reset,
    }


def test_the_scarcest_of_openais_limits_counts() -> None:
    both = openai("requests", "500", "499", "120ms") | openai("tokens", "30000", "3000", "54s")
    assert quota(both) == Quota(0.1, 54.0)
    assert quota(openai("requests", "60", "15", "6m0s")) == Quota(0.25, 360.0)
    assert quota(openai("tokens", "100", "0", "1s")) == Quota(0.0, 1.0)


def test_anthropics_reset_is_an_instant() -> None:
    found = quota(
        {
            "anthropic-ratelimit-requests-limit": "50",
            "anthropic-ratelimit-requests-remaining": "49",
            "anthropic-ratelimit-requests-reset": in_seconds(5),
            "anthropic-ratelimit-output-tokens-limit": "8000",
            "anthropic-ratelimit-output-tokens-remaining": "2000",
            "anthropic-ratelimit-output-tokens-reset": in_seconds(40),
        }
    )
    assert found is not None
    assert found.remaining == 0.25
    assert found.reset_s == pytest.approx(40, abs=2)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (
            {"ratelimit": '"one";r=50;t=30, "day";r=10;t=4000', "ratelimit-policy": '"one";q=100;w=60,"day";q=1000'},
            Quota(0.01, 4000.0),
        ),
        ({"ratelimit": '"a";r=3', "ratelimit-policy": '"a";q=4;w=1;qu="x"'}, Quota(0.75, None)),
        ({"ratelimit": "limit=100, remaining=50, reset=5"}, Quota(0.5, 5.0)),
        ({"ratelimit-limit": "100, 100;w=60", "ratelimit-remaining": "7", "ratelimit-reset": "4"}, Quota(0.07, 4.0)),
        ({"x-ratelimit-limit": "20", "x-ratelimit-remaining": "20"}, Quota(1.0, None)),
        ({"ratelimit-remaining": "0", "ratelimit-reset": "9"}, Quota(0.0, 9.0)),
    ],
    ids=["policies", "no-reset", "version-7", "separate", "gateway", "nothing-left"],
)  # fmt: skip
def test_the_drafts_of_the_ietf_are_read(headers: dict[str, str], expected: Quota) -> None:
    assert quota(headers) == expected


@pytest.mark.parametrize(
    ("reset", "expected"),
    [(lambda: str(int(time.time() + 30)), 30), (lambda: str(int((time.time() + 30) * 1000)), 30), (lambda: "30", 30),
     (lambda: in_seconds(-100), 0), (lambda: "later", None), (lambda: "9" * 30, None)],
    ids=["epoch", "epoch-ms", "span", "past", "text", "far"],
)  # fmt: skip
def test_a_reset_is_a_span_or_an_instant(reset: object, expected: float | None) -> None:
    assert callable(reset)
    found = quota({"x-ratelimit-limit": "10", "x-ratelimit-remaining": "5", "x-ratelimit-reset": reset()})
    assert found is not None
    if expected is None:
        assert found.reset_s is None or found.reset_s > 1e9
    else:
        assert found.reset_s == pytest.approx(expected, abs=2)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": "application/json"},
        openai("requests", "", "15", "1s"),
        openai("requests", "many", "few", ""),
        openai("requests", "0", "5", ""),
        {"ratelimit": '"a";r=3'},
        {"ratelimit": "????"},
    ],
)
def test_a_limit_whose_size_is_not_told_has_no_share(headers: dict[str, str]) -> None:
    assert quota(headers) is None


def test_more_left_than_there_is_and_less_than_nothing_stay_within_bounds() -> None:
    assert quota(openai("requests", "10", "99", "")) == Quota(1.0, None)
    assert quota(openai("requests", "10", "-3", "")) == Quota(0.0, None)


NAMES = st.sampled_from(
    ["x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests", "ratelimit",
     "ratelimit-policy", "ratelimit-limit", "ratelimit-remaining", "ratelimit-reset", "x-ratelimit-remaining",
     "anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-limit", "Retry-After", "retry-after-ms"]
)  # fmt: skip
WORDS = (
    st.text()
    | st.from_regex(r'("[a-z]*";[rqtw]=[0-9]*,? ?)*')
    | st.from_regex(r"-?[0-9]{0,20}(\.[0-9]+)?(ms|[smhdZ])?")
)


@given(st.dictionaries(NAMES, WORDS))
def test_no_headers_break_it(headers: dict[str, str]) -> None:
    found = quota(CIMultiDict(headers))
    assert found is None or (0 <= found.remaining <= 1 and (found.reset_s is None or found.reset_s >= 0))
    wait = retry_after(CIMultiDict(headers))
    assert wait is None or wait >= 0


def test_retry_after_as_a_date_counts_from_now() -> None:
    wait = retry_after({"Retry-After": email.utils.formatdate(time.time() + 30, usegmt=True)})
    assert wait is not None
    assert 28 <= wait <= 30


def test_a_date_in_the_past_is_no_wait() -> None:
    assert retry_after({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0


def test_milliseconds_are_more_exact_than_seconds() -> None:
    assert retry_after({"retry-after-ms": "1250", "Retry-After": "2"}) == 1.25
    assert retry_after({"retry-after-ms": "soon", "Retry-After": "2"}) == 2


@pytest.mark.parametrize("value", ["", "soon", "Wed, 99 Oct 2015", "Mon, 01 Jan 99999999999 00:00:00 GMT", "nan"])
def test_what_says_nothing_is_no_answer(value: str) -> None:
    assert retry_after({"Retry-After": value}) is None
    assert retry_after({}) is None
