"""``jupyter promptcards budget``: what a workspace, its users and its models may spend."""

from __future__ import annotations

import argparse
from decimal import Decimal, InvalidOperation
from typing import Any

from server_ext.cli.noun import Noun
from server_ext.cli.operator import operator
from server_ext.cli.output import print_done, print_list, print_one

_COLUMNS = ("id", "scope", "subject", "span", "hard", "limit_usd", "spent_usd", "reserved_usd", "left_usd")


def add(commands: Any) -> None:
    """Add the command."""
    noun = Noun(
        commands,
        "budget",
        "what a workspace, its users and its models may spend",
        "budget list support",
        "budget set support 50 --span day",
        "budget set support 5 --model openai:gpt-4.1 --span hour --soft",
        "budget remove support 0197f0a2-5f1c-7a3e-9d7e-3b1f5a0c2d4e",
    )
    noun.verb("list", "list spend rules and how things stand", _list).add_argument("workspace", metavar="WORKSPACE")
    put = noun.verb("set", "set a spend rule, or another limit of one", _set)
    put.add_argument("workspace", metavar="WORKSPACE", help="id or slug")
    put.add_argument("limit", metavar="USD", type=_usd)
    put.add_argument("--span", choices=("hour", "day", "week", "month"), default="month", help="default: month")
    put.add_argument("--soft", action="store_true", help="let runs through that may exceed it, and say so")
    whose = put.add_mutually_exclusive_group()
    whose.add_argument("--user", metavar="ID", help="of the runs that this user starts")
    whose.add_argument("--model", metavar="MODEL", help="of the items that this model answers")
    gone = noun.verb("remove", "remove a spend rule", _remove)
    gone.add_argument("workspace", metavar="WORKSPACE", help="id or slug")
    gone.add_argument("budget", metavar="BUDGET", help="id")


def _usd(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise argparse.ArgumentTypeError(f"'{text:.40}' is no amount") from None


def _list(arguments: argparse.Namespace) -> int:
    from server_ext.services import budgets

    with operator() as me, me.scope(arguments.workspace) as scope:
        found = budgets.list_rules(scope)
    print_list(found, _COLUMNS, as_json=arguments.json, empty="This workspace has no spend rules.")
    return 0


def _set(arguments: argparse.Namespace) -> int:
    from promptcard_ext.core.contract.budgets import BudgetSpec, RuleScope
    from server_ext.services import budgets

    about: RuleScope = "user" if arguments.user else "model" if arguments.model else "workspace"
    subject = arguments.user or arguments.model or ""
    spec = BudgetSpec(about, arguments.span, arguments.limit, subject, not arguments.soft)
    with operator() as me, me.scope(arguments.workspace) as scope:
        made = budgets.set_rule(scope, spec)
    print_one(made, as_json=arguments.json)
    return 0


def _remove(arguments: argparse.Namespace) -> int:
    from server_ext.services import budgets

    with operator() as me, me.scope(arguments.workspace) as scope:
        budgets.remove(scope, arguments.budget)
    print_done(f"Spend rule {arguments.budget} is removed.", as_json=arguments.json)
    return 0
