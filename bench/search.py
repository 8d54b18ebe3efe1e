"""How long a search takes in a workspace of 100,000 cards, beside another of as many, as the application asks it.

    python -m bench.search [--cards 100000] [--write bench/RESULTS.md]

The words of the cards are as unevenly frequent as those of a language. Each query is asked ten times, in a transaction
of its own, as a member of the workspace: row security is on.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import sqlalchemy as sa

from bench.engine import machine, write_section
from promptcard_ext.core.contract.cards import SearchQuery
from server_ext.auth.actor import Actor
from server_ext.db.engine import Database
from server_ext.db.tables import card_versions, prompt_cards
from server_ext.keys import load_ring
from server_ext.runtime import ready_services
from server_ext.services import card_search, workspaces
from server_ext.services.scope import open_scope
from server_ext.settings import Settings
from tests.support import temporary_home

SEED = 20_240_607
BATCH = 5_000
ROUNDS = 10
SYLLABLES = [a + b for a in "bdfgklmnpr" for b in "aeio"]
AREAS = ("customer", "billing", "legal", "sales", "support", "finance", "health", "travel", "security", "research")
TASKS = ("triage", "summary", "translate", "classify", "extract", "review", "answer", "rewrite", "compare", "outline")
QUERIES = {
    "a name": "customer-triage-777",
    "the beginning of a name": "customer-tri",
    "two words of names": "billing summary",
    "three words": "legal review 12",
    "one letter": "c",
    "two letters": "se",
    "a word in each tenth name": "security",
    "a word in every template": "please",
    "two words in every template": "please answer",
    "a frequent word": "{1}",
    "a less frequent word": "{50}",
    "a rare word": "{4000}",
    "two rare words": "{2500} {3500}",
    "the beginning of a word": "{9:3}",
    "a typo in a name": "custmer",
    "a typo in the second word": "billing sumary",
    "typos in both": "biling sumary",
    "nothing like it": "qqqqxyz",
    "a sentence": "please answer the customer in two short sentences",
    "punctuation": "'; drop table -- ::*",
}


def vocabulary(chance: random.Random) -> list[str]:
    """Return 5,000 words, the most frequent first."""
    words: dict[str, None] = {}
    while len(words) < 5_000:
        words["".join(chance.choices(SYLLABLES, k=chance.randint(2, 4)))] = None
    return list(words)


def texts(count: int, chance: random.Random, words: list[str]) -> Iterator[tuple[str, str, str]]:
    """Yield name, title and template of each card."""
    frequency = [1 / rank for rank in range(1, len(words) + 1)]
    for number in range(count):
        area, task = chance.choice(AREAS), chance.choice(TASKS)
        said = " ".join(chance.choices(words, frequency, k=80))
        title = f"{area.title()} {task} {chance.choice(words)}"
        yield f"{area}-{task}-{number}", title, f"Please answer: {said} {{{{ question }}}}"


def fill(database: Database, workspace_id: UUID, count: int, words: list[str]) -> None:
    """Put cards into a workspace."""
    chance = random.Random(SEED)
    rows = [(uuid4(), *text) for text in texts(count, chance, words)]
    for start in range(0, count, BATCH):
        part = rows[start : start + BATCH]
        with database.transaction(workspace_id) as connection:
            heads = [
                {"workspace_id": workspace_id, "id": key, "name": name, "title": title, "tags": [name.split("-")[0]]}
                for key, name, title, _ in part
            ]
            saved = [
                {
                    "workspace_id": workspace_id,
                    "card_id": key,
                    "version": 1,
                    "content": {"messages": [{"role": "user", "content": template}]},
                    "content_hash": key.hex * 2,
                }
                for key, _, _, template in part
            ]
            connection.execute(sa.insert(prompt_cards), heads)
            connection.execute(sa.insert(card_versions), saved)
            of_part = prompt_cards.c.id.in_([key for key, *_ in part])
            connection.execute(sa.update(prompt_cards).where(of_part).values(latest_version=1))


def measure(database: Database, actor: Actor, workspace_id: UUID, text: str) -> tuple[list[float], int]:
    """Return how long each round took, in milliseconds, and the number of cards on the first page."""
    took, found = [], 0
    for _ in range(ROUNDS):
        with open_scope(database, actor, str(workspace_id)) as scope:
            begin = time.perf_counter()
            page = card_search.search(scope, SearchQuery(text=text, limit=20))
            took.append((time.perf_counter() - begin) * 1000)
            found = len(page.items)
    return took, found


def report(database: Database, count: int) -> str:
    """Fill two workspaces, ask everything, and return the section."""
    words = vocabulary(random.Random(SEED))
    actor = workspaces.local_owner(database, "Bench")
    mine, other = (workspaces.create(database, actor, name).id for name in ("Mine", "Other"))
    for workspace_id in (other, mine):
        fill(database, workspace_id, count, words)
    lines = ["| search for | cards on the first page | p50 ms | p95 ms |", "|---|---:|---:|---:|"]
    everything: list[float] = []
    for name, pattern in QUERIES.items():
        took, found = measure(database, actor, mine, _filled(pattern, words))
        everything += took
        lines.append(f"| {name} | {found} | {_at(took, 0.5):.1f} | {_at(took, 0.95):.1f} |")
    lines.append(f"| all {len(everything)} searches | | {_at(everything, 0.5):.1f} | {_at(everything, 0.95):.1f} |")
    head = f"{count:,} cards in the workspace, {count:,} in another one of the same database; {machine()}."
    return "\n".join([head, "", *lines])


def _filled(pattern: str, words: list[str]) -> str:
    parts = []
    for part in pattern.split(" "):
        if part.startswith("{"):
            rank, _, letters = part.strip("{}").partition(":")
            part = words[int(rank)][: int(letters) if letters else None]
        parts.append(part)
    return " ".join(parts)


def _at(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--cards", type=int, default=100_000)
    options.add_argument("--write", type=Path)
    given = options.parse_args()
    with temporary_home() as home:
        settings = Settings(home=home)
        with (
            ready_services(settings) as services,
            Database(services.database_url, keys=load_ring(settings.keys_path)) as database,
        ):
            text = report(database, given.cards)
    print(text)
    if given.write:
        write_section(given.write, "search", text)


if __name__ == "__main__":
    sys.exit(main())
