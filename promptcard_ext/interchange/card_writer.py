"""Writing card files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.card import Card
from promptcard_ext.core.case import Case
from promptcard_ext.core.errors import CardError
from promptcard_ext.interchange.yaml_text import write_yaml, yaml_text

_HEAD = ("name", "title", "description", "tags", "variables")
# `includes` are texts of other cards, which have files of their own.
_NOT_WRITTEN = frozenset({*_HEAD, "version", "includes"})
# In this order a reader looks for them.
_FIRST = ("note", "system", "template")


def card_file_text(versions: Sequence[Card], cases: Sequence[Case] = ()) -> str:
    """Return the text of a card file that `load_card_file` reads as the same versions and cases.

    Args:
        versions: Of one card, oldest first; they have the same variables.

    Raises:
        CardError: There is no version, or they are not of one card (``card_file_mixed``).

    Example:
        >>> print(card_file_text([Card("greet", "Hello {{ who }}!")]))
        card:
          name: greet
        versions:
        - template: Hello {{ who }}!
        <BLANKLINE>
    """
    if not versions:
        raise CardError("A card file needs a version.", code="card_file_mixed")
    first = versions[0]
    for version in versions:
        if version.name != first.name or version.variables != first.variables:
            raise CardError(
                f"'{version.name}' cannot stand in the file of '{first.name}': "
                "the versions in a file have one name and the same variables.",
                code="card_file_mixed",
                hint="Write a file for each card.",
            )
    head = msgspec.to_builtins(first)
    document: dict[str, Any] = {
        "card": {name: head[name] for name in _HEAD if name in head},
        "versions": [_version(version) for version in versions],
    }
    shared = _shared_assertions(cases)
    if shared:
        document["assertions"] = msgspec.to_builtins(shared)
    if cases:
        document["cases"] = [_case(case, len(shared)) for case in cases]
    return yaml_text(document)


def case_text(case: Case) -> str:
    """Return a case as an entry of ``cases`` in a card file.

    Example:
        >>> print(case_text(Case({"who": "Ada"}, name="ada")))
        - name: ada
          variables:
            who: Ada
        <BLANKLINE>
    """
    return yaml_text([_case(case, 0)])


def write_card_file(path: str | Path, versions: Sequence[Card], cases: Sequence[Case] = ()) -> None:
    """Write a card file; see `card_file_text`.

    Raises:
        CardError: The versions are not of one card.
        FileError: It cannot be written (``file_unwritable``).
    """
    write_yaml(Path(path), card_file_text(versions, cases))


def _version(card: Card) -> dict[str, Any]:
    fields = {name: value for name, value in msgspec.to_builtins(card).items() if name not in _NOT_WRITTEN}
    if not fields.get("settings"):
        fields.pop("settings", None)
    first = {name: fields.pop(name) for name in _FIRST if name in fields}
    return first | fields


def _shared_assertions(cases: Sequence[Case]) -> tuple[Assertion, ...]:
    """Return the assertions that end the list of every case: a card file says them once."""
    if len(cases) < 2:
        return ()
    shortest = min(len(case.assertions) for case in cases)
    first = cases[0].assertions
    number = 0
    while number < shortest and all(case.assertions[-1 - number] == first[-1 - number] for case in cases):
        number += 1
    return first[len(first) - number :]


def _case(case: Case, shared: int) -> dict[str, Any]:
    written = msgspec.to_builtins(case)
    done: dict[str, Any] = {}
    if case.name != case.uid[:8]:
        done["name"] = case.name
    done["variables"] = written["variables"]
    own = written.get("assertions", [])
    if own := own[: len(own) - shared]:
        done["assertions"] = own
    return done | {name: value for name, value in written.items() if name not in ("name", "variables", "assertions")}
