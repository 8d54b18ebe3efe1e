"""Cells in a real JupyterLab: completion of magics, hostile answers, and a notebook that is opened without a kernel."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
import pytest
from playwright.sync_api import Locator, Page, Route, expect

from promptcard_ext.client.discovery import Address
from promptcard_ext.kernel.verification import verify_notebook
from tests.browser.conftest import ARTEFACTS
from tests.browser.menus import run_all
from tests.kernel.hostile import PAYLOADS

pytestmark = pytest.mark.browser

HOSTILE = "hostile.ipynb"
# What a text becomes when somebody takes it for HTML.
ALIVE = """root => [...root.querySelectorAll('*')].filter(one =>
    ['SCRIPT', 'IFRAME', 'IMG', 'OBJECT', 'EMBED', 'FORM', 'MATH', 'BASE', 'LINK', 'META'].includes(one.tagName)
    || [...one.attributes].some(a => a.name.startsWith('on') || /^\\s*javascript:/i.test(a.value))
).map(one => one.outerHTML.slice(0, 200))"""


def write_hostile(folder: Path) -> None:
    """Write a notebook whose model answers with everything hostile, in a live table and in a static one."""
    setup = f"""
import json
import promptcard_ext as pc
texts = json.loads({json.dumps(json.dumps(PAYLOADS))})
cases = [pc.Case({{'x': text}}, [pc.Assertion('equals', 'safe')], name=text[:200]) for text in texts]
run = pc.run(pc.Card('echo', '{{{{ x }}}}'), cases, 'simulated:echo', name=texts[2]).wait()
"""
    cells = [
        setup.strip(),
        "run.browse()",
        "run",
    ]
    made = [nbformat.v4.new_code_cell(text) for text in cells]
    nbformat.write(nbformat.v4.new_notebook(cells=made, metadata={"kernelspec": _SPEC}), folder / HOSTILE)


_SPEC = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}


def open_notebook(page: Page, lab: Address, name: str) -> None:
    page.goto(f"{lab.url}lab/tree/{name}?token={lab.token}&reset")
    expect(page.get_by_text("Python 3 (ipykernel) | Idle")).to_be_visible()
    news = page.get_by_role("button", name="No", exact=True)
    news.or_(page.locator(".jp-Notebook")).first.wait_for()
    if news.is_visible():
        news.click()


def assert_dead(page: Page, root: Locator) -> None:
    assert root.evaluate(ALIVE) == []
    assert not any(frame.evaluate("'pwned' in window") for frame in page.frames)


def test_what_a_model_wrote_is_dead_in_the_live_table_and_in_the_static_one(
    lab: Address, page: Page, folder: Path
) -> None:
    foreign: list[str] = []
    own = urlsplit(lab.url).netloc
    page.on("request", lambda one: foreign.append(one.url) if urlsplit(one.url).netloc not in ("", own) else None)
    page.on("dialog", lambda dialog: pytest.fail(f"a dialog was opened: {dialog.message}"))
    write_hostile(folder)
    open_notebook(page, lab, HOSTILE)
    run_all(page)

    live = page.get_by_role("grid", name="Results").first
    expect(live.get_by_text("marked").first).to_be_visible()
    output = page.locator(".jp-CodeCell").filter(has_text="run.browse()").locator(".jp-OutputArea").first
    live.focus()
    for _ in PAYLOADS:
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        assert_dead(page, output)
    page.screenshot(path=ARTEFACTS / "hostile-live.png")

    static = page.locator(".jp-CodeCell").last.locator(".pc-run")
    static.get_by_text(f"{len(PAYLOADS)} items").click()
    expect(static.get_by_text("window.pwned=1").first).to_be_visible()
    assert_dead(page, static)
    assert foreign == []
    page.keyboard.press("Control+s")
    expect(page.get_by_text("Saving completed")).to_be_visible()
    # What JupyterLab has saved is what was shown, manifest and all.
    saved = verify_notebook(folder / HOSTILE)
    assert (saved.outputs, saved.flags) == (2, [])


def refuse_kernels(page: Page) -> None:
    """Let no kernel start."""

    def answer(route: Route) -> None:
        if route.request.method == "POST":
            route.fulfill(status=500, json={"message": "There is no kernel today.", "traceback": ""})
        else:
            route.continue_()

    page.route("**/api/sessions*", answer)


def test_without_a_kernel_the_saved_notebook_still_shows_its_results(lab: Address, page: Page, folder: Path) -> None:
    shutil.copy(folder / HOSTILE, folder / "reopened.ipynb")
    refuse_kernels(page)
    page.goto(f"{lab.url}lab/tree/reopened.ipynb?token={lab.token}&reset")
    dialog = page.locator(".jp-Dialog")
    understood, none = (dialog.get_by_role("button", name=name) for name in ("Ok", "No Kernel"))
    understood.or_(none).first.wait_for()
    if understood.is_visible():
        understood.click()
    none.click()
    expect(dialog).to_have_count(0)
    static = page.locator(".jp-CodeCell").last.locator(".pc-run")
    expect(static.get_by_text(f"completed · {len(PAYLOADS)} of {len(PAYLOADS)}")).to_be_visible()
    static.get_by_text(f"{len(PAYLOADS)} items").click()
    expect(static.get_by_text("window.pwned=1").first).to_be_visible()
    assert_dead(page, static)


def test_the_tab_key_completes_our_magics(lab: Address, page: Page, folder: Path) -> None:
    cells = ["%load_ext promptcard_ext", "%%card greet\nSay hello to {{ who }}.", ""]
    made = [nbformat.v4.new_code_cell(text) for text in cells]
    nbformat.write(nbformat.v4.new_notebook(cells=made, metadata={"kernelspec": _SPEC}), folder / "magics.ipynb")
    open_notebook(page, lab, "magics.ipynb")
    run_all(page)
    expect(page.get_by_text("greet@1 in workspace")).to_be_visible()
    last = page.locator(".jp-CodeCell").last.locator(".cm-content")
    last.click()
    for typed, offered, whole in (
        ("%run_card gr", "greet", "%run_card greet"),
        (" simulated:", "simulated:echo", "%run_card greet simulated:echo"),
        (" --rep", "--repeats", "%run_card greet simulated:echo --repeats"),
    ):
        page.keyboard.type(typed)
        page.keyboard.press("Tab")
        # What is the only one is taken at once; of several the first is offered.
        choice = page.locator(".jp-Completer-item").filter(has_text=offered).first
        choice.or_(last.get_by_text(whole)).first.wait_for()
        if choice.is_visible():
            choice.click()
        expect(last).to_have_text(whole)
    page.keyboard.type(" 2 --wait")
    page.keyboard.press("Shift+Enter")
    expect(page.get_by_text("no_cases")).to_be_visible()
