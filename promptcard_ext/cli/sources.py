"""What a file on the command line holds: a card file, or a promptfoo configuration."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from promptcard_ext.core.card import Card
from promptcard_ext.core.case import Case
from promptcard_ext.interchange.card_file import load_card_file
from promptcard_ext.interchange.notices import Notice
from promptcard_ext.interchange.promptfoo import Imported, read_promptfoo


@dataclass(frozen=True)
class Source:
    """Cards and cases that run together, and what the file says about how.

    Attributes:
        models: Models that the file names; the command line's take their place.
        providers: Settings per provider; may hold credentials.
        derived: Formulas of derived metrics by name.
    """

    path: Path
    name: str
    versions: tuple[Card, ...]
    cases: Sequence[Case]
    models: tuple[str, ...] = ()
    judges: tuple[str, ...] = ()
    embedder: str | None = None
    providers: dict[str, dict[str, Any]] = field(default_factory=dict, repr=False)
    repeats: int = 1
    concurrency: int | None = None
    timeout_s: float | None = None
    deadline_s: float | None = None
    derived: Mapping[str, str] = field(default_factory=dict)
    key_names: Mapping[str, str] = field(default_factory=dict)
    notices: tuple[Notice, ...] = ()


def open_sources(
    path: Path, *, latest: bool = False, outside: bool = False, models: Sequence[str] = ()
) -> list[Source]:
    """Read a file.

    Args:
        latest: Take only the latest version of a card file.
        outside: Let a promptfoo configuration read files outside of its folder.
        models: Take the place of those that the file names, and are called at the usual addresses.

    Raises:
        FileError: It cannot be read, or something in it does not fit.
    """
    if is_promptfoo(path):
        found = _of_promptfoo(path, read_promptfoo(path, allow_outside=outside))
        return _with_models(found, tuple(dict.fromkeys(models))) if models else found
    file = load_card_file(path)
    versions = file.versions[-1:] if latest else file.versions
    return [Source(path, file.name, versions, file.cases)]


def _of_promptfoo(path: Path, found: Imported) -> list[Source]:
    common: dict[str, Any] = {
        "judges": found.judges,
        "embedder": found.embedder,
        "repeats": found.repeats,
        "concurrency": found.concurrency,
        "timeout_s": found.timeout_s,
        "deadline_s": found.deadline_s,
        "derived": found.derived,
    }
    name = found.description or path.stem
    return [
        Source(
            path, name, batch.cards, found.cases, batch.models, providers=batch.providers(os.environ),
            key_names={k: e.api_key_env for k, e in batch.endpoints.items() if e.api_key_env},
            notices=found.notices if place == 0 else (), **common,
        )
        for place, batch in enumerate(found.batches)
    ] or [Source(path, name, (), found.cases, notices=found.notices, **common)]  # fmt: skip


def _with_models(sources: Sequence[Source], models: tuple[str, ...]) -> list[Source]:
    """Return the sources for other models: what the file said about the addresses of its own is not for them."""
    done: dict[Any, Source] = {}
    for source in sources:
        called = {model.partition(":")[0] for model in (*models, *_judges(source))}
        called -= {model.partition(":")[0] for model in models if model not in source.models}
        providers = {name: one for name, one in source.providers.items() if name in called}
        keys = {name: key for name, key in source.key_names.items() if name in called}
        changed = replace(source, models=models, providers=providers, key_names=keys)
        # Runs that differed in their models only are one now.
        same = (tuple((card.name, card.content_hash) for card in source.versions), repr(providers))
        done.setdefault(same, changed)
    return list(done.values())


def _judges(source: Source) -> set[str]:
    named = {*source.judges, *filter(None, [source.embedder])}
    waiting = [assertion for case in source.cases for assertion in case.assertions]
    while waiting:
        assertion = waiting.pop()
        given = assertion.provider or ()
        named.update((given,) if isinstance(given, str) else given)
        waiting += assertion.assertions
    return named


def is_promptfoo(path: Path) -> bool:
    """Tell a promptfoo configuration from a card file: by its keys at the left margin, without reading it whole."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as lines:
            keys = {line.partition(":")[0].strip("\"' ") for line in lines if line[:1].isalpha() or line[:1] in "\"'"}
    except OSError:
        return False
    if path.suffix == ".json":
        text = path.read_text("utf-8-sig", "replace")
        return '"prompts"' in text
    return "card" not in keys and bool(keys & {"prompts", "providers", "targets", "tests", "defaultTest", "scenarios"})
