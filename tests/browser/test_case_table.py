"""The case table in a real JupyterLab, with another client changing cases meanwhile."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from promptcard_ext.client.discovery import Address
from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.card import Card, Variable
from promptcard_ext.core.case import Case
from promptcard_ext.core.contract.cases import CasePatch
from promptcard_ext.kernel.workspace import Workspace, connect
from tests.browser.conftest import ARTEFACTS
from tests.browser.menus import run_all
from tests.support import wait_for

pytestmark = pytest.mark.browser

CARD = Card(
    "greet",
    "Say hello to {{ who }} in a {{ mood }} way, {{ n }} times.",
    variables=(
        Variable("who"), Variable("mood", "enum", values=("glad", "sad"), default="glad"),
        Variable("n", "integer", default=1),
    ),
)  # fmt: skip
CELL = "import promptcard_ext as pc\ntable = pc.connect().edit_cases('greet')\ntable"
MANY = """
import promptcard_ext as pc
table = pc.edit_cases(pc.Card("many", "{{ who }}"), [{"who": f"Ada {n}"} for n in range(10_000)])
table
"""


def cases(count: int) -> list[Case]:
    return [
        Case({"who": f"Ada {n}", "n": n + 1}, (Assertion("contains", f"Ada {n}"),), name=f"ada-{n}")
        for n in range(count)
    ]


@pytest.fixture(scope="module")
def workspace(lab: Address, folder: Path) -> Iterator[Workspace]:
    """The cases and a finished run, and a notebook that edits them."""
    place = connect(lab.url, lab.token)
    place.save(CARD, cases(40))
    place.run("greet", "simulated:echo", name="before").wait(120)
    for name, code in (("cases", CELL), ("many", MANY)):
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, folder / f"{name}.ipynb")
    yield place
    place.api.session.close()


@pytest.fixture(scope="module")
def shared(browser: Browser, lab: Address, workspace: Workspace) -> Iterator[Page]:
    """One page for all tests of the file; each leaves the table saved."""
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.set_default_timeout(30_000)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=lab.url.rstrip("/"))
    page.goto(f"{lab.url}lab/tree/cases.ipynb?token={lab.token}")
    expect(page.get_by_text("Python 3 (ipykernel) | Idle")).to_be_visible()
    page.get_by_role("button", name="No", exact=True).click()
    run_all(page)
    expect(page.locator(".pct .pct-cell", has_text="ada-0").first).to_be_visible()
    yield page
    page.close()


@pytest.fixture
def table(shared: Page, request: pytest.FixtureRequest) -> Iterator[Locator]:
    yield shared.locator(".pct")
    shot(shared, request.node.name)


def shot(page: Page, name: str) -> None:
    ARTEFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTEFACTS / f"{name}.png")


def cell(table: Locator, row: int, title: str) -> Locator:
    """Return a cell by the number that stands before its row."""
    titles = [
        text.strip() for text in table.locator(".pct-title").evaluate_all("all => all.map(n => n.firstChild.data)")
    ]
    return table.locator(f".pct-row[data-index='{row - 1}'] .pct-cell").nth(titles.index(title))


def paste(page: Page, text: str) -> None:
    page.evaluate("text => navigator.clipboard.writeText(text)", text)
    page.keyboard.press("Control+v")


def stored(workspace: Workspace) -> dict[str, Any]:
    return {case.name: case for case in workspace.api.cases.list("greet")}


def saved(table: Locator, words: str) -> None:
    expect(table.get_by_role("status").first).to_contain_text(words)


def test_cells_from_a_spreadsheet_are_pasted_after_a_look_at_what_does_not_fit(
    shared: Page, table: Locator, workspace: Workspace
) -> None:
    table.locator(".pct-scroll").evaluate("node => node.scrollTop = node.scrollHeight")
    cell(table, 40, "name").click()
    shared.keyboard.press("ArrowDown")
    paste(shared, 'ada-39\tAda 39\tsad\t4\nbob\t"Bob\nsenior"\tglad\t2\ncleo\tCleo\tangry\tmany\n')
    panel = table.get_by_role("region", name="Paste")
    expect(panel).to_contain_text("2 rows are new, 2 cells do not fit")
    expect(panel.get_by_role("row", name="42 n many")).to_contain_text("'many' is no integer")
    expect(panel.get_by_role("row", name="42 mood angry")).to_contain_text("not one of glad, sad")
    shot(shared, "case-table-paste")
    panel.get_by_role("button", name="Paste what fits").click()
    expect(cell(table, 41, "who")).to_have_text("Bob ↵ senior")
    table.get_by_role("button", name="Save 3").click()
    saved(table, "3 saved.")
    assert stored(workspace)["bob"].variables == {"who": "Bob\nsenior", "mood": "glad", "n": 2}
    assert stored(workspace)["cleo"].variables == {"who": "Cleo"}
    assert stored(workspace)["ada-39"].variables == {"who": "Ada 39", "mood": "sad", "n": 4}


def test_flips_are_seen_before_an_assertion_is_saved(shared: Page, table: Locator, workspace: Workspace) -> None:
    table.locator(".pct-scroll").evaluate("node => node.scrollTop = 0")
    cell(table, 1, "assertions").dblclick()
    panel = table.get_by_role("region", name="Assertions of ada-0")
    expect(panel).to_contain_text("None of 1 stored answer flips")
    expect(panel).to_contain_text("The answer contains value; case matters.")
    kind = panel.get_by_role("combobox", name="Kind of assertion 1")
    kind.fill("contians")
    expect(panel).to_contain_text("Did you mean 'contains'?")
    kind.fill("start")
    expect(panel.get_by_role("option", name="starts-with")).to_be_visible()
    shot(shared, "case-table-completion")
    kind.press("Enter")
    expect(panel).to_contain_text("1 of 1 stored answer flips: 1 pass → fail")
    expect(panel).to_contain_text("Say hello to Ada 0")
    panel.get_by_role("combobox", name="Add an argument").fill("wei")
    shared.keyboard.press("Enter")
    shared.keyboard.type("2")
    shot(shared, "case-table-assertions")
    panel.get_by_role("button", name="Apply").click()
    expect(cell(table, 1, "assertions")).to_have_text("starts-with: Ada 0 ×2")
    table.get_by_role("button", name="Save 1").click()
    review = table.get_by_role("region", name="Before saving")
    expect(review).to_contain_text("1 of 1 stored answer flips: 1 pass → fail")
    assert stored(workspace)["ada-0"].assertions[0]["type"] == "contains", "nothing is saved yet"
    shot(shared, "case-table-review")
    review.get_by_role("button", name="Save", exact=True).click()
    saved(table, "1 saved.")
    assert stored(workspace)["ada-0"].assertions == [{"type": "starts-with", "value": "Ada 0", "weight": 2.0}]


def test_a_conflict_is_shown_row_by_row_and_nothing_is_lost(shared: Page, table: Locator, workspace: Workspace) -> None:
    for row, name in ((2, "mine"), (3, "fine")):
        cell(table, row, "name").dblclick()
        shared.keyboard.press("Control+a")
        shared.keyboard.type(name)
        shared.keyboard.press("Enter")
    theirs = stored(workspace)["ada-1"]
    workspace.api.cases.update("greet", theirs.id, CasePatch(name="theirs", priority="high"), etag="*")
    shared.keyboard.press("Control+s")
    saved(table, "1 saved, 1 changed by somebody else meanwhile.")
    assert {"theirs", "fine"} <= stored(workspace).keys()
    cell(table, 2, "name").click()
    expect(cell(table, 2, "name")).to_have_text("mine")
    shared.keyboard.press("Enter")
    panel = table.get_by_role("region", name="Conflict")
    expect(panel.get_by_role("row", name="name mine theirs")).to_be_visible()
    shot(shared, "case-table-conflict")
    panel.get_by_role("button", name="Keep mine").click()
    table.get_by_role("button", name="Save 1").click()
    saved(table, "1 saved.")
    assert "theirs" not in stored(workspace)
    assert stored(workspace)["mine"].case_uid == theirs.case_uid


def test_everything_can_be_done_with_the_keyboard(shared: Page, table: Locator, workspace: Workspace) -> None:
    keys = shared.keyboard
    cell(table, 4, "who").click()
    for key in ("Home", "ArrowRight", "Shift+ArrowDown", "Shift+ArrowDown"):
        keys.press(key)
    keys.press("Control+c")
    saved(table, "3 cells copied.")
    assert shared.evaluate("navigator.clipboard.readText()") == "Ada 3\nAda 4\nAda 5\n"
    keys.press("Control+Enter")  # a new row
    expect(cell(table, 43, "name")).to_have_class("pct-cell pct-is-text pct-active")
    keys.type("zoe")
    keys.press("Tab")
    keys.type("Zoe")
    keys.press("Tab")
    keys.type("s")  # of a choice
    keys.press("Enter")
    expect(cell(table, 43, "mood")).to_have_text("sad")
    keys.press("ArrowRight")
    keys.type("x")
    keys.press("Escape")
    expect(cell(table, 43, "n")).to_have_text("")
    keys.press("End")
    keys.press("F2")
    expect(table.get_by_role("combobox", name="Kind of assertion 1")).to_be_focused()
    keys.type("icontains")
    keys.press("Tab")
    keys.type("zoe")
    keys.press("Control+Enter")
    expect(cell(table, 43, "assertions")).to_have_text("icontains: zoe")
    keys.press("Control+z")
    expect(cell(table, 43, "assertions")).to_have_text("")
    keys.press("Control+y")
    expect(cell(table, 43, "assertions")).to_have_text("icontains: zoe")
    keys.press("Control+Home")
    keys.press("Shift+Delete")
    expect(table.locator(".pct-facts")).to_contain_text("1 new · 1 to be deleted")
    keys.press("Escape")
    expect(table.get_by_role("button", name="Add row")).to_be_focused()
    keys.press("Control+s")
    saved(table, "1 saved, 1 deleted.")
    assert stored(workspace)["zoe"].assertions == [{"type": "icontains", "value": "zoe"}]
    assert "ada-0" not in stored(workspace)
    assert len(shared.locator(".jp-Cell").all()) <= 2, "no key has reached the notebook"


def test_many_rows_are_tagged_set_aside_and_found(shared: Page, table: Locator, workspace: Workspace) -> None:
    cell(table, 2, "name").click()
    cell(table, 4, "name").click(modifiers=["Shift"])
    table.get_by_role("textbox", name="Tags for the selected rows").fill("slow")
    table.get_by_role("button", name="+ tag").click()
    expect(cell(table, 4, "tags")).to_have_text("slow")
    table.get_by_role("button", name="Quarantine").click()
    expect(table.locator(".pct-facts")).to_contain_text("3 quarantined")
    table.get_by_role("combobox", name="Which rows to show").select_option("quarantined")
    expect(table.get_by_role("grid")).to_have_attribute("aria-rowcount", "4")
    table.get_by_role("button", name="Save 3").click()
    saved(table, "3 saved.")
    tagged = [case.metadata["tags"] for case in stored(workspace).values() if case.metadata]
    assert tagged == [["slow", "quarantined"]] * 3
    table.get_by_role("combobox", name="Which rows to show").select_option("")
    expect(table.get_by_role("grid")).to_have_attribute("aria-rowcount", "43")


def test_it_is_readable_in_the_dark_and_at_600_pixels(shared: Page, table: Locator) -> None:
    cell(table, 2, "n").dblclick()
    shared.keyboard.press("Control+a")
    shared.keyboard.type("many")
    shared.keyboard.press("Enter")
    shared.get_by_role("menuitem", name="Settings", exact=True).click()
    shared.locator(".lm-Menu-itemLabel", has_text=re.compile("^Theme$")).hover()
    shared.locator(".lm-Menu-itemLabel", has_text=re.compile("^JupyterLab Dark$")).click()
    expect(shared.locator("body")).to_have_attribute("data-jp-theme-name", "JupyterLab Dark")
    cell(table, 3, "assertions").dblclick()
    expect(table.get_by_role("region", name="Assertions of")).to_contain_text("stored answer flips")
    shot(shared, "case-table-dark")
    luminance = "node => getComputedStyle(node).backgroundColor.match(/[0-9.]+/g).slice(0, 3).map(Number)"
    assert max(table.evaluate(luminance)) < 100
    table.evaluate("node => node.parentElement.style.width = '600px'")
    table.scroll_into_view_if_needed()
    shot(shared, "case-table-600")
    assert table.evaluate("node => node.scrollWidth <= node.clientWidth"), "only the grid scrolls to its sides"
    shared.keyboard.press("Escape")
    expect(cell(table, 2, "n")).to_have_attribute("aria-invalid", "true")


def test_ten_thousand_cases_without_a_server_are_still_there_after_a_reload(
    shared: Page, lab: Address, folder: Path
) -> None:
    # In a workspace of its own, or the other notebook would be opened, too.
    shared.goto(f"{lab.url}lab/workspaces/many/tree/many.ipynb?token={lab.token}")
    expect(shared.get_by_text("Python 3 (ipykernel) | Idle")).to_be_visible()
    run_all(shared)
    table = shared.locator(".pct")
    expect(table.locator(".pct-cell", has_text="Ada 0").first).to_be_visible()
    cell(table, 1, "who").click()
    shared.keyboard.press("Control+End")
    shared.keyboard.press("Home")
    shared.keyboard.type("last")
    shared.keyboard.press("Enter")
    expect(cell(table, 10_000, "name")).to_have_text("last")
    expect(cell(table, 10_000, "who")).to_have_text("Ada 9999")
    assert table.locator(".pct-row").count() < 60
    shared.keyboard.press("Escape")
    expect(table.locator(".pct-facts")).to_have_text("10,000 cases · 1 changed")
    shared.get_by_role("menuitem", name="File", exact=True).click()
    shared.locator(".lm-Menu-itemLabel", has_text=re.compile("^Save Notebook$")).click()
    wait_for(lambda: "10,000 cases" in (folder / "many.ipynb").read_text("utf-8"))
    shared.reload()
    expect(table.locator(".pct-facts")).to_have_text("10,000 cases · 1 changed")
    cell(table, 1, "who").click()
    shared.keyboard.press("Control+z")
    expect(table.locator(".pct-facts")).to_have_text("10,000 cases")
    shot(shared, "case-table-reloaded")
