"""The engine: makes the calls of a plan, judges the answers, says what happens. It stores nothing.

One asyncio task per slot of concurrency takes items from a shared source; nothing is created per item. The caller
iterates over events; whatever must be durable happens in the ports it passes in.
"""

from promptcard_ext.core.engine.control import Control
from promptcard_ext.core.engine.identity import request_hash
from promptcard_ext.core.engine.options import EngineOptions, Mode
from promptcard_ext.core.engine.run import check_needs, execute

__all__ = ["Control", "EngineOptions", "Mode", "check_needs", "execute", "request_hash"]
