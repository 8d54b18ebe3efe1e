"""``jupyter promptcards lab`` and ``serve``."""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import socket
from pathlib import Path
from typing import Any

from jupyter_core.paths import jupyter_path

from promptcard_ext.core.errors import SetupError
from promptcard_ext.interchange.starters import shipped
from server_ext.auth.hub import hub_service
from server_ext.settings import Settings

WELCOME = "01_first_card.ipynb"
LABEXTENSIONS = Path(__file__).parents[1] / "labextensions"


def add(commands: Any) -> None:
    """Add the commands."""
    lab = commands.add_parser("lab", help="open JupyterLab with everything running")
    lab.add_argument("folder", nargs="?", type=Path, default=Path(), help="where to work (default: here)")
    _server_options(lab)
    lab.add_argument("--no-browser", action="store_true", help="do not open a browser")
    lab.set_defaults(command=_lab)
    serve = commands.add_parser("serve", help="run the server without JupyterLab")
    _server_options(serve)
    serve.add_argument("--parent", type=int, default=0, help=argparse.SUPPRESS)
    serve.set_defaults(command=_serve)


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
    if not _labextension_installed():
        given.append(f"--LabApp.extra_labextensions_path={LABEXTENSIONS}")
    if arguments.no_browser:
        given.append("--no-browser")
    LabApp.launch_instance(given)
    return 0


def _labextension_installed() -> bool:
    """Tell whether JupyterLab finds our labextension by itself, as a wheel installs it, and in this version.

    In a checkout it is what was there when the checkout was installed.
    """
    name = Path("promptcards", "package.json")
    found = (Path(folder, name) for folder in jupyter_path("labextensions"))
    first = next((path for path in found if path.exists()), None)
    return first is not None and first.read_bytes() == (LABEXTENSIONS / name).read_bytes()


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

    _check_hub_service()
    # Without our extension it would be a plain Jupyter server: it must not come up at all.
    given = [*_jupyter_arguments(arguments), "--no-browser", "--ServerApp.reraise_server_extension_failures=True"]
    with ready_services(Settings.from_environment()):
        if arguments.parent:
            die_with_parent(arguments.parent)
        PromptCards.load_other_extensions, PromptCards.alone = False, True
        PromptCards.launch_instance(given)  # type: ignore[no-untyped-call]
    if PromptCards.failed is not None:
        raise PromptCards.failed
    return 0


def _check_hub_service() -> None:
    """See that what the Hub says of its service is complete, and that there is what speaks to the Hub."""
    if hub_service(os.environ) is not None and importlib.util.find_spec("jupyterhub") is None:
        raise SetupError(
            "A service of a JupyterHub needs the package 'jupyterhub'.",
            hint="pip install 'promptcards[hub]', in the version of the Hub.",
            code="hub_package_missing",
        )
