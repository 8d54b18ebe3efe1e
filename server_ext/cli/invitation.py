"""``jupyter promptcards invitation``."""

from __future__ import annotations

import argparse
from typing import Any

from server_ext.auth.permissions import ROLES
from server_ext.cli.noun import Noun
from server_ext.cli.operator import PAGE, converted, everything, operator
from server_ext.cli.output import print_done, print_json, print_list


def add(commands: Any) -> None:
    """Add the command."""
    noun = Noun(
        commands,
        "invitation",
        "invitations into a workspace",
        "invitation create support grace@example.com --role admin --days 3",
        "invitation list support",
        "invitation revoke support 01890a5d-ac96-774b-bcce-b302099a8057",
    )
    create = noun.verb("create", "invite somebody; what accepts the invitation is shown this once", _create)
    listing = noun.verb("list", "list the open invitations of a workspace", _list)
    revoke = noun.verb("revoke", "take an invitation back", _revoke)
    for parser in (create, listing, revoke):
        parser.add_argument("workspace", metavar="WORKSPACE", help="id or slug")
    create.add_argument("email", metavar="EMAIL", help="whose account it is to be; nothing is sent there")
    create.add_argument("--role", choices=ROLES, default="member", help="default: member")
    create.add_argument("--days", type=int, default=7, metavar="N", help="days until it expires (default 7)")
    revoke.add_argument("invitation", metavar="ID", help="its id, as 'invitation list' shows it")


def _create(arguments: argparse.Namespace) -> int:
    from promptcard_ext.core.contract.invitations import InvitationSpec
    from server_ext.services import invitations

    given = {"email": arguments.email, "role": arguments.role, "expires_in_days": arguments.days}
    spec = converted(given, InvitationSpec)
    with operator() as me, me.scope(arguments.workspace) as scope:
        made = invitations.create(scope, spec)
    if arguments.json:
        print_json(made)
    else:
        print(f"{made.token}\nThis is shown once; it counts until {made.invitation.expires_at:%Y-%m-%d}.")
    return 0


def _list(arguments: argparse.Namespace) -> int:
    from promptcard_ext.core.contract.invitations import InvitationQuery
    from server_ext.services import invitations

    with operator() as me, me.scope(arguments.workspace) as scope:
        found = everything(lambda cursor: invitations.list_invitations(scope, InvitationQuery(cursor, PAGE)))
    columns = ("id", "email", "role", "created_by", "expires_at", "expired")
    print_list(found, columns, as_json=arguments.json, empty="No invitation is open.")
    return 0


def _revoke(arguments: argparse.Namespace) -> int:
    from server_ext.services import invitations

    with operator() as me, me.scope(arguments.workspace) as scope:
        invitations.revoke(scope, arguments.invitation)
    print_done("The invitation is revoked.", as_json=arguments.json, revoked=arguments.invitation)
    return 0
