from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from promptcard_ext.interchange.promptfoo import Imported, read_promptfoo

Read = Callable[..., Imported]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Write a configuration and the files beside it, and read it."""

    def write_and_read(config: str, files: dict[str, str] | None = None, **more: Any) -> Imported:
        for name, text in (files or {}).items():
            path = tmp_path / "project" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(dedent(text), "utf-8")
        path = tmp_path / "project" / "promptfooconfig.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(dedent(config), "utf-8")
        return read_promptfoo(path, **({"environment": {}} | more))

    return write_and_read


def lost(found: Imported) -> list[tuple[str, int]]:
    """Return code and line of what does not run here."""
    return [(notice.code, notice.line) for notice in found.notices if notice.severity == "lost"]
