"""Whether a user is the one who works on this machine, and so its operator."""

from __future__ import annotations

import sqlalchemy as sa

from server_ext.db.tables import user_identities
from server_ext.services.scope import Scope


def is_local_owner(scope: Scope) -> bool:
    """Tell whether the scope's user is the local owner, whom nobody becomes by logging in over the network.

    The transaction must have named the user: nobody sees the identities of others.
    """
    query = sa.select(sa.literal(True)).where(
        user_identities.c.user_id == scope.actor.user_id,
        user_identities.c.provider == "local",
        user_identities.c.subject == "owner",
    )
    return scope.connection.execute(query).scalar() is True
