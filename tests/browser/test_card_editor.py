"""The card editor in a real JupyterLab: saving, conflicts, the keyboard, reloads, themes, narrow windows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from msgspec import structs
from playwright.sync_api import Locator, Page, expect

from promptcard_ext.client.discovery import Address
from promptcard_ext.core.card import Card, Variable
from promptcard_ext.kernel.workspace import Workspace, connect
from tests.browser.conftest import ARTEFACTS
from tests.browser.menus import run_all
from tests.support import wait_for

pytestmark = pytest.mark.browser

BEGIN = "import promptcard_ext as pc\nws = pc.connect()\neditor = ws.edit('{name}')\neditor"
HOSTILE = "<img src=x onerror=\"document.title='owned'\">{{ letter }}"
TRIAGE = Card(
    "letters",
    "Read this letter:\n\n<letter>\n{{ letter }}\n</letter>\n\nSay in {{ words }} words what {{ who }} wants.",
    system="You are a clerk. Be {{ tone }}.",
    title="Letters in short",
    description="Says in a few words what a letter wants.",
    tags=("letters", "short"),
    variables=(
        Variable("letter", trust="untrusted", description="As it came"),
        Variable("words", "integer", default=20, minimum=1),
        Variable("who", default="the writer"),
        Variable("tone", "enum", values=("kind", "dry"), default="dry"),
    ),
)


@pytest.fixture(scope="module")
def workspace(lab: Address) -> Iterator[Workspace]:
    """The workspace that the kernel sees, from outside."""
    workspace = connect(lab.url, lab.token)
    yield workspace
    workspace.api.session.close()


class Notebook:
    """A notebook in the browser whose cells have been run."""

    def __init__(self, page: Page, lab: Address, folder: Path, name: str, *cells: str) -> None:
        self.page = page
        self.hosts: set[str] = set()
        page.on("request", lambda request: self.hosts.add(urlsplit(request.url).hostname or ""))
        source = [
            {"cell_type": "code", "id": f"c{i}", "execution_count": None, "metadata": {}, "outputs": [], "source": cell}
            for i, cell in enumerate(cells)
        ]
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
        book = {"nbformat": 4, "nbformat_minor": 5, "metadata": kernel, "cells": source}
        (folder / f"{name}.ipynb").write_text(json.dumps(book), "utf-8")
        # A workspace of its own, so that no other notebook is open in it.
        self.url = f"{lab.url}lab/workspaces/{name}/tree/{name}.ipynb?token={lab.token}"
        self.open()
        run_all(page)

    def open(self) -> None:
        self.page.goto(self.url)
        expect(self.page.get_by_text("Python 3 (ipykernel) | Idle")).to_be_visible()
        question = self.page.get_by_role("button", name="No", exact=True)  # Jupyter's question about news
        if question.is_visible():
            question.click()

    @property
    def editor(self) -> Locator:
        return self.page.locator(".pce").first

    def status(self, text: str) -> None:
        expect(self.editor.get_by_role("status")).to_have_text(text)

    def message(self, number: int) -> Locator:
        return self.editor.get_by_role("textbox", name=f"Message {number},")

    def picture(self, name: str) -> None:
        ARTEFACTS.mkdir(exist_ok=True)
        self.page.screenshot(path=ARTEFACTS / f"editor-{name}.png")


def test_a_card_is_edited_saved_and_a_conflict_is_resolved_field_by_field(
    lab: Address, page: Page, folder: Path, workspace: Workspace
) -> None:
    workspace.save(TRIAGE, [pc_case("a letter", "Please send the book.")])
    book = Notebook(page, lab, folder, "conflict", BEGIN.format(name="letters"))
    book.status("Version 1, nothing changed")
    page.set_viewport_size({"width": 1440, "height": 1500})

    # What is typed is checked, marked and rendered.
    book.message(2).fill("Say in {{ words }} words what {{ whom }} wants:\n{{ letter }}")
    expect(book.editor.get_by_text("Variable 'whom' is not declared. Did you mean 'who'?")).to_be_visible()
    book.status("Not a card yet: see what is marked.")
    book.picture("marks")
    book.message(2).fill("In {{ words }} words, what does {{ who }} want?\n{{ letter }}")
    book.status("Draft kept")
    book.editor.get_by_role("combobox", name="Case for the preview").select_option(label="a letter")
    book.editor.get_by_role("combobox", name="Model for the cost").fill("openai:gpt-4o-mini")
    book.editor.get_by_role("combobox", name="Model for the cost").press("Enter")
    preview = book.editor.get_by_role("region", name="Preview")
    expect(preview).to_contain_text("In 20 words, what does the writer want?\nPlease send the book.")
    expect(book.editor.get_by_text("one call $")).to_be_visible()

    # Somebody is quicker.
    changed = structs.replace(TRIAGE, template="Theirs: {{ letter }} {{ words }} {{ who }}", tags=("theirs",))
    assert workspace.save(changed).version == 2
    book.editor.get_by_role("button", name="Save version").click()
    book.editor.get_by_role("textbox", name="What is new in this version").fill("shorter")
    page.keyboard.press("Enter")
    panel = book.editor.get_by_role("region", name="What somebody else stored")
    expect(panel.get_by_role("heading")).to_have_text("Somebody stored version 2 since version 1")
    book.picture("conflict")
    take = panel.get_by_role("button", name="Take these")
    expect(take).to_be_disabled()
    panel.get_by_role("group", name="user message").get_by_role("radio", name="mine").check()
    take.click()
    book.editor.get_by_role("textbox", name="What is new in this version").fill("merged")
    page.keyboard.press("Enter")
    book.status("Saved letters@3")
    saved = workspace.card("letters")
    assert (saved.version, saved.note, saved.tags) == (3, "merged", ("theirs",))
    assert saved.template.startswith("In {{ words }} words")

    # History, with what differs.
    book.editor.get_by_role("button", name="History").click()
    history = book.editor.get_by_role("region", name="History")
    history.get_by_role("combobox", name="Compare").select_option("2")
    expect(history.get_by_role("region", name="Differences")).to_contain_text("Theirs: {{ letter }}")
    book.picture("history")
    assert book.hosts <= {"localhost", "127.0.0.1", urlsplit(lab.url).hostname or "", ""}


def pc_case(name: str, letter: str) -> object:
    from promptcard_ext.core.case import Case

    return Case({"letter": letter}, name=name)


def test_everything_can_be_done_from_the_keyboard(lab: Address, page: Page, folder: Path, workspace: Workspace) -> None:
    workspace.save(Card("keys", "Hello {{ who }}"))
    book = Notebook(page, lab, folder, "keys", BEGIN.format(name="keys"))
    book.status("Version 1, nothing changed")
    cells = page.locator(".jp-Cell").count()
    book.editor.get_by_role("textbox", name="Title").focus()
    for _ in range(6):  # tags, description, + Message, role, remove is off: the text
        page.keyboard.press("Tab")
        if page.evaluate(
            "document.activeElement.tagName === 'TEXTAREA' && document.activeElement.ariaLabel.startsWith('Message')"
        ):
            break
    page.keyboard.press("Control+End")
    page.keyboard.type(" and good day")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("dd b a")  # commands of the notebook, were it listening
    expect(book.message(1)).to_have_value("Hello {{ who }} and good day\ndd b a")
    page.keyboard.press("Control+z")
    expect(book.message(1)).to_have_value("Hello {{ who }}")
    page.keyboard.press("Control+Shift+z")
    expect(book.message(1)).to_have_value("Hello {{ who }} and good day\ndd b a")
    page.keyboard.press("Control+s")
    expect(book.editor.get_by_role("textbox", name="What is new in this version")).to_be_focused()
    page.keyboard.press("Escape")
    expect(book.editor.get_by_role("button", name="Save version")).to_be_focused()
    page.keyboard.press("Control+s")
    page.keyboard.type("by hand")
    page.keyboard.press("Control+s")
    book.status("Saved keys@2")
    saved = workspace.card("keys")
    assert (saved.note, saved.template) == ("by hand", "Hello {{ who }} and good day\ndd b a")
    assert page.locator(".jp-Cell").count() == cells


def test_nothing_typed_is_lost_by_a_busy_kernel_a_reload_or_a_restart(
    lab: Address, page: Page, folder: Path, workspace: Workspace
) -> None:
    workspace.save(Card("keep", "Hello {{ who }}"))
    page.on("dialog", lambda dialog: dialog.accept())  # whether to leave the page
    busy = "import time\nbegan = time.monotonic()\nwhile time.monotonic() < began + {}: sum(range(1000))"
    book = Notebook(page, lab, folder, "keep", BEGIN.format(name="keep"), busy.format(6))
    expect(book.message(1)).to_have_value("Hello {{ who }}")
    page.get_by_role("button", name="Save and create checkpoint").click()
    # While a cell computes.
    book.message(1).fill("Busy {{ who }}")
    expect(book.editor.get_by_role("region", name="Preview")).to_contain_text("Busy ‹who›")
    book.status("Draft kept")
    # Half a card is none for the server; the page goes away the moment it was typed.
    book.message(1).fill("Half {{ who")
    book.open()
    expect(book.message(1)).to_have_value("Half {{ who")
    book.status("Not a card yet: see what is marked.")
    # A kernel that starts anew knows only what the server has; the tab has the rest.
    page.get_by_role("menuitem", name="Kernel", exact=True).click()
    page.get_by_role("menuitem", name="Restart Kernel and Run All Cells…", exact=True).click()
    page.get_by_role("button", name="Confirm Kernel Restart").click()
    take = book.editor.get_by_role("button", name="Take it")
    expect(take).to_be_visible()
    expect(book.message(1)).to_have_value("Busy {{ who }}")
    take.click()
    expect(book.message(1)).to_have_value("Half {{ who")
    book.message(1).fill("Whole {{ who }}")
    book.status("Draft kept")
    content = wait_for(lambda: workspace.api.drafts.get("keep").value.content)
    assert content["template"] == "Whole {{ who }}"


def test_two_displays_agree_dark_and_narrow_and_nothing_in_a_card_is_obeyed(
    lab: Address, page: Page, folder: Path, workspace: Workspace
) -> None:
    workspace.save(structs.replace(TRIAGE, name="hostile", template=HOSTILE, title="<b>bold</b>"))
    page.on("dialog", lambda dialog: dialog.accept())  # whether to leave the page
    page.set_viewport_size({"width": 1440, "height": 1500})
    book = Notebook(page, lab, folder, "two", BEGIN.format(name="hostile"), "editor")
    first, second = page.locator(".pce").nth(0), page.locator(".pce").nth(1)
    expect(second.get_by_role("textbox", name="Message 2,")).to_have_value(HOSTILE)
    first.get_by_role("textbox", name="Title").fill("Typed in the first")
    second.get_by_role("textbox", name="Message 1,").fill("Typed in the second, be {{ tone }}")
    expect(second.get_by_role("textbox", name="Title")).to_have_value("Typed in the first")
    expect(first.get_by_role("textbox", name="Message 1,")).to_have_value("Typed in the second, be {{ tone }}")
    expect(first.get_by_role("region", name="Preview")).to_contain_text("<img src=x")
    assert page.locator(".pce img").count() == 0
    assert "owned" not in page.title()
    book.picture("light")
    page.get_by_role("button", name="Save and create checkpoint").click()
    themes = folder / "settings" / "@jupyterlab" / "apputils-extension" / "themes.jupyterlab-settings"
    themes.parent.mkdir(parents=True, exist_ok=True)
    themes.write_text('{"theme": "JupyterLab Dark"}')
    book.open()
    expect(page.locator("body")).to_have_attribute("data-jp-theme-light", "false")
    expect(first.get_by_role("textbox", name="Title")).to_have_value("Typed in the first")
    book.picture("dark")
    page.keyboard.press("Control+b")  # the side bar
    page.set_viewport_size({"width": 700, "height": 1900})
    expect(first).to_have_class("pce pce-narrow")
    assert first.evaluate("node => node.clientWidth") <= 620
    assert first.evaluate("node => node.scrollWidth <= node.clientWidth")
    book.picture("narrow-dark")
