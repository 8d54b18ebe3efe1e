"""The server side of Prompt Cards: a Jupyter server extension over PostgreSQL and RQ."""

from __future__ import annotations

from typing import Any


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    """Tell Jupyter Server where the extension is. Imported late: most of what reads this package needs no server."""
    from server_ext.app import PromptCards

    return [{"module": "server_ext", "app": PromptCards}]


def _jupyter_labextension_paths() -> list[dict[str, str]]:
    """Tell JupyterLab's tools where the built labextension is."""
    return [{"src": "labextensions/promptcards", "dest": "promptcards"}]
