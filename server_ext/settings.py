"""What the environment says: where data lives and which services to use."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import platformdirs

from promptcard_ext.core.errors import SetupError
from promptcard_ext.core.per_minute import UNLIMITED, PerMinute

MOST_CALLS = 100_000
MOST_REQUESTS = 1_000_000
MOST_TOKENS = 1_000_000_000


class CallRates(NamedTuple):
    """Most calls and tokens of models in a minute, of all workers together.

    Attributes:
        total: Of everything (``PROMPTCARDS_REQUESTS_PER_MINUTE_TOTAL``, ``PROMPTCARDS_TOKENS_PER_MINUTE_TOTAL``).
        workspace: Of each workspace (``PROMPTCARDS_REQUESTS_PER_MINUTE_WORKSPACE``,
            ``PROMPTCARDS_TOKENS_PER_MINUTE_WORKSPACE``).
        key: Of each provider that is called by what the environment says, and not by a credential of a workspace
            (``PROMPTCARDS_REQUESTS_PER_MINUTE_KEY``, ``PROMPTCARDS_TOKENS_PER_MINUTE_KEY``).
    """

    total: PerMinute = UNLIMITED
    workspace: PerMinute = UNLIMITED
    key: PerMinute = UNLIMITED

    @classmethod
    def from_environment(cls) -> CallRates:
        """Read the variables; an empty one counts as unset."""
        return cls(
            PerMinute(
                _number("PROMPTCARDS_REQUESTS_PER_MINUTE_TOTAL", MOST_REQUESTS),
                _number("PROMPTCARDS_TOKENS_PER_MINUTE_TOTAL", MOST_TOKENS),
            ),
            PerMinute(
                _number("PROMPTCARDS_REQUESTS_PER_MINUTE_WORKSPACE", MOST_REQUESTS),
                _number("PROMPTCARDS_TOKENS_PER_MINUTE_WORKSPACE", MOST_TOKENS),
            ),
            PerMinute(
                _number("PROMPTCARDS_REQUESTS_PER_MINUTE_KEY", MOST_REQUESTS),
                _number("PROMPTCARDS_TOKENS_PER_MINUTE_KEY", MOST_TOKENS),
            ),
        )


NO_RATES = CallRates()


@dataclass(frozen=True)
class Settings:
    """Process-wide settings, read once.

    Attributes:
        home: Directory of this installation's data (``PROMPTCARDS_HOME``).
        database_url: PostgreSQL URL of the application role, or None to use the embedded server.
        owner_database_url: PostgreSQL URL of the owning role, needed only to migrate.
        redis_url: Redis or Valkey URL, or None to use the embedded server.
        keys_file: Where the secrets of the installation are (``PROMPTCARDS_KEYS_FILE``); None for ``home/keys.json``.
        shared_provider_keys: Whether workers use the provider keys of their environment for every workspace, and not
            for the local owner only (``PROMPTCARDS_SHARED_PROVIDER_KEYS=1``).
        private_hosts: Private hosts that owners of workspaces may allow their credentials to call
            (``PROMPTCARDS_PRIVATE_HOSTS``), see `server_ext.services.network_rules`.
        public_url: Where people reach this server, for links in messages (``PROMPTCARDS_PUBLIC_URL``).
        calls_total: Most calls of models in flight, of all workers together (``PROMPTCARDS_CALLS_TOTAL``).
        calls_per_workspace: The same for one workspace (``PROMPTCARDS_CALLS_PER_WORKSPACE``).
        rates: The same by the minute, of calls and of tokens.
        limits: Rate limits that differ from ours (``PROMPTCARDS_LIMITS``), see `server_ext.limits.rates`.
    """

    home: Path
    database_url: str | None = None
    owner_database_url: str | None = None
    redis_url: str | None = None
    keys_file: Path | None = None
    shared_provider_keys: bool = False
    private_hosts: str = ""
    public_url: str = ""
    calls_total: int | None = None
    calls_per_workspace: int | None = None
    rates: CallRates = NO_RATES
    limits: str | None = None

    @property
    def keys_path(self) -> Path:
        """The file of the secrets."""
        return self.keys_file or self.home / "keys.json"

    @classmethod
    def from_environment(cls, home: Path | None = None) -> Settings:
        """Read ``PROMPTCARDS_*``; an empty variable counts as unset."""
        default = platformdirs.user_data_path("promptcards", appauthor=False)
        chosen = home or Path(os.environ.get("PROMPTCARDS_HOME") or default)
        return cls(
            home=chosen.expanduser().absolute(),
            database_url=os.environ.get("PROMPTCARDS_DATABASE_URL") or None,
            owner_database_url=os.environ.get("PROMPTCARDS_OWNER_DATABASE_URL") or None,
            redis_url=os.environ.get("PROMPTCARDS_REDIS_URL") or None,
            keys_file=Path(keys).expanduser().absolute() if (keys := os.environ.get("PROMPTCARDS_KEYS_FILE")) else None,
            shared_provider_keys=os.environ.get("PROMPTCARDS_SHARED_PROVIDER_KEYS") == "1",
            private_hosts=os.environ.get("PROMPTCARDS_PRIVATE_HOSTS") or "",
            public_url=os.environ.get("PROMPTCARDS_PUBLIC_URL") or "",
            calls_total=_number("PROMPTCARDS_CALLS_TOTAL", MOST_CALLS),
            calls_per_workspace=_number("PROMPTCARDS_CALLS_PER_WORKSPACE", MOST_CALLS),
            rates=CallRates.from_environment(),
            limits=os.environ.get("PROMPTCARDS_LIMITS") or None,
        )


def _number(name: str, most: int) -> int | None:
    """Return a variable that is a number from 1 on, or None when it is not set."""
    text = os.environ.get(name)
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= most):
        raise SetupError(f"{name} is {text!r:.40}, not a number from 1 to {most:,}.", code="worker_option_invalid")
    return int(text)
