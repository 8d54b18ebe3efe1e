"""JupyterLab of a JupyterHub's user: below the user's base URL, behind the Hub's proxy, with the Hub's cookies."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import nbformat
import pytest
from playwright.sync_api import Page, expect

from server_ext.embedded import Services
from server_ext.settings import Settings
from tests.browser.menus import run_all
from tests.hub.hub import Hub

pytestmark = pytest.mark.browser

LIVE = """import promptcard_ext as pc
cases = [pc.Case({"n": str(n)}, [pc.Assertion("contains", "n")]) for n in range(40)]
run = pc.run(pc.Card("count", "{{ n }}"), cases, "simulated:steady?latency_ms=300&spread=0", concurrency=1)
run"""


@pytest.fixture(scope="module")
def hub(settings: Settings, services: Services) -> Iterator[Hub]:
    """A Hub; alice's server runs, with a notebook in her home."""
    with Hub(settings.home, settings.home.parent / "hub-lab") as hub:
        hub.wait_ready()
        hub.server_of("alice")
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(LIVE)], metadata=kernel)
        nbformat.write(notebook, hub.folder / "homes" / "alice" / "live.ipynb")
        yield hub


def test_on_a_hub_runs_are_seen_live_and_the_panel_says_where_cards_are(hub: Hub, page: Page) -> None:
    asked: set[str] = set()
    page.on("request", lambda request: asked.add(urlsplit(request.url).netloc))
    page.goto(f"{hub.url}/hub/login?next=/user/alice/lab/tree/live.ipynb")
    page.get_by_label("Username").fill("alice")
    page.get_by_label("Password").fill("any")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("Python 3 (ipykernel) | Idle")).to_be_visible()
    news = page.get_by_role("button", name="No", exact=True)
    if news.is_visible():
        news.click()
    run_all(page)
    live = page.get_by_role("grid", name="Results")
    expect(live.get_by_role("gridcell", name="count").first).to_be_visible()

    page.get_by_role("tab", name="Prompt Cards").click()
    panel = page.locator(".pcl")
    expect(panel.get_by_role("alert")).to_contain_text("In a notebook, pc.connect() goes there.")
    assert asked - {""} == {urlsplit(hub.url).netloc}
