"""Coming back to a run of the server: after a reload, a restart of the kernel, on another machine."""

from __future__ import annotations

from uuid import UUID

from promptcard_ext.kernel.handle import RunHandle
from promptcard_ext.kernel.workspace import Workspace, connect


def attach(
    run_id: str | UUID, *, workspace: str | Workspace = "personal", url: str | None = None, token: str = ""
) -> RunHandle:
    """Follow a run that was started earlier, here or elsewhere: all its results so far, then those that come.

    Results are read from the server into a file, so their number does not matter. Runs go on without anybody who
    follows them; a kernel that ends takes nothing with it.

    Args:
        run_id: Its id, as ``run.id`` and the view of the run show it.
        workspace: Slug or id of its workspace; or one that is connected already.
        url, token: As for `connect`; default the server that started this kernel.

    Raises:
        Unavailable: There is no server, or it does not answer.
        NotFound: There is no such run in this workspace.
    """
    place = workspace if isinstance(workspace, Workspace) else connect(url, token, workspace)
    return place.open_run(run_id)
