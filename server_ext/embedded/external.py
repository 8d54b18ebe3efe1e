"""Servers somebody else runs: reachable or a clear refusal, never a silent fallback."""

from __future__ import annotations

import re
from urllib.parse import unquote

import psycopg
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from promptcard_ext.core.errors import SetupError, Unavailable

TIMEOUT_S = 5
_USER_PASSWORD = re.compile(r"(://[^:/?#@]*):(.*)@")
_PARAMETER = re.compile(r"([?&](?:ssl_?)?password=)([^&]*)", re.IGNORECASE)


def masked(url: str) -> str:
    """Return a URL with its passwords as ``***``."""
    return _PARAMETER.sub(r"\1***", _USER_PASSWORD.sub(r"\1:***@", url))


def check_postgres(url: str, variable: str) -> str:
    """Connect once; return the server's version.

    Raises:
        Unavailable: ``database_unreachable``.
        SetupError: ``url_invalid``.
    """
    plain = re.sub(r"^postgresql\+\w+://", "postgresql://", url)
    try:
        with psycopg.connect(plain, connect_timeout=TIMEOUT_S) as connection:
            return str(connection.info.parameter_status("server_version"))
    except psycopg.OperationalError as error:
        hint = f"Check that PostgreSQL runs there, or unset {variable} to use the embedded one."
        message = f"{variable} ({masked(url)}) does not answer: {_reason(error, url)}"
        raise Unavailable(message, hint=hint, code="database_unreachable") from error
    except psycopg.Error as error:
        raise _invalid(url, variable, error, "postgresql://user:password@host:5432/promptcards") from error


def check_redis(url: str, variable: str) -> str:
    """Ping once; return the server's version.

    Raises:
        Unavailable: ``redis_unreachable``.
        SetupError: ``url_invalid``.
    """
    try:
        client = redis.Redis.from_url(
            url, socket_connect_timeout=TIMEOUT_S, socket_timeout=TIMEOUT_S, retry=Retry(NoBackoff(), 0)
        )
        try:
            client.ping()
            return str(client.info("server").get("redis_version", ""))
        finally:
            client.close()
    except redis.RedisError as error:
        hint = f"Check that Redis or Valkey runs there, or unset {variable} to use the embedded one."
        message = f"{variable} ({masked(url)}) does not answer: {_reason(error, url)}"
        raise Unavailable(message, hint=hint, code="redis_unreachable") from error
    except ValueError as error:
        raise _invalid(url, variable, error, "redis://:password@host:6379/0") from error


def _invalid(url: str, variable: str, error: Exception, example: str) -> SetupError:
    return SetupError(
        f"{variable} ({masked(url)}) cannot be read as a URL: {_reason(error, url)}",
        hint=f"It looks like {example}.",
        code="url_invalid",
    )


def _reason(error: Exception, url: str) -> str:
    """Return the first line of an error, without any password of the URL: some messages repeat the URL."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    for pattern in (_USER_PASSWORD, _PARAMETER):
        for _, secret in pattern.findall(url):
            for form in filter(None, (secret, unquote(secret))):
                text = text.replace(form, "***")
    return text.rstrip(".") + "."
