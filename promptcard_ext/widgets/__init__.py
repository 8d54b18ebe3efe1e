"""Live views for notebooks. Importing this makes runs show themselves live."""

from promptcard_ext.kernel import display
from promptcard_ext.widgets.run_view import RunView

__all__ = ["RunView"]

display.live_view = RunView.of
