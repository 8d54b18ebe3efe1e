"""Telling whether a case came before, in 32 bytes or less per case."""

from __future__ import annotations

from array import array


class CaseIndex:
    """Places of cases by 64 bits of their identity: a hash table in two arrays, at most half full.

    A set of the identities themselves would take 150 bytes per case.
    """

    def __init__(self) -> None:
        self._fingerprints = array("Q")
        self._slots = array("I", bytes(4 * 1024))  # place + 1; 0 is empty

    def add(self, uid: str) -> int | None:
        """Take the identity of the next case (64 hexadecimal digits).

        Returns:
            The place of an earlier case with the same 64 bits, very likely the same case.
        """
        fingerprint = int(uid[:16], 16)
        slot, earlier = self._find(fingerprint)
        self._fingerprints.append(fingerprint)
        if earlier is not None:
            return earlier
        self._slots[slot] = len(self._fingerprints)
        if 2 * len(self._fingerprints) > len(self._slots):
            self._grow()
        return None

    def _find(self, fingerprint: int) -> tuple[int, int | None]:
        mask = len(self._slots) - 1
        slot = fingerprint & mask
        while place := self._slots[slot]:
            if self._fingerprints[place - 1] == fingerprint:
                return slot, place - 1
            slot = (slot + 1) & mask
        return slot, None

    def _grow(self) -> None:
        self._slots = array("I", bytes(8 * len(self._slots)))
        for place, fingerprint in enumerate(self._fingerprints, 1):
            slot, _ = self._find(fingerprint)
            self._slots[slot] = place
