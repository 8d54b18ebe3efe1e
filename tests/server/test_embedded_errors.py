"""Homes, disks and URLs that cannot be used: each refusal has its code, names the object and the way out."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from promptcard_ext.core.errors import PromptCardError, SetupError, Unavailable
from server_ext import embedded
from server_ext.embedded import account, external
from server_ext.embedded.attach import _open
from server_ext.embedded.home import find_home
from server_ext.settings import Settings

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
as_ordinary_user = pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")


@pytest.fixture
def base() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="pctest-"))
    directory.chmod(0o755)
    yield directory
    # Those of this test only: other tests of the session have services of their own.
    for services in list(_open.values()):
        if services.home is not None and services.home.is_relative_to(directory.resolve()):
            services.close()
    for home in list(directory.glob("*/home.json")):
        embedded.remove_home(Settings(home=home.parent))
    shutil.rmtree(directory)


@pytest.fixture
def settings(base: Path) -> Settings:
    return Settings(home=base / "home")


@pytest.fixture
def small_disk(base: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small disk")
    place = base / "disk"
    place.mkdir(mode=0o755)
    command = ["mount", "-t", "tmpfs", "-o", "size=24m,mode=755", "tmpfs", str(place)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"mount is refused here: {done.stderr.strip()}")
    yield place
    for home in list(place.glob("*/home.json")):
        embedded.remove_home(Settings(home=home.parent))
    subprocess.run(["umount", str(place)], check=True)


def refusal(settings: Settings, code: str, *words: str) -> PromptCardError:
    """Attach, which must be refused, and leave nothing running."""
    with pytest.raises(PromptCardError) as caught:
        embedded.attach(settings)
    error = caught.value
    assert error.code == code, error
    assert error.hint
    assert "Traceback" not in str(error)
    for word in words:
        assert word in str(error)
    now = embedded.status(replace(settings, database_url=None, redis_url=None)) if _readable(settings) else None
    assert now is None or (now.postgres.pid, now.valkey.pid, now.attached) == (None, None, 0)
    return error


def _readable(settings: Settings) -> bool:
    try:
        return find_home(settings.home) is not None
    except (PromptCardError, OSError):
        return False


def used(settings: Settings) -> Path:
    """Use a home once; return its PostgreSQL data directory."""
    embedded.attach(settings).close()
    home = find_home(settings.home)
    assert home is not None
    return home.postgres / "data"


def fill(disk: Path) -> Path:
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * 4096):
                pass
        except OSError:
            return filler
    raise AssertionError("the disk does not fill up")


# --- the home ---------------------------------------------------------------------------------------------


def test_data_of_another_postgresql_is_refused_and_left_alone(settings: Settings) -> None:
    data = used(settings)
    (data / "PG_VERSION").write_text("17\n")
    refusal(settings, "home_other_postgres", str(data), "17", "18", "PROMPTCARDS_HOME")
    (data / "PG_VERSION").write_text("18\n")
    embedded.attach(settings).close()


def test_a_half_initialised_data_directory_is_refused_and_left_alone(settings: Settings) -> None:
    data = used(settings)
    (data / "PG_VERSION").unlink()
    refusal(settings, "home_half_initialised", str(data), "PG_VERSION")
    assert (data / "global").is_dir()


def test_an_interrupted_initialisation_is_begun_again(settings: Settings) -> None:
    data = used(settings)
    shutil.rmtree(data)
    home = find_home(settings.home)
    assert home is not None
    home.record.initialised = False
    home.save()
    leftover = data.with_name("new-0123abcd")
    (leftover / "base").mkdir(parents=True)
    embedded.attach(settings).close()
    assert not leftover.exists()


def test_lost_data_is_not_replaced_by_an_empty_database(settings: Settings) -> None:
    data = used(settings)
    shutil.rmtree(data)
    refusal(settings, "home_data_missing", str(data), "backup")


def test_lost_passwords_are_named(settings: Settings) -> None:
    used(settings)
    passwords = settings.home / "passwords.json"
    kept = passwords.read_text()
    passwords.unlink()
    refusal(settings, "home_passwords_lost", str(passwords), "is missing")
    passwords.write_text("{")
    refusal(settings, "home_passwords_lost", str(passwords), "is damaged")
    passwords.write_text(kept.replace('"postgres": "', '"postgres": "x').replace('"pc_app": "', '"pc_app": "x'))
    with pytest.raises(SetupError, match="does not hold the password") as caught:
        embedded.attach(settings)
    assert caught.value.code == "home_passwords_lost"
    passwords.write_text(kept)
    embedded.attach(settings).close()


def test_a_damaged_record_is_named(settings: Settings) -> None:
    used(settings)
    record = settings.home / "home.json"
    kept = record.read_text()
    record.write_text("{")
    refusal(settings, "home_unreadable", str(record))
    record.write_text(kept)


def test_a_home_that_is_a_file_or_lies_below_one_is_refused(base: Path) -> None:
    (base / "file").write_text("")
    refusal(Settings(home=base / "file"), "home_not_writable", str(base / "file"))
    refusal(Settings(home=base / "file" / "home"), "home_not_writable", str(base / "file"))


@as_ordinary_user
def test_a_home_without_write_permission_is_refused(base: Path) -> None:
    home = base / "locked"
    home.mkdir(mode=0o500)
    refusal(Settings(home=home), "home_not_writable", str(home))
    refusal(Settings(home=home / "below"), "home_not_writable", str(home))


def test_a_home_on_a_read_only_disk_is_refused(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    refusal(Settings(home=small_disk / "home"), "home_not_writable", str(small_disk), "Read-only")
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)


# --- the disk ---------------------------------------------------------------------------------------------


def test_a_disk_too_small_for_the_database_files(small_disk: Path) -> None:
    settings = Settings(home=small_disk / "home")
    refusal(settings, "disk_full", str(settings.home), "Free some space")
    assert not list((settings.home / "postgres").glob("new-*"))
    subprocess.run(["mount", "-o", "remount,size=200m", str(small_disk)], check=True)
    embedded.attach(settings).close()


def test_a_disk_that_is_full_when_the_database_starts(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=100m", str(small_disk)], check=True)
    settings = Settings(home=small_disk / "home")
    used(settings)
    without_valkey = _with_valkey_of(small_disk.parent / "other")
    filler = fill(small_disk)
    with without_valkey as services:
        refusal(replace(settings, redis_url=services.redis_url), "disk_full", str(settings.home))
    filler.unlink()
    embedded.attach(settings).close()


def _with_valkey_of(home: Path) -> embedded.Services:
    return embedded.attach(Settings(home=home))


def test_a_disk_that_is_full_when_valkey_starts(small_disk: Path) -> None:
    with embedded.attach(Settings(home=small_disk.parent / "other")) as services:
        settings = Settings(home=small_disk / "home", database_url=services.database_url)
        embedded.attach(settings).close()
        filler = fill(small_disk)
        refusal(settings, "disk_full", str(settings.home))
        filler.unlink()
        embedded.attach(settings).close()


def test_a_full_disk_stops_valkey_from_starting_even_when_the_home_could_be_prepared(
    small_disk: Path,
) -> None:
    with embedded.attach(Settings(home=small_disk.parent / "other")) as services:
        settings = Settings(home=small_disk / "home", database_url=services.database_url)
        attached = embedded.attach(settings)
        filler = fill(small_disk)
        attached.close()  # stops although nothing can be written any more
        assert embedded.status(replace(settings, database_url=None)).valkey.pid is None
        filler.unlink()


# --- other failures to start ------------------------------------------------------------------------------


def test_a_server_that_does_not_start_is_quoted(settings: Settings) -> None:
    data = used(settings)
    configuration = data / "postgresql.conf"
    kept = configuration.read_text()
    configuration.write_text(kept + "\nno_such_setting = 1\n")
    refusal(settings, "service_failed", "PostgreSQL", "no_such_setting", "postgres.log")
    configuration.write_text(kept)
    embedded.attach(settings).close()


def test_a_valkey_with_damaged_data_is_quoted(settings: Settings) -> None:
    used(settings)
    manifest = settings.home / "valkey" / "appendonlydir" / "appendonly.aof.manifest"
    manifest.write_text("nonsense\n")
    refusal(settings, "service_failed", "Valkey", "manifest", "valkey.log")


@as_root
def test_a_system_user_that_cannot_be_made_is_named(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account, "NAME", "not a name!")  # useradd itself refuses it
    refusal(settings, "system_user_failed", "not a name!", "PROMPTCARDS_DATABASE_URL")
    monkeypatch.setattr(account, "NAME", "root")
    refusal(settings, "system_user_failed", "root itself")


# --- servers of one's own ---------------------------------------------------------------------------------

DATABASE = "postgresql+psycopg://ann:s3cr%40t@127.0.0.1:1/cards"


def test_a_database_url_that_does_not_answer_is_shown_without_its_password(settings: Settings) -> None:
    error = refusal(replace(settings, database_url=DATABASE), "database_unreachable", "ann:***@127.0.0.1", "unset")
    assert isinstance(error, Unavailable)
    assert "s3cr" not in str(error)
    assert not settings.home.exists()


def test_a_redis_url_that_does_not_answer_is_shown_without_its_password(settings: Settings) -> None:
    for url in ("redis://:s3cret@127.0.0.1:1/0", f"unix://{settings.home}/none.sock?password=s3cret"):
        error = refusal(replace(settings, redis_url=url), "redis_unreachable", "***", "PROMPTCARDS_REDIS_URL")
        assert isinstance(error, Unavailable)
        assert "s3cret" not in str(error)


def test_servers_that_accept_and_say_nothing_are_given_up(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(external, "TIMEOUT_S", 2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        database = f"postgresql://u:p@127.0.0.1:{port}/x"
        refusal(replace(settings, database_url=database), "database_unreachable")
        refusal(replace(settings, redis_url=f"redis://127.0.0.1:{port}/0"), "redis_unreachable")


@pytest.mark.parametrize("url", ["nonsense", "postgresql://u:s3cret@h:port/x", "postgresql://u:s3cret@h/x?nope=s3cret"])
def test_a_database_url_that_is_none_is_refused_without_its_password(settings: Settings, url: str) -> None:
    with pytest.raises(PromptCardError) as caught:
        embedded.attach(replace(settings, database_url=url))
    assert caught.value.code in ("url_invalid", "database_unreachable")
    assert "s3cret@" not in str(caught.value)


def test_a_redis_url_that_is_none_is_refused(settings: Settings) -> None:
    refusal(replace(settings, redis_url="http://u:s3cret@h"), "url_invalid", "u:***@h", "redis://")


def test_an_owner_url_alone_is_refused(settings: Settings) -> None:
    refusal(replace(settings, owner_database_url=DATABASE), "database_url_missing", "neither")


def test_set_urls_are_used_and_nothing_is_started_for_them(base: Path) -> None:
    with embedded.attach(Settings(home=base / "server")) as server:
        both = Settings(base / "both", server.database_url, server.owner_database_url, server.redis_url)
        with embedded.attach(both) as services:
            assert services.database_url == server.database_url
            assert services.owner_database_url == server.owner_database_url
            assert services.redis_url == server.redis_url
            assert services.home is services.backup_database_url is None
        assert not both.home.exists()

        queue_only = Settings(home=base / "queue", database_url=server.database_url)
        with embedded.attach(queue_only) as services:
            now = embedded.status(queue_only)
            assert (now.postgres.external, now.valkey.external) == (True, False)
            assert (now.postgres.running, now.valkey.running) == (True, True)
            assert str(queue_only.home) in services.redis_url
            assert not (queue_only.home / "postgres").exists()

        database_only = Settings(home=base / "database", redis_url=server.redis_url)
        with embedded.attach(database_only) as services:
            assert services.redis_url == server.redis_url
            assert services.database_url != server.database_url
            assert not (database_only.home / "valkey").exists()


def test_status_says_why_a_set_url_cannot_be_used(settings: Settings) -> None:
    now = embedded.status(replace(settings, database_url=DATABASE, redis_url="redis://127.0.0.1:1/0"))
    assert (now.postgres.running, now.valkey.running) == (False, False)
    assert "does not answer" in now.postgres.problem
    assert "does not answer" in now.valkey.problem
    assert "s3cr" not in now.postgres.problem
