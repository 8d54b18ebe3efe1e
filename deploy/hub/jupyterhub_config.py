"""JupyterHub with Prompt Cards as one shared service for all its users.

Try it on one machine, in an environment with ``promptcards[server,hub]``, JupyterLab and a proxy (the npm package
``configurable-http-proxy``)::

    jupyterhub -f deploy/hub/jupyterhub_config.py

Then log in as alice or bob at http://127.0.0.1:8000. In a notebook of theirs ``pc.connect(workspace="team")`` needs no
further login. What is said here in comments is explained in docs/operators/jupyterhub.md.
"""

import os

c = get_config()  # noqa: F821  JupyterHub provides it

SERVICE = "promptcards"
SERVICE_URL = os.environ.get("PROMPTCARDS_SERVICE_URL", "http://127.0.0.1:10101")

# --- The service: one process for everybody, started and stopped by the Hub -------------------------------------------

c.JupyterHub.services = [
    {
        "name": SERVICE,
        # Where it listens. Nobody but the Hub's proxy and the users' servers needs to reach it.
        "url": SERVICE_URL,
        # Everything else it learns from the environment that the Hub gives it: its path, its token, where the Hub is.
        "command": ["jupyter-promptcards", "serve"],
        # The Hub gives its services few variables of its own. The home holds keys and, unless a database is named, the
        # data: only the account that the service runs as may read it. Set "user" to run it as an account of its own.
        "environment": {
            name: os.environ[name]
            for name in ("PROMPTCARDS_HOME", "PROMPTCARDS_DATABASE_URL", "PROMPTCARDS_REDIS_URL", "JUPYTER_CONFIG_DIR")
            if name in os.environ
        },
        # It is part of the Hub, so that nobody is asked whether it may know their name.
        "oauth_no_confirm": True,
        # The first start makes the database's files.
        "timeout": 120,
    }
]

# --- Who may use it ---------------------------------------------------------------------------------------------------

# Being let in is not being let into a workspace: that is what groups and members are for.
c.JupyterHub.load_roles = [
    # Users, by browser.
    {"name": "user", "scopes": ["self", f"access:services!service={SERVICE}"]},
    # The service looks once a minute who has left a group or the Hub, and would not notice those who never come again.
    {"name": SERVICE, "services": [SERVICE], "scopes": ["list:users", "read:users:groups"]},
]
# Users' servers, and so the notebooks in them, by $JUPYTERHUB_API_TOKEN. The first two are what every server has.
c.Spawner.server_token_scopes = [
    "users:activity!user",
    "access:servers!server",
    f"access:services!service={SERVICE}",
]
# Servers need not go through the proxy, which would keep a whole download in memory.
c.Spawner.environment = {"PROMPTCARDS_URL": f"{SERVICE_URL}/services/{SERVICE}/"}

# --- Who is what in which workspace -----------------------------------------------------------------------------------

# A group `promptcards-<workspace>-<role>` makes its users members of that workspace; roles are owner, admin, member and
# viewer. Names of other groups are mapped in jupyter_promptcards_config.py (c.PromptCards.hub_role_map).
# Most Hubs get their groups from the login instead: c.Authenticator.manage_groups = True.
c.JupyterHub.load_groups = {
    "promptcards-team-member": {"users": ["alice"]},
    "promptcards-team-viewer": {"users": ["bob"]},
}

# --- For trying only: no passwords, all servers run as this account ---------------------------------------------------

c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allowed_users = {"alice", "bob", "carol"}
c.JupyterHub.spawner_class = "simple"
c.JupyterHub.bind_url = "http://127.0.0.1:8000"
