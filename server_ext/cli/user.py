"""``jupyter promptcards user``: accounts."""

from __future__ import annotations

import argparse
from typing import Any

from server_ext.cli.noun import Noun
from server_ext.cli.operator import operator, read_secret
from server_ext.cli.output import print_done, print_list


def add(commands: Any) -> None:
    """Add the command."""
    noun = Noun(
        commands,
        "user",
        "accounts of people",
        "user list",
        "user create ada@example.com --name 'Ada Lovelace'",
        "user set-password ada@example.com < password.txt",
        "user disable ada@example.com",
    )
    noun.verb("list", "list all users", _list)
    create = noun.verb("create", "make an account; its password is asked for, or read from standard input", _create)
    create.add_argument("email", metavar="EMAIL")
    create.add_argument("--name", help="what to call the user (default: what stands before the @)")
    about = {
        "set-password": ("give an account a new password and end its sessions", _set_password),
        "disable": ("lock a user out at once, everywhere", _disable),
        "enable": ("let a user in again", _enable),
    }
    for name, (sentence, use) in about.items():
        noun.verb(name, sentence, use).add_argument("user", metavar="USER", help="id or e-mail address")


def _list(arguments: argparse.Namespace) -> int:
    with operator() as me:
        found = me.directory.users()
    columns = ("id", "name", "email", "logins", "workspaces", "disabled_at", "created_at")
    print_list(found, columns, as_json=arguments.json, empty="There are no users yet.")
    return 0


def _create(arguments: argparse.Namespace) -> int:
    from server_ext.services import accounts

    password = read_secret("Password")
    name = arguments.name or arguments.email.partition("@")[0]
    with operator() as me:
        made = accounts.create_user(me.database, name, arguments.email, password)
    print_done(f"Made the account {made.user_id}.", as_json=arguments.json, id=made.user_id)
    return 0


def _set_password(arguments: argparse.Namespace) -> int:
    from server_ext.services import accounts

    password = read_secret("New password")
    with operator() as me:
        accounts.set_password(me.database, arguments.user, password)
    print_done("The password is set; all sessions have ended.", as_json=arguments.json, user=arguments.user)
    return 0


def _disable(arguments: argparse.Namespace) -> int:
    from server_ext.services import accounts

    with operator() as me:
        accounts.disable(me.database, arguments.user)
    print_done(f"{arguments.user} is locked out.", as_json=arguments.json, user=arguments.user)
    return 0


def _enable(arguments: argparse.Namespace) -> int:
    from server_ext.services import accounts

    with operator() as me:
        accounts.enable(me.database, arguments.user)
    print_done(f"{arguments.user} may log in again.", as_json=arguments.json, user=arguments.user)
    return 0
