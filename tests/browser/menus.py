"""Running the notebook that a page shows, as its menu does it."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

RUN = re.compile(r"\[(\*|\d+)\]:")


def run_all(page: Page) -> None:
    """Run all cells, and return when the first one has begun.

    What is asked while a page still connects to its kernel is dropped by JupyterLab without a word; a person sees that
    nothing happens and asks again.
    """
    # Of the notebook that is seen: others may be open behind it.
    begun = page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-CodeCell .jp-InputPrompt").first
    for _ in range(5):
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        try:
            expect(begun).to_have_text(RUN, timeout=10_000)
        except AssertionError:
            continue
        return
    pytest.fail("The notebook does not run.")
