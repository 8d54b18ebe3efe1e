"""The command line as a user types it: each mistake gets one clear message."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from server_ext import embedded
from server_ext.embedded import Services
from server_ext.settings import Settings
from tests.support import Program, free_port, run_command, temporary_home, wait_for

COMMANDS = ("run", "lint", "models", "demo", "lab", "serve", "worker", "db", "services", "doctor")
CARD = """\
card:
  name: greet
  variables:
    - {name: who}
versions:
  - template: Say hello to {{ who }}.
cases:
  - variables: {who: Ada}
    assertions:
      - {type: contains, value: Ada}
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home that nothing has been made in."""
    return tmp_path / "home"


@pytest.fixture
def card(tmp_path: Path) -> Path:
    """A good card file."""
    path = tmp_path / "greet.yaml"
    path.write_text(CARD)
    return path


@pytest.fixture
def started_home() -> Iterator[Path]:
    """A home for a server of its own."""
    with temporary_home() as home:
        yield home


def failed(done: subprocess.CompletedProcess[str], *said: str, code: int | None = None) -> None:
    """Check that a command gave up with one message that says all this, and no traceback."""
    everything = done.stdout + done.stderr
    assert done.returncode != 0, everything
    if code is not None:
        assert done.returncode == code, everything
    assert "Traceback" not in everything
    for text in said:
        assert text in done.stderr, everything
    complaints = [line for line in done.stderr.splitlines() if line.startswith("promptcards: ")]
    assert len(complaints) == 1, everything


@pytest.mark.parametrize(
    "command", [(), *((name,) for name in COMMANDS)], ids=lambda command: " ".join(command) or "(none)"
)
def test_every_command_explains_itself(home: Path, command: tuple[str, ...]) -> None:
    done = run_command(home, *command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: jupyter promptcards")
    assert not home.exists()


def test_without_a_command_there_is_help_and_an_exit_code(home: Path) -> None:
    done = run_command(home)
    assert done.returncode == 2
    assert all(name in done.stdout for name in COMMANDS)


def test_cards_that_are_all_right_pass(home: Path, card: Path) -> None:
    assert run_command(home, "lint", str(card)).returncode == 0
    done = run_command(home, "run", str(card), "--model", "simulated:echo")
    assert done.returncode == 0, done.stderr
    assert "100%" in done.stdout
    assert [path.name for path in home.iterdir()] == ["runs"]


def test_failures_have_an_exit_code_of_their_own(home: Path, card: Path) -> None:
    card.write_text(CARD.replace("value: Ada", "value: Grace"))
    done = run_command(home, "run", str(card), "--model", "simulated:echo")
    assert done.returncode == 10
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize("command", [("lint",), ("run", "--model", "simulated:echo")], ids=["lint", "run"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"card: {name: greet}\nversions:\n  - template: [\n", ["card.yaml", "line 4"]),
        (b"card: {name: greet}\nversions:\n\t- x\n", ["card.yaml", "line 3"]),
        (b"name: gr\xfceet\n", ["card.yaml"]),
        (b"\xff\xfe\x00", ["card.yaml"]),
        (b"", ["card.yaml"]),
        (b"- just\n- a list\n", ["card.yaml"]),
        (CARD.replace("{{ who }}", "{{ whom }}").encode(), ["whom", "Did you mean 'who'?"]),
        (CARD.replace("{{ who }}", "{{ who").encode(), ["line 6", "column"]),
        (CARD.replace("{who: Ada}", "{whom: Ada}").encode(), ["whom", "Did you mean 'who'?"]),
        (CARD.replace("contains", "contians").encode(), ["contians"]),
        (CARD.replace("name: greet", "name: Greet Me").encode(), ["Greet Me"]),
        (CARD.replace("template:", "templat:").encode(), ["templat"]),
    ],
)
def test_a_card_file_that_is_wrong_is_named_with_the_place(
    home: Path, tmp_path: Path, command: tuple[str, ...], content: bytes, said: list[str]
) -> None:
    path = tmp_path / "card.yaml"
    path.write_bytes(content)
    failed(run_command(home, command[0], str(path), *command[1:]), *said, code=2)


@pytest.mark.parametrize("command", [("lint",), ("run", "--model", "simulated:echo")], ids=["lint", "run"])
def test_a_file_that_is_not_there_is_named(home: Path, tmp_path: Path, command: tuple[str, ...]) -> None:
    failed(run_command(home, command[0], str(tmp_path / "nosuch.yaml"), *command[1:]), "nosuch.yaml", code=2)
    failed(run_command(home, command[0], str(tmp_path), *command[1:]), str(tmp_path), code=2)


@pytest.mark.parametrize("model", ["simulated:nosuch", "nosuch:model", "nosuch", ""])
def test_a_model_that_does_not_exist_is_named(home: Path, card: Path, model: str) -> None:
    said = "nosuch" if model else ""
    failed(run_command(home, "run", str(card), "--model", model), said, code=2)
    failed(run_command(home, "demo", str(card), "--model", model), said, code=2)
    assert not (home / "postgres").exists()


@pytest.mark.parametrize(
    "option",
    [
        ("--repeat", "0"),
        ("--concurrency", "0"),
        ("--timeout", "-1"),
        ("--timeout", "nan"),
        ("--requests-per-minute", "0"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(home: Path, card: Path, option: tuple[str, str]) -> None:
    failed(run_command(home, "run", str(card), "--model", "simulated:echo", *option), code=2)


def test_a_port_that_is_taken_is_said_to_be(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        failed(run_command(home, "serve", "--port", port), port, "--port")
    failed(run_command(home, "serve", "--port", "70000"), "70000")
    assert not home.exists()  # found out before anything was started


@pytest.mark.parametrize("command", [("serve", "--port", "0"), ("worker",), ("db", "check"), ("demo",)], ids=" ".join)
def test_a_home_that_cannot_be_written_is_said_to_be(tmp_path: Path, command: tuple[str, ...]) -> None:
    (tmp_path / "file").touch()
    home = tmp_path / "file" / "home"
    failed(run_command(tmp_path / "unused", *command, PROMPTCARDS_HOME=str(home)), str(tmp_path / "file"))


@pytest.mark.parametrize(
    "command", [("serve", "--port", "0"), ("worker",), ("db", "upgrade"), ("db", "check"), ("demo",)], ids=" ".join
)
def test_a_database_that_is_named_and_away_is_an_error_and_nothing_is_started_instead(
    home: Path, command: tuple[str, ...]
) -> None:
    url = f"postgresql://ada:s3cret@127.0.0.1:{free_port()}/cards"
    done = run_command(home, *command, PROMPTCARDS_DATABASE_URL=url)
    failed(done, "PROMPTCARDS_DATABASE_URL" if command != ("demo",) else "")
    assert "s3cret" not in done.stdout + done.stderr
    assert not (home / "postgres").exists()
    assert not (home / "valkey").exists()


@pytest.mark.parametrize(
    ("arguments", "more"),
    [(("--lease", "0"), {}), (("--lease", "nan"), {}), ((), {"PROMPTCARDS_LEASE_S": "soon"})],
    ids=["zero", "nan", "a word"],
)
def test_a_lease_that_makes_no_sense_is_refused(home: Path, arguments: tuple[str, ...], more: dict[str, str]) -> None:
    failed(run_command(home, "worker", *arguments, **more), "ease")
    assert not home.exists()


def test_the_doctor_finds_a_fresh_home_well(started_home: Path) -> None:
    done = run_command(started_home, "doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    for subject in ("Python", "extension", "home", "services", "schema", "role", "tenancy", "queue", "simulated"):
        assert subject in done.stdout
    assert "✗" not in done.stdout
    assert embedded.status(Settings(home=started_home)).attached == 0


def test_the_doctor_shows_what_is_wrong_and_what_to_do(home: Path) -> None:
    done = run_command(home, "doctor", PROMPTCARDS_REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")
    assert done.returncode == 1
    assert "✗" in done.stdout
    assert "→" in done.stdout
    assert "PROMPTCARDS_REDIS_URL" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_the_life_of_a_database(started_home: Path) -> None:
    before = run_command(started_home, "services", "status")
    assert before.returncode == 0
    assert "stopped" in before.stdout
    assert not started_home.exists()
    failed(run_command(started_home, "db", "check"), "upgrade")

    upgraded = run_command(started_home, "db", "upgrade")
    assert (upgraded.returncode, upgraded.stderr) == (0, "")
    checked = run_command(started_home, "db", "check")
    assert (checked.returncode, checked.stderr) == (0, "")
    assert run_command(started_home, "services", "stop").returncode == 0

    asked = run_command(started_home, "services", "remove")
    assert asked.returncode == 1  # nobody answered
    assert started_home.exists()
    removed = run_command(started_home, "services", "remove", "--yes")
    assert removed.returncode == 0
    assert not started_home.exists()


def test_services_in_use_are_neither_stopped_nor_removed(settings: Settings, services: Services) -> None:
    failed(run_command(settings.home, "services", "stop"), "in use")
    failed(run_command(settings.home, "services", "remove", "--yes"), "in use")
    status = run_command(settings.home, "services", "status")
    assert status.stdout.count("running") == 2


def test_a_burst_worker_with_nothing_to_do_ends(settings: Settings, services: Services) -> None:
    done = run_command(settings.home, "worker", "--burst")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


def processes_of(home: Path) -> list[str]:
    """Return the commands of all processes that have to do with a home."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and (
                str(home) in " ".join(process.cmdline()) or process.environ().get("PROMPTCARDS_HOME") == str(home)
            ):
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found


def test_the_demo_works_twice_in_one_home_and_leaves_nothing_behind(started_home: Path, tmp_path: Path) -> None:
    for _ in range(2):
        done = run_command(started_home, "demo", timeout_s=280)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr
        assert processes_of(started_home) == []
        assert list((started_home / "clients").iterdir()) == []
    reports = sorted(path.name for path in (started_home / "reports").iterdir())
    assert reports == ["invoice-extraction.html", "meeting-summary.html", "support-triage.html"]


def test_a_demo_that_is_ended_takes_its_server_along(started_home: Path) -> None:
    with Program(started_home, "demo", "--model", "simulated:steady?latency_ms=5000") as demo:
        family = wait_for(lambda: found if len(found := demo.family()) >= 3 else None, 60)
        demo.process.terminate()
        demo.process.wait(30)
        assert psutil.wait_procs(family, timeout=60)[1] == []
    wait_for(lambda: processes_of(started_home) == [], 60)


@pytest.mark.parametrize("moment", ["valkey-server", "initdb", "bin/postgres -D"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_is_ended_while_it_starts_leaves_nothing_running(
    started_home: Path, moment: str, number: signal.Signals
) -> None:
    with Program(started_home, "serve", "--port", "0") as server:
        wait_for(lambda: any(moment in command for command in processes_of(started_home)))
        server.stop(number)
        wait_for(lambda: processes_of(started_home) == [], 30)
        assert "Traceback" not in server.output
