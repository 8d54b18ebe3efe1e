"""The welcome notebook in a real JupyterLab, seen through a real browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from promptcard_ext.client.discovery import Address
from tests.browser.conftest import ARTEFACTS
from tests.browser.menus import run_all

pytestmark = pytest.mark.browser


# Looked for at each frame: a run of some seconds is over before somebody who looks once a second has seen it.
LIVE = """() => {
    const cells = [...document.querySelectorAll('.pcv [role="gridcell"]')];
    const found = cells.find(cell => cell.offsetParent && (cell.ariaLabel ?? cell.textContent).includes('my-triage@1'));
    found?.closest('.pcv').scrollIntoView({block: 'center'});
    return Boolean(found);
}"""


def test_the_welcome_notebook_shows_rows_as_they_arrive_and_ends_with_a_report(
    lab: Address, page: Page, folder: Path
) -> None:
    page.goto(f"{lab.url}lab/tree/prompt-cards/01_first_card.ipynb?token={lab.token}")
    expect(page.get_by_role("heading", name="Your first prompt card")).to_be_visible()
    expect(page.get_by_text("Python 3 (ipykernel) | Idle")).to_be_visible()
    page.get_by_role("button", name="No", exact=True).click()  # Jupyter's question about news
    run_all(page)

    # Rows are seen while the run goes on: some, and not yet all of them.
    page.wait_for_function(LIVE)
    ARTEFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTEFACTS / "live-run.png")

    # Afterwards the output is static HTML that needs no kernel, with every item in it.
    cells = page.locator(".jp-CodeCell")
    done = cells.filter(has_text="run = ws.run(first").locator(".pc-run")
    expect(done.get_by_text("completed · 56 of 56")).to_be_visible()
    chart = cells.filter(has_text="pc.pass_rates(both.summary())").locator("canvas, svg.marks, img").last
    chart.scroll_into_view_if_needed()
    expect(chart).to_be_visible()
    report = cells.filter(has_text='ws.report(both, "my-triage.html")').locator(".jp-OutputArea-output")
    expect(report.last).to_contain_text("my-triage.html")
    assert "my-triage@2" in (folder / "prompt-cards" / "my-triage.html").read_text("utf-8")
