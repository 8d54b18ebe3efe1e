"""Side panel and views in JupyterLab, Notebook 7 and Voilà: below a base URL, and without a request to elsewhere."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
import pytest
from playwright.sync_api import Locator, Page, Request, expect

from promptcard_ext.client.api import WorkspaceApi
from promptcard_ext.client.discovery import Address
from promptcard_ext.client.session import Session
from promptcard_ext.core.card import Card
from promptcard_ext.core.contract.api_tokens import ApiTokenSpec
from promptcard_ext.interchange.starters import shipped
from promptcard_ext.kernel.workspace import Workspace, connect
from tests.browser.conftest import ARTEFACTS
from tests.browser.menus import run_all
from tests.browser.stripping_proxy import stripping_proxy
from tests.browser.voila_page import voila
from tests.support import ECHO, GREET, SLOW, greetings

pytestmark = pytest.mark.browser
BASE = "/team/jupyter/"
HOSTILE = '<img src=x onerror="window.broken=1">'


@pytest.fixture(scope="module")
def base_url(folder: Path) -> str:
    """What every address of the server begins with; JupyterLab reads it when it starts."""
    config = folder / "config"
    config.mkdir(exist_ok=True)
    (config / "jupyter_server_config.json").write_text(json.dumps({"ServerApp": {"base_url": BASE}}))
    return BASE


@pytest.fixture(scope="module")
def server(base_url: str, lab: Address) -> Address:
    """The server of JupyterLab and Notebook 7."""
    assert urlsplit(lab.url).path == base_url
    return lab


@pytest.fixture(scope="module")
def workspace(server: Address) -> Iterator[Workspace]:
    """A workspace with two cards, a label, and a run that has ended."""
    workspace = connect(server.url, server.token)
    greet = workspace.save(GREET, greetings(3))
    workspace.api.labels.set("greet", "production", 1)
    workspace.save(Card("hostile", "{{ x }}", title=HOSTILE, tags=("markup",)))
    workspace.run(greet, ECHO, name="first greetings").wait(60)
    yield workspace
    workspace.api.session.close()


@pytest.fixture
def viewer_token(server: Address) -> str:
    """A token of a dashboard, which may only look."""
    session = Session(server)
    spec = ApiTokenSpec(name="dashboard", purpose="service", scopes=["viewer"], expires_in_days=1)
    made = WorkspaceApi(session, "personal").tokens.create(spec)
    session.close()
    return made.token


@pytest.fixture
def asked(page: Page) -> set[str]:
    """The hosts of which a page has asked for anything."""
    hosts: set[str] = set()

    def note(request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme not in ("data", "blob"):
            hosts.add(address.netloc)

    page.on("request", note)
    return hosts


def open_lab(page: Page, server: Address) -> None:
    """Open JupyterLab on its launcher."""
    page.goto(f"{server.url}lab?reset&token={server.token}")
    expect(page.locator(".jp-Launcher")).to_be_visible()
    news = page.get_by_role("button", name="No", exact=True)
    if news.is_visible():
        news.click()


def open_panel(page: Page) -> Locator:
    """Open the panel by its tile."""
    page.locator(".jp-LauncherCard", has_text="Prompt Cards").click()
    panel = page.locator(".pcl")
    expect(panel.get_by_role("list", name="Cards").get_by_role("listitem")).to_have_count(2)
    return panel


def picture(page: Page, name: str) -> None:
    """Keep what the page shows."""
    ARTEFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTEFACTS / f"{name}.png")


def test_the_panel_lists_cards_and_runs_and_puts_them_into_the_notebook(
    page: Page, server: Address, workspace: Workspace, asked: set[str]
) -> None:
    open_lab(page, server)
    panel = open_panel(page)
    cards, runs = panel.get_by_role("list", name="Cards"), panel.get_by_role("list", name="Recent runs")
    # The tile opens the welcome notebook too; it is what is inserted into.
    notebook = page.locator(".jp-NotebookPanel:visible")
    expect(notebook.get_by_role("heading", name="Your first prompt card")).to_be_visible()

    cards.get_by_role("button", name="greet v1", exact=True).click()
    expect(cards.get_by_text("production → v1")).to_be_visible()
    runs.get_by_role("button", name="first greetings").first.click()
    expect(runs.get_by_text("3 passed, 0 failed")).to_be_visible()
    expect(runs.get_by_text("100 % of 3")).to_be_visible()
    expect(cards.get_by_text(HOSTILE)).to_be_visible()
    assert page.evaluate("window.broken") is None
    picture(page, "panel-light")

    run = next(iter(workspace.runs(1)))
    runs.get_by_role("button", name="Insert first greetings into the notebook").click()
    expect(notebook.locator(".jp-Cell").get_by_text(f'pc.attach("{run.id}")')).to_be_visible()
    cards.get_by_role("button", name="Edit", exact=True).click()
    expect(notebook.locator(".jp-Cell").get_by_text('pc.edit("greet")')).to_be_visible()
    dragged = cards.get_by_role("listitem").filter(has_text="hostile")
    dragged.drag_to(notebook.locator(".jp-mod-active .cm-line").last)
    expect(notebook.get_by_text('pc.connect().card("hostile")')).to_be_visible()
    assert asked == {urlsplit(server.url).netloc}


def test_the_panel_is_used_by_keyboard_alone_and_keeps_its_place(
    page: Page, server: Address, workspace: Workspace
) -> None:
    open_lab(page, server)
    panel = open_panel(page)
    search = panel.get_by_role("searchbox")
    search.focus()
    page.keyboard.type("greet")
    cards = panel.get_by_role("list", name="Cards").get_by_role("listitem")
    expect(cards).to_have_count(1)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    head = cards.get_by_role("button", name="greet v1")
    expect(head).to_have_attribute("aria-expanded", "true")
    # What comes meanwhile takes neither the focus nor the details away.
    workspace.api.labels.set("greet", "staging", 1)
    expect(cards.get_by_text("staging → v1")).to_be_visible()
    expect(head).to_be_focused()
    page.keyboard.press("Escape")
    expect(search).to_have_value("")
    expect(cards).to_have_count(2)


def test_the_panel_sees_a_run_come_and_go_on(page: Page, server: Address, workspace: Workspace) -> None:
    open_lab(page, server)
    runs = open_panel(page).get_by_role("list", name="Recent runs")
    run = workspace.run("greet", SLOW, repeats=4, concurrency=1, name="slow greetings")
    row = runs.get_by_role("listitem").filter(has_text="slow greetings")
    expect(row.get_by_text("running · ")).to_be_visible()
    run.wait(60)
    expect(row.get_by_text("% of 12")).to_be_visible()


def test_the_panel_in_the_dark_theme_and_while_the_server_refuses(
    page: Page, server: Address, workspace: Workspace
) -> None:
    open_lab(page, server)
    for name in ("Settings", "Theme", "JupyterLab Dark"):
        page.locator(".lm-MenuBar-itemLabel, .lm-Menu-itemLabel").get_by_text(name, exact=True).click()
    expect(page.locator("body")).to_have_attribute("data-jp-theme-light", "false")
    panel = open_panel(page)
    panel.get_by_role("button", name="first greetings").first.click()
    expect(panel.get_by_text("3 passed, 0 failed")).to_be_visible()
    picture(page, "panel-dark")

    refusal = {"status": 404, "content_type": "text/html", "body": "nothing here"}
    page.route("**/promptcards/api/**", lambda route: route.fulfill(**refusal))
    panel.get_by_role("searchbox").fill("x")
    expect(panel.get_by_role("alert")).to_contain_text("jupyter promptcards lab")
    picture(page, "panel-error")
    page.unroute("**/promptcards/api/**")
    panel.get_by_role("searchbox").fill("")
    panel.get_by_role("button", name="Try again").click()
    expect(panel.get_by_role("alert")).to_be_hidden()


LIVE = """import promptcard_ext as pc
ws = pc.connect()
run = ws.run("greet", "{model}", repeats=8, concurrency=1, name="from a notebook")
run"""


def test_a_run_is_seen_live_in_notebook_7(
    page: Page, server: Address, workspace: Workspace, folder: Path, asked: set[str]
) -> None:
    cells = [nbformat.v4.new_code_cell(LIVE.format(model=SLOW)), nbformat.v4.new_code_cell("run.wait()")]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), folder / "live.ipynb")
    page.goto(f"{server.url}notebooks/live.ipynb?token={server.token}")
    expect(page.locator(".jp-CodeCell")).to_have_count(2)
    run_all(page)
    live = page.get_by_role("grid", name="Results").first
    expect(live.get_by_role("gridcell", name="greet@1").first).to_be_visible()
    picture(page, "notebook-7")
    expect(page.locator(".jp-CodeCell").first.get_by_text("completed · 24 of 24")).to_be_visible()
    for name in ("View", "Left Sidebar", "Show Prompt Cards"):
        page.locator(".lm-MenuBar-itemLabel, .lm-Menu-itemLabel").get_by_text(name, exact=True).click()
    expect(page.locator(".pcl").get_by_role("list", name="Recent runs").get_by_text("from a notebook")).to_be_visible()
    picture(page, "notebook-7-panel")
    assert asked == {urlsplit(server.url).netloc}


def test_the_dashboard_in_voila_behind_a_proxy_that_strips_its_path(
    page: Page, server: Address, workspace: Workspace, viewer_token: str, folder: Path, asked: set[str]
) -> None:
    targets = {"/data": server.url.rstrip("/")}
    with stripping_proxy(targets) as proxy:
        given = {"PROMPTCARDS_URL": f"{proxy}/data/", "PROMPTCARDS_TOKEN": viewer_token}
        paths = ("--Voila.base_url=/dash/", "--Voila.server_url=/")
        with voila(shipped("notebooks") / "04_dashboard.ipynb", folder, *paths, **given) as served:
            targets["/dash"] = served.url
            page.goto(f"{proxy}/dash/")
            expect(page.get_by_role("heading", name="Prompt runs")).to_be_visible()
            expect(page.locator("#rendered_cells canvas, #rendered_cells svg.marks").first).to_be_visible()
            table = page.locator("table").filter(has_text="first greetings")
            expect(table.first).to_be_visible()
            expect(page.get_by_role("heading", name=re.compile(r"completed · \d+ of \d+"))).to_be_visible()
            picture(page, "dashboard-light")
            assert page.locator(".jp-InputArea-editor, .jp-Cell-inputArea .highlight").count() == 0
            assert viewer_token not in page.content()
            assert not re.search(r"cdnjs|jsdelivr|unpkg", page.content())

            # A run that goes on is seen live, by a view of its own.
            run = workspace.run("greet", SLOW, repeats=20, concurrency=1, name="for the dashboard")
            page.goto(f"{proxy}/dash/?theme=dark")
            live = page.get_by_role("grid", name="Results").first
            expect(live.get_by_role("gridcell", name="greet@1").first).to_be_visible()
            picture(page, "dashboard-dark")
            run.cancel()
            served.processes()  # fails when there are many
            assert asked == {urlsplit(proxy).netloc}
