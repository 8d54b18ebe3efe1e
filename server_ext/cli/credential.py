"""``jupyter promptcards credential``: keys of model providers."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from server_ext.cli.noun import Noun
from server_ext.cli.operator import PAGE, converted, everything, operator, read_secret
from server_ext.cli.output import print_done, print_json, print_list, print_one

if TYPE_CHECKING:
    from promptcard_ext.core.contract.credentials import Credential
    from server_ext.services.scope import Scope


def add(commands: Any) -> None:
    """Add the command."""
    noun = Noun(
        commands,
        "credential",
        "keys of model providers, by workspace",
        "credential list support",
        "credential set support openai < key.txt",
        "credential set support ollama --base-url http://ollama.lan:11434 --no-key",
        "credential test support openai",
        "credential rotate",
    )
    listing = noun.verb("list", "list the credentials of a workspace, without their keys", _list)
    put = noun.verb("set", "save or replace a key, which is asked for or read from standard input", _set)
    delete = noun.verb("delete", "delete a credential with its key", _delete)
    test = noun.verb("test", "ask the provider for its models, with the saved key", _test)
    noun.verb("rotate", "seal all keys of all workspaces under the ring's current key", _rotate)
    for parser in (listing, put, delete, test):
        parser.add_argument("workspace", metavar="WORKSPACE", help="id or slug")
    for parser in (put, delete, test):
        parser.add_argument("provider", metavar="PROVIDER", help="such as openai")
        parser.add_argument("--name", default="default", help="which connection to the provider (default: default)")
    put.add_argument("--base-url", metavar="URL", help="where it calls (default: as it is, or the provider's own)")
    put.add_argument("--no-key", action="store_true", help="a server that wants no key")


def _list(arguments: argparse.Namespace) -> int:
    with operator() as me, me.scope(arguments.workspace) as scope:
        found = _all(scope)
    columns = ("id", "provider", "name", "base_url", "has_key", "last_four", "enabled", "updated_at", "last_used_at")
    print_list(found, columns, as_json=arguments.json, empty="There are no credentials.")
    return 0


def _set(arguments: argparse.Namespace) -> int:
    from promptcard_ext.core.contract.credentials import CredentialPatch, NewCredential
    from server_ext.services import credentials
    from server_ext.services.precondition import unconditional

    key = None if arguments.no_key else read_secret("Key")
    place = {"base_url": arguments.base_url}
    wanted = converted({"provider": arguments.provider, "name": arguments.name, "key": key, **place}, NewCredential)
    with operator() as me, me.scope(arguments.workspace) as scope:
        known = _named(scope, arguments)
        if known is None:
            saved = credentials.create(scope, wanted)
        else:
            change = CredentialPatch(key=key, **{name: value for name, value in place.items() if value is not None})
            saved = credentials.update(scope, str(known.id), change, unconditional)
    print_one(saved, as_json=arguments.json)
    return 0


def _delete(arguments: argparse.Namespace) -> int:
    from server_ext.services import credentials
    from server_ext.services.precondition import unconditional

    with operator() as me, me.scope(arguments.workspace) as scope:
        known = _needed(scope, arguments)
        credentials.delete(scope, str(known.id), unconditional)
    print_done("The credential is deleted.", as_json=arguments.json, deleted=known.id)
    return 0


def _test(arguments: argparse.Namespace) -> int:
    from server_ext.services import connections

    with operator() as me, me.scope(arguments.workspace) as scope:
        found = connections.check(scope, str(_needed(scope, arguments).id))
    if arguments.json:
        print_json(found)
    elif found.ok:
        print("\n".join(found.models) or "It answers, and has no models.")
    else:
        print(f"{found.message} [{found.code}]\n{found.hint}".rstrip())
    return 0 if found.ok else 1


def _rotate(arguments: argparse.Namespace) -> int:
    from server_ext.services import operators, resealing

    with operator() as me:
        found = resealing.reseal_all(me.database, operators.operator())
    print_done(
        f"Sealed {found.done:,} keys under the current key; {len(found.unreadable):,} cannot be opened.",
        as_json=arguments.json,
        done=found.done,
        unreadable=[{"workspace": workspace, "credential": one} for workspace, one in found.unreadable],
    )
    if not arguments.json:
        for workspace, one in found.unreadable:
            print(f"  workspace {workspace}, credential {one}")
    return 1 if found.unreadable else 0


def _all(scope: Scope) -> list[Credential]:
    from promptcard_ext.core.contract.credentials import CredentialQuery
    from server_ext.services import credentials

    return everything(lambda cursor: credentials.list_credentials(scope, CredentialQuery(PAGE, cursor)))


def _named(scope: Scope, arguments: argparse.Namespace) -> Credential | None:
    wanted = (arguments.provider, arguments.name)
    return next((one for one in _all(scope) if (one.provider, one.name) == wanted), None)


def _needed(scope: Scope, arguments: argparse.Namespace) -> Credential:
    from server_ext.services.scope import missing

    known = _named(scope, arguments)
    if known is None:
        raise missing("credential", f"{arguments.provider}/{arguments.name}")
    return known
