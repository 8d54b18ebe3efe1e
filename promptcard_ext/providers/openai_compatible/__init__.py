"""The OpenAI chat protocol, at OpenAI or at any server that speaks it."""

from promptcard_ext.providers.openai_compatible.provider import OPENAI_URL, OpenAICompatible

__all__ = ["OPENAI_URL", "OpenAICompatible"]
