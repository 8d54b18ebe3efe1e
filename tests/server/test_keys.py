"""The key file: made once, private, replaced while servers run, and never shown."""

from __future__ import annotations

import json
import os
import stat
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from promptcard_ext.core.errors import SetupError
from server_ext.keys import MIN_BYTES, PURPOSES, Key, KeyRing, Purpose, load_ring, new_key, new_ring


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "keys.json"


def ids(ring: KeyRing) -> dict[Purpose, list[str]]:
    return {purpose: ring.ids(purpose) for purpose in PURPOSES}


def refusal(path: Path) -> str:
    with pytest.raises(SetupError) as caught:
        load_ring(path)
    assert caught.value.code == "keys_invalid"
    assert str(path) in caught.value.message
    return caught.value.message


def test_a_ring_is_made_once_and_only_its_owner_may_read_it(path: Path) -> None:
    made = load_ring(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [entry.name for entry in path.parent.iterdir()] == ["keys.json"]
    again = load_ring(path)
    assert ids(again) == ids(made)
    assert [again.current(purpose) for purpose in PURPOSES] == [made.current(purpose) for purpose in PURPOSES]


def test_purposes_share_no_key(path: Path) -> None:
    ring = load_ring(path)
    keys = [ring.current(purpose) for purpose in PURPOSES]
    assert len({key.secret for key in keys}) == len({key.id for key in keys}) == len(PURPOSES)
    assert all(len(key.secret) >= MIN_BYTES for key in keys)
    for purpose in PURPOSES:
        for key in keys:
            assert (ring.find(purpose, key.id) is not None) == (key == ring.current(purpose))


def test_of_servers_that_start_at_once_all_have_the_same_ring(path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        rings = list(pool.map(load_ring, [path] * 24))
    assert len({ring.current("signing") for ring in rings}) == 1
    assert [entry.name for entry in path.parent.iterdir()] == ["keys.json"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o666, 0o610])
def test_a_file_that_others_may_use_is_refused(path: Path, mode: int) -> None:
    load_ring(path)
    path.chmod(mode)
    assert "0600" in refusal(path)


@pytest.mark.parametrize(
    "content",
    [
        "", "{", "null", "[]", "7", "{}", '{"signing": []}', b"\xff\xfe",
        '{"signing": {}, "credentials": {}, "audit": {}}',
    ],
)  # fmt: skip
def test_a_damaged_file_is_refused_and_kept(path: Path, content: str | bytes) -> None:
    load_ring(path)
    raw = content.encode() if isinstance(content, str) else content
    path.write_bytes(raw)
    refusal(path)
    assert path.read_bytes() == raw


def entry(**changes: Any) -> dict[str, Any]:
    return {"id": "one", "secret": b64encode(bytes(32)).decode(), **changes}


@pytest.mark.parametrize(
    "entries",
    [
        [],
        [entry(secret=b64encode(bytes(31)).decode())],
        [entry(), entry(id="two", secret="")],
        [entry(secret="not base64!")],
        [entry(secret=None)],
        [{"id": "one"}],
        [{"secret": entry()["secret"]}],
        ["one"],
    ],
)
@pytest.mark.parametrize("purpose", PURPOSES)
def test_every_key_of_every_purpose_must_be_good(path: Path, purpose: str, entries: list[Any]) -> None:
    load_ring(path)
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, purpose: entries}))
    refusal(path)


def test_a_folder_in_its_place_is_refused(path: Path) -> None:
    path.mkdir(parents=True, mode=0o700)
    refusal(path)


def test_a_replaced_key_still_counts_until_it_is_dropped() -> None:
    ring = new_ring()
    old = ring.current("signing")
    rotated = ring.rotated("signing")
    assert rotated.current("signing") != old
    assert rotated.find("signing", old.id) == old
    assert rotated.ids("signing") == [rotated.current("signing").id, old.id]
    assert [rotated.current(purpose) for purpose in PURPOSES[1:]] == [ring.current(one) for one in PURPOSES[1:]]
    assert ring.current("signing") == old
    dropped = rotated.without("signing", old.id)
    assert dropped.find("signing", old.id) is None
    assert dropped.ids("signing") == [rotated.current("signing").id]


def test_neither_the_current_key_nor_an_unknown_one_is_dropped() -> None:
    ring = new_ring().rotated("audit")
    for key_id in (ring.current("audit").id, "nobody", "", ring.ids("signing")[0]):
        with pytest.raises(SetupError) as caught:
            ring.without("audit", key_id)
        assert caught.value.code == "key_unknown"


def test_a_saved_ring_is_the_one_that_is_loaded(path: Path) -> None:
    load_ring(path)
    ring = new_ring().rotated("signing").rotated("credentials")
    ring.save(path)
    assert ids(load_ring(path)) == ids(ring)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["keys.json"]


def test_a_server_that_runs_follows_the_file(path: Path) -> None:
    running = load_ring(path)
    first = running.current("signing")
    rotated = load_ring(path).rotated("signing")
    rotated.save(path)
    assert running.current("signing") == rotated.current("signing")
    assert running.find("signing", first.id) == first
    rotated.without("signing", first.id).save(path)
    assert running.find("signing", first.id) is None


@pytest.mark.parametrize("damage", ["half", "gone", "open"])
def test_a_server_that_runs_keeps_its_keys_while_the_file_is_no_good(path: Path, damage: str) -> None:
    running = load_ring(path)
    first, text = running.current("signing"), path.read_text()
    if damage == "half":
        path.write_text(text[: len(text) // 2])
    elif damage == "gone":
        path.unlink()
    else:
        path.write_text(text + " ")
        path.chmod(0o644)
    assert running.current("signing") == first
    following = KeyRing({purpose: (new_key(),) for purpose in PURPOSES})
    following.save(path)
    assert running.current("signing") == following.current("signing")


def test_a_failed_save_leaves_the_file_and_nothing_else(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_ring(path)
    before = path.read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        new_ring().save(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["keys.json"]


def test_no_representation_and_no_error_shows_a_secret(path: Path) -> None:
    ring = load_ring(path)
    key = ring.current("signing")
    shown = f"{key!r} {key} {ring!r} {Key('one', b's' * 32)!r}"
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "audit": []}))
    shown += refusal(path)
    for secret in (repr(key.secret)[2:-1], key.secret.hex(), b64encode(key.secret).decode(), "ssss"):
        assert secret not in shown
