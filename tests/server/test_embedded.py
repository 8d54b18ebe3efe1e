"""The embedded services with the real servers: start, share, stop, survive kills."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from promptcard_ext.core.errors import SetupError
from server_ext import embedded
from server_ext.embedded import process, roles
from server_ext.embedded.attach import _open
from server_ext.embedded.home import find_home
from server_ext.embedded.process import alive, wait_until
from server_ext.settings import Settings

# Attaches, says so, and does what it is told, a word a line.
CHILD = """
import sys
from pathlib import Path
from server_ext.embedded import attach
from server_ext.settings import Settings

services = attach(Settings(home=Path(sys.argv[1])))
print("attached", flush=True)
sys.stdin.readline()
"""


class Child:
    """A process that attaches to a home until its input ends, or until it is killed."""

    def __init__(self, home: Path, code: str = CHILD) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, str(home)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def wait_attached(self) -> Child:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "attached\n"
        return self

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def finish(self) -> str:
        return self.process.communicate()[0]


@pytest.fixture
def home() -> Iterator[Path]:
    base = Path(tempfile.mkdtemp(prefix="pctest-"))
    base.chmod(0o755)
    yield base / "home"
    # Those of this test only: other tests of the session have services of their own.
    for services in list(_open.values()):
        if services.home is not None and services.home.is_relative_to(base.resolve()):
            services.close()
    wait_until(lambda: not state(base / "home").attached, 30)
    embedded.remove_home(Settings(home=base / "home"))
    shutil.rmtree(base)


def state(home: Path) -> embedded.ServicesStatus:
    return embedded.status(Settings(home=home))


def pids(home: Path) -> tuple[int | None, int | None]:
    now = state(home)
    return now.postgres.pid, now.valkey.pid


def running(home: Path) -> tuple[bool, bool]:
    now = state(home)
    return now.postgres.running, now.valkey.running


def query(url: str | None, statement: str) -> Any:
    assert url is not None
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        cursor = connection.execute(statement)  # type: ignore[call-overload]
        return cursor.fetchone()[0] if cursor.description else None


def valkey(url: str, *command: str) -> Any:
    with redis.Redis.from_url(url, decode_responses=True) as client:
        return client.execute_command(*command)


def kill_now(pid: int | None) -> None:
    assert pid
    os.kill(pid, signal.SIGKILL)
    assert wait_until(lambda: not alive(pid), 30)


# --- what attach gives ------------------------------------------------------------------------------------


def test_attach_gives_urls_of_roles_with_just_the_rights_they_need(home: Path) -> None:
    with embedded.attach(Settings(home=home)) as services:
        attributes = "SELECT (rolsuper, rolbypassrls, rolcreaterole, rolcreatedb)::text FROM pg_roles"
        attributes += " WHERE rolname = current_user"
        assert query(services.database_url, attributes) == "(f,f,f,f)"
        assert query(services.owner_database_url, attributes) == "(f,f,f,f)"
        assert query(services.backup_database_url, attributes) == "(f,t,f,f)"
        owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()"
        assert query(services.database_url, owner) == "pc_owner"
        query(services.owner_database_url, "CREATE TABLE secret (x int)")
        assert query(services.backup_database_url, "SELECT count(*) FROM secret") == 0
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            query(services.database_url, "SELECT count(*) FROM secret")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            query(services.database_url, "CREATE TABLE public.mine (x int)")


def test_servers_are_private_and_set_up_for_a_small_machine(home: Path) -> None:
    with embedded.attach(Settings(home=home)) as services:
        for name, value in {
            "listen_addresses": "",
            "max_connections": "100",
            "shared_buffers": "128MB",
            "fsync": "on",
            "jit": "off",
            "TimeZone": "UTC",
            "server_encoding": "UTF8",
            "data_checksums": "on",
        }.items():
            assert query(services.database_url, f"SHOW {name}") == value
        locale = "SELECT datlocprovider::text || datlocale FROM pg_database WHERE datname = 'promptcards'"
        assert query(services.database_url, locale) == "bC.UTF-8"
        found = find_home(home)
        assert found is not None
        assert (found.postgres / "data" / "pg_hba.conf").read_text() == "local all all scram-sha-256\n"
        for name, value in {"port": "0", "appendonly": "yes", "appendfsync": "everysec"}.items():
            assert valkey(services.redis_url, "CONFIG", "GET", name)[name] == value
        directories = [found.postgres, found.postgres / "data", found.valkey, found.clients]
        directories += [found.valkey_socket.parent, Path(found.record.postgres_sockets)]
        assert {path.stat().st_mode & 0o777 for path in directories} == {0o700}
        files = [found.passwords_file, home / "home.json", found.postgres / "postgres.log"]
        assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
        assert "scram" not in repr(services)
        assert roles.passwords(found)["pc_app"] not in repr(services)
        assert not any(
            word in (found.postgres / "postgres.log").read_text() for word in roles.passwords(found).values()
        )


def test_the_callers_environment_does_not_change_the_services(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"PGPORT": "1", "PGHOST": "nowhere", "PGDATA": "/nowhere", "LC_ALL": "xx_XX"}.items():
        monkeypatch.setenv(name, value)
    with embedded.attach(Settings(home=home)) as services:
        assert query(services.database_url, "SHOW port") == "5432"


def test_a_long_home_with_odd_characters_has_its_sockets_in_a_short_private_directory(home: Path) -> None:
    odd = home.parent / ("a b'\"$(x),%\\" + "ü" * 60) / "home"
    settings = Settings(home=odd)
    with embedded.attach(settings) as services:
        assert query(services.database_url, "SELECT 1") == 1
        assert valkey(services.redis_url, "PING")
        now = state(odd)
        sockets = [now.postgres.socket, now.valkey.socket]
        assert all(path and not path.is_relative_to(odd) for path in sockets)
        assert {path.stat().st_mode & 0o777 for path in sockets if path} == {0o700}
        assert all(pids(odd))
    assert running(odd) == (False, False)
    with embedded.attach(settings):
        assert [state(odd).postgres.socket, state(odd).valkey.socket] == sockets
    for path in sockets:
        shutil.rmtree(str(path))  # as a sweep of the temp directory does
    with embedded.attach(settings) as services:
        assert query(services.database_url, "SELECT 1") == 1
        assert valkey(services.redis_url, "PING")
        sockets += [state(odd).postgres.socket, state(odd).valkey.socket]
    shutil.rmtree(str(sockets[-1]))
    assert embedded.remove_home(settings) == []
    assert not any(path and path.exists() for path in sockets)


# --- sharing ----------------------------------------------------------------------------------------------


def test_the_first_attach_starts_and_the_last_close_stops(home: Path) -> None:
    settings = Settings(home=home)
    first = embedded.attach(settings)
    started = pids(home)
    before = time.monotonic()
    second = embedded.attach(settings)
    assert time.monotonic() - before < 1
    assert pids(home) == started
    assert state(home).attached == 2
    first.close()
    first.close()
    assert running(home) == (True, True)
    assert query(second.database_url, "SELECT 1") == 1
    second.close()
    assert running(home) == (False, False)
    assert not any(pid and alive(pid) for pid in started)


def test_processes_starting_at_once_share_one_pair_of_servers(home: Path) -> None:
    children = [Child(home) for _ in range(5)]
    for child in children:
        child.wait_attached()
    started = pids(home)
    assert state(home).attached == 5
    with embedded.attach(Settings(home=home)):
        for child in children:
            child.finish()
        assert pids(home) == started
    assert running(home) == (False, False)


def test_threads_attaching_at_once_share_one_pair_of_servers(home: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        attached = list(pool.map(lambda _: embedded.attach(Settings(home=home)), range(8)))
        assert state(home).attached == 8
        assert len({services.redis_url for services in attached}) == 1
        list(pool.map(lambda services: services.close(), attached))
    assert running(home) == (False, False)


def test_data_is_kept_over_a_stop(home: Path) -> None:
    with embedded.attach(Settings(home=home)) as services:
        query(services.owner_database_url, "CREATE TABLE kept AS SELECT 'é' AS word")
        valkey(services.redis_url, "SET", "word", "é")
    with embedded.attach(Settings(home=home)) as services:
        assert query(services.owner_database_url, "SELECT word FROM kept") == "é"
        assert valkey(services.redis_url, "GET", "word") == "é"


def test_a_process_that_ends_without_closing_detaches(home: Path) -> None:
    child = Child(home).wait_attached()
    assert running(home) == (True, True)
    child.finish()
    assert running(home) == (False, False)


def test_a_forked_child_neither_counts_nor_releases(home: Path) -> None:
    code = (
        CHILD.replace("sys.stdin.readline()", "")
        + """
import os
from server_ext.embedded import status

settings = Settings(home=Path(sys.argv[1]))
pid = os.fork()
if pid == 0:
    services.close()
    seen = status(settings).attached
    with attach(settings):
        both = status(settings).attached
    print("child", seen, both, status(settings).attached, flush=True)
    sys.exit()  # its exit handlers run, and must not release anything either
os.waitpid(pid, 0)
print("parent", status(settings).attached, flush=True)
sys.stdin.readline()
"""
    )
    child = Child(home, code).wait_attached()
    assert child.process.stdout is not None
    assert child.process.stdout.readline() == "child 1 2 1\n"
    assert child.process.stdout.readline() == "parent 1\n"
    assert state(home).attached == 1
    assert running(home) == (True, True)
    child.finish()
    assert running(home) == (False, False)


def test_ctrl_c_in_the_terminal_of_the_starter_does_not_reach_the_servers(home: Path) -> None:
    child = Child(home).wait_attached()
    started = pids(home)
    with embedded.attach(Settings(home=home)) as services:
        os.killpg(child.process.pid, signal.SIGINT)
        child.finish()
        assert pids(home) == started
        assert query(services.database_url, "SELECT 1") == 1
        assert valkey(services.redis_url, "PING")


# --- kills ------------------------------------------------------------------------------------------------


def test_killing_one_of_several_leaves_the_others_working_and_the_last_close_stopping(home: Path) -> None:
    child = Child(home).wait_attached()
    with embedded.attach(Settings(home=home)) as services:
        child.kill()
        assert state(home).attached == 1
        assert query(services.database_url, "SELECT 1") == 1
    assert running(home) == (False, False)


def test_killing_the_only_owner_leaves_servers_the_next_attach_takes_over(home: Path) -> None:
    child = Child(home).wait_attached()
    started = pids(home)
    child.kill()
    assert running(home) == (True, True)
    with embedded.attach(Settings(home=home)):
        assert pids(home) == started
    assert running(home) == (False, False)


def test_killed_servers_are_started_again_with_their_data(home: Path) -> None:
    first = embedded.attach(Settings(home=home))
    query(first.owner_database_url, "CREATE TABLE kept AS SELECT 1 AS x")
    valkey(first.redis_url, "SET", "x", "1")
    # The append-only file is written before the answer is, and everysec only delays the fsync.
    killed = pids(home)
    for pid in killed:
        kill_now(pid)
    assert running(home) == (False, False)
    with embedded.attach(Settings(home=home)) as second:
        assert not set(pids(home)) & set(killed)
        assert query(second.owner_database_url, "SELECT x FROM kept") == 1
        assert valkey(second.redis_url, "GET", "x") == "1"
        assert first.database_url == second.database_url
        first.close()
        assert running(home) == (True, True)
    assert running(home) == (False, False)


def test_killing_owner_and_servers_together_blocks_nothing(home: Path) -> None:
    child = Child(home).wait_attached()
    killed = pids(home)
    child.kill()
    for pid in killed:
        kill_now(pid)
    with embedded.attach(Settings(home=home)) as services:
        assert query(services.database_url, "SELECT 1") == 1
    assert running(home) == (False, False)


def test_a_busy_session_of_a_killed_server_does_not_meet_the_new_one(home: Path) -> None:
    first = embedded.attach(Settings(home=home))
    slow = psycopg.connect(first.owner_database_url.replace("+psycopg", ""), autocommit=True)  # type: ignore[union-attr]
    slow.pgconn.send_query(b"SELECT count(*) FROM generate_series(1, 30000000)")
    kill_now(pids(home)[0])
    with embedded.attach(Settings(home=home)) as second:
        assert query(second.database_url, "SELECT 1") == 1
    slow.close()


def test_recovery_works_where_there_is_no_proc(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = embedded.attach(Settings(home=home))
    slow = psycopg.connect(first.owner_database_url.replace("+psycopg", ""), autocommit=True)  # type: ignore[union-attr]
    slow.pgconn.send_query(b"SELECT count(*) FROM generate_series(1, 20000000)")
    killed = pids(home)
    for pid in killed:
        kill_now(pid)
    assert wait_until(lambda: not any(pid and process.exists(pid) for pid in killed), 30)
    monkeypatch.setattr(process, "PROC", Path("/nonexistent"))
    with embedded.attach(Settings(home=home)) as second:
        assert all(pids(home))
        assert query(second.database_url, "SELECT 1") == 1
        first.close()
    assert running(home) == (False, False)
    slow.close()


def test_a_reused_process_id_in_the_lock_file_does_not_block_the_start(home: Path) -> None:
    embedded.attach(Settings(home=home))
    found = find_home(home)
    assert found is not None
    for pid in pids(home):
        kill_now(pid)
    # As after a restart of a container: the noted ids belong to some other program of the same user.
    file = found.postgres / "data" / "postmaster.pid"
    owner = file.stat()
    arguments = {"user": owner.st_uid, "group": owner.st_gid} if os.geteuid() == 0 else {}
    with subprocess.Popen(["/bin/sleep", "100"], cwd="/", **arguments) as other:  # type: ignore[call-overload]
        lines = file.read_text().split("\n")
        file.write_text("\n".join([str(other.pid), *lines[1:]]))
        (found.valkey / "valkey.pid").write_text(f"{other.pid}\n")
        assert pids(home) == (None, None)
        with embedded.attach(Settings(home=home)) as services:
            assert query(services.database_url, "SELECT 1") == 1
        assert other.poll() is None
        other.kill()


def test_servers_whose_sockets_were_swept_away_are_started_again(home: Path) -> None:
    embedded.attach(Settings(home=home))
    lost = pids(home)
    found = find_home(home)
    assert found is not None
    for socket in (found.valkey_socket, Path(found.record.postgres_sockets) / ".s.PGSQL.5432"):
        socket.unlink()
    with embedded.attach(Settings(home=home)) as services:
        assert query(services.database_url, "SELECT 1") == 1
        assert valkey(services.redis_url, "PING")
        assert not any(pid and alive(pid) for pid in lost)


def test_a_start_cut_short_before_the_roles_were_made_is_completed(home: Path) -> None:
    embedded.attach(Settings(home=home))
    found = find_home(home)
    assert found is not None
    with roles.connect(found, "postgres", "postgres") as server:
        server.execute("DROP DATABASE promptcards")
        server.execute("DROP ROLE pc_app")
        server.execute("DROP ROLE pc_owner")
    with embedded.attach(Settings(home=home)) as services:
        assert query(services.database_url, "SELECT 1") == 1


def test_markers_of_killed_processes_are_cleared(home: Path) -> None:
    for _ in range(2):
        Child(home).wait_attached().kill()
    with embedded.attach(Settings(home=home)):
        assert len(list((home / "clients").iterdir())) == 1


# --- maintenance ------------------------------------------------------------------------------------------


def test_status_starts_and_creates_nothing(home: Path) -> None:
    now = state(home)
    assert (now.postgres.running, now.valkey.running, now.attached) == (False, False, 0)
    assert now.postgres.version is not None
    assert now.postgres.version.startswith("18.")
    assert not home.exists()


def test_status_tells_versions_and_paths(home: Path) -> None:
    with embedded.attach(Settings(home=home)):
        now = state(home)
        assert now.valkey.version is not None
        assert now.valkey.version.startswith("9.")
        for service in (now.postgres, now.valkey):
            assert service.running
            assert not service.external
            assert all(path and path.exists() for path in (service.data, service.log, service.socket))


def test_stop_all_refuses_while_somebody_is_attached_and_stops_what_killed_owners_left(home: Path) -> None:
    settings = Settings(home=home)
    assert embedded.stop_all(settings) is False
    child = Child(home).wait_attached()
    with pytest.raises(SetupError, match="1 attached") as caught:
        embedded.stop_all(settings)
    assert caught.value.code == "services_in_use"
    assert running(home) == (True, True)
    child.kill()
    assert embedded.stop_all(settings) is True
    assert running(home) == (False, False)
    assert embedded.stop_all(settings) is False


def test_remove_home_deletes_everything_of_a_home_that_was_ours(home: Path) -> None:
    embedded.attach(Settings(home=home)).close()
    found = find_home(home)
    (home / "more").write_text("written by the product later")
    assert embedded.remove_home(Settings(home=home)) == []
    assert not home.exists()
    assert found is not None
    assert not found.postgres.exists()
    assert embedded.remove_home(Settings(home=home)) == []


def test_remove_home_leaves_what_was_there_before(home: Path) -> None:
    home.mkdir()
    (home / "thesis.txt").write_text("mine")
    with embedded.attach(Settings(home=home)):
        with pytest.raises(SetupError) as caught:
            embedded.remove_home(Settings(home=home))
        assert caught.value.code == "services_in_use"
    assert embedded.remove_home(Settings(home=home)) == [home / "thesis.txt"]
    assert (home / "thesis.txt").read_text() == "mine"
