"""``jupyter promptcards doctor``."""

from __future__ import annotations

import argparse
from typing import Any

from server_ext.settings import Settings


def add(commands: Any) -> None:
    """Add the command."""
    doctor = commands.add_parser("doctor", help="check this installation, and say what to do")
    doctor.set_defaults(command=_doctor)


def _doctor(arguments: argparse.Namespace) -> int:
    from server_ext.doctor import examine, show

    return show(examine(Settings.from_environment()))
