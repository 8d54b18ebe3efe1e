"""What somebody works on: the form as it is now, and the saved card that it is based on."""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

from promptcard_ext.core.card import Card
from promptcard_ext.widgets.editing.changes import Change, applied, between, same
from promptcard_ext.widgets.editing.form import Form, card_of, form_of


class Now(NamedTuple):
    """A draft at a moment.

    Attributes:
        revision: Goes up with every change.
        kept: The revision that is stored where drafts are kept.
        base: The saved card, and ``base_form`` its form.
        changed: Whether the form says something else than the base.
    """

    form: Form
    revision: int
    kept: int
    base: Card
    base_form: Form
    changed: bool

    def card(self, **head: Any) -> Card:
        """Return the card that the form describes.

        Raises:
            CardError, TemplateError: It describes none.
        """
        return card_of(self.base.name, self.form, self.base.includes, **head)


class Draft:
    """A form that several views and threads change; each change has a number.

    Args:
        base: The card that it is based on.
        mine: What the form begins with, when that is something else.
    """

    def __init__(self, base: Card, mine: Card | None = None) -> None:
        # Guards all of it; held only while values are replaced or compared.
        self._lock = threading.Lock()
        self._base, self._base_form = base, form_of(base)
        self._form = self._base_form if mine is None else form_of(mine)
        self._revision = self._kept = 0
        # Whether the form differs from the base is asked often, and forms may be large.
        self._known: tuple[int, Form, bool] | None = None

    def now(self) -> Now:
        """Return its state."""
        with self._lock:
            if self._known is None or self._known[:2] != (self._revision, self._base_form):
                changed = not same(self._form, self._base_form)
                self._known = (self._revision, self._base_form, changed)
            return Now(self._form, self._revision, self._kept, self._base, self._base_form, self._known[2])

    def change(self, changes: Any) -> tuple[int, list[Change]] | None:
        """Make changes as `editing.changes` has them; return the new revision and those that could be made."""
        with self._lock:
            done = applied(self._form, changes)
            if done is None:
                return None
            self._form, made = done
            self._revision += 1
            return self._revision, made

    def replace(self, form: Form) -> tuple[int, list[Change]]:
        """Put another form in its place; return the new revision and the changes that this means."""
        with self._lock:
            made = between(self._form, form)
            self._form = form
            self._revision += 1
            return self._revision, made

    def rebase(self, base: Card) -> None:
        """Base the form on another saved card; the form stays as it is."""
        with self._lock:
            self._base, self._base_form = base, form_of(base)

    def keep(self, revision: int) -> None:
        """Note that this revision is stored."""
        with self._lock:
            self._kept = max(self._kept, revision)
