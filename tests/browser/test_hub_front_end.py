"""JupyterLab of a JupyterHub's user: below the user's base URL, behind the Hub's proxy, with the Hub's cookies."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import nbformat
import pytest
from playwright.sync_api import Page, expect

from promptcard_ext.client.api import WorkspaceApi
from promptcard_ext.client.discovery import Address
from promptcard_ext.client.session import Session
from promptcard_ext.kernel.workspace import Workspace
from server_ext.embedded import Services
from server_ext.settings import Settings
from tests.browser.conftest import ARTEFACTS
from tests.browser.menus import run_all
from tests.browser.stripping_proxy import stripping_proxy
from tests.hub.hub import Hub
from tests.support import ECHO, GREET, greetings

pytestmark = pytest.mark.browser

LIVE = """import promptcard_ext as pc
cases = [pc.Case({"n": str(n)}, [pc.Assertion("contains", "n")]) for n in range(40)]
run = pc.run(pc.Card("count", "{{ n }}"), cases, "simulated:steady?latency_ms=300&spread=0", concurrency=1)
run"""


@pytest.fixture(scope="module")
def hub(settings: Settings, services: Services) -> Iterator[Hub]:
    """A Hub; alice's server runs, with two notebooks in her home."""
    with Hub(settings.home, settings.home.parent / "hub-lab") as hub:
        hub.wait_ready()
        hub.server_of("alice")
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        for name, code in {"live": LIVE, "empty": ""}.items():
            notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)], metadata=kernel)
            nbformat.write(notebook, hub.folder / "homes" / "alice" / f"{name}.ipynb")
        yield hub


@pytest.fixture(scope="module")
def token(hub: Hub) -> str:
    """The token that the Hub has given alice's server."""
    return hub.server_of("alice").environ()["JUPYTERHUB_API_TOKEN"]


@pytest.fixture(scope="module")
def workspace(hub: Hub, token: str) -> Iterator[Workspace]:
    """Alice's own workspace in the Hub's service, with a card and a run."""
    session = Session(Address(hub.service, token), exchange=True)
    workspace = Workspace(WorkspaceApi(session, "personal"))
    workspace.run(workspace.save(GREET, greetings(3)), ECHO, name="before")
    yield workspace
    session.close()


@pytest.fixture(scope="module")
def front(hub: Hub) -> Iterator[str]:
    """An address of the Hub by which events reach the browser as they come.

    They do by the Hub's usual proxy; the one that the tests have keeps whole answers in memory.
    """
    alice = hub.server_of("alice").environ()["JUPYTERHUB_SERVICE_URL"].rstrip("/")
    with stripping_proxy({"/user/alice": alice, "": hub.url}) as url:
        yield url


def open_notebook(page: Page, url: str, name: str) -> None:
    """Log in as alice, and open a notebook of hers."""
    page.goto(f"{url}/hub/login?next=/user/alice/lab/tree/{name}.ipynb%3Freset")
    page.get_by_label("Username").fill("alice")
    page.get_by_label("Password").fill("any")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("Python 3 (ipykernel) | Idle")).to_be_visible()
    news = page.get_by_role("button", name="No", exact=True)
    if news.is_visible():
        news.click()


def test_on_a_hub_runs_are_seen_live_and_the_panel_lists_what_the_service_has(
    hub: Hub, workspace: Workspace, page: Page
) -> None:
    asked: set[str] = set()
    page.on("request", lambda request: asked.add(urlsplit(request.url).netloc))
    open_notebook(page, hub.url, "live")
    run_all(page)
    live = page.get_by_role("grid", name="Results")
    expect(live.get_by_role("gridcell", name="count").first).to_be_visible()

    page.get_by_role("tab", name="Prompt Cards").click()
    panel = page.locator(".pcl")
    expect(panel.get_by_role("list", name="Cards").get_by_role("button", name="greet v1", exact=True)).to_be_visible()
    expect(panel.get_by_role("list", name="Recent runs").get_by_text("before")).to_be_visible()
    assert asked - {""} == {urlsplit(hub.url).netloc}


def test_on_a_hub_the_panel_sees_runs_come_and_what_it_inserts_works(
    front: str, token: str, workspace: Workspace, page: Page
) -> None:
    told: list[str] = []
    page.on("response", lambda response: told.append(f"{response.url} {response.headers}"))
    open_notebook(page, front, "empty")
    page.get_by_role("tab", name="Prompt Cards").click()
    panel = page.locator(".pcl")
    cards, runs = panel.get_by_role("list", name="Cards"), panel.get_by_role("list", name="Recent runs")
    expect(runs.get_by_text("before")).to_be_visible()
    workspace.run("greet", ECHO, name="while somebody looks")
    expect(runs.get_by_text("while somebody looks")).to_be_visible(timeout=10_000)
    workspace.api.labels.set("greet", "production", 1)
    cards.get_by_role("button", name="greet v1", exact=True).click()
    expect(cards.get_by_text("production → v1")).to_be_visible()

    cards.get_by_role("button", name="Insert greet into the notebook").click()
    inserted = page.locator(".jp-CodeCell").filter(has_text='pc.connect().card("greet")')
    expect(inserted).to_be_visible()
    inserted.locator(".cm-content").press("Shift+Enter")
    expect(inserted.locator(".jp-OutputArea-output").get_by_text("Say hello to")).to_be_visible()
    ARTEFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTEFACTS / "panel-hub.png")
    assert any("/events " in one for one in told)
    assert not [one for one in told if token in one]
    assert token not in page.content()
