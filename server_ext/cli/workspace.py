"""``jupyter promptcards workspace``."""

from __future__ import annotations

import argparse
from typing import Any

from server_ext.cli.noun import Noun
from server_ext.cli.operator import converted, operator
from server_ext.cli.output import print_list, print_one


def add(commands: Any) -> None:
    """Add the command."""
    noun = Noun(
        commands,
        "workspace",
        "workspaces and whose they are",
        "workspace list",
        "workspace create 'Support team' --owner ada@example.com",
        "workspace rename support-team-1a2b3c --slug support",
        "workspace transfer support grace@example.com",
    )
    noun.verb("list", "list all workspaces", _list)
    create = noun.verb("create", "make a workspace", _create)
    create.add_argument("name", metavar="NAME")
    create.add_argument("--owner", required=True, metavar="USER", help="id or e-mail address of its owner")
    create.add_argument("--slug", default="", help="short name for addresses (default: made from the name)")
    rename = noun.verb("rename", "change a workspace's name or slug", _rename)
    rename.add_argument("workspace", metavar="WORKSPACE", help="id or slug")
    rename.add_argument("--name", help="the new name")
    rename.add_argument("--slug", help="the new slug")
    transfer = noun.verb("transfer", "make another member the owner, and the owner an admin", _transfer)
    transfer.add_argument("workspace", metavar="WORKSPACE", help="id or slug")
    transfer.add_argument("user", metavar="USER", help="id or e-mail address of the new owner")
    transfer.add_argument("--from", dest="giver", metavar="USER", help="which owner (default: the first)")


def _list(arguments: argparse.Namespace) -> int:
    with operator() as me:
        found = me.directory.workspaces()
    columns = ("id", "slug", "name", "members", "owners", "created_at")
    print_list(found, columns, as_json=arguments.json, empty="There are no workspaces yet.")
    return 0


def _create(arguments: argparse.Namespace) -> int:
    from server_ext.services import accounts, operators, workspaces

    with operator() as me:
        owner = accounts.find_account(me.database, arguments.owner)
        made = workspaces.create(me.database, operators.operator(owner.id), arguments.name, arguments.slug)
    print_one(made, as_json=arguments.json)
    return 0


def _rename(arguments: argparse.Namespace) -> int:
    from promptcard_ext.core.contract.workspaces import WorkspacePatch
    from server_ext.services import workspaces

    patch = converted({"name": arguments.name, "slug": arguments.slug}, WorkspacePatch)
    with operator() as me, me.scope(arguments.workspace) as scope:
        changed = workspaces.update(scope, patch)
    print_one(changed, as_json=arguments.json)
    return 0


def _transfer(arguments: argparse.Namespace) -> int:
    from server_ext.services import accounts, workspaces

    with operator() as me:
        heir = accounts.find_account(me.database, arguments.user)
        with me.scope(arguments.workspace, arguments.giver) as scope:
            changed = workspaces.transfer(scope, str(heir.id))
    print_one(changed, as_json=arguments.json)
    return 0
