"""Live views for notebooks. Importing this makes runs show themselves live."""

from promptcard_ext.kernel import comparison, display
from promptcard_ext.widgets import run_view
from promptcard_ext.widgets.compare_view import CompareView
from promptcard_ext.widgets.marked_comparison import compare_marked
from promptcard_ext.widgets.run_view import RunView

__all__ = ["CompareView", "RunView"]

display.live_view = RunView.of
run_view.compare = compare_marked
comparison.live_view = lambda compared: CompareView.of(compared).mimebundle()
