"""Where PostgreSQL's data lies: in the home, or, when its account cannot get there, under /var/lib."""

from __future__ import annotations

import os

from promptcard_ext.core.errors import SetupError
from server_ext.embedded.account import Account
from server_ext.embedded.binaries import SYSTEM_DATA
from server_ext.embedded.files import make_private, write_private
from server_ext.embedded.home import Home, belongs_to, find_home


def place(home: Home, account: Account | None) -> None:
    """Decide once where the data lies, and make or check the directory it lies in.

    Raises:
        SetupError: ``home_private``, ``home_other_user``, ``home_copied`` or ``home_data_missing``.
    """
    reachable = account is None or account.can_enter(home.path)
    if not home.record.place:
        home.record.place = "home" if reachable else "system"
        home.save()
    if home.record.place == "home" and not reachable:
        raise SetupError(
            f"The service account can no longer enter {home.path}, where its data lies.",
            hint="Give the directory and those above it the x permission for others again (chmod o+x).",
            code="home_private",
        )
    if home.record.initialised and not (home.postgres / "data").exists():
        raise SetupError(
            f"The database of the home {home.path} was in {home.postgres / 'data'}, which is gone.",
            hint="Restore that directory from a backup, or set PROMPTCARDS_HOME to a new directory.",
            code="home_data_missing",
        )
    if home.record.place == "system":
        _claim(home, account)
    make_private(home.postgres, account)
    _check_owner(home, account)


def _claim(home: Home, account: Account | None) -> None:
    """Note in the data's directory whose it is; a copied home must not share the data of the original."""
    if account is None:
        raise _other_user(home)
    make_private(SYSTEM_DATA, mode=0o755)
    make_private(home.postgres, account)
    owner = belongs_to(home.postgres)
    if owner == home.path:
        return
    other = find_home(owner) if owner else None
    if other and other.record.id == home.record.id:
        raise SetupError(
            f"The home {home.path} is a copy of {owner}: both name the database in {home.postgres}.",
            hint=f"Set PROMPTCARDS_HOME to {owner} or to a new directory; to move data, use a backup.",
            code="home_copied",
        )
    write_private(home.postgres / "home", f"{home.path}\n")


def _check_owner(home: Home, account: Account | None) -> None:
    if home.postgres.stat().st_uid != (account.uid if account else os.geteuid()):
        raise _other_user(home)


def _other_user(home: Home) -> SetupError:
    return SetupError(
        f"The database in {home.postgres} belongs to another user than the one who would run it now.",
        hint="Start this as the user who made the home (root stays root), or set PROMPTCARDS_HOME elsewhere.",
        code="home_other_user",
    )
