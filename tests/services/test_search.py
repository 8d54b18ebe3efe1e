"""Search finds cards of its own workspace only, by an index, with either wall taken away."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

import pytest
import sqlalchemy as sa

from bench.search import fill, vocabulary
from promptcard_ext.core.card import Card, Message
from promptcard_ext.core.contract.cards import CardPatch, SearchQuery
from promptcard_ext.core.errors import CardError
from server_ext.db.engine import make_engine
from server_ext.db.tables import card_search as search_table
from server_ext.db.tables import prompt_cards
from server_ext.embedded import Services
from server_ext.services import card_search, cards
from server_ext.services.scope import Scope
from tests.support import Tenant

CARDS = (
    Card("customer-triage", "Sort this mail: {{ mail }}", title="Triage of customer mail", tags=["support"]),
    Card("customer-answer", "Answer the customer: {{ mail }}", description="Polite replies", tags=["support"]),
    Card("billing-summary", "Summarise {{ invoice }} in two sentences", title="Billing summary"),
    Card("german", "Übersetze {{ t }}"),
    Card("chat", messages=(Message("system", "You know zoology."), Message("user", "{{ q }}"))),
)


@pytest.fixture
def owner(services: Services) -> Iterator[sa.Engine]:
    """The database as its owner sees it, who may take walls down."""
    engine = make_engine(services.owner_database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def shelf(tenant: Tenant) -> Tenant:
    """A workspace with a few cards."""
    with tenant.scope() as scope:
        for card in CARDS:
            cards.save_version(scope, card)
    return tenant


def found(tenant: Tenant, text: str, limit: int = 20) -> list[str]:
    with tenant.scope() as scope:
        return [one.card.name for one in card_search.search(scope, SearchQuery(text, limit=limit)).items]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("customer-triage", ["customer-triage"]),
        ("CUSTOMER TRIAGE", ["customer-triage"]),
        ("custom tri", ["customer-triage"]),
        ("customer", ["customer-triage", "customer-answer"]),
        ("support", ["customer-triage", "customer-answer"]),
        ("polite", ["customer-answer"]),
        ("sentences invoice", ["billing-summary"]),
        ("übersetze", ["german"]),
        ("zoology", ["chat"]),
        ("custmer triage", ["customer-triage"]),
        ("biling sumary", ["billing-summary"]),
        ("invoice zoology", []),
        ("' & | ! :* <-> ( \\", []),
        ("\x00", []),
        ("\ud800 😀", []),
        ("   ", []),
    ],
)
def test_words_their_beginnings_and_typos_are_found(shelf: Tenant, text: str, names: list[str]) -> None:
    assert found(shelf, text)[: len(names) or 1] == names


def test_a_name_goes_before_a_text(shelf: Tenant) -> None:
    with shelf.scope() as scope:
        cards.save_version(scope, Card("aaa", "The customer-triage card is another one"))
        ranks = {one.card.name: one.rank for one in card_search.search(scope, SearchQuery("customer-triage")).items}
    assert list(ranks)[:2] == ["customer-triage", "aaa"]
    assert ranks["customer-triage"] > 3 > 2 > ranks["aaa"] > 1


def test_a_card_is_found_by_its_name_however_many_others_have_its_words(tenant: Tenant) -> None:
    others = [{"workspace_id": tenant.id, "name": f"triage-{number}", "latest_version": 1} for number in range(1_200)]
    with tenant.scope() as scope:
        scope.connection.execute(sa.insert(prompt_cards), others)
        cards.save_version(scope, Card("triage", "Hi"))
    assert found(tenant, "triage")[0] == "triage"
    assert len(found(tenant, "triage", limit=200)) == 200


def test_what_changes_is_found_as_it_is_now(shelf: Tenant) -> None:
    with shelf.scope() as scope:
        cards.save_version(scope, Card("chat", "You know botany. {{ q }}"))
        cards.update(scope, "chat", CardPatch(title="Gardening"))
        cards.archive(scope, "german")
    assert found(shelf, "zoology") == []
    assert found(shelf, "botany gardening") == ["chat"]
    assert found(shelf, "übersetze") == []
    with shelf.scope() as scope:
        cards.restore(scope, "german")
    assert found(shelf, "übersetze") == ["german"]


def test_a_text_as_long_as_a_card_may_have_is_saved_and_found(tenant: Tenant) -> None:
    words = " ".join(f"word{number}ä" for number in range(9_000))[:99_000]
    with tenant.scope() as scope:
        cards.save_version(scope, Card("long", messages=tuple(Message("user", f"m{n} {words}") for n in range(5))))
        cards.save_version(scope, Card("one-word", "x" * 100_000))
    assert found(tenant, "word4711ä") == ["long"]


def test_pages_are_complete_and_in_order(tenant: Tenant) -> None:
    with tenant.scope() as scope:
        for number in range(23):
            cards.save_version(scope, Card(f"same-{number}", "Hi", title="Same words"))
        whole = card_search.search(scope, SearchQuery("same words", limit=100))
        pages, cursor = [], None
        while True:
            page = card_search.search(scope, SearchQuery("same words", cursor, limit=5))
            pages += page.items
            if (cursor := page.next) is None:
                break
        with pytest.raises(CardError) as caught:
            card_search.search(scope, SearchQuery("same", "nonsense"))
    assert pages == whole.items
    assert len({one.card.id for one in pages}) == 23
    assert caught.value.code == "cursor_invalid"


def test_a_search_reads_the_index_and_not_the_table(tenant: Tenant, owner: sa.Engine) -> None:
    fill(tenant.database, tenant.id, 3_000, vocabulary(random.Random(1)))
    with owner.begin() as connection:
        connection.exec_driver_sql("analyze card_search, prompt_cards")
    looks = sa.text("select seq_scan, idx_scan from pg_stat_xact_user_tables where relname = 'card_search'")
    with tenant.scope() as scope:
        # What earlier transactions of the connection have not reported yet is counted too.
        before = scope.connection.execute(looks).one()
        assert card_search.search(scope, SearchQuery("billing summary 1")).items
        assert card_search.search(scope, SearchQuery("biling sumary")).items
        after = scope.connection.execute(looks).one()
    assert after.seq_scan == before.seq_scan
    assert after.idx_scan >= before.idx_scan + 4


@contextmanager
def without_row_security(owner: sa.Engine) -> Iterator[None]:
    tables = ("prompt_cards", "card_search", "card_versions")
    with owner.begin() as connection:
        for table in tables:
            connection.exec_driver_sql(f"alter table {table} disable row level security")
    try:
        yield
    finally:
        with owner.begin() as connection:
            for table in tables:
                connection.exec_driver_sql(f"alter table {table} enable row level security")


@contextmanager
def without_condition(owner: sa.Engine) -> Iterator[None]:
    source = sa.text("select pg_get_functiondef('pc.search_cards(text, integer)'::regprocedure)")
    with owner.begin() as connection:
        whole = str(connection.scalar(source))
        bare = whole.replace("s.workspace_id = workspace", "true")
        assert bare.count("where true") == 4
        connection.exec_driver_sql(bare, execution_options={"no_parameters": True})
    try:
        yield
    finally:
        with owner.begin() as connection:
            connection.exec_driver_sql(whole, execution_options={"no_parameters": True})


@pytest.mark.parametrize("take_away", [without_row_security, without_condition])
def test_with_either_wall_taken_away_no_foreign_card_is_found(
    shelf: Tenant, stranger: Tenant, owner: sa.Engine, take_away: Callable[[sa.Engine], contextmanager[None]]
) -> None:
    with stranger.scope() as scope:
        cards.save_version(scope, Card("customer-secret", "The stranger's customer {{ x }}", title="Customer secret"))
    with take_away(owner):
        for text in ("customer", "secret", "secrt", "stranger"):
            assert set(found(shelf, text, limit=200)) <= {card.name for card in CARDS}
            assert set(found(stranger, text, limit=200)) <= {"customer-secret"}


def test_the_function_tells_nothing_beyond_the_workspace_of_the_transaction(shelf: Tenant, stranger: Tenant) -> None:
    ask = sa.text("select card_id from pc.search_cards('customer', 1000)")
    with stranger.database.transaction(stranger.id) as connection:
        assert connection.scalars(ask).all() == []
    with stranger.database.transaction(None, stranger.actor.user_id) as connection:
        assert connection.scalars(ask).all() == []
    with shelf.database.transaction(shelf.id) as connection:
        own: list[UUID] = list(connection.scalars(ask))
        assert len(own) == 2
        assert set(own) <= set(connection.scalars(sa.select(search_table.c.card_id)))


def test_a_scope_of_another_workspace_than_the_transactions_finds_nothing(shelf: Tenant, stranger: Tenant) -> None:
    with shelf.scope() as scope:
        crossed = Scope(scope.connection, stranger.id, scope.actor, scope.role, scope.database)
        assert card_search.search(crossed, SearchQuery("customer")).items == []
