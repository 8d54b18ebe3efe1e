"""Ollama's own protocol."""

from promptcard_ext.providers.ollama.address import OLLAMA_URL
from promptcard_ext.providers.ollama.provider import Ollama

__all__ = ["OLLAMA_URL", "Ollama"]
