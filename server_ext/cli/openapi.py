"""``jupyter promptcards openapi``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """Add the command."""
    openapi = commands.add_parser(
        "openapi",
        help="the OpenAPI document of the REST interface",
        description="For operators: write the OpenAPI 3.1 document of the REST interface. Needs no database.",
        epilog="examples:\n  jupyter promptcards openapi --out openapi.json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    openapi.add_argument("--out", type=Path, metavar="FILE", help="where to (default: standard output)")
    openapi.add_argument("--json", action="store_true", help="print JSON, for programs; it is always JSON")
    openapi.set_defaults(command=_openapi)


def _openapi(arguments: argparse.Namespace) -> int:
    import json

    from promptcard_ext.core.errors import SetupError
    from server_ext.api.openapi import document

    text = json.dumps(document(), indent=1, ensure_ascii=False)
    if arguments.out is None:
        print(text)
        return 0
    try:
        arguments.out.write_text(text + "\n", "utf-8")
    except OSError as error:
        raise SetupError(f"{arguments.out} cannot be written: {error.strerror}.", code="file_unwritable") from None
    return 0
