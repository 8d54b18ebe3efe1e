"""What a call cost takes the place of what it was thought to cost, once, in whatever order the news comes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from uuid import UUID

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import replace

from promptcard_ext.core.results import Outcome
from server_ext.db.tables import attempts, generations, rollup_hours, rollup_users, run_reservations, spending, tasks
from server_ext.services import shards, storing
from server_ext.services import tasks as task_service
from server_ext.services.recording import Recorded
from server_ext.services.shards import Shard
from server_ext.services.tasks import Lease
from tests.services.test_budgets import PRICED, limit, rules, start
from tests.services.test_leases import lease_of, states, task_of
from tests.services.test_recording import result_of
from tests.support import Tenant, new_tenant

ITEMS = 4


class Book(Struct):
    """A run of one task, with the leases that there were on it: each has announced all items."""

    tenant: Tenant
    run_id: str
    task_id: UUID
    shard: Shard
    most: Decimal
    leases: list[Lease]
    answers: dict[tuple[int, int], Recorded] = {}

    def take_up(self) -> None:
        """Let the worker die, and another take the task."""
        with self.tenant.scope() as scope:
            past = sa.func.clock_timestamp() - sa.text("interval '1 second'")
            scope.connection.execute(sa.update(tasks).where(tasks.c.id == self.task_id).values(lease_until=past))
        self.leases.append(lease_of(self.tenant, self.task_id, f"w{len(self.leases)}"))
        assert task_service.open_attempts(self.tenant.database, self.leases[-1], list(range(ITEMS)))

    def record(self, worker: int, ordinals: Iterable[int]) -> None:
        """Let a worker, dead or alive, have its answers stored, those that are stored already included."""
        worker %= len(self.leases)
        batch = [self.answers.setdefault((worker, one), result_of(self.shard, one)) for one in ordinals]
        storing.store(self.tenant.database, self.leases[worker], batch)

    def unknown(self) -> int:
        """Return how many calls have an unknown outcome."""
        return sum(state == "unknown" for *_, state in states(self.tenant, self.run_id))

    def paid(self) -> Decimal:
        """Return what all answers have cost."""
        return self._sum(generations.c.cost_usd)

    def of_results(self) -> set[Decimal]:
        """Return what results have cost, by every sum of them."""
        run = self.tenant.run(self.run_id)
        return {run.counts.cost_usd, self._sum(rollup_hours.c.cost_usd), self._sum(rollup_users.c.cost_usd)}

    def spent(self) -> set[Decimal]:
        """Return what was spent, by everybody who says so: every rule, the steps they add up, and the reservation."""
        of_run = run_reservations.c.model == ""
        whole = self._sum(run_reservations.c.spent_usd, of_run), self._sum(spending.c.usd)
        return {*whole, *(rule.spent_usd for rule in rules(self.tenant))}

    def _sum(self, column: sa.Column[Decimal], *where: sa.ColumnElement[bool]) -> Decimal:
        with self.tenant.scope() as scope:
            query = sa.select(sa.func.coalesce(sa.func.sum(column), 0)).where(*where)
            return Decimal(scope.connection.execute(query).scalar_one())


def open_book(tenant: Tenant) -> Book:
    tenant.fill(ITEMS)
    for span in ("hour", "month"):
        limit(tenant, "1000", span=span)
    run_id = str(start(tenant).id)
    with tenant.scope() as scope:
        query = sa.select(run_reservations.c.most_usd).where(run_reservations.c.model == PRICED)
        most = scope.connection.execute(query).scalar_one()
    task_id = task_of(tenant, run_id)
    lease = lease_of(tenant, task_id)
    assert task_service.open_attempts(tenant.database, lease, list(range(ITEMS)))
    return Book(tenant, run_id, task_id, shards.load(tenant.database, lease), most, [lease])


@pytest.fixture
def book(tenant: Tenant) -> Iterator[Book]:
    made = open_book(tenant)
    yield made
    tenant.give_up_runs()


DIES = None
_ordinals = st.lists(st.integers(0, ITEMS - 1), unique=True, min_size=1, max_size=ITEMS)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.just(DIES) | st.tuples(st.integers(0, 3), _ordinals), max_size=8))
@example([DIES, (0, [1, 3]), (0, [1, 3])])
@example([DIES, (1, [1]), (0, [1]), DIES, (1, [1, 3]), (0, [0, 2])])
@example([(0, [1]), DIES, (0, [1])])
def test_each_answer_is_spent_once_and_each_call_of_unknown_fate_with_what_it_may_have_cost(
    tenant: Tenant, news: list[tuple[int, list[int]] | None]
) -> None:
    book = open_book(new_tenant(tenant.database, tenant.actor))
    for one in news:
        if one is DIES:
            book.take_up()
        else:
            book.record(*one)
        assert book.spent() == {book.paid() + book.most * book.unknown()}
    assert len(book.of_results()) == 1
    book.tenant.give_up_runs()


def test_what_a_call_of_yesterday_cost_counts_for_yesterday(book: Book) -> None:
    book.take_up()
    with book.tenant.scope() as scope:
        for moment in (attempts.c.closed_at, spending.c.at):
            earlier = sa.update(moment.table).values({moment: moment - sa.text("interval '2 hours'")})
            scope.connection.execute(earlier)
    book.record(0, [1, 3])
    with book.tenant.scope() as scope:
        left = scope.connection.execute(sa.select(spending.c.model, spending.c.usd).order_by(spending.c.model)).all()
    # That the answers came from another model than was planned is the test's own doing.
    assert left == [("simulated:echo", Decimal("0.004")), (PRICED, 2 * book.most)]
    assert {rule.span: rule.spent_usd for rule in rules(book.tenant)}["hour"] == 0


def test_a_call_that_timed_out_after_all_counts_with_what_it_may_have_cost(book: Book) -> None:
    book.take_up()
    late = result_of(book.shard, 2)
    error = replace(late.result, model=PRICED, outcome=Outcome.ERROR, reason="timeout", generation=None)
    book.answers[0, 2] = replace(late, result=error)
    book.record(0, [2])
    assert book.unknown() == ITEMS - 1
    assert book.spent() == {book.most * ITEMS}
