"""Vectors from both protocols, over real sockets."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptcard_ext.core.errors import ProviderError
from promptcard_ext.core.ports import Embedder, Embeddings
from promptcard_ext.core.results import Tokens
from promptcard_ext.providers.ollama import Ollama
from promptcard_ext.providers.openai_compatible import OpenAICompatible
from promptcard_ext.providers.vectors import MAX_CHARS, MAX_TEXTS, in_batches
from tests.run_async import run_async
from tests.stub_server import Behaviour, Stub, vector_of

PROVIDERS: dict[str, Callable[[str], Any]] = {
    "openai": lambda url: OpenAICompatible(f"{url}/v1", "sk-of-the-test"),
    "ollama": Ollama,
}
both = pytest.mark.parametrize("protocol", ["openai", "ollama"])


def embed(stub: Stub, protocol: str, texts: Sequence[str]) -> Embeddings:
    async def main() -> Embeddings:
        provider = PROVIDERS[protocol](stub.url)
        assert isinstance(provider, Embedder)
        try:
            return await provider.embed("m-embed", texts)
        finally:
            await provider.close()

    return run_async(main())


def failure(stub: Stub, protocol: str, behaviour: Behaviour, number: int = 2) -> ProviderError:
    stub.next(behaviour)
    with pytest.raises(ProviderError) as caught:
        embed(stub, protocol, ["a"] * number)
    return caught.value


@both
def test_every_text_gets_its_vector(stub: Stub, protocol: str) -> None:
    texts = ["one", "", "and three words", "half \ud83d", "nul \x00"]
    found = embed(stub, protocol, texts)
    assert found.vectors == tuple(tuple(vector_of(text)) for text in texts)
    assert found.tokens == Tokens(input=5, output=0)
    assert found.model_reported == "stub-embedder"
    assert found.latency_ms > 0
    assert len(stub.calls) == 1


def test_each_protocol_is_asked_in_its_words(stub: Stub) -> None:
    embed(stub, "openai", ["a"])
    embed(stub, "ollama", ["a"])
    assert [(call.path, call.body) for call in stub.calls] == [
        ("/v1/embeddings", {"model": "m-embed", "input": ["a"], "encoding_format": "float"}),
        ("/api/embed", {"model": "m-embed", "input": ["a"], "truncate": False}),
    ]


@both
def test_many_texts_take_several_calls_and_keep_their_order(stub: Stub, protocol: str) -> None:
    texts = ["x" * (number % 1000) for number in range(2500)]
    found = embed(stub, protocol, texts)
    assert found.vectors == tuple(tuple(vector_of(text)) for text in texts)
    assert found.tokens.input == 2500
    assert len(stub.calls) == 20
    assert all(len(call.body["input"]) <= MAX_TEXTS for call in stub.calls)


@both
def test_without_texts_nothing_is_called(stub: Stub, protocol: str) -> None:
    assert embed(stub, protocol, []).vectors == ()
    assert stub.calls == []


@given(st.lists(st.integers(0, 2 * MAX_CHARS), max_size=20), st.integers(0, 400))
def test_batches_hold_all_texts_within_the_limits(sizes: list[int], short: int) -> None:
    texts = ["x" * size for size in sizes] + ["y"] * short
    batches = list(in_batches(texts))
    assert [text for batch in batches for text in batch] == texts
    assert all(0 < len(batch) <= MAX_TEXTS for batch in batches)
    assert all(len(batch) == 1 or sum(map(len, batch)) <= MAX_CHARS for batch in batches)


def openai_body(*vectors: Any, indices: Sequence[Any] | None = None) -> bytes:
    order = indices if indices is not None else range(len(vectors))
    data = [{"index": index, "embedding": vector} for index, vector in zip(order, vectors, strict=True)]
    return json.dumps({"data": data}).encode()


@pytest.mark.parametrize(
    "body",
    [
        openai_body([1.0]),
        openai_body([1.0], [2.0], [3.0]),
        openai_body([1.0], [2.0], indices=[0, 0]),
        openai_body([1.0], [2.0], indices=[0, 7]),
        openai_body([1.0], [2.0], indices=[{}, []]),
        openai_body([1.0], [1.0, 2.0]),
        openai_body([1.0], [float("nan")]),
        openai_body([1.0], [float("inf")]),
        openai_body([1.0], [None]),
        openai_body([1.0], ["1.0"]),
        openai_body([1.0], [True]),
        openai_body([], []),
        openai_body([1.0], "AAAA"),
        b'{"data": [1, 2]}',
        b'{"data": {"0": 1}}',
        b'{"data": null}',
        b"{}",
        b"[]",
        b"[[1.0], [2.0]]",
        b'{"data": [{"embedding": [1e999]}, {"embedding": [1]}]}',
        b"<html>",
    ],
)
def test_vectors_that_cannot_be_right_are_refused_and_kept(stub: Stub, body: bytes) -> None:
    error = failure(stub, "openai", Behaviour(body=body))
    assert (error.code, error.retryable) == ("broken_reply", True)
    assert error.raw == body.decode()


@pytest.mark.parametrize(
    "body",
    [
        b'{"embeddings": [[1.0]]}',
        b'{"embeddings": [[1.0], [1.0, 2.0]]}',
        b'{"embeddings": [[1.0], [NaN]]}',
        b'{"embeddings": [1.0, 2.0]}',
        b'{"embeddings": null}',
        b'{"embedding": [1.0]}',
    ],
)
def test_vectors_of_ollama_are_checked_too(stub: Stub, body: bytes) -> None:
    error = failure(stub, "ollama", Behaviour(body=body))
    assert (error.code, error.raw) == ("broken_reply", body.decode())


def test_batches_that_differ_in_length_are_refused(stub: Stub) -> None:
    first = openai_body(*([1.0, 2.0] for _ in range(MAX_TEXTS)))
    stub.next(Behaviour(body=first))
    error = failure(stub, "openai", Behaviour(body=openai_body([1.0])), MAX_TEXTS + 1)
    assert "differ in length" in str(error)


def test_vectors_without_an_index_are_in_order(stub: Stub) -> None:
    stub.next(Behaviour(body=b'{"data": [{"embedding": [1]}, {"embedding": [2]}]}'))
    assert embed(stub, "openai", ["a", "b"]).vectors == ((1.0,), (2.0,))


@both
@pytest.mark.parametrize(
    ("status", "code"), [(401, "provider_auth"), (404, "unknown_model"), (429, "provider_429"), (500, "provider_5xx")]
)
def test_a_refusal_is_of_the_same_kind_as_that_of_a_chat(stub: Stub, protocol: str, status: int, code: str) -> None:
    error = failure(stub, protocol, Behaviour(status=status, headers={"Retry-After": "3"}))
    assert error.code == code
    assert "sk-of-the-test" not in str(error)


def test_openai_without_a_key_is_not_asked_for_vectors() -> None:
    with pytest.raises(ProviderError) as caught:
        run_async(OpenAICompatible(api_key="").embed("m", ["a"]))
    assert (caught.value.code, caught.value.sent) == ("provider_auth", False)
