"""Adapters to model endpoints, behind `core.ports.Provider`."""

from promptcard_ext.providers.registry import Providers, model, reachable_models

__all__ = ["Providers", "model", "reachable_models"]
