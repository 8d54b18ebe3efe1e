"""Answers of models."""

from __future__ import annotations

from promptcard_ext.core.contract.generations import GenerationHead, GenerationOut, GenerationQuery
from promptcard_ext.core.contract.page import Page
from server_ext.api.operation import Call, Operations
from server_ext.services import generations

operations = Operations("generations")
GENERATIONS = "workspaces/{workspace}/generations"


@operations.get(GENERATIONS, action="test:read", query=GenerationQuery, answer=Page[GenerationHead])
def list_generations(call: Call) -> Page[GenerationHead]:
    """List answers, newest first."""
    return generations.list_generations(call.scope, call.query)


@operations.get(GENERATIONS + "/{generation}", action="test:read", answer=GenerationOut)
def get_generation(call: Call) -> GenerationOut:
    """Return an answer with what was asked, whose it is, and the ledger of its calls."""
    return generations.get(call.scope, call.path["generation"])
