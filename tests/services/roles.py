"""What tests of roles share: trying a use case as somebody, and undoing it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from promptcard_ext.core.errors import Denied, PromptCardError
from server_ext.auth.actor import Actor
from server_ext.services.scope import Scope, open_scope
from tests.support import Tenant


class _Undo(Exception):
    pass


def may(tenant: Tenant, actor: Actor, use_case: Callable[[Scope], Any]) -> bool:
    """Tell whether somebody may carry out a use case, and leave everything as it was."""
    try:
        with open_scope(tenant.database, actor, str(tenant.id)) as scope:
            use_case(scope)
            raise _Undo
    except Denied:
        return False
    except _Undo:
        return True


def refusal(tenant: Tenant, use_case: Callable[[Scope, str], Any], reference: str) -> dict[str, Any]:
    """Return the error of a use case that must fail, with the reference taken out."""
    with pytest.raises(PromptCardError) as refused, tenant.scope() as scope:
        use_case(scope, reference)
    return {name: str(value).replace(reference, "X") for name, value in refused.value.to_dict().items()}
