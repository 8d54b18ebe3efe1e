"""The client against the server's table of operations: each has one method, which asks for exactly that."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any, NamedTuple, NoReturn
from urllib.parse import urlsplit

import pytest
from msgspec import Struct

from promptcard_ext.client.api import Api, WorkspaceApi
from promptcard_ext.client.discovery import Address
from promptcard_ext.client.noun import Noun
from promptcard_ext.client.session import API, Session
from server_ext.api.operation import Operation
from server_ext.api.routes import OPERATIONS, by_path, pattern_of

# Given by the pages of a list, and not by whoever asks.
_PAGING = {"cursor", "limit"}


class Asked(Exception):
    """What a method asked for first."""

    def __init__(self, method: str, path: str, headers: dict[str, str]) -> None:
        self.method, self.path, self.headers = method, path, headers


class Recorder(Session):
    """A session that sends nothing."""

    def ask(self, method: str, url: str, body: bytes = b"", headers: Any = None, **more: Any) -> NoReturn:
        raise Asked(method, urlsplit(url).path.removeprefix(f"/{API}"), headers or {})

    def download(self, url: str) -> NoReturn:
        self.ask("GET", url)


class Way(NamedTuple):
    """A method of the client, and the operation that it comes out at."""

    name: str
    call: Any
    asked: Asked
    operation: Operation


def nouns() -> Iterator[Noun]:
    session = Recorder(Address("http://localhost/", ""))
    for api in (Api(session), WorkspaceApi(session, "w")):
        yield from (noun for noun in vars(api).values() if isinstance(noun, Noun))


def ways() -> Iterator[Way]:
    for noun in nouns():
        for name, call in inspect.getmembers(noun, inspect.ismethod):
            if not name.startswith("_"):
                asked = first_request(call)
                yield Way(f"{type(noun).__name__}.{name}", call, asked, operation_of(asked))


def first_request(call: Any) -> Asked:
    needed = [one for one in inspect.signature(call).parameters.values() if one.default is inspect.Parameter.empty]
    given = {one.name: [] if one.name == "cases" else {} if one.name == "content" else "x" for one in needed}
    try:
        next(call(**given))
    except Asked as asked:
        return asked
    raise AssertionError("it asked for nothing")


def operation_of(asked: Asked) -> Operation:
    for path, methods in by_path().items():
        if re.fullmatch(pattern_of(path), asked.path) and asked.method in methods:
            return methods[asked.method]
    raise AssertionError(f"nobody answers {asked.method} {asked.path}")


def test_every_operation_has_exactly_one_method() -> None:
    found = [way.operation.name for way in ways()]
    assert sorted(found) == sorted(operation.name for operation in OPERATIONS)


def test_idempotency_keys_and_conditions_are_sent_where_the_server_honours_them() -> None:
    for way in ways():
        assert ("Idempotency-Key" in way.asked.headers) == way.operation.idempotent, way.name
        takes_etag = "etag" in inspect.signature(way.call).parameters
        assert takes_etag == way.operation.conditional, way.name


def test_every_parameter_of_a_query_can_be_given() -> None:
    for way in ways():
        fields = set(way.operation.query.__struct_fields__) - _PAGING
        given = inspect.signature(way.call).parameters
        # One by one, or as a filter that several methods take.
        filters = [one.default for one in given.values() if isinstance(one.default, Struct)]
        assert fields - set(given) - {name for each in filters for name in each.__struct_fields__} == set(), way.name


def test_bodies_and_answers_are_those_of_the_contract() -> None:
    for way in ways():
        if way.operation.answer is None:
            continue
        source = inspect.getsource(way.call)
        name = getattr(way.operation.answer, "__name__", str(way.operation.answer))
        assert re.search(rf"\b{re.escape(name)}\b", source.replace("decoded(reply.body, ", "")), way.name


def test_each_method_says_what_it_does() -> None:
    for way in ways():
        assert inspect.getdoc(way.call), way.name


def test_keys_are_new_each_time() -> None:
    session = Recorder(Address("http://localhost/", ""))
    keys = set()
    for _ in range(3):
        with pytest.raises(Asked) as asked:
            WorkspaceApi(session, "w").runs.cancel("x")
        keys.add(asked.value.headers["Idempotency-Key"])
    assert len(keys) == 3
