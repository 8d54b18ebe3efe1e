"""The view of a run of a thousand items in a real JupyterLab: watched, steered, lost and found again."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Locator, Page, expect

from promptcard_ext.client.discovery import Address
from tests.browser.conftest import ARTEFACTS
from tests.browser.menus import run_all

pytestmark = pytest.mark.browser

START = """
import promptcard_ext as pc
from promptcard_ext.core.assertions import Assertion

ws = pc.connect()
words = ["refund", "invoice", "password", "crash"]
cases = [
    pc.Case({"who": f"{words[n % 4]} {n}"}, (Assertion("contains", "refund" if n % 5 else "or"),), name=f"case-{n}")
    for n in range(250)
]
models = ["simulated:steady?latency_ms=900", "simulated:echo"]
card = ws.save(pc.Card("about", "Say something about {{ who }}."), cases)
run = ws.run(card, models, repeats=2, concurrency=6, name="about many things")
display(run)
open("run-id.txt", "w").write(run.id)
"""
BUSY = """
while not run.finished:
    sum(range(1000))
"""
ATTACH = """
import promptcard_ext as pc
run = pc.attach(open("run-id.txt").read())
run.browse()
"""
ENDS = """
import promptcard_ext as pc
card = pc.Card("greet", "Say hello to {{ who }}.")
used = pc.run(card, [{"who": str(n)} for n in range(60)], "simulated:steady?latency_ms=100", concurrency=1, name="used")
display(used)
left = pc.run(card, [{"who": str(n)} for n in range(90)], "simulated:steady?latency_ms=100", concurrency=1, name="left")
display(left)
"""
# The colour behind the view, as it is painted: styles may name it in any way.
SHADE = """view => {
    const canvas = document.createElement("canvas").getContext("2d");
    canvas.fillStyle = getComputedStyle(view).backgroundColor;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
}"""


def book(folder: Path) -> str:
    """Write the notebook and return its name."""
    cells = [nbformat.v4.new_code_cell(cell) for cell in (START, BUSY, ATTACH)]
    made = nbformat.v4.new_notebook(cells=cells)
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    nbformat.write(made, folder / "watch.ipynb")
    return "watch.ipynb"


def open_notebook(page: Page, lab: Address, name: str, how: str = "") -> None:
    page.goto(f"{lab.url}lab/tree/{name}?token={lab.token}{how}")
    expect(page.get_by_text(re.compile(r"Python 3 \(ipykernel\) \| (Idle|Busy)"))).to_be_visible()
    with_news = page.get_by_role("button", name="No", exact=True)
    if with_news.is_visible():
        with_news.click()


def run_cell(page: Page, number: int) -> None:
    page.locator(".jp-CodeCell").nth(number).locator(".jp-InputPrompt").click()
    page.keyboard.press("Control+Enter")


def picture(page: Page, name: str) -> None:
    ARTEFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTEFACTS / f"run-view-{name}.png")


def done(view: Locator) -> int:
    """Return how many items the view says are done."""
    return int(re.sub(r"\D", "", (view.locator(".pcv-progress").inner_text()).split(" of ")[0]) or 0)


def until(page: Page, look: Callable[[], bool]) -> None:
    """Look again and again; the browser goes on meanwhile."""
    for _ in range(600):
        if look():
            return
        page.wait_for_timeout(50)
    pytest.fail("it did not come true")


def test_a_run_is_watched_paused_searched_and_stopped_while_its_cell_is_busy(
    lab: Address, page: Page, folder: Path
) -> None:
    open_notebook(page, lab, book(folder))
    run_cell(page, 0)
    view = page.locator(".pcv").first
    grid = view.get_by_role("grid", name="Results")
    # The matrix fills.
    expect(grid.get_by_role("columnheader", name=re.compile("simulated:echo"))).to_be_visible()
    expect(grid.get_by_role("gridcell", name=re.compile("simulated:echo: .*(pass|fail)")).first).to_be_visible()
    view.scroll_into_view_if_needed()
    picture(page, "matrix")
    first = done(view)
    until(page, lambda: done(view) > first)

    view.get_by_role("button", name="Pause").click()
    expect(view.locator(".pcv-pill")).to_have_text("paused")
    view.get_by_role("button", name="Resume").click()
    expect(view.locator(".pcv-pill")).to_have_text("running")

    view.get_by_role("button", name="List").click()
    view.get_by_label("Search answers, cases and messages").fill("refund 4")
    expect(view.locator(".pcv-hits")).to_contain_text("found")
    expect(grid.get_by_role("gridcell", name=re.compile("refund 4|case-4")).first).to_be_visible()
    view.get_by_label("Order").select_option("latency")
    expect(grid.get_by_role("gridcell", name=re.compile("case-4")).first).to_be_visible()
    picture(page, "list")

    # The page is loaded anew, and the view is there again and goes on: its kernel has not lost it.
    page.keyboard.press("Control+s")
    until(page, lambda: "widget-view" in (folder / "watch.ipynb").read_text("utf-8"))
    page.reload()
    view = page.locator(".pcv").first
    expect(view.locator(".pcv-pill")).to_have_text("running")
    before = done(view)
    until(page, lambda: done(view) > before)
    assert before >= first

    # It is stopped while the kernel computes.
    run_cell(page, 1)
    prompt = page.locator(".jp-CodeCell").nth(1).locator(".jp-InputPrompt")
    expect(prompt).to_have_text("[*]:")
    view.get_by_role("button", name="Stop").click()
    expect(view.locator(".pcv-pill")).to_have_text("cancelled")
    assert 0 < done(view) < 1000
    expect(prompt).to_have_text(re.compile(r"\[\d+\]:"))


def test_after_a_restart_the_run_is_attached_to_and_read_by_keyboard_alone(
    lab: Address, page: Page, folder: Path
) -> None:
    themes = folder / "settings" / "@jupyterlab" / "apputils-extension" / "themes.jupyterlab-settings"
    themes.parent.mkdir(parents=True, exist_ok=True)
    themes.write_text('{"theme": "JupyterLab Dark"}', "utf-8")
    open_notebook(page, lab, "watch.ipynb")
    page.get_by_role("menuitem", name="Kernel", exact=True).click()
    page.get_by_role("menuitem", name="Restart Kernel…").click()
    page.locator(".jp-Dialog .jp-mod-accept").click()
    expect(page.get_by_text("Python 3 (ipykernel) | Idle")).to_be_visible()
    run_cell(page, 2)
    output = page.locator(".jp-CodeCell").nth(2)
    view = output.locator(".pcv")
    expect(view.locator(".pcv-pill")).to_have_text("cancelled")
    expect(view.locator(".pcv-name")).to_have_text("about many things")

    # From the search to the cells and into an item, without the mouse.
    view.get_by_label("Search answers, cases and messages").focus()
    while not view.get_by_role("grid", name="Results").evaluate("grid => grid === document.activeElement"):
        page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(view.locator(".pcv-cell.pcv-here")).to_have_count(1)
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    story = view.get_by_role("region", name="One item")
    expect(story.get_by_role("heading", name="Prompt")).to_be_visible()
    expect(story.get_by_text("Say something about").first).to_be_visible()
    expect(story.get_by_text("recorded, by").first).to_be_visible()
    picture(page, "story")
    page.keyboard.press("Escape")
    expect(story).to_be_hidden()
    page.keyboard.press(" ")
    expect(view.locator(".pcv-marked")).to_contain_text("1 column marked")
    # The keys were for the view: the notebook has not moved on.
    expect(view.get_by_role("grid", name="Results")).to_be_focused()
    view.get_by_role("columnheader", name=re.compile("steady")).click()
    expect(view.locator(".pcv-marked")).to_contain_text("2 columns marked")
    view.get_by_role("button", name="Compare", exact=True).click()
    expect(view.locator(".pcv-below").get_by_text(re.compile("pairs flipped|of .* pairs")).first).to_be_visible()
    picture(page, "compared")
    view.get_by_role("button", name="Close the comparison").click()
    expect(view.locator(".pcv-below")).to_be_hidden()
    view.get_by_role("button", name="Clear").click()

    view.get_by_role("button", name="fail").click()
    failed = int(re.sub(r"\D", "", view.get_by_role("button", name="fail").inner_text()))
    view.get_by_role("button", name="List").click()
    expect(view.get_by_role("grid", name="Results")).to_have_attribute("aria-rowcount", str(failed + 1))

    # Dark, and in a narrow window.
    assert max(view.evaluate(SHADE)) < 80
    picture(page, "dark-list")
    view.get_by_role("button", name="Matrix").click()
    picture(page, "dark-matrix")
    page.keyboard.press("Control+b")
    page.set_viewport_size({"width": 600, "height": 900})
    view.scroll_into_view_if_needed()
    expect(view).to_have_class(re.compile("pcv-narrow"))
    assert view.evaluate("view => view.scrollWidth <= view.clientWidth")
    picture(page, "narrow-matrix")
    view.get_by_role("button", name="List").click()
    picture(page, "narrow-list")


def test_at_the_end_an_output_becomes_static_unless_somebody_uses_it(lab: Address, page: Page, folder: Path) -> None:
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(ENDS)])
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    nbformat.write(made, folder / "ends.ipynb")
    open_notebook(page, lab, "ends.ipynb", "&reset")
    run_all(page)
    used = page.locator(".pcv").filter(has_text="used")
    expect(used.locator(".pcv-pill")).to_have_text("running")
    used.get_by_role("grid", name="Results").hover()
    static = page.locator(".pc-run")
    expect(static.get_by_role("heading", name="left · completed · 90 of 90")).to_be_visible()
    expect(static.get_by_text("run.browse()")).to_be_visible()
    expect(page.locator(".pcv")).to_have_count(1)
    # Its run ended first, and what was asked of it is answered still.
    expect(used.locator(".pcv-pill")).to_have_text("completed")
    used.get_by_role("grid", name="Results").click()
    expect(used.get_by_role("region", name="One item").get_by_text("Say hello to")).to_be_visible()
    picture(page, "ended")
    page.keyboard.press("Control+s")
    expect(page.get_by_text("Saving completed")).to_be_visible()
    saved = nbformat.read(folder / "ends.ipynb", as_version=4).cells[0].outputs
    assert [sorted(output.data) for output in saved] == [
        ["application/vnd.jupyter.widget-view+json", "text/html", "text/plain"],
        ["text/html", "text/plain"],
    ]
    assert all("completed" in output.data["text/html"] for output in saved)
