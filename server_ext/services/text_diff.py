"""How one text differs from another, line by line."""

from __future__ import annotations

import difflib

# Comparing lines takes time that grows with the product of their numbers; beyond this they count as replaced.
MAX_LINES = 1_000


def unified(base: str, other: str, base_name: str = "base", other_name: str = "other") -> str:
    r"""Return the unified diff of two texts, in time that their lengths bound.

    Example:
        >>> print(unified("a\nb", "a\nc"))
        --- base
        +++ other
        @@ -1,2 +1,2 @@
         a
        -b
        +c
    """
    # Not by splitlines(): a difference in line ends is one.
    before, after = (text.split("\n") if text else [] for text in (base, other))
    if max(len(before), len(after)) > MAX_LINES:
        gone, come = [f"-{line}" for line in before], [f"+{line}" for line in after]
        place = f"@@ -1,{len(before)} +1,{len(after)} @@"
        return "\n".join([f"--- {base_name}", f"+++ {other_name}", place, *gone, *come])
    return "\n".join(difflib.unified_diff(before, after, base_name, other_name, lineterm=""))
