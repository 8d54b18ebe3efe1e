"""A network namespace beside this machine, and a way to it that can go silent."""

from __future__ import annotations

import os
import shutil
import subprocess
from types import TracebackType
from typing import Self

# Nobody has it: what is sent there is lost, and nobody says so.
NOWHERE = "02:00:00:00:00:01"


class Unsupported(Exception):
    """That no namespace can be made here, and why."""


class Island:
    """A namespace with two wires to this machine: one that goes silent and one that does not.

    Attributes:
        before: What a command is started by to run in it.
        weak, sound: This machine's address at the one wire and at the other.
    """

    def __init__(self) -> None:
        mark = os.getpid() % 250
        self._name = f"pc{os.getpid()}"
        self.before = ("ip", "netns", "exec", self._name)
        self.weak, self._weak_there = f"10.213.{mark}.1", f"10.213.{mark}.2"
        self.sound, self._sound_there = f"10.214.{mark}.1", f"10.214.{mark}.2"
        self._weak_wire, self._sound_wire = f"{self._name}w", f"{self._name}s"

    def silence(self) -> None:
        """Lose what goes over the weak wire, in both directions; no end is told."""
        self._neighbour("replace", self._weak_there, "lladdr", NOWHERE, "nud", "permanent", "dev", self._weak_wire)
        self._there("neigh", "replace", self.weak, "lladdr", NOWHERE, "nud", "permanent", "dev", "weak")

    def heal(self) -> None:
        """Carry again what goes over the weak wire."""
        self._neighbour("del", self._weak_there, "dev", self._weak_wire)
        self._there("neigh", "del", self.weak, "dev", "weak")

    def _neighbour(self, *words: str) -> None:
        _ip("neigh", *words)

    def _there(self, *words: str) -> None:
        _ip("-n", self._name, *words)

    def _wire(self, here: str, mine: str, there: str, its: str) -> None:
        _ip("link", "add", here, "type", "veth", "peer", "name", there, "netns", self._name)
        _ip("addr", "add", f"{mine}/30", "dev", here)
        _ip("link", "set", here, "up")
        self._there("addr", "add", f"{its}/30", "dev", there)
        self._there("link", "set", there, "up")

    def __enter__(self) -> Self:
        """Make it.

        Raises:
            Unsupported: This needs Linux, ``ip`` (iproute2) and root's rights.
        """
        if shutil.which("ip") is None:
            raise Unsupported("there is no program 'ip' (iproute2) here")
        try:
            _ip("netns", "add", self._name)
        except subprocess.CalledProcessError as error:
            raise Unsupported(f"no network namespace can be made here: {error.stderr.strip()}") from error
        try:
            self._there("link", "set", "lo", "up")
            self._wire(self._weak_wire, self.weak, "weak", self._weak_there)
            self._wire(self._sound_wire, self.sound, "sound", self._sound_there)
        except subprocess.CalledProcessError as error:
            self.close()
            raise Unsupported(f"no wire can be drawn here: {error.stderr.strip()}") from error
        return self

    def close(self) -> None:
        """Take it away; its wires go with it."""
        _ip("netns", "del", self._name)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, encoding="utf-8")
