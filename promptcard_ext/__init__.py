"""Prompt Cards: a Jupyter-native workbench for prompts.

Names are loaded when first used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from promptcard_ext._version import __version__

if TYPE_CHECKING:
    from promptcard_ext.core.assertions import Assertion
    from promptcard_ext.core.assertions.checks import check
    from promptcard_ext.core.card import Card, ModelSettings, Variable
    from promptcard_ext.core.case import Case
    from promptcard_ext.core.errors import PromptCardError
    from promptcard_ext.core.results import Outcome
    from promptcard_ext.interchange import case_frames as frames
    from promptcard_ext.interchange.card_file import load_card_file
    from promptcard_ext.interchange.case_files import load_cases
    from promptcard_ext.interchange.promptfoo import read_promptfoo
    from promptcard_ext.interchange.starters import starter_cards
    from promptcard_ext.kernel.attach import attach
    from promptcard_ext.kernel.charts import latencies, outcomes, pass_rates
    from promptcard_ext.kernel.comparison import compare
    from promptcard_ext.kernel.regrade import regrade
    from promptcard_ext.kernel.run import run
    from promptcard_ext.kernel.run_history import run_history, runs_frame
    from promptcard_ext.kernel.verification import verify_notebook
    from promptcard_ext.kernel.workspace import connect
    from promptcard_ext.registry.default import get
    from promptcard_ext.widgets.card_editor import edit
    from promptcard_ext.widgets.case_table import edit_cases

__all__ = [
    "Assertion",
    "Card",
    "Case",
    "ModelSettings",
    "Outcome",
    "PromptCardError",
    "Variable",
    "__version__",
    "attach",
    "check",
    "compare",
    "connect",
    "edit",
    "edit_cases",
    "frames",
    "get",
    "latencies",
    "load_card_file",
    "load_cases",
    "outcomes",
    "pass_rates",
    "read_promptfoo",
    "regrade",
    "run",
    "run_history",
    "runs_frame",
    "starter_cards",
    "verify_notebook",
]

_WHERE = {
    "Assertion": "core.assertions",
    "Card": "core.card",
    "Case": "core.case",
    "ModelSettings": "core.card",
    "Outcome": "core.results",
    "PromptCardError": "core.errors",
    "Variable": "core.card",
    "attach": "kernel.attach",
    "check": "core.assertions.checks",
    "compare": "kernel.comparison",
    "connect": "kernel.workspace",
    "edit": "widgets.card_editor",
    "edit_cases": "widgets.case_table",
    "get": "registry.default",
    "latencies": "kernel.charts",
    "load_card_file": "interchange.card_file",
    "load_cases": "interchange.case_files",
    "outcomes": "kernel.charts",
    "pass_rates": "kernel.charts",
    "read_promptfoo": "interchange.promptfoo",
    "regrade": "kernel.regrade",
    "run": "kernel.run",
    "run_history": "kernel.run_history",
    "runs_frame": "kernel.run_history",
    "starter_cards": "interchange.starters",
    "verify_notebook": "kernel.verification",
}
# Modules that are of use as a whole. This one gives every data frame ``df.pc``.
_MODULES = {"frames": "interchange.case_frames"}
# These show live views; inside a kernel the widgets are made known when one of them is first used.
_LIVE = frozenset({"attach", "compare", "connect", "edit", "edit_cases", "regrade", "run"})


def __getattr__(name: str) -> Any:
    if name not in _WHERE and name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if "IPython" in sys.modules:
        # Cards, cases and results show themselves.
        import_module(f"{__name__}.kernel.value_html")
    if name in _MODULES:
        return import_module(f"{__name__}.{_MODULES[name]}")
    if name in _LIVE:
        _offer_widgets()
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    return __all__


def _offer_widgets() -> None:
    # Only where they will be shown: papermill and scripts import ipykernel, too.
    if import_module(f"{__name__}.kernel.display").render_mode() == "widget":
        import_module(f"{__name__}.widgets")


def load_ipython_extension(shell: Any) -> None:
    """Make Prompt Cards ready in a notebook (``%load_ext promptcard_ext``): ``pc``, ``df.pc``, views and magics."""
    import_module(f"{__name__}.widgets")
    import_module(f"{__name__}.{_MODULES['frames']}")
    import_module(f"{__name__}.kernel.magics").load(shell)
    shell.push({"pc": import_module(__name__)})


def unload_ipython_extension(shell: Any) -> None:
    """Take ``pc`` and the magics back (``%unload_ext promptcard_ext``)."""
    import_module(f"{__name__}.kernel.magics").unload(shell)
    shell.drop_by_id({"pc": import_module(__name__)})
