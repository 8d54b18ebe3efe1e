"""The cache of a server process: what it keeps so as not to ask the database again."""

from server_ext.cache.cache import Cache
from server_ext.cache.families import FAMILIES, FamilyName
from server_ext.cache.shared import Shared

__all__ = ["FAMILIES", "Cache", "FamilyName", "Shared"]
