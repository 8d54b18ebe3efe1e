"""promptfoo configurations, in and out."""

from __future__ import annotations

from promptcard_ext.interchange.promptfoo.imported import Batch, Imported
from promptcard_ext.interchange.promptfoo.read import read_promptfoo
from promptcard_ext.interchange.promptfoo.write import promptfoo_yaml, write_promptfoo

__all__ = ["Batch", "Imported", "promptfoo_yaml", "read_promptfoo", "write_promptfoo"]
