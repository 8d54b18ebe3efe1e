"""The card editor: a form with what is wrong in it, what the card says, its history, and its way to the server.

`CardEditor.state` holds what there is to say in a line. The form itself is never part of it: views send changes of it
on a second comm, the `Channel`, and are told of each other's. Requests look like this; answers repeat ``kind`` and
``rid``, and have a ``problem`` instead of content when something cannot be done:

============ ================ ======================================================================================
kind         with             answer
============ ================ ======================================================================================
``ready``    –                ``form``, ``revision``, ``status`` (as ``state``), ``seen``
``edit``     changes, by      ``edited``: ``revision``, ``changes``, ``by``, which is meant for all views
``look``     case, model      –; the next ``seen`` is of that case and model
``cases``    text             ``cases``, ``models``
``save``     note             ``label`` of the version that was saved
``history``  –                ``versions``, newest first
``compare``  base, other      ``fields`` that differ; numbers of versions, labels, or ``draft``
``take``     version          –; the draft becomes a copy of that version
``discard``  –                –; the draft becomes what is saved
``choices``  –                ``choices``: what somebody else stored, field by field; null when nothing is in the way
``resolve``  taken            –; the draft becomes what was chosen
============ ================ ======================================================================================

All views are also told ``seen``: marks in the texts, uses of variables, preview, tokens and cost, for a revision.
Whatever may wait for the server is answered later, from another thread.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import anywidget
import traitlets

from promptcard_ext.client.discovery import Address
from promptcard_ext.core.card import Card
from promptcard_ext.core.case import Case
from promptcard_ext.core.errors import PromptCardError
from promptcard_ext.kernel.display import render_mode
from promptcard_ext.kernel.safe_text import harmless
from promptcard_ext.kernel.workspace import Workspace, connect
from promptcard_ext.widgets.base import Channel, Throttle, joined_files, static_file
from promptcard_ext.widgets.editing.desk import Desk, Work, in_background
from promptcard_ext.widgets.editing.local_place import LocalPlace
from promptcard_ext.widgets.editing.places import Place
from promptcard_ext.widgets.editing.server_place import ServerPlace
from promptcard_ext.widgets.still_editor import StillEditor, named, still

STATE_S = 0.6
Request = Callable[[dict[str, Any]], dict[str, Any] | None]
# By address, which has the token, and card: whoever else connects from here gets an editor of their own.
_open: weakref.WeakValueDictionary[tuple[Address, str], CardEditor] = weakref.WeakValueDictionary()


class CardEditor(anywidget.AnyWidget):
    """Edits a card in a notebook; `edit` makes one.

    It may be displayed several times. `close` it when it is not needed any more; a draft that is kept stays.

    Args:
        place: Where the card is kept.
        mine: What is edited, when that is not what is stored.

    Example:
        >>> import promptcard_ext as pc
        >>> editor = pc.edit(pc.Card("greet", "Hello {{ who }}"))
        >>> editor.card.label
        'greet@a94ccc'
        >>> editor.close()
    """

    # Several files for who reads them, one module for the browser.
    _esm = joined_files("greeting.js", "card_draft.js", "card_editor.js")
    _css = static_file("card_editor.css")
    # One dict, sent as a whole: a lost message never leaves half of it behind. The browser only reads it.
    state = traitlets.Dict().tag(sync=True, echo_update=False)
    channel = traitlets.Unicode().tag(sync=True)

    def __init__(
        self,
        place: Place,
        mine: Card | None = None,
        *,
        work: Work = in_background,
        throttle: Callable[[Callable[[], None], float], Throttle] = Throttle,
    ) -> None:
        self._work = work
        # Guards the order in which state is sent, and that nothing is sent on closed comms.
        self._lock = threading.RLock()
        self._requests: dict[str, Request] = {
            "cases": self._cases,
            "save": lambda asked: {"label": self._desk.save(_text(asked, "note")[:500]).label},
            "history": lambda asked: {"versions": self._desk.history()},
            "compare": lambda asked: {"fields": self._desk.compare(_text(asked, "base"), _text(asked, "other"))},
            "take": lambda asked: self._desk.take(_text(asked, "version")),
            "discard": lambda asked: self._desk.discard(),
            "choices": lambda asked: {"choices": self._desk.choices()},
            "resolve": lambda asked: self._desk.resolve(_texts(asked.get("taken"))),
        }
        self._desk = Desk(place, mine, self._tell, self._request_state, work=work, throttle=throttle)
        self._channel = Channel(self._on_request)
        super().__init__(channel=self._channel.model_id, state=self._desk.status())
        self._throttle = throttle(self._tick, STATE_S)

    # -- in Python ---------------------------------------------------------------------------------------------------

    @property
    def card(self) -> Card:
        """The card as it is edited; as long as it is not saved, it has version 0.

        Raises:
            CardError, TemplateError: What is written is no card.
        """
        return self._desk.card

    def save(self, note: str = "") -> Card:
        """Save a version and return it; when nothing has changed, the card that is saved.

        Args:
            note: What is new in it, at most 500 characters.

        Raises:
            CardError, TemplateError: What is written is no card.
            Conflict: Somebody saved another version meanwhile; the editor shows it, and what is to be chosen.
        """
        return self._desk.save(note)

    def close(self) -> None:
        """Remove it from the front end and let go of everything; the draft is kept before, where drafts are."""
        if "_throttle" not in self.__dict__:  # its construction failed half-way
            super().close()
            return
        self._throttle.close()
        self._desk.close()
        with self._lock:
            if self.comm is not None:
                self._channel.close()
                self.layout.close()
            super().close()
            self._requests.clear()

    def __repr__(self) -> str:
        return named(self._desk)

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what shows it: live in a notebook, and the card as it stands for readers without a kernel."""
        data, metadata = (self.comm is not None and super()._repr_mimebundle_(**options)) or ({}, {})
        return {**data, **still(self._desk)}, metadata

    # -- with views --------------------------------------------------------------------------------------------------

    def _cases(self, asked: dict[str, Any]) -> dict[str, Any]:
        sight = self._desk.sight
        return {"cases": sight.cases(_text(asked, "text")), "models": sight.models()}

    def _request_state(self) -> None:
        # The desk may have something to say before this is made.
        if "_throttle" in self.__dict__:
            self._throttle.request()

    def _tick(self) -> None:
        with self._lock:
            if self.comm is not None:
                self.state = self._desk.status()

    def _tell(self, content: dict[str, Any]) -> None:
        with self._lock:
            if "_channel" in self.__dict__ and self._channel.comm is not None:
                self._channel.send(content)

    def _on_request(self, request: dict[str, Any]) -> Channel.Answer | None:
        kind, rid = request.get("kind"), request.get("rid")
        answer = {"kind": kind, "rid": rid}
        if kind == "ready":
            return answer | self._desk.snapshot(), []
        if kind == "edit":
            told = self._desk.edit(request.get("changes"), _text(request, "by")[:100])
            return ({"rid": rid} | told if told else answer | {"problem": "That is no change of a card."}), []
        if kind == "look":
            self._desk.choose(_text(request, "case"), _text(request, "model"))
            return answer, []
        if isinstance(kind, str) and (carry_out := self._requests.get(kind)) is not None:
            self._work(lambda: self._tell(answer | _outcome(carry_out, request)))
        return None


def _outcome(carry_out: Request, request: dict[str, Any]) -> dict[str, Any]:
    try:
        return carry_out(request) or {}
    except PromptCardError as error:
        return {"problem": harmless(str(error)), "code": error.code}
    except Exception as error:  # noqa: BLE001  The edge of a background thread: the view would wait for ever.
        return {"problem": harmless(f"That broke: {error!r}"[:500]), "code": "internal_error"}


def _text(request: dict[str, Any], name: str) -> str:
    value = request.get(name)
    return value if isinstance(value, str) else ""


def _texts(value: Any) -> dict[str, str]:
    return {key: one for key, one in value.items() if isinstance(one, str)} if isinstance(value, dict) else {}


def edit(
    card: str | Card,
    cases: Iterable[Case | Mapping[str, Any]] = (),
    *,
    workspace: Workspace | None = None,
) -> CardEditor | StillEditor:
    """Edit a card in the notebook.

    Args:
        card: Name of a card of the workspace, or a card. A card without a workspace is edited in memory only.
        cases: Cases to look at it with, when there is no workspace.
        workspace: Where the card is; for a name, by default what `connect` gives.

    Returns:
        A widget: display it. ``card`` is the card as it is edited, ``save`` makes a version. In scripts and reports it
        only shows the card. An editor of the same card that is open is returned again when the card is given by name.

    Raises:
        NotFound: There is no such card.
        Unavailable: There is no server.

    Example:
        >>> import promptcard_ext as pc
        >>> editor = pc.edit(pc.Card("greet", "Hello {{ who }}"), cases=[{"who": "Ada"}])
        >>> editor.save("first").template
        'Hello {{ who }}'
        >>> editor.close()
    """
    live = render_mode() == "widget"
    if isinstance(card, Card) and workspace is None:
        return (CardEditor if live else StillEditor)(LocalPlace(card, cases))
    workspace = workspace or connect()
    name = card if isinstance(card, str) else card.name
    place = ServerPlace(workspace.api, name, workspace.name)
    mine = card if isinstance(card, Card) else None
    if not live:
        return StillEditor(place, mine)
    key = (workspace.api.session.address, place.key)
    known = _open.get(key)
    if known is not None and known.comm is not None:
        if mine is None:
            return known
        known.close()
    editor = CardEditor(place, mine)
    _open[key] = editor
    return editor
