"""``jupyter promptcards keys``: the secrets of the installation."""

from __future__ import annotations

import argparse
from typing import Any

from server_ext.cli.noun import Noun
from server_ext.cli.operator import operator
from server_ext.cli.output import print_done, print_json
from server_ext.keys import PURPOSES, load_ring
from server_ext.settings import Settings

AFTERWARDS = {
    "signing": "Access tokens that are out count until they expire, in ten minutes at most.",
    "credentials": "Now run 'credential rotate', then drop the old key.",
    "audit": "Keep the old key: without it the entries that it sealed cannot be verified.",
}


def add(commands: Any) -> None:
    """Add the command."""
    noun = Noun(
        commands,
        "keys",
        "secrets of this installation; running servers and workers take up a change by themselves",
        "keys list",
        "keys rotate credentials",
        "keys drop credentials 0a1b2c3d4e5f",
    )
    noun.verb("list", "list the ids of all keys, the current one first", _list)
    rotate = noun.verb("rotate", "make a new current key; the old ones still count", _rotate)
    drop = noun.verb("drop", "forget an old key", _drop)
    for parser in (rotate, drop):
        parser.add_argument("purpose", choices=PURPOSES)
    drop.add_argument("key", metavar="ID", help="its id, as 'keys list' shows it")
    drop.add_argument("--yes", action="store_true", help="also when something needs it, which then is lost")


def _list(arguments: argparse.Namespace) -> int:
    ring = load_ring(Settings.from_environment().keys_path)
    if arguments.json:
        print_json({purpose: ring.ids(purpose) for purpose in PURPOSES})
        return 0
    for purpose in PURPOSES:
        print(f"{purpose:<12} {', '.join(ring.ids(purpose))}")
    return 0


def _rotate(arguments: argparse.Namespace) -> int:
    path = Settings.from_environment().keys_path
    ring = load_ring(path).rotated(arguments.purpose)
    ring.save(path)
    current = ring.current(arguments.purpose).id
    said = f"The key for {arguments.purpose} is now {current}. {AFTERWARDS[arguments.purpose]}"
    print_done(said, as_json=arguments.json, current=current)
    return 0


def _drop(arguments: argparse.Namespace) -> int:
    path = Settings.from_environment().keys_path
    ring = load_ring(path).without(arguments.purpose, arguments.key)
    if not arguments.yes:
        _check_unneeded(arguments.purpose, arguments.key)
    ring.save(path)
    said = f"Key {arguments.key} for {arguments.purpose} is forgotten."
    print_done(said, as_json=arguments.json, dropped=arguments.key)
    return 0


def _check_unneeded(purpose: str, key_id: str) -> None:
    """Raise SetupError when something could not be read or verified any more."""
    from promptcard_ext.core.errors import SetupError
    from server_ext.services import resealing

    if purpose == "audit":
        raise SetupError(
            f"Without key {key_id} the audit entries that it sealed cannot be verified any more.",
            hint="Keep it; or say --yes.",
            code="key_needed",
        )
    if purpose == "credentials":
        with operator() as me:
            if resealing.is_pending(me.database):
                raise SetupError(
                    "Some provider keys are still sealed with an old key.",
                    hint="Run 'jupyter promptcards credential rotate' first; --yes loses what cannot be opened.",
                    code="key_needed",
                )
