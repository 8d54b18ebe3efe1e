"""The Jupyter server extension."""

from __future__ import annotations

import asyncio
import gc
import getpass
import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from jupyter_server.extension.application import ExtensionApp
from traitlets import Bool, Dict, Enum, Int, Unicode

from promptcard_ext.core.errors import PromptCardError, SetupError, Unauthenticated, Unavailable
from server_ext.api.change_streams import ChangeStreams
from server_ext.api.export_slots import ExportSlots
from server_ext.api.frames import text_frame
from server_ext.api.headers import harden_pages
from server_ext.api.hub_reader import HubReader
from server_ext.api.hub_relay import handlers as relay_handlers
from server_ext.api.identity import Credential
from server_ext.api.routes import handlers
from server_ext.api.run_feeds import RunFeeds
from server_ext.api.run_news import Message, RunNews
from server_ext.auth.actor import Actor
from server_ext.auth.hub import hub_service, in_users_server
from server_ext.hub_users import HubUsers
from server_ext.jobs.live import Heard, Listener
from server_ext.runtime import EXPORT_THREADS, Runtime, is_loopback
from server_ext.services import workspaces
from server_ext.settings import Settings

T = TypeVar("T")
# Of so many new objects some may be garbage that only a search finds.
_GARBAGE_AFTER = 20_000


class PromptCards(ExtensionApp):
    """Prompt Cards: versioned prompts, test cases, batch runs and reports, as a part of Jupyter Server."""

    # Set by `serve`, whose server has no other purpose; `failed` then tells it why there is none.
    alone = False
    failed: PromptCardError | None = None

    name = "promptcards"
    app_name = "Prompt Cards"
    load_other_extensions = True
    extension_url = "/promptcards/api/v1/health"

    home = Unicode("", help="Directory of the data. Empty: PROMPTCARDS_HOME, else the user's data directory.").tag(
        config=True
    )
    identity_mode = Enum(
        ["auto", "local", "hub", "jwt"],
        "auto",
        help="Who users are. 'local': everybody whom Jupyter lets in is the one owner. 'hub': users of the JupyterHub "
        "whose service this is. 'jwt': accounts of our own, with a password or a token. 'auto': 'hub' inside a "
        "JupyterHub service, 'local' while the server listens on this machine only, else 'jwt'.",
    ).tag(config=True)
    hub_role_map = Dict(
        value_trait=Unicode(),
        key_trait=Unicode(),
        help="Names of the Hub's groups, each with what it makes of its users. '*' in a name stands for the workspace: "
        "{'course-*-teachers': 'admin', 'staff': 'my-workspace:viewer'}. Groups 'promptcards-<workspace>-<role>' are "
        "always understood.",
    ).tag(config=True)
    hub_groups_every_s = Int(
        60, min=1, max=3600, help="Seconds between two looks at the groups of all users of the Hub, here or not."
    ).tag(config=True)
    allow_password_login = Enum(
        ["auto", "yes", "no"],
        "auto",
        help="Whether people may log in with e-mail and password. 'auto': only in identity mode 'jwt'.",
    ).tag(config=True)
    pool_size = Int(8, min=1, max=64, help="Database connections, and threads that use them.").tag(config=True)
    start_worker = Bool(True, help="Whether this server runs a worker process of its own.").tag(config=True)

    def initialize_settings(self) -> None:
        """Prepare what the handlers share; nothing here waits."""
        self.pool = ThreadPoolExecutor(self.pool_size, thread_name_prefix="promptcards")
        self.owner: Actor | None = None
        self.hub: HubUsers | None = None
        self.mode = ""
        self.reader = HubReader.of(os.environ)
        self.runtime: Runtime | None = None
        self._problem: PromptCardError | None = None
        self._started = asyncio.Event()
        self._starting: asyncio.Task[None] | None = None
        self._news: dict[str, set[RunNews]] = {}
        self.streams = ChangeStreams()
        self.feeds = RunFeeds(self.news, self.forget)
        self.export_slots = ExportSlots(EXPORT_THREADS)
        self.settings["promptcards_app"] = self
        assert self.serverapp is not None
        headers = dict(self.settings.get("headers", {}))
        harden_pages(headers, alone=type(self).alone, tls=bool(self.serverapp.certfile))
        self.settings["headers"] = headers
        if self._is_hub_service():
            # Checked by the Hub's rules when it is known who asks; tornado would check before that.
            self.settings["xsrf_cookies"] = False

    def initialize_handlers(self) -> None:
        """Add the routes."""
        if self.reader is not None:
            self.handlers.extend(relay_handlers(self.reader))
        self.handlers.extend(handlers())
        if self._is_hub_service():
            from server_ext.api.hub_identity import HubHome

            self.handlers.append(("/?", HubHome))

    def _link_jupyter_server_extension(self, serverapp: Any) -> None:
        """Set the server up as the Hub says, when it is one of the Hub's services."""
        super()._link_jupyter_server_extension(serverapp)
        if self._is_hub_service():
            from server_ext.api.hub_identity import server_config

            service = hub_service(os.environ)
            assert service is not None
            serverapp.update_config(server_config(service))

    def _is_hub_service(self) -> bool:
        """Tell whether this server is a service of a Hub, and its users the Hub's."""
        # Beside JupyterLab it would share one account with everybody's notebooks.
        return type(self).alone and self.identity_mode in ("auto", "hub") and hub_service(os.environ) is not None

    async def _start_jupyter_server_extension(self, serverapp: Any) -> None:
        """Start the services beside the server: Lab opens at once, requests wait until they are there."""
        _stop_cleanly_on_interrupt(serverapp)
        self._starting = asyncio.create_task(self._start())

    async def _start(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            self.mode = self._chosen_mode()
            self.runtime = await loop.run_in_executor(self.pool, self._open_runtime)
            self.runtime.listener = Listener(
                self.runtime.services.redis_url, self.runtime.keys, lambda heard: _hand_over(loop, self._heard, heard)
            )
            self.runtime.listener.start()
            self.runtime.news.subscribe(lambda change: _hand_over(loop, self.streams.heard, change))
            if type(self).alone:
                _keep_for_good()
            self.log.info("Prompt Cards is ready (data in %s).", self.runtime.services.home or "external services")
        except PromptCardError as error:
            self._problem = error
            if self.reader is not None:
                self.log.info("Prompt Cards: the side panel reads from the Hub's service at %s.", self.reader.url)
            else:
                self.log.error("Prompt Cards cannot start: %s [%s]", error, error.code)
        except Exception:
            self._problem = SetupError("Prompt Cards could not start.", hint="The server's log says why.")
            self.log.exception("Prompt Cards could not start")
        finally:
            self._started.set()
        if self._problem is not None and type(self).alone:
            # A server that is nothing but this extension must not look alive to a service manager.
            assert self.serverapp is not None
            type(self).failed = self._problem
            self.serverapp.stop()

    @property
    def password_login(self) -> bool:
        """Whether people may log in with a password."""
        choice = str(self.allow_password_login)
        return choice == "yes" or (choice == "auto" and self.mode == "jwt")

    def identify(self, credential: Credential | None, jupyter_user: Any) -> Actor:
        """Return who shows a credential of ours or, without one, who the user is that Jupyter let in.

        Raises:
            Unauthenticated: The credential is not good; or Jupyter's word does not count here.
        """
        if credential is not None:
            known = self._running.actors
            check = known.by_api_token if credential.kind == "api" else known.by_access_token
            return check(credential.text)
        if self.mode == "local" and jupyter_user is not None:
            assert self.owner is not None
            return self.owner
        if self.mode == "hub" and jupyter_user is not None:
            assert self.hub is not None
            return self.hub.actor_of(jupyter_user)
        raise Unauthenticated(
            "This server wants a token of its own.",
            hint="Log in at auth/login, or make an API token; send it as X-PromptCards-Token.",
        )

    def at_hand(self, credential: Credential | None, jupyter_user: Any) -> Actor | None:
        """Return who `identify` would, or None when that takes asking somebody.

        Raises:
            Unauthenticated: As `identify`.
        """
        if credential is not None:
            return self._running.actors.at_hand(credential.text, access=credential.kind == "access")
        if self.mode == "hub" and jupyter_user is not None:
            assert self.hub is not None
            return self.hub.at_hand(jupyter_user)
        return self.owner if self.mode == "local" and jupyter_user is not None else None

    def _chosen_mode(self) -> str:
        """Return how users are told apart; refuse what would give one user's data to another."""
        if in_users_server(os.environ):
            raise SetupError(
                "Prompt Cards does not run inside a JupyterHub user's server: everybody's data would be in one "
                "user's hands.",
                hint="It runs as a service of the Hub, which pc.connect() and the side panel find when the Hub's "
                "operator sets PROMPTCARDS_URL. Library mode (promptcard_ext.run) works without it.",
                code="hub_not_supported",
            )
        if self._is_hub_service():
            return "hub"
        if self.identity_mode == "hub" or (self.identity_mode == "auto" and hub_service(os.environ)):
            raise SetupError(
                "This server is not a service of a JupyterHub with nothing else in it.",
                hint="Let the Hub start 'jupyter promptcards serve' as its service.",
                code="hub_service_missing",
            )
        assert self.serverapp is not None
        if self.identity_mode != "auto":
            return str(self.identity_mode)
        here_only = bool(self.serverapp.sock) or is_loopback(self.serverapp.ip)
        return "local" if here_only else "jwt"

    def _open_runtime(self) -> Runtime:
        settings = Settings.from_environment(Path(self.home) if self.home else None)
        runtime = Runtime.start(settings, pool_size=self.pool_size, with_worker=self.start_worker)
        try:
            if self.mode == "local":
                self.owner = workspaces.local_owner(runtime.database, _user_name())
            elif self.mode == "hub":
                service = hub_service(os.environ)
                assert service is not None
                self.hub = HubUsers(runtime, service, self.hub_role_map, self.hub_groups_every_s)
        except BaseException:
            runtime.close()
            raise
        return runtime

    async def ready(self, timeout_s: float) -> Runtime:
        """Return the running services, waiting for them while they start.

        Raises:
            SetupError, Unavailable: They could not be started, or not in time.
        """
        if not self._started.is_set():
            try:
                await asyncio.wait_for(self._started.wait(), timeout_s)
            except TimeoutError:
                raise Unavailable(
                    "Prompt Cards is still starting.", hint="Try again in a moment.", code="starting"
                ) from None
        return self._running

    @property
    def _running(self) -> Runtime:
        """The running services; what began before the server was asked to stop learns of it here."""
        if self._problem is not None:
            raise self._problem
        assert self.runtime is not None
        return self.runtime

    def news(self, run_id: str, workspace_id: UUID | None = None) -> RunNews:
        """Return what is heard of a run from now on; give it back to `forget`.

        Args:
            workspace_id: Where the run is. Without it only hints come, and no events.
        """
        news = RunNews()
        self._news.setdefault(run_id, set()).add(news)
        if workspace_id is not None and (listener := self._listener) is not None:
            listener.follow(workspace_id, run_id)
            with suppress(RuntimeError):  # the server stops: nothing more is of interest
                self.pool.submit(listener.call)
        return news

    def forget(self, run_id: str, news: RunNews) -> None:
        """Take back what `news` gave."""
        watchers = self._news.get(run_id, set())
        watchers.discard(news)
        if not watchers:
            self._news.pop(run_id, None)
            if (listener := self._listener) is not None:
                listener.leave(run_id)

    @property
    def _listener(self) -> Listener | None:
        return None if self.runtime is None else self.runtime.listener

    def _heard(self, heard: Heard) -> None:
        watchers = self._news.get(heard.run_id, ())
        if watchers and heard.message is not None:
            message = Message(heard.seq, text_frame(heard.message))
            for news in watchers:
                news.bring(message)
            return
        for news in watchers:
            news.hint(heard.seq)

    def current_activity(self) -> dict[str, Any] | None:
        """Count watched runs as activity, so that an idle server is not culled under them."""
        return {"runs": len(self._news)} if getattr(self, "_news", None) else None

    async def stop_extension(self) -> None:
        """Stop worker, relay and services in good order."""
        if self._starting is not None:
            await self._starting
        self._problem = self._problem or Unavailable("Prompt Cards is shutting down.", code="stopping")
        self.streams.end()
        if self.reader is not None:
            await self.reader.close()
        runtime, self.runtime = self.runtime, None
        if self.hub is not None:
            await asyncio.get_running_loop().run_in_executor(None, self.hub.close)
        if runtime is not None:
            await runtime.loop_reads.close()
            await asyncio.get_running_loop().run_in_executor(None, runtime.close)
        self.pool.shutdown(wait=False, cancel_futures=True)


def _stop_cleanly_on_interrupt(serverapp: Any) -> None:
    """Make Ctrl-C stop extensions where Jupyter does not see to it: it does so only on a terminal."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, lambda *_: serverapp.stop(from_signal=True))


def _hand_over(loop: asyncio.AbstractEventLoop, heard: Callable[[T], None], news: T) -> None:
    with suppress(RuntimeError):  # the loop has just been closed: nobody watches any more
        loop.call_soon_threadsafe(heard, news)


def _keep_for_good() -> None:
    """Take what is in memory now out of the garbage collector's rounds.

    Each full round stops all threads while it looks at all objects: with the modules of a server for some tenths of a
    second, and every second or so while an export makes many new ones. What thousands of watchers keep is looked at
    seldom: mostly it is not garbage.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GARBAGE_AFTER, 10, 10)


def _user_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "owner"
