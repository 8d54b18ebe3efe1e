"""What somebody does with a run, or with one of its items, in a view: done where the run is carried out."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

from promptcard_ext.core.errors import PromptCardError, RunError
from promptcard_ext.core.results import ItemResult
from promptcard_ext.interchange.card_writer import case_text
from promptcard_ext.kernel.handle import RunHandle
from promptcard_ext.kernel.run_keeper import RunKeeper
from promptcard_ext.kernel.safe_text import harmless

MAX_PROMPT_CHARS = 100_000
MAX_ATTEMPTS = 100
KINDS = frozenset({"do", "story", "case", "others"})
"""Requests that may take a while: their answers come when they are there."""


def carry_out(
    keeper: RunKeeper, request: dict[str, Any], result: ItemResult | None, show: Callable[[RunHandle], None]
) -> dict[str, Any]:
    """Do what a request of `KINDS` asks for, and return the answer to it.

    Args:
        result: Of the item that it is about.
        show: Told of a run that takes the place of this one.
    """
    try:
        return _done(keeper, request, result, show)
    except PromptCardError as error:
        return {"problem": harmless(str(error))}
    except Exception as error:  # noqa: BLE001  The edge of a background thread: nobody else would ever see it.
        return {"problem": harmless(f"That went wrong: {type(error).__name__}: {error}")}


def _done(
    keeper: RunKeeper, request: dict[str, Any], result: ItemResult | None, show: Callable[[RunHandle], None]
) -> dict[str, Any]:
    kind = request["kind"]
    if kind == "others":
        return {"others": [[key, harmless(name)] for key, name in keeper.others()]}
    if kind == "do":
        said = _act(keeper, str(request.get("action")), request, result, show)
        return {"said": harmless(said)}
    if result is None:
        raise RunError("This item has no result yet.", code="run_options")
    if kind == "case":
        return {"text": harmless(case_text(keeper.case(result)))}
    return _story(keeper, result)


def _act(
    keeper: RunKeeper,
    action: str,
    request: dict[str, Any],
    result: ItemResult | None,
    show: Callable[[RunHandle], None],
) -> str:
    plain = {"pause": keeper.pause, "resume": keeper.resume, "requeue": keeper.requeue}
    if action in plain:
        plain[action]()
        return ""
    if action == "budget":
        keeper.set_budget(_amount(request.get("budget")))
        return "The budget is changed."
    if action == "retry":
        return _shown(keeper.retry_errors(_amount(request.get("budget"))), show)
    if result is not None and action == "again":
        return _shown(keeper.ask_again(result), show)
    if result is not None and action == "promote":
        return keeper.promote(result)
    raise RunError(f"Nobody knows how to {action:.20}.", code="run_options")


def _shown(run: RunHandle | None, show: Callable[[RunHandle], None]) -> str:
    if run is None:
        return "Asked again."
    show(run)
    return f"Run '{run.name}' was started: pc.attach(\"{run.id}\")"


def _amount(text: Any) -> Decimal | None:
    if text in (None, ""):
        return None
    try:
        amount = Decimal(str(text)[:40])
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount < 0:
        raise RunError(f"'{text!s:.40}' is no amount of money.", hint="Give USD, such as 1.50.", code="run_options")
    return amount


def _story(keeper: RunKeeper, result: ItemResult) -> dict[str, Any]:
    story = keeper.story(result)
    room, messages = MAX_PROMPT_CHARS, []
    for role, text in story.messages:
        messages.append([harmless(role), harmless(text[:room])])
        room = max(0, room - len(text))
    return {
        "messages": messages,
        "cut": room == 0,
        "attempts": [harmless(one) for one in story.attempts[:MAX_ATTEMPTS]],
        "note": harmless(story.note),
    }
