"""The sealing key is replaced while everybody reads: nobody notices, and the old key opens nothing any more."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import pytest
import sqlalchemy as sa

from promptcard_ext.core.contract.credentials import NewCredential
from promptcard_ext.core.errors import SetupError
from server_ext.auth.actor import Actor
from server_ext.auth.sealing import Sealed, binding, seal, unseal
from server_ext.db.engine import Database
from server_ext.db.tables import audit_log, provider_credentials
from server_ext.embedded import Services
from server_ext.keys import load_ring, new_ring
from server_ext.services import connections, credentials
from server_ext.services.resealing import reseal_all
from server_ext.settings import Settings
from tests.support import Tenant, new_tenant, wait_for

SECRETS = int(os.environ.get("PROMPTCARDS_TEST_SECRETS", "1000"))
WORKSPACES = 5
EACH = SECRETS // WORKSPACES
HERE = binding(UUID(int=1), UUID(int=2), 3, "https://api.openai.com:443")


def secret_of(number: int) -> str:
    return f"sk-secret-number-{number:06}"


@pytest.fixture
def tenants(database: Database, me: Actor) -> list[Tenant]:
    """Workspaces with many credentials each."""
    made = [new_tenant(database, me, f"Rotation {n}") for n in range(WORKSPACES)]
    for tenant in made:
        with tenant.scope() as scope:
            for number in range(EACH):
                credentials.create(scope, NewCredential("openai", f"c{number}", key=secret_of(number)))
    return made


class Reader:
    """A process's worth of reading: connections and a ring of its own; reads until it is told to end."""

    def __init__(self, services: Services, settings: Settings, tenants: list[Tenant]) -> None:
        self.passes = self.opened = 0
        self.failures: list[BaseException] = []
        self._database = Database(services.database_url, pool_size=1, keys=load_ring(settings.keys_path))
        self._tenants = [Tenant(self._database, tenant.actor, tenant.id, tenant.slug) for tenant in tenants]
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._read)

    def _read(self) -> None:
        while not self._ending.is_set():
            try:
                for tenant in self._tenants:
                    self._open_all(tenant)
                self.passes += 1
            except BaseException as error:  # noqa: BLE001  Whatever it is, it is a failure of a reader.
                self.failures.append(error)
                return

    def _open_all(self, tenant: Tenant) -> None:
        with tenant.scope() as scope:
            loaded = connections.load(scope, shared_keys=False)
        for number in range(0, EACH, 7):
            assert loaded.options(f"openai/c{number}")["api_key"] == secret_of(number)
            self.opened += 1

    def __enter__(self) -> Reader:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()
        self._database.close()


@contextmanager
def two_readers(services: Services, settings: Settings, tenants: list[Tenant]) -> Iterator[list[Reader]]:
    with Reader(services, settings, tenants) as one, Reader(services, settings, tenants) as two:
        yield [one, two]


def let_read(readers: list[Reader]) -> None:
    """Wait until each has read everything from beginning to end, or failed."""
    wanted = [reader.passes + 2 for reader in readers]
    wait_for(lambda: all(one.passes >= most or one.failures for one, most in zip(readers, wanted, strict=True)), 120)


def test_every_secret_is_sealed_anew_while_readers_read(
    database: Database, services: Services, settings: Settings, tenants: list[Tenant], me: Actor
) -> None:
    path = settings.keys_path
    old = load_ring(path).current("credentials")
    with tenants[0].scope() as scope:
        row = scope.connection.execute(sa.select(provider_credentials).limit(1)).one()
    with two_readers(services, settings, tenants) as readers:
        load_ring(path).rotated("credentials").save(path)
        new = load_ring(path).current("credentials")
        # Nobody was told, and everybody's ring has the new key.
        assert database.keys.current("credentials") == new
        found = reseal_all(database, me)
        let_read(readers)
        load_ring(path).without("credentials", old.id).save(path)
        let_read(readers)
    mine = {tenant.id for tenant in tenants}
    assert [error for reader in readers for error in reader.failures] == []
    assert all(reader.opened > EACH for reader in readers)
    assert found.done >= WORKSPACES * EACH
    assert [one for one in found.unreadable if one[0] in mine] == []
    for tenant in tenants:
        with tenant.scope() as scope:
            keys = scope.connection.execute(sa.select(provider_credentials.c.key_id).distinct()).scalars().all()
            detail = scope.connection.execute(
                sa.select(audit_log.c.detail).where(audit_log.c.action == "credentials.resealed")
            ).scalar_one()
        assert keys == [new.id]
        assert (detail["done"], detail["unreadable"], detail["key"]) == (EACH, 0, new.id)
    with pytest.raises(SetupError, match="has no key") as caught:
        unseal(
            database.keys,
            Sealed(row.key_id, row.sealed),
            binding(row.workspace_id, row.id, 1, "https://api.openai.com:443"),
        )
    assert caught.value.code == "credential_unreadable"


def test_sealing_anew_twice_does_nothing_the_second_time(database: Database, tenant: Tenant, me: Actor) -> None:
    with tenant.scope() as scope:
        credentials.create(scope, NewCredential("openai", key=secret_of(1)))
        keyless = credentials.create(scope, NewCredential("openai", "keyless"))
    reseal_all(database, me)
    found = reseal_all(database, me)
    assert found.done == 0
    assert tenant.id not in {workspace for workspace, _ in found.unreadable}
    with tenant.scope() as scope:
        assert not credentials.get(scope, str(keyless.id)).has_key


def test_what_does_not_open_is_reported_and_left_as_it_is(database: Database, tenant: Tenant, me: Actor) -> None:
    foreign = seal(new_ring(), "sk-of-another-installation", HERE)
    with tenant.scope() as scope:
        lost = credentials.create(scope, NewCredential("openai", "lost", key=secret_of(1)))
        credentials.create(scope, NewCredential("openai", "fine", key=secret_of(2)))
        scope.connection.execute(
            sa.update(provider_credentials)
            .where(provider_credentials.c.id == lost.id)
            .values(key_id=foreign.key_id, sealed=foreign.data)
        )
    found = reseal_all(database, me)
    assert (tenant.id, lost.id) in found.unreadable
    with tenant.scope() as scope:
        loaded = connections.load(scope, shared_keys=False)
    assert loaded.options("openai/fine")["api_key"] == secret_of(2)


def test_a_key_file_that_is_edited_badly_changes_nothing_until_it_is_good_again(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    ring = load_ring(path)
    before, good = ring.current("credentials"), path.read_text()
    for bad in ("{", "{}", good.replace('"secret"', '"s"')):
        path.write_text(bad)
        assert ring.current("credentials") == before
        assert ring.find("credentials", before.id) == before
    path.unlink()
    assert ring.current("credentials") == before
    ring.rotated("credentials").save(path)
    assert ring.current("credentials") != before
    assert ring.find("credentials", before.id) == before


def test_the_same_secret_is_never_sealed_the_same() -> None:
    ring = new_ring()
    sealed = {seal(ring, "sk-the-same", HERE).data for _ in range(1000)}
    assert len({data[:12] for data in sealed}) == len(sealed) == 1000


@pytest.mark.parametrize("length", [0, 1, 11, 12, 27])
def test_what_is_too_short_to_be_sealed_does_not_open(length: int) -> None:
    ring = new_ring()
    sealed = seal(ring, "sk", HERE)
    with pytest.raises(SetupError):
        unseal(ring, sealed._replace(data=sealed.data[:length]), HERE)


def test_no_two_places_have_one_binding() -> None:
    one, two = UUID(int=1), UUID(int=2)
    places = [
        (one, two, 1, "https://a:443"),
        (two, one, 1, "https://a:443"),
        (one, two, 2, "https://a:443"),
        (one, two, 1, "https://a:80"),
        (one, two, 1, "http://a:443"),
        (one, two, 1, "https://b:443"),
    ]
    assert len({binding(*place) for place in places}) == len(places)
    ring = new_ring()
    for place in places:
        sealed = seal(ring, "sk", binding(*place))
        for other in places:
            if other != place:
                with pytest.raises(SetupError):
                    unseal(ring, sealed, binding(*other))
