"""Delivers one message to a webhook: one connection to an address that was checked, no redirects, little patience."""

from __future__ import annotations

import asyncio
import time

import aiohttp

from promptcard_ext._version import __version__
from promptcard_ext.core.errors import PromptCardError, ProviderError
from server_ext.jobs.context import Context
from server_ext.services import webhooks_delivery
from server_ext.services.tasks import Lease
from server_ext.services.webhooks_delivery import Message, Outcome
from server_ext.settings import Settings

TIMEOUT_S = 20.0
MAX_WAIT_S = 3600.0


def deliver(context: Context, lease: Lease) -> None:
    """Try once to deliver the message of a lease; a failed attempt leaves the task waiting for the next.

    Raises:
        SetupError: The webhook's secret cannot be opened (``credential_unreadable``).
    """
    message = webhooks_delivery.load(context.database, lease, Settings.from_environment().public_url)
    if message is not None:
        webhooks_delivery.settle(context.database, lease, asyncio.run(_send(message)))


async def _send(message: Message) -> Outcome:
    try:
        async with asyncio.timeout(TIMEOUT_S):
            return await _post(message)
    except TimeoutError:
        return _refused(f"It did not answer within {TIMEOUT_S:g} s.", code="timeout")
    except ProviderError as error:
        return _refused(error.message, code=error.code)
    except (aiohttp.ClientError, OSError) as error:
        # The address behind the name is not told: whoever made the webhook could map the inner network with it.
        return _refused(f"It was not reached ({type(error).__name__}).", code="webhook_unreachable")


async def _post(message: Message) -> Outcome:
    place = message.guard.check(message.url)
    headers = {
        **message.headers(int(time.time())),
        "User-Agent": f"promptcards/{__version__}",
    }
    async with (
        aiohttp.ClientSession(
            connector=message.guard.connector(place, 1.0), trust_env=False, cookie_jar=aiohttp.DummyCookieJar()
        ) as session,
        session.post(place.url, data=message.body, headers=headers, allow_redirects=False) as response,
    ):
        # Its answer is not read: only that it has taken the message counts.
        if 200 <= response.status < 300:
            return Outcome(response.status)
        wait = response.headers.get("Retry-After", "")
        wait_s = min(MAX_WAIT_S, float(wait)) if wait.isascii() and wait.isdecimal() else 0.0
        return _refused(
            f"It answered {response.status}.", code="webhook_refused", status=response.status, wait_s=wait_s
        )


def _refused(message: str, *, code: str, status: int | None = None, wait_s: float = 0.0) -> Outcome:
    return Outcome(status, PromptCardError(message, code=code).to_dict(), wait_s)
