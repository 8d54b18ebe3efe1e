"""``jupyter promptcards member``: who belongs to a workspace."""

from __future__ import annotations

import argparse
from typing import Any

from server_ext.auth.permissions import ROLES
from server_ext.cli.noun import Noun
from server_ext.cli.operator import PAGE, everything, operator
from server_ext.cli.output import print_done, print_list, print_one


def add(commands: Any) -> None:
    """Add the command."""
    noun = Noun(
        commands,
        "member",
        "who belongs to a workspace, with which role",
        "member list support",
        "member add support grace@example.com --role admin",
        "member set-role support grace@example.com viewer",
        "member remove support grace@example.com",
    )
    noun.verb("list", "list the members of a workspace", _list).add_argument("workspace", metavar="WORKSPACE")
    put = noun.verb("add", "make a user a member", _add)
    change = noun.verb("set-role", "give a member another role", _set_role)
    remove = noun.verb("remove", "take a member out, with the member's tokens", _remove)
    for parser in (put, change, remove):
        parser.add_argument("workspace", metavar="WORKSPACE", help="id or slug")
        parser.add_argument("user", metavar="USER", help="id or e-mail address")
    put.add_argument("--role", choices=ROLES, default="member", help="default: member")
    change.add_argument("role", choices=ROLES)


def _list(arguments: argparse.Namespace) -> int:
    from promptcard_ext.core.contract.members import MemberQuery
    from server_ext.services import members

    with operator() as me, me.scope(arguments.workspace) as scope:
        found = everything(lambda cursor: members.list_members(scope, MemberQuery(cursor, PAGE)))
    columns = ("id", "name", "email", "role", "source", "since")
    print_list(found, columns, as_json=arguments.json, empty="Nobody belongs to this workspace.")
    return 0


def _add(arguments: argparse.Namespace) -> int:
    from promptcard_ext.core.errors import Conflict
    from server_ext.services import accounts, members, membership

    with operator() as me:
        account = accounts.find_account(me.database, arguments.user)
        with me.scope(arguments.workspace) as scope:
            if not membership.enrol(membership.locked(scope, "user:create"), account.id, arguments.role):
                raise Conflict(
                    f"{arguments.user} belongs to this workspace already.",
                    hint="'member set-role' changes the role.",
                    code="already_member",
                )
            made = members.get(scope, str(account.id))
    print_one(made, as_json=arguments.json)
    return 0


def _set_role(arguments: argparse.Namespace) -> int:
    from server_ext.services import accounts, members

    with operator() as me:
        account = accounts.find_account(me.database, arguments.user)
        with me.scope(arguments.workspace) as scope:
            changed = members.change_role(scope, str(account.id), arguments.role)
    print_one(changed, as_json=arguments.json)
    return 0


def _remove(arguments: argparse.Namespace) -> int:
    from server_ext.services import accounts, members

    with operator() as me:
        account = accounts.find_account(me.database, arguments.user)
        with me.scope(arguments.workspace) as scope:
            members.remove(scope, str(account.id))
    print_done(f"{arguments.user} is no member any more.", as_json=arguments.json, user=account.id)
    return 0
