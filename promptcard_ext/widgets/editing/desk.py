"""Where a card is worked on: its draft, what is seen of it, and its way to where it is kept and back."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from promptcard_ext.core.card import Card
from promptcard_ext.core.errors import CardError, Conflict, NotFound, PromptCardError, RateLimited, Unavailable
from promptcard_ext.kernel import loop
from promptcard_ext.kernel.safe_text import harmless
from promptcard_ext.widgets.base import Throttle
from promptcard_ext.widgets.editing.changes import Change, same
from promptcard_ext.widgets.editing.difference import choices, compared, resolved
from promptcard_ext.widgets.editing.draft import Draft, Now
from promptcard_ext.widgets.editing.form import Form, form_of
from promptcard_ext.widgets.editing.places import Place, Stored
from promptcard_ext.widgets.editing.sight import Sight

LOOK_S, KEEP_S, AGAIN_S = 0.6, 4.0, 10.0
DRAFT = "draft"
Errand = Callable[[], object]
Work = Callable[[Errand], object]
Tell = Callable[[dict[str, Any]], None]


class Theirs(NamedTuple):
    """What somebody else stored meanwhile, and what to call it."""

    stored: Stored
    form: Form
    label: str


def in_background(work: Errand) -> object:
    """Do something that waits for a server, on a thread of its own."""
    return loop.submit(asyncio.to_thread(work))


class Desk:
    """A card that is edited.

    Args:
        mine: What is edited, when that is not what is stored.
        tell: Called with what all views are to know: ``edited`` and ``seen`` messages, from any thread.
        changed: Called when `status` has changed, from any thread.
        work: Runs a function that may wait.
        throttle: Makes a `Throttle` of an action and an interval.

    Raises:
        NotFound: Nothing is stored, and nothing is given.
    """

    def __init__(
        self,
        place: Place,
        mine: Card | None,
        tell: Tell,
        changed: Callable[[], None],
        *,
        work: Work = in_background,
        throttle: Callable[[Callable[[], None], float], Throttle] = Throttle,
    ) -> None:
        self.place, self.id = place, uuid.uuid4().hex
        self._tell, self._changed, self._work = tell, changed, work
        self._later: Callable[[float, Callable[[], None]], object] = loop.call_later
        # Held while the place is asked; never taken by what runs on a thread of the kernel's comms.
        self._store = threading.Lock()
        # Guards the rest; never held while waiting.
        self._lock = threading.Lock()
        self._notice = ""
        self._theirs: Theirs | None = None
        self._seen: dict[str, Any] | None = None
        # What was stored as the draft from here.
        self._own: Form | None = None
        self._saving = self._closed = False
        self.sight = Sight(place, self._store)
        self._open(mine)
        self._keep_soon = throttle(self._keep_in_background, KEEP_S)
        self._look_soon = throttle(self._look_in_background, LOOK_S)
        self._look_soon.request()
        self._keep_soon.request()

    def _open(self, mine: Card | None) -> None:
        try:
            stored = self.place.load()
        except NotFound:
            if mine is None:
                raise
            # Nothing of it is saved, and so everything differs from what is.
            self.draft = Draft(mine)
            self._fresh = True
            return
        self._fresh = False
        self.draft = Draft(stored.card, stored.draft)
        self._own = form_of(stored.draft) if stored.draft is not None and mine is None else None
        if mine is not None:
            self.draft.replace(form_of(mine))
            if stored.draft is not None:
                self._meet(stored)

    @property
    def card(self) -> Card:
        """The card as it is edited; as long as it is not saved, it has version 0.

        Raises:
            CardError, TemplateError: What is written is no card.
        """
        now = self.draft.now()
        return now.card() if now.changed else now.base

    # -- what is seen ------------------------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """Return what there is to say in a line."""
        now = self.draft.now()
        case, model = self.sight.chosen
        with self._lock:
            return {
                "editor": self.id,
                "key": self.place.key,
                "where": harmless(self.place.where),
                "keeps": self.place.keeps_drafts and not self._fresh,
                "fresh": self._fresh,
                "name": now.base.name,
                "version": 0 if self._fresh else now.base.version,
                "revision": now.revision,
                "kept": now.kept,
                "changed": now.changed or self._fresh,
                "conflict": self._theirs is not None,
                "saving": self._saving,
                "notice": self._notice,
                "case": case,
                "model": model,
            }

    def snapshot(self) -> dict[str, Any]:
        """Return all that a view needs which knows nothing."""
        now = self.draft.now()
        return {"form": now.form, "revision": now.revision, "status": self.status(), "seen": self._seen}

    def choose(self, case: str, model: str) -> None:
        """Look at the card with another case (its uid, or nothing for sample values) and model."""
        self.sight.choose(case, model)
        self._changed()
        self._look_soon.request()

    def _look_in_background(self) -> None:
        self._work(self.look)

    def look(self) -> None:
        """Check the form and show what it says; all views are told."""
        seen = self.sight.look(self.draft.now())
        with self._lock:
            if self._closed or (self._seen is not None and self._seen["revision"] > seen["revision"]):
                return
            self._seen = seen
        self._tell(seen)
        self._changed()

    # -- changing ----------------------------------------------------------------------------------------------------

    def edit(self, changes: Any, by: str) -> dict[str, Any] | None:
        """Take changes of a view; return what all views are to be told, or None for what are no changes."""
        done = self.draft.change(changes)
        return None if done is None else self._edited(*done, by)

    def _edited(self, revision: int, changes: list[Change], by: str) -> dict[str, Any]:
        self._look_soon.request()
        self._keep_soon.request()
        return {"kind": "edited", "revision": revision, "changes": changes, "by": by}

    def _replace(self, form: Form) -> None:
        self._tell(self._edited(*self.draft.replace(form), ""))

    def take(self, which: str) -> None:
        """Make the draft say what a version says; it is still based on the latest one.

        Raises:
            NotFound: There is no such version.
        """
        with self._store:
            card = self.place.version(which)
        self._replace(form_of(card))

    def discard(self) -> None:
        """Make the draft say what the saved card says."""
        self._replace(self.draft.now().base_form)

    # -- keeping and saving ------------------------------------------------------------------------------------------

    def _keep_in_background(self) -> None:
        self._work(self.keep)

    def keep(self) -> None:
        """Store the draft where drafts are kept, when it is a card and differs from what is stored."""
        with self._store:
            now = self.draft.now()
            if self._theirs is None and now.kept < now.revision and not self._fresh:
                self._keep(now)
        self._changed()

    def _keep(self, now: Now, again: bool = True) -> None:
        try:
            self.place.keep(now.card() if now.changed else None)
        except CardError:
            return  # Half a card is no draft for the server; views keep it, and what is wrong is shown beside it.
        except Conflict:
            if again and self._met():
                self._keep(self.draft.now(), again=False)
            return
        except PromptCardError as error:
            self._note(f"The draft is not kept: {error}")
            if isinstance(error, Unavailable | RateLimited):
                self._later(AGAIN_S, self._keep_soon.request)
            return
        self._own = now.form
        self.draft.keep(now.revision)
        self._note("")

    def save(self, note: str = "") -> Card:
        """Save a version and return it; when nothing has changed, the saved card.

        Raises:
            CardError, TemplateError: The form is no card.
            Conflict: Somebody stored something else meanwhile; `choices` says what.
        """
        with self._lock:
            self._saving = True
        self._changed()
        try:
            with self._store:
                return self._save(note)
        finally:
            with self._lock:
                self._saving = False
            self._changed()

    def _save(self, note: str, again: bool = True) -> Card:
        now = self.draft.now()
        card = now.card()
        if self._theirs is None and not now.changed and not self._fresh:
            return now.base
        if self._theirs is None:
            try:
                saved, stored = self.place.save(card, note)
            except Conflict:
                if again and self._met():
                    return self._save(note, again=False)
            else:
                self._fresh = False
                self._own = now.form
                self.draft.rebase(stored.card)
                if stored.draft is not None:
                    self._meet(stored)
                self.draft.keep(now.revision)
                self._note("")
                if saved.version == stored.card.version:
                    return stored.card
                latest = stored.card.version
                self._note(f"Version {saved.version} says this already; version {latest} stays the latest.")
                return saved
        label = self._theirs.label if self._theirs else "something else"
        raise Conflict(
            f"Somebody has stored {label} of card '{card.name}' since this draft was begun.",
            hint="Choose in the editor what is to be taken of each, and save again.",
        )

    # -- with others -------------------------------------------------------------------------------------------------

    def _met(self) -> bool:
        """Look at what was stored meanwhile; tell whether nothing of it is in the way."""
        try:
            self._meet(self.place.load())
        except PromptCardError as error:
            self._note(f"What is stored cannot be read: {error}")
            return False
        return self._theirs is None

    def _meet(self, stored: Stored) -> None:
        """Find out whether what is stored now is in the way."""
        now = self.draft.now()
        theirs = self._theirs_of(stored, now)
        # What they have and this draft has too, is in nobody's way.
        if theirs is None or all(one.chosen == "mine" for one in choices(now.base_form, theirs.form, now.form)):
            self.draft.rebase(stored.card)
            return
        with self._lock:
            self._theirs = theirs

    def _theirs_of(self, stored: Stored, now: Now) -> Theirs | None:
        """Return what somebody else has stored: a draft that is not the one kept from here, or a version."""
        if stored.draft is not None:
            form = form_of(stored.draft)
            if not same(form, now.base_form) and not (self._own and same(form, self._own)):
                return Theirs(stored, form, "a draft")
        form = form_of(stored.card)
        return None if same(form, now.base_form) else Theirs(stored, form, f"version {stored.card.version}")

    def choices(self) -> dict[str, Any] | None:
        """Return what is to be decided between the base, their state and the draft; None when nothing is."""
        now = self.draft.now()
        with self._lock:
            theirs = self._theirs
        if theirs is None:
            return None
        open_choices = choices(now.base_form, theirs.form, now.form)
        base = f"version {now.base.version}"
        return {"base": base, "theirs": theirs.label, "fields": [choice.outline() for choice in open_choices]}

    def resolve(self, taken: Mapping[str, str]) -> None:
        """Take what was chosen for each field; the draft is then based on what they have stored.

        Raises:
            CardError: Something is not decided (``merge_open``).
        """
        with self._store:
            now, theirs = self.draft.now(), self._theirs
            if theirs is None:
                return
            form = resolved(now.form, choices(now.base_form, theirs.form, now.form), taken)
            self.draft.rebase(theirs.stored.card)
            # Before anybody else gets in: a save that waits would store the draft without what was chosen.
            made = self.draft.replace(form)
            with self._lock:
                self._theirs = None
        self._tell(self._edited(*made, ""))
        self._changed()

    def compare(self, base: str, other: str) -> list[dict[str, Any]]:
        """Return how two states differ: each the number of a version, a label, or ``draft``.

        Raises:
            NotFound: There is no such version.
        """
        with self._store:
            states = [None if which == DRAFT else self.place.version(which) for which in (base, other)]
        forms = [self.draft.now().form if card is None else form_of(card) for card in states]
        return compared(*forms)

    def history(self) -> list[dict[str, Any]]:
        """Return the versions, newest first."""
        with self._store:
            found = self.place.versions()
        return [
            {
                **line._asdict(),
                "by": harmless(line.by),
                "note": harmless(line.note),
                "labels": [*map(harmless, line.labels)],
            }
            for line in found
        ]

    def _note(self, text: str) -> None:
        with self._lock:
            self._notice = harmless(text)

    def close(self) -> None:
        """Let go of the views; what is not kept yet is."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        for one in (self._keep_soon, self._look_soon):
            one.close()
        now = self.draft.now()
        if now.kept < now.revision and self.place.keeps_drafts:
            self._work(self.keep)
        self._tell = self._changed = _nothing


def _nothing(*_: Any) -> None:
    pass
