"""The price book of this installation."""

from __future__ import annotations

import sqlalchemy as sa

from promptcard_ext.core.pricing import Price, PriceBook
from server_ext.db.engine import Database
from server_ext.db.tables import price_book


def load(database: Database) -> PriceBook:
    """Return all prices; a result names its price by the id of the row here."""
    with database.transaction() as connection:
        rows = connection.execute(sa.select(price_book)).all()
    return PriceBook(
        [
            Price(
                provider=row.provider,
                model=row.model,
                input_per_mtok=row.input_per_mtok,
                output_per_mtok=row.output_per_mtok,
                cached_input_per_mtok=row.cached_input_per_mtok,
                reasoning_per_mtok=row.reasoning_per_mtok,
                valid_from=row.valid_from,
                valid_to=row.valid_to,
                source=row.source,
                row_id=str(row.id),
            )
            for row in rows
        ]
    )
