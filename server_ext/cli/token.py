"""``jupyter promptcards token``: credentials of programs."""

from __future__ import annotations

import argparse
from typing import Any, get_args

from promptcard_ext.core.contract.api_tokens import Purpose
from server_ext.cli.noun import Noun
from server_ext.cli.operator import PAGE, converted, everything, operator
from server_ext.cli.output import print_done, print_json, print_list


def add(commands: Any) -> None:
    """Add the command."""
    noun = Noun(
        commands,
        "token",
        "tokens with which programs act for a member",
        "token create support --user ada@example.com --name nightly --scope test:execute --scope viewer --days 30",
        "token list support",
        "token revoke support 01890a5d-ac96-774b-bcce-b302099a8057",
    )
    create = noun.verb("create", "make a token; it is shown this once", _create)
    create.add_argument("--user", required=True, help="id or e-mail address of the member for whom it acts")
    create.add_argument("--name", required=True, help="what it is for")
    create.add_argument("--purpose", choices=get_args(Purpose), default="api", help="who will show it (default: api)")
    create.add_argument("--scope", action="append", metavar="SCOPE", help="all that it may do; several are allowed")
    create.add_argument("--days", type=int, default=90, metavar="N", help="days until it expires (default 90)")
    listing = noun.verb("list", "list the tokens of all members", _list)
    revoke = noun.verb("revoke", "end a token", _revoke)
    for parser in (create, listing, revoke):
        parser.add_argument("workspace", metavar="WORKSPACE", help="id or slug")
    revoke.add_argument("token", metavar="ID", help="its id, as 'token list' shows it")


def _create(arguments: argparse.Namespace) -> int:
    from promptcard_ext.core.contract.api_tokens import ApiTokenSpec
    from server_ext.services import api_tokens

    given = {
        "name": arguments.name,
        "purpose": arguments.purpose,
        "scopes": arguments.scope,
        "expires_in_days": arguments.days,
    }
    spec = converted(given, ApiTokenSpec)
    with operator() as me, me.scope(arguments.workspace, arguments.user) as scope:
        made = api_tokens.create(scope, spec)
    if arguments.json:
        print_json(made)
    else:
        print(f"{made.token}\nThis is shown once; it counts until {made.api_token.expires_at:%Y-%m-%d}.")
    return 0


def _list(arguments: argparse.Namespace) -> int:
    from promptcard_ext.core.contract.api_tokens import ApiTokenQuery
    from server_ext.services import api_tokens

    with operator() as me, me.scope(arguments.workspace) as scope:
        found = everything(lambda cursor: api_tokens.list_tokens(scope, ApiTokenQuery(True, cursor, PAGE)))
    columns = ("id", "user", "name", "purpose", "scopes", "preview", "expires_at", "last_used_at", "expired")
    print_list(found, columns, as_json=arguments.json, empty="There are no tokens.")
    return 0


def _revoke(arguments: argparse.Namespace) -> int:
    from server_ext.services import api_tokens

    with operator() as me, me.scope(arguments.workspace) as scope:
        api_tokens.revoke(scope, arguments.token)
    print_done("The token is revoked.", as_json=arguments.json, revoked=arguments.token)
    return 0
