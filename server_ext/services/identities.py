"""Who stands behind an e-mail address: a login precedes any user."""

from __future__ import annotations

import unicodedata
from uuid import UUID

import msgspec
import sqlalchemy as sa

from promptcard_ext.core.contract.invitations import Email
from promptcard_ext.core.errors import CardError

PASSWORD = "password"  # noqa: S105  the kind of identity


def subject_of(email: str) -> str:
    """Return the one form of an e-mail address by which its account is found.

    Raises:
        CardError: It is no e-mail address (``email_invalid``).
    """
    plain = unicodedata.normalize("NFC", unicodedata.normalize("NFD", email.strip()).casefold())
    try:
        return msgspec.convert(plain, Email)
    except msgspec.ValidationError:
        raise CardError(
            f"'{email.strip():.100}' is no e-mail address.", hint="It has an @ and no spaces.", code="email_invalid"
        ) from None


def find(connection: sa.Connection, subject: str) -> UUID | None:
    """Return the user who logs in with an e-mail address, as `subject_of` returns it; None when there is none."""
    found = sa.func.pc.resolve_identity(PASSWORD, subject, sa.null(), type_=sa.Uuid)
    user_id: UUID | None = connection.execute(sa.select(found)).scalar_one()
    return user_id


def make(connection: sa.Connection, subject: str, name: str) -> UUID:
    """Return the user who logs in with an e-mail address, and make one when there is none."""
    made = sa.func.pc.resolve_identity(PASSWORD, subject, name, type_=sa.Uuid)
    user_id: UUID = connection.execute(sa.select(made)).scalar_one()
    return user_id
