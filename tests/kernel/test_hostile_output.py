"""What a model wrote is text everywhere: in a notebook, on GitHub, in tables for spreadsheets."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from pathlib import Path

import bleach
import openpyxl
import pytest
from msgspec.structs import replace

from promptcard_ext.core.contract.provenance import Provenance
from promptcard_ext.core.results import Counts, Generation, ItemResult, Outcome, Verdict
from promptcard_ext.interchange.result_files import write_results
from promptcard_ext.kernel.handle import RunHandle
from promptcard_ext.kernel.listing import CardLine, CardList, RunLine, RunList
from promptcard_ext.kernel.origin import History, Origin
from promptcard_ext.kernel.static_html import run_html
from promptcard_ext.kernel.verification import Flag, Verification
from promptcard_ext.stats.summary import summarise
from tests.kernel.hostile import PAYLOADS, assert_inert, assert_plain
from tests.widgets.fakes import handle, result

EACH = pytest.mark.parametrize("payload", PAYLOADS, ids=range(len(PAYLOADS)))
# What html-pipeline, by which GitHub shows what others wrote, lets through; neither style nor class is among it.
GITHUB_TAGS = [
    "h1", "h2", "h3", "h4", "h5", "h6", "br", "b", "i", "strong", "em", "a", "pre", "code", "img", "tt", "div", "ins",
    "del", "sup", "sub", "p", "picture", "ol", "ul", "table", "thead", "tbody", "tfoot", "blockquote", "dl", "dt", "dd",
    "kbd", "q", "samp", "var", "hr", "ruby", "rt", "rp", "li", "tr", "td", "th", "s", "strike", "summary", "details",
    "caption", "figure", "figcaption", "abbr", "bdo", "cite", "dfn", "mark", "small", "source", "span", "time", "wbr",
]  # fmt: skip


def everywhere(payload: str) -> list[ItemResult]:
    """Return results that have it wherever somebody else's text may stand."""
    parts = (Verdict("p", payload, Outcome.FAIL, payload, payload, metric=payload),)
    verdicts = tuple(Verdict("v", payload, Outcome.FAIL, payload, payload, 0.5, payload, 1, parts) for _ in range(2))
    calls = [{"function": {"name": payload, "arguments": payload}}]
    odd = Generation("p", "m", "h", payload, 1.0, raw=payload, tool_calls=calls)
    bad = replace(
        result(0, "fail", payload, label=payload, model=payload, case=payload, message=payload),
        verdicts=verdicts, generation=odd, reason=payload, score=0.5,
    )  # fmt: skip
    return [bad, result(1, "error", None, message=payload), result(2, "pass", payload)]


def run_of(payload: str) -> RunHandle:
    run = handle(total=3, name=payload)
    run.feed(everywhere(payload), status="completed")
    return run


@EACH
def test_in_a_notebook_it_is_text(payload: str) -> None:
    run = run_of(payload)
    assert "marked" in assert_inert(run_html(run))
    assert_plain(repr(run))
    assert_inert(run.summary()._repr_html_())
    assert_plain(repr(run.summary()))


@EACH
def test_lists_and_origins_show_it_as_text(payload: str) -> None:
    now = datetime.now(UTC)
    said = Provenance(notebook=payload, cell_id=payload[:100])
    shown = [
        CardList([CardLine(payload, 1, payload, (payload,), now)]),
        RunList([RunLine(payload, payload, payload, Counts(total=1), (payload,), now)]),
        Origin(payload, payload, now, said),
        History([Origin(payload, payload, now, said)]),
        Verification(Path("a.ipynb"), 1, 0, [Flag(1, payload, "gone", payload)]),
    ]
    for one in shown:
        assert "marked" in assert_inert(one._repr_html_())
        assert_plain(repr(one))


@EACH
def test_where_style_is_stripped_the_text_can_still_be_read(payload: str) -> None:
    html = run_html(run_of(payload))
    style, _, body = html.partition("</style>")
    assert style.startswith("<style>")
    bare = bleach.clean(body, tags=GITHUB_TAGS, attributes={}, strip=True)
    text = assert_inert(bare)
    for said in ("completed · 3 of 3", "card version", "pass rate", "3 items", "fail", "error", "marked"):
        assert said in text
    assert bleach.clean(body, tags=GITHUB_TAGS, attributes={}) == bare


@EACH
def test_in_a_table_for_a_spreadsheet_it_is_no_formula(payload: str, tmp_path: Path) -> None:
    results = everywhere(payload)
    for suffix in (".csv", ".xlsx"):
        write_results(iter(results), tmp_path / f"r{suffix}", title=payload[:50], rows=summarise(results))
    with (tmp_path / "r.csv").open(encoding="utf-8", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert any("marked" in cell for cell in cells)
    for cell in cells:
        assert not cell.lstrip().startswith(("=", "+", "@", "\uff1d")), cell
        # A number may be negative; a text may not look like one that is computed.
        assert not cell.startswith("-") or cell.removeprefix("-").replace(".", "", 1).isdecimal(), cell
    book = openpyxl.load_workbook(tmp_path / "r.xlsx")
    found = [cell for sheet in book for row in sheet.iter_rows() for cell in row if cell.value is not None]
    assert any("marked" in str(cell.value) for cell in found)
    assert all(cell.data_type != "f" and cell.hyperlink is None for cell in found)
