"""What is written at once does not wait for each other in a circle."""

from __future__ import annotations

import sqlalchemy as sa

from promptcard_ext.core import wire
from server_ext.services import reports, run_control
from server_ext.services.card_lookup import locked_head
from tests.support import Tenant


def test_a_run_is_paused_and_cancelled_while_somebody_writes_its_card(tenant: Tenant) -> None:
    run_id = tenant.start()
    with tenant.scope() as writing:
        locked_head(writing, "greet")
        with tenant.scope() as scope:
            scope.connection.execute(sa.text("set local lock_timeout = '5s'"))
            assert run_control.pause(scope, run_id).status in ("pausing", "paused")
            assert run_control.cancel(scope, run_id).status in ("cancelling", "cancelled")


def test_the_state_of_a_report_can_be_answered(tenant: Tenant) -> None:
    run_id = tenant.start()
    with tenant.scope() as scope:
        made = reports.create(scope, run_id)
        assert b'"status":"queued"' in wire.encode(reports.get(scope, str(made["id"])))
