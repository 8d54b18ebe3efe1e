"""Two runs next to each other, in a real JupyterLab, seen through a real browser."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Locator, Page, expect

from promptcard_ext.client.discovery import Address
from tests.browser.conftest import ARTEFACTS
from tests.browser.menus import run_all

pytestmark = pytest.mark.browser

CELL = """\
import promptcard_ext as pc

triage = pc.starter_cards()["support-triage"]
run = pc.run(triage.versions[:2], triage.cases, "simulated:steady?latency_ms=2", repeats=3, name="night run").wait()
labels = [card.label for card in triage.versions[:2]]
comparison = pc.compare(run.of(label=labels[0]), run.of(label=labels[1]))
comparison.browse()
"""


@pytest.fixture
def view(lab: Address, page: Page, folder: Path) -> Locator:
    """The view of a comparison, in a notebook that has just been run."""
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    nbformat.write(book, folder / "compare.ipynb")
    page.goto(f"{lab.url}lab/tree/compare.ipynb?token={lab.token}&reset")
    expect(page.get_by_text("Python 3 (ipykernel) | Idle")).to_be_visible()
    page.get_by_role("button", name="No", exact=True).click()  # Jupyter's question about news
    run_all(page)
    found = page.locator(".pcc")
    expect(found).to_be_visible()
    return found


def picture(page: Page, name: str) -> None:
    ARTEFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTEFACTS / f"compare-{name}.png")


def test_two_versions_are_looked_through_with_keys_only_in_light_dark_and_600_pixels(view: Locator, page: Page) -> None:
    expect(view.locator(".pcc-headline")).to_contain_text("Pass rate: ")
    flips = view.get_by_role("button", name="flips", exact=False).first
    expect(flips).to_have_attribute("aria-pressed", "true")
    grid = view.get_by_role("grid", name="Compared items")
    expect(grid.locator(".pcc-rows .pcc-row").first).not_to_have_class("pcc-row pcc-wait")

    view.scroll_into_view_if_needed()
    picture(page, "head")

    # Keys move in the table, not from cell to cell of the notebook.
    grid.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(grid.locator('[aria-selected="true"]')).to_have_attribute("data-index", "1")
    page.keyboard.press("Enter")
    detail = view.get_by_role("region", name="One item")
    expect(detail.get_by_label("Answer A")).to_be_visible()
    expect(detail.locator("del, ins").first).to_be_visible()
    expect(detail.get_by_role("table", name="Answers over all repeats")).to_be_visible()
    detail.scroll_into_view_if_needed()
    picture(page, "light")
    page.keyboard.press("Escape")
    expect(detail).to_be_hidden()

    # Everything, and of that one case.
    rows = grid.get_attribute("aria-rowcount") or ""
    view.get_by_role("button", name="all").click()
    expect(grid).not_to_have_attribute("aria-rowcount", rows)
    expect(grid.locator(".pcc-rows .pcc-row").first).not_to_have_class(re.compile("pcc-wait"))
    name = grid.locator(".pcc-rows .pcc-case").first.text_content() or ""
    grid.focus()
    page.keyboard.press("/")
    page.keyboard.type(name.partition(" #")[0])
    expect(grid.locator(".pcc-rows .pcc-row")).to_have_count(3)
    expect(grid).to_have_attribute("aria-rowcount", "4")
    page.keyboard.type("nothing like it")
    expect(view.get_by_text("Nothing here matches.")).to_be_visible()
    page.keyboard.press("Escape")
    expect(view.get_by_text("Nothing here matches.")).to_be_hidden()

    page.get_by_role("menuitem", name="Settings", exact=True).click()
    page.locator(".lm-Menu-itemLabel").get_by_text("Theme", exact=True).click()
    page.locator(".lm-Menu-itemLabel").get_by_text("JupyterLab Dark", exact=True).click()
    flips.click()
    grid.locator(".pcc-rows .pcc-row").first.click()
    expect(detail).to_be_visible()
    expect(page.locator("body")).to_have_attribute("data-jp-theme-name", "JupyterLab Dark")
    view.scroll_into_view_if_needed()
    picture(page, "dark")

    page.keyboard.press("Control+b")  # without the list of files
    page.set_viewport_size({"width": 600, "height": 1000})
    expect(view).to_have_class("pcc pcc-one-label pcc-one-model pcc-narrow")
    view.locator(".pcc-headline").scroll_into_view_if_needed()
    picture(page, "600")
    box = view.bounding_box()
    assert box is not None
    assert box["x"] + box["width"] <= 600
