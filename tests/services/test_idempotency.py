"""Requests that may be repeated."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from promptcard_ext.core.errors import CardError
from server_ext.auth.actor import Actor
from server_ext.services import idempotency
from server_ext.services.idempotency import Kept
from tests.support import Tenant

NewActor = Callable[..., Actor]


def do_once(tenant: Tenant, key: idempotency.Key, work: Callable[[], Kept]) -> Kept:
    """Do what the server does with a key."""
    with tenant.scope() as scope:
        if kept := idempotency.earlier(scope.connection, scope.workspace_id, key):
            return kept
        answer = work()
        idempotency.keep(scope.connection, scope.workspace_id, key, answer)
        return answer


def test_a_repeated_request_gets_the_first_answer(tenant: Tenant) -> None:
    key = idempotency.key_of(tenant.actor, "one", "POST runs", b"body")
    first = do_once(tenant, key, lambda: Kept(201, b"\x00first", {"ETag": '"x"'}))
    assert do_once(tenant, key, lambda: Kept(201, b"second")) == first


def test_another_request_under_the_key_is_refused(tenant: Tenant) -> None:
    do_once(tenant, idempotency.key_of(tenant.actor, "one", "POST runs", b"body"), lambda: Kept(201, b"first"))
    with pytest.raises(CardError) as refusal:
        do_once(tenant, idempotency.key_of(tenant.actor, "one", "POST runs", b"other"), lambda: Kept(201, b"second"))
    assert refusal.value.code == "idempotency_reused"


def test_nobody_meets_the_keys_of_others(tenant: Tenant, new_actor: NewActor) -> None:
    theirs = idempotency.key_of(new_actor(tenant), "one", "POST runs", b"body")
    do_once(tenant, theirs, lambda: Kept(201, b"theirs"))
    mine = idempotency.key_of(tenant.actor, "one", "POST runs", b"body")
    assert do_once(tenant, mine, lambda: Kept(201, b"mine")).body == b"mine"


def test_a_request_that_failed_is_not_remembered(tenant: Tenant) -> None:
    key = idempotency.key_of(tenant.actor, "one", "POST runs", b"body")

    def fail() -> Kept:
        raise CardError("no")

    with pytest.raises(CardError):
        do_once(tenant, key, fail)
    assert do_once(tenant, key, lambda: Kept(201, b"second")).body == b"second"


def test_of_twins_one_does_the_work_and_the_others_wait_for_it(tenant: Tenant) -> None:
    key = idempotency.key_of(tenant.actor, "one", "POST runs", b"body")
    done: list[int] = []
    answers: list[bytes] = []
    start = threading.Barrier(8)

    def twin(number: int) -> None:
        def work() -> Kept:
            done.append(number)
            return Kept(201, b"%d" % number)

        start.wait()
        answers.append(do_once(tenant, key, work).body)

    twins = [threading.Thread(target=twin, args=(number,)) for number in range(8)]
    for thread in twins:
        thread.start()
    for thread in twins:
        thread.join()

    assert len(done) == 1
    assert answers == [b"%d" % done[0]] * 8


def test_after_a_day_the_key_is_free_again(tenant: Tenant) -> None:
    key = idempotency.key_of(tenant.actor, "one", "POST runs", b"body")
    other = idempotency.key_of(tenant.actor, "two", "POST runs", b"body")
    for one in (key, other):
        do_once(tenant, one, lambda: Kept(201, b"first"))
    age = sa.text("insert into idempotency_keys select workspace_id, sha256(key_hash), request_hash, status, headers, "
                  "body, created_at - interval '25 hours' from idempotency_keys")  # fmt: skip
    with tenant.scope() as scope:
        scope.connection.execute(age)
    third = idempotency.key_of(tenant.actor, "three", "POST runs", b"body")
    do_once(tenant, third, lambda: Kept(201, b"third"))
    with tenant.scope() as scope:
        assert scope.connection.scalar(sa.text("select count(*) from idempotency_keys")) == 3


@pytest.mark.parametrize("text", ["", "x" * 256, "a\nb"])
def test_a_key_that_is_none_is_refused(tenant: Tenant, text: str) -> None:
    with pytest.raises(CardError) as refusal:
        idempotency.key_of(tenant.actor, text, "POST runs", b"")
    assert refusal.value.code == "request_invalid"
