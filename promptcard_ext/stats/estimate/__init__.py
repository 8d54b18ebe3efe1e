"""What a run is going to cost and take, before its first call."""

from promptcard_ext.stats.estimate.estimate import Estimate, Quantiles, estimate
from promptcard_ext.stats.estimate.history import History

__all__ = ["Estimate", "History", "Quantiles", "estimate"]
