"""Regular expressions that anybody may write: RE2, and never more work than a limit.

RE2 takes time linear in the text, but the factor is the size of the compiled pattern: ``[ab]*a[ab]{900}`` takes seconds
on a text of a megabyte. The product of both is therefore limited, before the search, by what can be counted: the same
pattern and text get the same outcome on every machine.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

MAX_PATTERN_CHARS = 2_000
# Size of the program times characters of the text; 8 to 16 nanoseconds each in the worst case.
MAX_WORK = 15_000_000
MAX_MEMORY = 2_000_000


class PatternInvalid(ValueError):
    """The pattern is too long, or not one that RE2 reads; says why in one clause."""


class PatternTooCostly(ValueError):
    """The pattern takes too many steps on this text."""


@lru_cache(maxsize=64)
def compile_re2(source: str) -> Any:
    """Return the compiled pattern (RE2 syntax: no look-around, no back-references).

    Raises:
        PatternInvalid: It has more than 2,000 characters, or RE2 does not read it.
    """
    # Twenty milliseconds, which most cards need not spend.
    import re2

    if len(source) > MAX_PATTERN_CHARS:
        raise PatternInvalid(f"the pattern has {len(source):,} characters; the limit is {MAX_PATTERN_CHARS:,}")
    options = re2.Options()
    options.log_errors = False
    # What compiling and matching may take in memory; many patterns are kept.
    options.max_mem = MAX_MEMORY
    try:
        return re2.compile(source, options)
    except UnicodeEncodeError:
        raise PatternInvalid("the pattern has a lone surrogate, which is no character") from None
    except re2.error as error:
        detail = error.args[0].decode("utf-8", "replace") if isinstance(error.args[0], bytes) else str(error)
        raise PatternInvalid(
            f"the pattern {source!r:.80} is not valid ({detail}); look-around and back-references do not exist here"
        ) from None


def refuse_costly(pattern: Any, text: str) -> None:
    """Raise what is wrong when ``pattern`` could take more than about 0.3 seconds on ``text``.

    Raises:
        PatternTooCostly: Size of the pattern times length of the text is above 15,000,000.
    """
    size = pattern.programsize
    if size * len(text) > MAX_WORK:
        raise PatternTooCostly(
            f"the pattern {pattern.pattern!r:.80} (size {size:,}) takes too long on {len(text):,} characters; "
            f"the product may be {MAX_WORK:,}"
        )


def readable(text: str) -> str:
    """Return ``text`` as RE2 can read it: a lone surrogate has no UTF-8, and becomes a question mark."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def search(source: str, text: str) -> Any:
    """Return the first match of ``source`` in ``text``, or None.

    Raises:
        PatternInvalid, PatternTooCostly: As `compile_re2` and `refuse_costly` say.
    """
    pattern = compile_re2(source)
    refuse_costly(pattern, text)
    return pattern.search(readable(text))


def matches_whole(source: str, text: str) -> bool:
    """Tell whether ``source`` matches all of ``text``.

    Raises:
        PatternInvalid, PatternTooCostly: As `compile_re2` and `refuse_costly` say.
    """
    pattern = compile_re2(source)
    refuse_costly(pattern, text)
    return pattern.fullmatch(readable(text)) is not None
