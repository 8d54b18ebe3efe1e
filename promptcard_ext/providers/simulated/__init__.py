"""A simulated provider, for demonstrations, benchmarks and tests. Nothing it says comes from a model."""

from promptcard_ext.providers.simulated.provider import Simulated

__all__ = ["Simulated"]
