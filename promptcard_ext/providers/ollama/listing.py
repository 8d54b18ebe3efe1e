"""The list of models that are pulled. It is not on the hot path, and the official client reads it well."""

from __future__ import annotations

from promptcard_ext.providers.refusal import Refusal

_TIMEOUT_S = 5


async def models_at(url: str, refusal: Refusal) -> list[str]:
    """Return the names of the models that an Ollama has.

    Raises:
        ProviderError: It does not answer, or with something else.
    """
    import ollama

    client = ollama.AsyncClient(host=url, timeout=_TIMEOUT_S, trust_env=False, follow_redirects=False)
    try:
        listing = await client.list()
    except ollama.ResponseError as error:
        raise refusal.of_status(error.status_code, b"", {}) from None
    except (ValueError, TypeError):
        raise refusal.broken("the list of models is not as it should be") from None
    except Exception as error:  # noqa: BLE001
        # Its HTTP library is not part of its interface, so what that raises cannot be named here.
        raise refusal.unreachable(error) from None
    finally:
        await client.close()  # type: ignore[no-untyped-call]
    return sorted(entry.model for entry in listing.models if entry.model)
