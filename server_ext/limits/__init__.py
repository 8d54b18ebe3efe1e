"""How often who may ask for what."""

from server_ext.limits.limiter import Decision, Limiter
from server_ext.limits.rates import LIMITS, Limit, LimitName, Rate, limits_from

__all__ = ["LIMITS", "Decision", "Limit", "LimitName", "Limiter", "Rate", "limits_from"]
