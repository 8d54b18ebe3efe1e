"""``jupyter promptcards models``."""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import Any

from promptcard_ext.core.errors import PromptCardError


def add(commands: Any) -> None:
    """Add the command."""
    models = commands.add_parser("models", help="list the models that can be reached")
    models.set_defaults(command=_models)


def _models(arguments: argparse.Namespace) -> int:
    from promptcard_ext.providers import reachable_models

    for provider, found in asyncio.run(reachable_models()).items():
        if isinstance(found, PromptCardError):
            sys.stderr.write(f"{provider}: {found}\n")
        else:
            for name in found:
                print(f"{provider}:{name}")
    return 0
