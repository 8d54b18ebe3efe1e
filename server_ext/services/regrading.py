"""Judging the stored answers of a run again, without any call; nothing that is stored is changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

import msgspec
import sqlalchemy as sa
from msgspec.structs import replace

from promptcard_ext.core.assertions.sets import explain
from promptcard_ext.core.case import Case
from promptcard_ext.core.composition import combine
from promptcard_ext.core.contract.regrades import (
    MAX_ITEMS,
    AssertionFlipOut,
    FlipsOut,
    ItemFlipOut,
    Move,
    Regraded,
    RegradeSpec,
    Rejudged,
    TypeMoves,
)
from promptcard_ext.core.contract.runs import RunOut
from promptcard_ext.core.engine import EngineOptions, Mode, execute
from promptcard_ext.core.errors import CardError
from promptcard_ext.core.events import ItemFinished
from promptcard_ext.core.item import Item
from promptcard_ext.core.matrix import Plan
from promptcard_ext.core.pricing import PriceBook
from promptcard_ext.core.results import Generation, ItemResult, Outcome, Verdict
from promptcard_ext.stats.flips import FlipTable, flips
from server_ext.db.tables import run_cases
from server_ext.services import cases, items, runs
from server_ext.services.scope import Scope, missing

UNJUDGED = "not_recorded"


class _Placed(NamedTuple):
    """A case of the run, and its place in the run's plan."""

    position: int
    case: Case


def regrade(scope: Scope, reference: str, spec: RegradeSpec) -> Regraded:
    """Return what other assertions say of the answers that a run has so far.

    Judges and embedding models are not asked: what needs them is unscored, unless the assertion is unchanged; then it
    keeps what was said. Python is not run.

    Raises:
        NotFound: There is no such run, or it does not have one of the cases.
        CardError: There are more than 10,000 items (``too_many_items``) or none (``nothing_to_regrade``), both
            ``assertions`` and ``by_case`` are given (``regrade_what``), or an assertion does not fit a case.
    """
    scope.require("test:execute")
    run = runs.get(scope, reference)
    placed = _cases_of(scope, run, spec)
    old = items.results_at(scope, run, [one.position for one in placed])
    change = _changes(scope, run, spec, placed)
    chosen = runs.prepared_cards(scope, run.plan)
    plan = Plan(chosen, run.plan.models, [change(one.case) for one in placed], run.plan.repeats)
    return _told(run, old, _Judging(run, plan, placed, old).results())


def _cases_of(scope: Scope, run: RunOut, spec: RegradeSpec) -> list[_Placed]:
    """Return the wanted cases of the run that have a result."""
    c = run_cases.c
    query = sa.select(run_cases).where(c.workspace_id == scope.workspace_id, c.run_id == run.id)
    if spec.cases:
        query = query.where(sa.or_(c.name.in_(spec.cases), c.case_uid.in_(spec.cases)))
    done = items.done_at(scope, run)
    rows = scope.connection.execute(query.where(c.position.in_(done)).order_by(c.position).limit(MAX_ITEMS + 1)).all()
    known = {row.name for row in rows} | {row.case_uid for row in rows}
    for name in spec.cases:
        if name not in known and not spec.skip_unknown:
            raise missing("case with a result", name)
    if not rows:
        raise CardError(f"Run '{run.name}' has no result to judge.", code="nothing_to_regrade")
    if items.count_at(scope, run, [row.position for row in rows]) > MAX_ITEMS:
        raise CardError(
            f"Run '{run.name}' has more than {MAX_ITEMS:,} items to judge.",
            hint="Name some of its cases in 'cases', and judge the others by another request.",
            code="too_many_items",
        )
    return [_Placed(row.position, cases.as_case(row)) for row in rows]


def _changes(scope: Scope, run: RunOut, spec: RegradeSpec, placed: Sequence[_Placed]) -> Callable[[Case], Case]:
    """Return what gives a case of the run the assertions that it is to be judged by."""
    if spec.assertions is not None and spec.by_case is not None:
        raise CardError(
            "A re-grade takes either 'assertions' or 'by_case'.", hint="Leave one of them out.", code="regrade_what"
        )
    if spec.assertions is not None:
        wanted = tuple(spec.assertions)
        return lambda case: replace(case, assertions=wanted)
    if spec.by_case is not None:
        named = {one.case: one for one in spec.by_case}
        known = {one.case.name for one in placed} | {one.case.uid for one in placed}
        for name in named.keys() - known if not spec.skip_unknown else ():
            raise missing("case", name)
        return lambda case: _with(case, named.get(case.uid) or named.get(case.name))
    now = {case.uid: case for _, case in cases.load(scope, run.card_id)}
    return lambda case: _with(case, now.get(case.uid))


def _with(case: Case, other: Any) -> Case:
    if other is None:
        return case
    return replace(case, assertions=tuple(other.assertions), threshold=other.threshold)


class _NoCalls:
    """Stands for every model: nothing is called, and the server needs no keys for it."""

    name = price_key = endpoint = "none"

    async def generate(self, request: Any) -> NoReturn:
        raise NotImplementedError

    async def embed(self, model: str, texts: Sequence[str]) -> NoReturn:
        raise NotImplementedError

    async def list_models(self) -> list[str]:
        return []

    async def close(self) -> None:
        return


class _Judging:
    """Judges the answers of a run by a plan that has some of its cases, numbered anew."""

    def __init__(self, run: RunOut, plan: Plan, placed: Sequence[_Placed], old: Sequence[ItemResult]) -> None:
        self._plan, self._per_case = plan, run.plan.per_case
        self._positions = [one.position for one in placed]
        places = {position: index for index, position in enumerate(self._positions)}
        self._old = {
            places[result.ordinal // self._per_case] * self._per_case + result.ordinal % self._per_case: result
            for result in old
            if _answer(result) is not None
        }

    def results(self) -> list[ItemResult]:
        """Return the new results, under the ordinals of the run."""
        return sorted(asyncio.run(self._judge()), key=lambda result: result.ordinal)

    async def _judge(self) -> list[ItemResult]:
        events = execute(
            self._plan.prepare(),
            lambda reference: _NoCalls(),
            prices=PriceBook([]),
            # A replay makes no call. Whoever wants a judge is given the name of one, and told that it said nothing.
            options=EngineOptions(mode=Mode.REPLAY, judges=("none:judge",), embedder="none:embed"),
            items=[self._plan.item(ordinal) for ordinal in sorted(self._old)],
            known=self._known,
        )
        return [self._finished(event.result) async for event in events if isinstance(event, ItemFinished)]

    def _known(self, item: Item) -> Generation | None:
        return _answer(self._old[item.ordinal])

    def _finished(self, result: ItemResult) -> ItemResult:
        old = self._old[result.ordinal]
        said = {verdict.uid: verdict for verdict in old.verdicts}
        verdicts = tuple(_or_as_before(verdict, said) for verdict in result.verdicts)
        threshold = self._plan.cases[result.ordinal // self._per_case].threshold
        outcome, score = combine(verdicts, threshold)
        reason, message = explain(outcome, verdicts, threshold, score)
        return replace(
            result, ordinal=old.ordinal, verdicts=verdicts, outcome=outcome, score=score, reason=reason, message=message
        )


def _answer(result: ItemResult) -> Generation | None:
    """Return the answer of a result, when there is one that can be judged."""
    generation = result.generation
    return None if generation is None or generation.raw is not None else generation


def _or_as_before(verdict: Verdict, said: Mapping[str, Verdict]) -> Verdict:
    """Return a verdict; or what the same assertion said before, when a judge would have to be asked again."""
    before = said.get(verdict.uid)
    if before is None or not _unjudged(verdict):
        return verdict
    return replace(before, weight=verdict.weight, metric=verdict.metric)


def _unjudged(verdict: Verdict) -> int:
    """Return how many verdicts in it would have needed a call."""
    own = verdict.outcome is Outcome.UNSCORED and verdict.reason == UNJUDGED and not verdict.parts
    return own + sum(map(_unjudged, verdict.parts))


def _told(run: RunOut, old: Sequence[ItemResult], judged: list[ItemResult]) -> Regraded:
    table = flips([result for result in old if _answer(result) is not None], judged)
    return Regraded(
        run_id=run.id,
        judged=len(judged),
        without_answer=len(old) - len(judged),
        unjudged=sum(_unjudged(verdict) for result in judged for verdict in result.verdicts),
        flips=_flips_out(table),
        results=[Rejudged(r.ordinal, r.outcome, r.reason, r.message, r.score, r.verdicts) for r in judged],
    )


def _flips_out(table: FlipTable) -> FlipsOut:
    return FlipsOut(
        text=table.text,
        compared=table.compared,
        moves=_moves(table.matrix),
        items=msgspec.convert(table.items, list[ItemFlipOut], from_attributes=True),
        assertions=msgspec.convert(table.assertions, list[AssertionFlipOut], from_attributes=True),
        types=[TypeMoves(one.type, _moves(one.matrix), one.added, one.removed, one.changed) for one in table.types],
    )


def _moves(matrix: Mapping[tuple[Outcome, Outcome], int]) -> list[Move]:
    return [Move(before, after, count) for (before, after), count in sorted(matrix.items())]
