"""Three workspaces full of canaries, and thirteen people: one for each role in each, and one who belongs to two."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from msgspec.structs import replace

from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.card import Card, Variable
from promptcard_ext.core.case import Case
from promptcard_ext.core.contract.api_tokens import ApiTokenSpec
from promptcard_ext.core.contract.budgets import BudgetSpec
from promptcard_ext.core.contract.cards import LabelTarget
from promptcard_ext.core.contract.credentials import NewCredential, NewNetworkRule
from promptcard_ext.core.contract.generations import GenerationQuery
from promptcard_ext.core.contract.invitations import InvitationSpec
from promptcard_ext.core.contract.prices import PriceOverrideSpec
from promptcard_ext.core.contract.runs import FINAL, RunSpec
from promptcard_ext.core.contract.webhooks import WebhookSpec
from promptcard_ext.core.contract.workspaces import WorkspacePatch
from server_ext.auth.actor import Actor
from server_ext.auth.permissions import ROLES
from server_ext.db.engine import Database
from server_ext.db.tables import memberships
from server_ext.keys import load_ring
from server_ext.runtime import ready_services
from server_ext.services import (
    accounts,
    api_tokens,
    budgets,
    cards,
    cases,
    credentials,
    drafts,
    generations,
    invitations,
    labels,
    logins,
    network_rules,
    price_overrides,
    reports,
    runs,
    webhooks,
    workspaces,
)
from server_ext.services.scope import Scope, open_scope
from server_ext.settings import Settings
from tests.security.isolation.canaries import WORKSPACES, named, secret, written
from tests.support import Program, temporary_home, wait_for

PASSWORD = secret("correct horse battery")
BOTH = "both@example.com"
# Access tokens are good for ten minutes, and a round of requests takes two or three.
RENEW_S = 240.0
Known = dict[str, list[str]]
"""What a workspace has, by kind: names and ids that stand in paths, queries and bodies."""


@dataclass(frozen=True)
class Person:
    """A credential, and what it may see.

    Attributes:
        workspaces: Letters of the workspaces whose canaries may be shown for it.
        email: Whose it is.
        pinned: Whether it is a token of one workspace.
    """

    workspaces: str
    email: str
    pinned: bool
    token: str = field(repr=False)


@dataclass
class Site:
    """A home with its people.

    Attributes:
        ids, slugs: Of the workspaces, by letter.
        known: What each workspace has, by letter.
        guests: Members whom the machine may do anything to, by letter.
    """

    settings: Settings
    database: Database
    owner_database_url: str
    ids: dict[str, UUID] = field(default_factory=dict)
    slugs: dict[str, str] = field(default_factory=dict)
    known: dict[str, Known] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    actors: dict[tuple[str, str], Actor] = field(default_factory=dict)
    tokens: list[Person] = field(default_factory=list)
    _people: list[Person] = field(default_factory=list)
    _begun: float = -math.inf

    def people(self) -> list[Person]:
        """Return all credentials: sessions that were begun a few minutes ago at most, and tokens of one workspace."""
        if time.monotonic() - self._begun > RENEW_S:
            self._people, self._begun = self._all(), time.monotonic()
        return self._people

    def _all(self) -> list[Person]:
        begun = {
            person.email: Person(person.workspaces, person.email, False, self.session(person.email))
            for person in sorted(self.tokens, key=lambda one: one.workspaces)
        }
        both = begun[BOTH]
        begun[BOTH] = Person("ab", BOTH, False, both.token)
        return [*begun.values(), *self.tokens]

    def session(self, email: str) -> str:
        """Return the access token of a new session."""
        return logins.login(self.database, email, PASSWORD, user_agent=f"agent of {email}").access_token


@contextmanager
def filled_site() -> Iterator[Site]:
    """Yield a home of its own with everything in it; it is gone afterwards."""
    with temporary_home() as home:
        settings = Settings(home=home)
        with ready_services(settings) as services:
            assert services.owner_database_url is not None
            ring = load_ring(settings.keys_path)
            with Database(services.database_url, pool_size=4, keys=ring) as database:
                site = Site(settings, database, services.owner_database_url)
                for letter in WORKSPACES:
                    _fill(site, letter)
                _add_both(site)
                with Program(home, "worker"):
                    wait_for(lambda: all(_ended(site, letter) for letter in WORKSPACES), 60)
                for letter in WORKSPACES:
                    _finish(site, letter)
                yield site


def scope_of(site: Site, letter: str, role: str = "owner") -> Any:
    """Return a scope of somebody in a workspace, to be entered."""
    return open_scope(site.database, site.actors[letter, role], str(site.ids[letter]))


def _fill(site: Site, letter: str) -> None:
    for role in (*ROLES, "guest"):
        email = f"{written(letter, role)}@example.com"
        site.actors[letter, role] = accounts.create_user(site.database, written(letter, role), email, PASSWORD)
    made = workspaces.create(site.database, site.actors[letter, "owner"], named(letter, "place"))
    site.ids[letter], site.slugs[letter] = made.id, named(letter, "place")
    known = site.known[letter]
    with scope_of(site, letter) as scope:
        workspaces.update(scope, WorkspacePatch(slug=site.slugs[letter]))
        for role in (*ROLES[1:], "guest"):
            _enrol(scope, site.actors[letter, role], "viewer" if role == "guest" else role)
        known["workspace"] += [str(made.id), site.slugs[letter]]
        known["user"] += [str(actor.user_id) for (place, _), actor in site.actors.items() if place == letter]
        _write_cards(scope, letter, known)
        _write_settings(scope, letter, known)
    for role in ROLES:
        with scope_of(site, letter, role) as scope:
            token = api_tokens.create(scope, ApiTokenSpec(name=written(letter, f"token of {role}")))
            site.tokens.append(Person(letter, f"{written(letter, role)}@example.com", True, token.token))


def _enrol(scope: Scope, actor: Actor, role: str) -> None:
    row = {"workspace_id": scope.workspace_id, "user_id": actor.user_id, "role": role}
    scope.connection.execute(sa.insert(memberships).values(**row))


def _add_both(site: Site) -> None:
    actor = accounts.create_user(site.database, "Both", BOTH, PASSWORD)
    for letter, role in (("a", "member"), ("b", "viewer")):
        site.actors[letter, "both"] = actor
        with scope_of(site, letter) as scope:
            _enrol(scope, actor, role)
        with scope_of(site, letter, "both") as scope:
            token = api_tokens.create(scope, ApiTokenSpec(name=written(letter, "token of both")))
            site.tokens.append(Person(letter, BOTH, True, token.token))


def _write_cards(scope: Scope, letter: str, known: Known) -> None:
    for number in range(3):
        card = Card(
            named(letter, number),
            f"{written(letter, 'template')} {{{{ who }}}}",
            system=written(letter, "system"),
            title=written(letter, f"title {number}"),
            description=written(letter, "description"),
            variables=(Variable("who", description=written(letter, "variable"), default=written(letter, "default")),),
            tags=(named(letter, "tag"), written(letter, "tag")),
            note=written(letter, "note"),
        )
        saved = cards.save_version(scope, card)
        cards.save_version(scope, replace(card, template=written(letter, "second {{ who }}")))
        labels.put(scope, card.name, named(letter, "label"), LabelTarget(1))
        drafts.save(scope, card.name, {"template": written(letter, "draft"), "note": written(letter, "draft")})
        cases.replace_all(scope, card.name, [_case(letter, n) for n in range(4)])
        known["card"] += [card.name, str(saved.card_id)]
    known["label"].append(named(letter, "label"))
    known["tag"].append(named(letter, "tag"))
    for case in cases.list_cases(scope, named(letter, 0)).items:
        known["case"] += [str(case.id), case.case_uid]
    for number in range(2):
        spec = RunSpec(card=named(letter, number), models=["simulated:echo"], name=written(letter, "run"))
        known["run"].append(str(runs.create(scope, spec).id))


def _case(letter: str, number: int) -> Case:
    return Case(
        {"who": written(letter, f"value {number}")},
        (Assertion("contains", written(letter, "value"), metric=written(letter, "metric")),),
        name=named(letter, f"case-{number}"),
        expected_output=written(letter, "expected"),
        metadata={written(letter, "key"): written(letter, "metadata")},
    )


def _write_settings(scope: Scope, letter: str, known: Known) -> None:
    key = secret(f"key of {letter}").replace(" ", "-")
    made = credentials.create(scope, NewCredential("openai", named(letter, "connection"), key=key))
    known["credential"].append(str(made.id))
    host = f"{written(letter, 'host')}.example.com"
    rule = network_rules.create(scope, NewNetworkRule(host, 8080, written(letter, "rule")), "*")
    known["rule"].append(str(rule.id))
    soft = budgets.set_rule(scope, BudgetSpec("workspace", "month", Decimal(1_000_000), hard=False))
    known["budget"].append(str(soft.id))
    hook = webhooks.create(scope, WebhookSpec("https://hooks.example.com/x", written(letter, "webhook")))
    known["webhook"].append(str(hook.webhook.id))
    price = PriceOverrideSpec(
        written(letter, "provider"), written(letter, "model"), Decimal(1), Decimal(2), date(2026, 1, 1),
        written(letter, "contract"),
    )  # fmt: skip
    known["price"].append(str(price_overrides.create(scope, price).id))
    invited = invitations.create(scope, InvitationSpec(f"{written(letter, 'invited')}@example.com"))
    known["invitation"].append(str(invited.invitation.id))
    known["invitation_token"].append(invited.token)
    token = api_tokens.create(scope, ApiTokenSpec(name=written(letter, "spare token")))
    known["token"].append(str(token.api_token.id))
    known["api_token"].append(token.token)


def _ended(site: Site, letter: str) -> bool:
    with scope_of(site, letter) as scope:
        return all(runs.get(scope, run).status in FINAL for run in site.known[letter]["run"])


def _finish(site: Site, letter: str) -> None:
    known = site.known[letter]
    with scope_of(site, letter) as scope:
        report = reports.create(scope, known["run"][0])["id"]
        reports.done(scope, report, written(letter, "html").encode(), written(letter, "notebook").encode())
        known["report"].append(str(report))
        answers = generations.list_generations(scope, GenerationQuery(limit=5)).items
        known["generation"] += [str(one.id) for one in answers]
        assert known["generation"]
