"""The server's part of the command line: lab, serve, worker, db, services, doctor."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptcard_ext.core.errors import SetupError
from promptcard_ext.interchange.starters import shipped
from server_ext.settings import Settings

if TYPE_CHECKING:
    from server_ext import embedded

WELCOME = "01_first_card.ipynb"


def register(commands: Any) -> None:
    """Add the commands; whatever they need is imported when they run."""
    lab = commands.add_parser("lab", help="open JupyterLab with everything running")
    lab.add_argument("folder", nargs="?", type=Path, default=Path(), help="where to work (default: here)")
    _server_options(lab)
    lab.add_argument("--no-browser", action="store_true", help="do not open a browser")
    lab.set_defaults(command=_lab)
    serve = commands.add_parser("serve", help="run the server without JupyterLab")
    _server_options(serve)
    serve.add_argument("--parent", type=int, default=0, help=argparse.SUPPRESS)
    serve.set_defaults(command=_serve)
    worker = commands.add_parser("worker", help="run a worker; start as many as you like")
    worker.add_argument("--burst", action="store_true", help="end when nothing is left to do")
    worker.add_argument(
        "--lease", type=float, default=None, metavar="S", help="seconds of silence until another takes over"
    )
    worker.add_argument("--parent", type=int, default=0, help=argparse.SUPPRESS)
    worker.set_defaults(command=_worker)
    database = commands.add_parser("db", help="the database's schema")
    database.add_argument("action", choices=["upgrade", "check"])
    database.set_defaults(command=_db)
    services = commands.add_parser("services", help="the embedded PostgreSQL and Valkey")
    services.add_argument(
        "action", choices=["status", "stop", "remove"], help="'remove' deletes the home and all its data"
    )
    services.add_argument("--yes", action="store_true", help="do not ask before deleting")
    services.set_defaults(command=_services)
    doctor = commands.add_parser("doctor", help="check this installation, and say what to do")
    doctor.set_defaults(command=_doctor)


def _server_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--port", type=int, default=None, help="port to listen on; 0 takes a free one (default: 8888 or next)"
    )
    parser.add_argument("--no-worker", action="store_true", help="start no worker process")


def _jupyter_arguments(arguments: argparse.Namespace) -> list[str]:
    given = ["--ServerApp.jpserver_extensions={'server_ext': True}", "--ServerApp.answer_yes=True"]
    if os.geteuid() == 0:
        given.append("--allow-root")
    if arguments.port is not None:
        _check_port(arguments.port)
        # 0 is Jupyter's word for "any"; a port that was asked for is taken or refused, not replaced.
        given += [f"--ServerApp.port={arguments.port}", "--ServerApp.port_retries=0"]
    if arguments.no_worker:
        given.append("--PromptCards.start_worker=False")
    return given


def _check_port(port: int) -> None:
    if not 0 <= port <= 65535:
        raise SetupError(f"{port} is not a port: 0 to 65535 are.", code="port_invalid")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise SetupError(
                f"Port {port} cannot be used: {error.strerror}.",
                hint="Choose another with --port, or stop what listens there.",
                code="port_taken",
            ) from None


def _lab(arguments: argparse.Namespace) -> int:
    from jupyterlab.labapp import LabApp

    folder = arguments.folder.absolute()
    copied = _copy_notebooks(folder)
    given = [*_jupyter_arguments(arguments), f"--ServerApp.root_dir={folder}"]
    given.append(f"--LabApp.default_url=/lab/tree/{copied.relative_to(folder)}/{WELCOME}")
    if arguments.no_browser:
        given.append("--no-browser")
    LabApp.launch_instance(given)
    return 0


def _copy_notebooks(folder: Path) -> Path:
    """Copy the notebooks to where the user works; a copy that is there already is the user's and stays."""
    target = folder / "prompt-cards"
    try:
        target.mkdir(parents=True, exist_ok=True)
        for source in sorted(shipped("notebooks").glob("*.ipynb")):
            if not (target / source.name).exists():
                shutil.copyfile(source, target / source.name)
    except OSError as error:
        raise SetupError(f"{target} cannot be written: {error.strerror}.", code="folder_not_writable") from None
    return target


def _serve(arguments: argparse.Namespace) -> int:
    from server_ext.app import PromptCards
    from server_ext.jobs.worker import die_with_parent

    # Fail here, with one clear message, rather than in a server that is up and can do nothing.
    from server_ext.runtime import ready_services

    given = [*_jupyter_arguments(arguments), "--no-browser"]
    with ready_services(Settings.from_environment()):
        if arguments.parent:
            die_with_parent(arguments.parent)
        PromptCards.load_other_extensions, PromptCards.alone = False, True
        PromptCards.launch_instance(given)  # type: ignore[no-untyped-call]
    if PromptCards.failed is not None:
        raise PromptCards.failed
    return 0


def _worker(arguments: argparse.Namespace) -> int:
    from server_ext.jobs import worker
    from server_ext.jobs.context import DEFAULT_LEASE_S
    from server_ext.keys import load_ring
    from server_ext.runtime import ready_services

    lease_s = arguments.lease if arguments.lease is not None else _lease_of_environment(DEFAULT_LEASE_S)
    if not 1 <= lease_s <= 3600:
        raise SetupError(f"A lease may last 1 to 3600 s, not {lease_s:g}.", code="lease_invalid")
    # Until RQ has installed its own handlers a SIGTERM still ends us in good order, detaching from the services.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    settings = Settings.from_environment()
    with ready_services(settings) as services:
        if arguments.parent:
            worker.die_with_parent(arguments.parent)
        keys = load_ring(settings.keys_path)
        worker.work_forever(services.database_url, services.redis_url, keys, lease_s=lease_s, burst=arguments.burst)
    return 0


def _lease_of_environment(default: float) -> float:
    text = os.environ.get("PROMPTCARDS_LEASE_S")
    try:
        return float(text) if text else default
    except ValueError:
        raise SetupError(f"PROMPTCARDS_LEASE_S is {text!r:.40}, not a number.", code="lease_invalid") from None


def _db(arguments: argparse.Namespace) -> int:
    from server_ext import embedded
    from server_ext.db import migrate

    with embedded.attach(Settings.from_environment()) as services:
        if arguments.action == "check":
            state = migrate.check(services.database_url)
            print(f"The database is at revision {state.current}, as it should be.")
            return 0
        if services.owner_database_url is None:
            raise SetupError(
                "Migrations need the owner's URL.", hint="Set PROMPTCARDS_OWNER_DATABASE_URL.", code="owner_url_missing"
            )
        state = migrate.upgrade(services.owner_database_url)
        print(f"The database is at revision {state.current}.")
    return 0


def _services(arguments: argparse.Namespace) -> int:
    from server_ext import embedded

    settings = Settings.from_environment()
    if arguments.action == "stop":
        embedded.stop_all(settings)
        print("Stopped.")
    elif arguments.action == "remove":
        if not arguments.yes and not _confirmed(f"Delete {settings.home} and all its data? [y/N] "):
            return 1
        left = embedded.remove_home(settings)
        print(f"Removed {settings.home}." if not left else f"Removed what is ours; left in {settings.home}:")
        for path in left:
            print(f"  {path.name}")
    else:
        for line in _status_lines(embedded.status(settings)):
            print(line)
    return 0


def _confirmed(question: str) -> bool:
    try:
        return input(question).strip().lower() == "y"
    except EOFError:
        print("Nobody is there to answer; --yes deletes without asking.")
        return False


def _status_lines(status: embedded.ServicesStatus) -> list[str]:
    lines = [f"home        {status.home}", f"attached    {status.attached} processes"]
    for name, one in (("PostgreSQL", status.postgres), ("Valkey", status.valkey)):
        state = "external" if one.external else f"running, process {one.pid}" if one.running else "stopped"
        lines.append(f"{name:<11} {one.version or ''} {state}{': ' + one.problem if one.problem else ''}")
        lines += [f"{'':<11} {what} {path}" for what, path in (("data", one.data), ("log", one.log)) if path]
    return lines


def _doctor(arguments: argparse.Namespace) -> int:
    from server_ext.doctor import examine, show

    return show(examine(Settings.from_environment()))
