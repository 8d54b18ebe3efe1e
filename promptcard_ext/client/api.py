"""All calls of the REST interface, by noun: ``Api`` for a server, ``WorkspaceApi`` for a workspace."""

from __future__ import annotations

from promptcard_ext.client.account import Account
from promptcard_ext.client.analytics import Analytics
from promptcard_ext.client.audit import Audit
from promptcard_ext.client.budgets import Budgets
from promptcard_ext.client.cards import Cards
from promptcard_ext.client.cases import Cases
from promptcard_ext.client.drafts import Drafts
from promptcard_ext.client.generations import Generations
from promptcard_ext.client.invitations import Invitations
from promptcard_ext.client.labels import Labels
from promptcard_ext.client.members import Members
from promptcard_ext.client.prices import PriceOverrides, Prices
from promptcard_ext.client.provider_keys import NetworkRules, ProviderKeys
from promptcard_ext.client.queue import QueueView
from promptcard_ext.client.reports import Reports
from promptcard_ext.client.runs import Runs
from promptcard_ext.client.server import Server
from promptcard_ext.client.session import Session
from promptcard_ext.client.tags import Tags
from promptcard_ext.client.tokens import Tokens
from promptcard_ext.client.usage import UsageSums
from promptcard_ext.client.versions import Versions
from promptcard_ext.client.webhooks import Webhooks
from promptcard_ext.client.workspaces import Workspaces


class Api:
    """The calls that belong to no workspace. All raise what `Session.ask` says.

    Attributes:
        account: Logging in, sessions, and who one is.
        workspaces: Those that the credential opens.
        server: Its health and its contract.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.account = Account(session)
        self.workspaces = Workspaces(session)
        self.server = Server(session)


class WorkspaceApi:
    """The calls of one workspace, by noun: ``api.cards.list(tag=["billing"])``. All raise what `Session.ask` says.

    Lists are iterators over all pages. What can be changed by several people is returned with an ``etag``, and changed
    with it. Specifications and patches are structs of `promptcard_ext.core.contract`.

    Args:
        workspace: Slug or id.
    """

    def __init__(self, session: Session, workspace: str) -> None:
        self.session, self.workspace = session, workspace
        place = (session, "workspaces", workspace)
        self.members = Members(*place)
        self.invitations = Invitations(*place)
        self.tokens = Tokens(*place)
        self.cards = Cards(*place)
        self.drafts = Drafts(*place)
        self.versions = Versions(*place)
        self.labels = Labels(*place)
        self.tags = Tags(*place)
        self.cases = Cases(*place)
        self.runs = Runs(*place)
        self.generations = Generations(*place)
        self.prices = Prices(*place)
        self.price_overrides = PriceOverrides(*place)
        self.budgets = Budgets(*place)
        self.usage = UsageSums(*place)
        self.analytics = Analytics(*place)
        self.queue = QueueView(*place)
        self.audit = Audit(*place)
        self.reports = Reports(*place)
        self.credentials = ProviderKeys(*place)
        self.network_rules = NetworkRules(*place)
        self.webhooks = Webhooks(*place)
