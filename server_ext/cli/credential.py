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
        "credential limit support openai --requests-per-minute 500 --tokens-per-minute 200000",
        "credential test support openai",
        "credential rotate",
    )
    listing = noun.verb("list", "list the credentials of a workspace, without their keys", _list)
    put = noun.verb("set", "save or replace a key, which is asked for or read from standard input", _set)
    limit = noun.verb("limit", "change how often a key may be called", _limit)
    delete = noun.verb("delete", "delete a credential with its key", _delete)
    test = noun.verb("test", "ask the provider for its models, with the saved key", _test)
    noun.verb("rotate", "seal all keys of all workspaces under the ring's current key", _rotate)
    for parser in (listing, put, limit, delete, test):
        parser.add_argument("workspace", metavar="WORKSPACE", help="id or slug")
    for parser in (put, limit, delete, test):
        parser.add_argument("provider", metavar="PROVIDER", help="such as openai")
        parser.add_argument("--name", default="default", help="which connection to the provider (default: default)")
    put.add_argument("--base-url", metavar="URL", help="where it calls (default: as it is, or the provider's own)")
    put.add_argument("--no-key", action="store_true", help="a server that wants no key")
    for parser in (put, limit):
        for what in ("requests", "tokens"):
            parser.add_argument(
                f"--{what}-per-minute", type=int, metavar="N", help=f"most {what} in a minute; 0 takes the limit away"
            )


def _list(arguments: argparse.Namespace) -> int:
    with operator() as me, me.scope(arguments.workspace) as scope:
        found = _all(scope)
    columns = (
        "id", "provider", "name", "base_url", "has_key", "last_four", "enabled", "requests_per_minute",
        "tokens_per_minute", "updated_at", "last_used_at",
    )  # fmt: skip
    print_list(found, columns, as_json=arguments.json, empty="There are no credentials.")
    return 0


def _set(arguments: argparse.Namespace) -> int:
    from promptcard_ext.core.contract.credentials import CredentialPatch, NewCredential
    from server_ext.services import credentials
    from server_ext.services.precondition import unconditional

    key = None if arguments.no_key else read_secret("Key")
    place, limits = {"base_url": arguments.base_url}, _limits(arguments)
    given = {"provider": arguments.provider, "name": arguments.name, "key": key, **place}
    wanted = converted({**given, **limits}, NewCredential)
    with operator() as me, me.scope(arguments.workspace) as scope:
        known = _named(scope, arguments)
        if known is None:
            saved = credentials.create(scope, wanted)
        else:
            changes = {name: value for name, value in place.items() if value is not None}
            change = CredentialPatch(key=key, **changes, **limits)
            saved = credentials.update(scope, str(known.id), change, unconditional)
    print_one(saved, as_json=arguments.json)
    return 0


def _limit(arguments: argparse.Namespace) -> int:
    from promptcard_ext.core.contract.credentials import CredentialPatch
    from server_ext.services import credentials
    from server_ext.services.precondition import unconditional

    change = CredentialPatch(**_limits(arguments))
    with operator() as me, me.scope(arguments.workspace) as scope:
        saved = credentials.update(scope, str(_needed(scope, arguments).id), change, unconditional)
    print_one(saved, as_json=arguments.json)
    return 0


def _limits(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the limits that were given; None for one that is to be taken away."""
    from promptcard_ext.core.contract.credentials import CredentialPatch

    names = ("requests_per_minute", "tokens_per_minute")
    limits = {name: value or None for name in names if (value := getattr(arguments, name)) is not None}
    converted(limits, CredentialPatch)
    return limits


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
