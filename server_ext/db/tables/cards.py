"""Prompt cards, their versions and labels, what they are searched by, and test cases."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import TSVECTOR

from server_ext.db.tables.columns import (
    Timestamp,
    author,
    counter,
    document,
    key,
    metadata,
    moment,
    short,
    tenant,
    within,
)

prompt_cards = sa.Table(
    "prompt_cards",
    metadata,
    tenant(),
    key(),
    short("name"),
    short("title", ""),
    short("description", ""),
    document("tags", "[]"),
    document("draft", nullable=True),
    sa.Column("revision", sa.Integer, nullable=False, server_default=sa.text("1")),
    counter("latest_version"),
    author(),
    moment("created_at"),
    moment("updated_at"),
    sa.Column("archived_at", Timestamp),
    sa.UniqueConstraint("workspace_id", "name"),
)

card_versions = sa.Table(
    "card_versions",
    metadata,
    tenant(),
    key(),
    sa.Column("card_id", sa.Uuid, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    document("content"),
    short("content_hash"),
    short("note", ""),
    document("provenance", nullable=True),
    author(),
    moment("created_at"),
    sa.UniqueConstraint("workspace_id", "card_id", "version"),
    sa.UniqueConstraint("workspace_id", "card_id", "id"),
    within("card_id", "prompt_cards.id"),
)

card_labels = sa.Table(
    "card_labels",
    metadata,
    tenant(),
    sa.Column("card_id", sa.Uuid, primary_key=True),
    short("label", primary_key=True),
    sa.Column("version_id", sa.Uuid, nullable=False),
    moment("updated_at"),
    within("card_id version_id", "card_versions.card_id id"),
)

# Kept by triggers on `prompt_cards`.
card_search = sa.Table(
    "card_search",
    metadata,
    tenant(),
    sa.Column("card_id", sa.Uuid, primary_key=True),
    short("name"),
    short("label"),
    sa.Column("named", TSVECTOR, nullable=False),
    sa.Column("words", TSVECTOR, nullable=False),
    within("card_id", "prompt_cards.id"),
    sa.Index("card_search_name_idx", "workspace_id", "name"),
    sa.Index(
        "card_search_idx",
        "workspace_id",
        "label",
        "named",
        "words",
        postgresql_using="gin",
        postgresql_ops={"label": "gin_trgm_ops"},
    ),
)

test_cases = sa.Table(
    "test_cases",
    metadata,
    tenant(),
    key(),
    sa.Column("card_id", sa.Uuid, nullable=False),
    sa.Column("position", sa.Integer, nullable=False),
    short("name"),
    short("case_uid"),
    document("input_variables"),
    short("expected_output", nullable=True),
    document("assertions", "[]"),
    short("priority", "medium"),
    sa.Column("threshold", sa.Double),
    document("metadata", "{}"),
    moment("created_at"),
    moment("updated_at"),
    sa.UniqueConstraint("workspace_id", "card_id", "case_uid"),
    within("card_id", "prompt_cards.id"),
)
