"""The list of models. It is not on the hot path, and the official client reads it well; it is slow to import."""

from __future__ import annotations

from promptcard_ext.providers.refusal import Refusal

_TIMEOUT_S = 5


async def models_at(url: str, key: str, refusal: Refusal) -> list[str]:
    """Return the names of the models that an endpoint offers.

    Raises:
        ProviderError: It does not answer, or with something else.
    """
    import openai

    # Its own HTTP client would take proxies from the environment and follow redirects with the key.
    http = openai.DefaultAsyncHttpxClient(trust_env=False, follow_redirects=False, timeout=_TIMEOUT_S)
    client = openai.AsyncOpenAI(
        base_url=url, api_key=key or "none", max_retries=0, timeout=_TIMEOUT_S, http_client=http
    )
    try:
        return sorted([entry.id async for entry in client.models.list()])
    except openai.APIStatusError as error:
        raise refusal.of_status(error.status_code, error.response.content, error.response.headers) from None
    except openai.OpenAIError as error:
        raise refusal.unreachable(error) from None
    except (TypeError, AttributeError, ValueError):
        raise refusal.broken("the list of models is not as it should be") from None
    finally:
        await client.close()
